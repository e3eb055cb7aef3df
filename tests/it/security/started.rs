//! Programs that another user can change, or put first, are not started.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::issuer::Issuer;
use e2e::sandbox::{Finished, set_mode, write};
use e2e::two_users::{TwoUsers, open_to};
use serde_json::json;

const KEY: &str = "key-0123456789abcdef";

/// A program that leaves a mark where both users may write.
fn marker(mark: &Path) -> Vec<u8> {
    format!("#!/bin/sh\necho \"$0\" >> '{}'\necho {KEY}\n", mark.display()).into_bytes()
}

/// Something that starts a program by its name or path.
struct Starter {
    name: &'static str,
    program: PathBuf,
    command: Vec<String>,
}

fn starters(both: &mut TwoUsers) -> Vec<Starter> {
    let tools = both.sandbox.home().join("tools");
    fs::create_dir(&tools).unwrap();
    let path = format!("{}:/usr/bin:/bin", tools.display());
    both.sandbox.set_env("PATH", path);
    let reference = json!({"source": "exec", "command": [tools.join("vault"), "read"]});
    let profile = json!({"type": "api_key", "provider": "acme", "keyRef": reference});
    let key = json!({"type": "api_key", "provider": "plain", "key": KEY});
    both.sandbox.seed_store(
        "main",
        &json!({"version": 1, "profiles": {"acme:default": profile, "plain:default": key}}),
    );
    both.sandbox.write_manifest(
        "plug",
        &json!({"id": "plug", "flows": ["plugin"], "command": tools.join("plug")}),
    );
    let words = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let starter = |name, program: &str, command: &str| Starter {
        name,
        program: tools.join(program),
        command: words(command),
    };
    vec![
        starter("reference", "vault", "models auth token --provider acme"),
        starter(
            "git",
            "git",
            "models auth configure git --host example.com --provider plain --yes",
        ),
        starter("plugin", "plug", "models auth login --provider plug"),
        starter("exec", "tool", "models auth exec --provider plain -- tool"),
        starter("next of our name", "clawdbot", "gateway start"),
    ]
}

fn trap(number: usize) -> Option<(TwoUsers, Starter, PathBuf)> {
    let mut both = TwoUsers::new()?;
    let starter = starters(&mut both).swap_remove(number);
    let marks = both.sandbox.root().join("marks");
    fs::create_dir(&marks).unwrap();
    set_mode(&marks, 0o777);
    let mark = marks.join("mark");
    write(&starter.program, &marker(&mark));
    set_mode(&starter.program, 0o755);
    both.settle();
    for step in [both.sandbox.home(), both.sandbox.state()] {
        set_mode(&step, 0o755);
    }
    Some((both, starter, mark))
}

fn run(both: &TwoUsers, starter: &Starter) -> Finished {
    both.sandbox.run(&starter.command.iter().map(String::as_str).collect::<Vec<_>>())
}

const STARTERS: usize = 5;

/// What an attack is, and what makes it.
type Attack<'a> = (&'static str, &'a dyn Fn(&TwoUsers, &Path));

#[test]
fn no_program_that_another_user_can_change_is_started() {
    for number in 0..STARTERS {
        // The control: it is started.
        let Some((both, starter, mark)) = trap(number) else { return };
        let said = run(&both, &starter);
        assert!(mark.exists(), "{}: {said:#?}", starter.name);

        let attacks: [Attack<'_>; 6] = [
            ("everybody may write to it", &|_, program| set_mode(program, 0o777)),
            ("the group may write to it", &|both, program| {
                open_to(program, 0o775, both.attacker.team);
            }),
            ("it is of another user", &|both, program| both.attacker.owns(program)),
            ("everybody may write to its folder", &|both, program| {
                open_to(program.parent().unwrap(), 0o777, both.attacker.team);
            }),
            ("the group may write to its folder", &|both, program| {
                open_to(program.parent().unwrap(), 0o775, both.attacker.team);
            }),
            ("another user put it there", &|both, program| {
                let folder = program.parent().unwrap();
                open_to(folder, 0o777, both.attacker.team);
                let content = fs::read(program).unwrap();
                assert!(both.attacker.writes(program, &content, 0o755));
                set_mode(folder, 0o755);
            }),
        ];
        for (what, attack) in attacks {
            let Some((both, starter, mark)) = trap(number) else { return };
            attack(&both, &starter.program);
            let said = run(&both, &starter);
            assert!(!mark.exists(), "{}, {what}: it was started: {said:#?}", starter.name);
            assert_ne!(said.code, Some(0), "{}, {what}: {said:#?}", starter.name);
            assert!(!said.stderr.contains("panicked"), "{said:#?}");
        }
    }
}

/// `.`, an empty entry and a relative one in PATH, and a program of the attacker in the working directory.
#[test]
fn what_lies_in_the_working_directory_is_not_started_by_its_name() {
    for number in [1, 3, 4] {
        for entries in [".:", "::", "bin:"] {
            let Some((mut both, starter, mark)) = trap(number) else { return };
            let here = both.sandbox.home();
            let name = starter.program.file_name().unwrap();
            fs::create_dir(here.join("bin")).unwrap();
            for folder in [here.clone(), here.join("bin")] {
                open_to(&folder, 0o777, both.attacker.team);
                let content =
                    format!("#!/bin/sh\ntouch '{}'\n", mark.with_file_name("theirs").display());
                assert!(both.attacker.writes(&folder.join(name), content.as_bytes(), 0o755));
                set_mode(&folder, 0o755);
            }
            let tools = starter.program.parent().unwrap().to_owned();
            both.sandbox.set_env("PATH", format!("{entries}{}", tools.display()));
            let said = run(&both, &starter);
            assert!(!mark.with_file_name("theirs").exists(), "{}: {said:#?}", starter.name);
            // The control: the one in the absolute folder is.
            assert!(mark.exists(), "{}: {said:#?}", starter.name);
        }
    }
}

/// What opens a browser: the address is shown, and nothing is started that others can change.
#[cfg(target_os = "linux")]
#[test]
fn the_browser_is_not_opened_by_a_program_that_others_can_change() {
    let issuer = Issuer::start();
    for is_open in [false, true] {
        let Some(mut both) = TwoUsers::new() else { return };
        let tools = both.sandbox.home().join("tools");
        let mark = both.sandbox.home().join("mark");
        write(&tools.join("xdg-open"), &marker(&mark));
        set_mode(&tools.join("xdg-open"), 0o755);
        both.sandbox.set_env("PATH", format!("{}:/usr/bin:/bin", tools.display()));
        both.sandbox.set_env("DISPLAY", ":0");
        both.sandbox.write_manifest("demo", &issuer.manifest("demo"));
        both.settle();
        if is_open {
            open_to(&tools, 0o777, both.attacker.team);
        }
        let mut login = both.sandbox.start(&["models", "auth", "login", "--provider", "demo"]);
        // It is opened before that is said.
        while login.next_line().is_some_and(|line| !line.contains("paste the address")) {}
        if !is_open {
            let deadline = std::time::Instant::now() + e2e::TIMEOUT;
            while !mark.exists() && std::time::Instant::now() < deadline {
                std::thread::yield_now();
            }
        }
        let is_started = mark.exists() || !e2e::sandbox::children_of(login.id()).is_empty();
        e2e::sandbox::kill_with("TERM", login.id());
        login.finish();
        assert_eq!(is_started, !is_open);
    }
}

/// What our children see of our environment.
#[test]
fn a_program_that_fetches_a_key_sees_no_secret_of_others() {
    let Some((mut both, starter, _)) = trap(0) else { return };
    let seen = both.sandbox.home().join("seen");
    write(
        &starter.program,
        format!("#!/bin/sh\nenv > '{}'\necho {KEY}\n", seen.display()).as_bytes(),
    );
    both.settle();
    for name in ["PGPASS", "PGPASSWORD", "DATABASE_URL", "GH_TOKEN", "LD_LIBRARY_PATH"] {
        both.sandbox.set_env(name, "SECRET-OF-ANOTHER");
    }
    both.sandbox.set_env("VAULT_TOKEN", "OF-THE-VAULT");
    assert_eq!(run(&both, &starter).expect_code(0).line(), KEY);
    let seen = fs::read_to_string(seen).unwrap();
    assert!(!seen.contains("SECRET-OF-ANOTHER") && seen.contains("OF-THE-VAULT"), "{seen}");
}
