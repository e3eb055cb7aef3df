//! What another user puts where we look is not believed: neither in a directory that the group of both may write to,
//! nor in one that anybody may, nor behind a link.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use auth_store::{Record, State, Timestamp};
use e2e::issuer::{CLIENT, Issuer};
use e2e::sandbox::{Finished, Sandbox, set_mode, write};
use e2e::two_users::{TwoUsers, open_to};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A file that is believed, and how one sees that it was.
struct Bait {
    name: &'static str,
    place: PathBuf,
    content: Vec<u8>,
    command: Vec<String>,
    believed: fn(&Sandbox, &Finished) -> bool,
}

const OURS: &str = "key-of-the-victim-0123456789";
const THEIRS: &str = "key-of-the-attacker-0123456789";
const MODEL: &str = r#"{"agents": {"defaults": {"model": {"primary": "evil/model"}}}}"#;

fn words(words: &str) -> Vec<String> {
    words.split(' ').map(str::to_owned).collect()
}

fn store_with(key: &str) -> Value {
    let profile = json!({"type": "api_key", "provider": "acme", "key": key});
    json!({"version": 1, "profiles": {"acme:default": profile}})
}

fn login_of_codex() -> Vec<u8> {
    let tokens = json!({"access_token": THEIRS, "refresh_token": "", "account_id": "evil"});
    json!({"OPENAI_API_KEY": THEIRS, "tokens": tokens}).to_string().into_bytes()
}

fn says_the_model(_: &Sandbox, run: &Finished) -> bool {
    run.stdout.contains("evil/model")
}

fn gives_their_key(_: &Sandbox, run: &Finished) -> bool {
    run.stdout.contains(THEIRS)
}

fn stores_their_key(sandbox: &Sandbox, _: &Finished) -> bool {
    fs::read_to_string(sandbox.store_path("main")).is_ok_and(|store| store.contains(THEIRS))
}

/// The line of a record that says that the issuer has refused a token.
fn refused(store: &Path) -> Vec<u8> {
    let record = Record::new(State::Rejected, store, &"demo:alice".into(), Timestamp(1));
    let text = serde_json::to_string(&record).unwrap();
    let digest = Sha256::digest(&text);
    let sum = u64::from_be_bytes(digest[..8].try_into().unwrap());
    format!("{text} {sum:016x}\n").into_bytes()
}

/// A home in which every bait would be eaten, and the baits.
fn baits(sandbox: &mut Sandbox, issuer: &Issuer) -> Vec<Bait> {
    let tokens = sandbox.seed_expired(issuer, "demo", &["alice"]);
    let (state, home) = (sandbox.state(), sandbox.home());
    let key_file = home.join("keys/acme");
    sandbox.edit_store("main", |store| {
        let of_file = json!({"source": "file", "path": key_file});
        store["profiles"]["acme:default"] =
            json!({"type": "api_key", "provider": "acme", "key": OURS});
        store["profiles"]["elsewhere:default"] =
            json!({"type": "api_key", "provider": "elsewhere", "keyRef": of_file});
    });
    sandbox.seed_store("empty", &json!({"version": 1, "profiles": {}}));
    sandbox.seed_store("broken", &json!({"version": 1, "profiles": {}}));
    write(&sandbox.store_path("broken"), b"{");
    sandbox.set_env("EVIL_KEY", THEIRS);
    let manifest = json!({"id": "evil", "flows": ["api_key"], "env": ["EVIL_KEY"]});
    let record = sandbox.record_path(&issuer.token_endpoint(), CLIENT, &tokens[0].refresh);
    let oauth = json!({"anthropic": {"refresh": "r-evil", "access": THEIRS, "expires": 1e15}});
    let bait = |name, place, content, command: &str, believed| Bait {
        name,
        place,
        content,
        command: words(command),
        believed,
    };
    let token = "models auth token --provider";
    let json = |value: Value| value.to_string().into_bytes();
    let import = home.join("shared/import.json");
    vec![
        bait(
            "manifest",
            state.join("providers/evil.json"),
            json(manifest),
            &format!("{token} evil"),
            gives_their_key,
        ),
        bait(
            "config",
            state.join("clawdbot.json"),
            MODEL.into(),
            "models status --plain",
            says_the_model,
        ),
        bait(
            "record",
            record,
            refused(&sandbox.store_path("main")),
            "models auth token --profile demo:alice",
            |_, run| run.code == Some(4),
        ),
        bait(
            "store",
            sandbox.store_path("other"),
            json(store_with(THEIRS)),
            &format!("{token} acme --agent other"),
            gives_their_key,
        ),
        bait(
            "backup",
            sandbox.agent_dir("broken").join(".auth-profiles.json.bak"),
            json(store_with(THEIRS)),
            &format!("{token} acme --agent broken"),
            gives_their_key,
        ),
        bait(
            "share note",
            sandbox.agent_dir("empty").join(".auth-share.json"),
            json(json!({"version": 1, "from": "main"})),
            &format!("{token} acme --agent empty"),
            |_, run| run.stdout.contains(OURS),
        ),
        bait("key file", key_file, THEIRS.into(), &format!("{token} elsewhere"), gives_their_key),
        bait(
            "import",
            import.clone(),
            json(store_with(THEIRS)),
            &format!("models auth import --force --from {}", import.display()),
            stores_their_key,
        ),
        bait(
            "login of a tool",
            home.join(".codex/auth.json"),
            login_of_codex(),
            "models auth import --from codex",
            stores_their_key,
        ),
        bait(
            "oauth.json",
            state.join("credentials/oauth.json"),
            json(oauth),
            "models auth list",
            |sandbox, _| {
                // It is imported where there is no store yet.
                let store = fs::read_to_string(sandbox.store_path("main"));
                store.is_ok_and(|store| store.contains(THEIRS))
            },
        ),
    ]
}

/// The home with all of it, for the bait of this number.
fn trap(number: usize, issuer: &Issuer) -> Option<(TwoUsers, Bait)> {
    let mut both = TwoUsers::new()?;
    let mut all = baits(&mut both.sandbox, issuer);
    let bait = all.swap_remove(number);
    if bait.name == "oauth.json" {
        fs::remove_dir_all(both.sandbox.state().join("agents")).unwrap();
    }
    fs::create_dir_all(bait.place.parent().unwrap()).unwrap();
    both.settle();
    for directory in [both.sandbox.home(), both.sandbox.state()] {
        set_mode(&directory, 0o755);
    }
    Some((both, bait))
}

fn run(both: &TwoUsers, bait: &Bait) -> Finished {
    both.sandbox.run(&bait.command.iter().map(String::as_str).collect::<Vec<_>>())
}

const BAITS: usize = 10;

/// In a directory of the group of both users, and in one of everybody.
#[test]
fn nothing_of_another_user_is_believed_wherever_it_lies() {
    let issuer = Issuer::start();
    for number in 0..BAITS {
        for mode in [0o777, 0o2775] {
            let Some((both, bait)) = trap(number, &issuer) else { return };
            open_to(bait.place.parent().unwrap(), mode, both.attacker.team);
            if mode == 0o777 {
                // What they write is as they like it.
                assert!(both.attacker.writes(&bait.place, &bait.content, 0o644), "{}", bait.name);
            } else {
                assert!(both.attacker.writes(&bait.place, &bait.content, 0o600), "{}", bait.name);
                set_mode(&bait.place, 0o664);
            }
            let tried = run(&both, &bait);
            assert!(
                !(bait.believed)(&both.sandbox, &tried),
                "{} {mode:o}: it was believed: {tried:#?}",
                bait.name
            );
        }
    }
}

/// The control: the same, by the victim, is believed.
#[test]
fn the_same_files_of_the_user_are_believed() {
    let issuer = Issuer::start();
    for number in 0..BAITS {
        let Some((both, bait)) = trap(number, &issuer) else { return };
        assert!(both.victim.writes(&bait.place, &bait.content, 0o600), "{}", bait.name);
        let tried = run(&both, &bait);
        assert!((bait.believed)(&both.sandbox, &tried), "{}: {tried:#?}", bait.name);
    }
}

/// The victim's own file, which others may write to, is not believed either, and the way out works.
#[test]
fn a_file_that_others_may_write_to_is_not_believed_until_its_owner_has_looked() {
    let issuer = Issuer::start();
    for number in 0..BAITS {
        for mode in [0o666, 0o664] {
            let Some((both, bait)) = trap(number, &issuer) else { return };
            assert!(both.victim.writes(&bait.place, b"{}", 0o600), "{}", bait.name);
            chown(&bait.place, None, Some(both.attacker.team)).unwrap();
            set_mode(&bait.place, mode);
            let script = format!(
                "cat > '{}' <<'END'\n{}\nEND",
                bait.place.display(),
                String::from_utf8_lossy(&bait.content)
            );
            assert!(both.attacker.runs(&script), "{}", bait.name);
            let tried = run(&both, &bait);
            assert!(!(bait.believed)(&both.sandbox, &tried), "{} {mode:o}: {tried:#?}", bait.name);
            set_mode(&bait.place, mode & !0o022);
            let tried = run(&both, &bait);
            assert!((bait.believed)(&both.sandbox, &tried), "{}: {tried:#?}", bait.name);
        }
    }
}

/// Links that the attacker makes, to files that the victim made for something else.
#[test]
fn no_link_of_another_user_is_followed() {
    let issuer = Issuer::start();
    for number in 0..BAITS {
        let Some((both, bait)) = trap(number, &issuer) else { return };
        let elsewhere = both.sandbox.home().join("notes");
        fs::create_dir(&elsewhere).unwrap();
        both.victim.owns(&elsewhere);
        let name = bait.place.file_name().unwrap();
        assert!(both.victim.writes(&elsewhere.join(name), &bait.content, 0o600));
        open_to(bait.place.parent().unwrap(), 0o777, both.attacker.team);
        assert!(both.attacker.links(&elsewhere.join(name), &bait.place), "{}", bait.name);
        let tried = run(&both, &bait);
        assert!(!(bait.believed)(&both.sandbox, &tried), "{}: {tried:#?}", bait.name);

        // The control: the victim's own link is followed, but beside a store, where every file is replaced by renaming.
        fs::remove_file(&bait.place).unwrap();
        set_mode(bait.place.parent().unwrap(), 0o755);
        assert!(both.victim.links(&elsewhere.join(name), &bait.place));
        let tried = run(&both, &bait);
        let is_followed = bait.name != "record";
        assert_eq!(
            (bait.believed)(&both.sandbox, &tried),
            is_followed,
            "{}: {tried:#?}",
            bait.name
        );
    }
}

/// A link in the middle of the way: the folder of the manifests.
#[test]
fn no_folder_is_reached_through_a_link_of_another_user() {
    let issuer = Issuer::start();
    let Some((both, bait)) = trap(0, &issuer) else { return };
    let (folder, elsewhere) = (bait.place.parent().unwrap(), both.sandbox.home().join("cloned"));
    fs::remove_dir_all(folder).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    both.victim.owns(&elsewhere);
    assert!(both.victim.writes(&elsewhere.join("evil.json"), &bait.content, 0o600));
    open_to(&both.sandbox.state(), 0o777, both.attacker.team);
    assert!(both.attacker.links(&elsewhere, folder));
    let tried = run(&both, &bait);
    assert!(!(bait.believed)(&both.sandbox, &tried), "{tried:#?}");
    // The control.
    fs::remove_file(folder).unwrap();
    assert!(both.victim.links(&elsewhere, folder));
    let tried = run(&both, &bait);
    assert!((bait.believed)(&both.sandbox, &tried), "{tried:#?}");
}

#[test]
fn an_included_file_of_another_user_is_not_believed() {
    let Some(both) = TwoUsers::new() else { return };
    let parts = both.sandbox.state().join("parts");
    fs::create_dir(&parts).unwrap();
    both.sandbox.write_config("{ \"$include\": \"./parts/models.json5\" }");
    both.settle();
    open_to(&parts, 0o777, both.attacker.team);
    assert!(both.attacker.writes(&parts.join("models.json5"), MODEL.as_bytes(), 0o644));
    let status = ["models", "status", "--plain"];
    let tried = both.sandbox.run(&status);
    assert!(!tried.stdout.contains("evil/model"), "{tried:#?}");
    assert!(tried.expect_code(64).stderr.contains("it belongs to another user"), "{tried:#?}");
    both.victim.owns(&parts);
    both.sandbox.run(&status).expect_code(0);
    assert_eq!(both.sandbox.run(&status).line(), "evil/model");
}

#[test]
fn a_state_directory_that_others_may_write_to_is_closed_and_one_of_another_user_refused() {
    let Some(both) = TwoUsers::new() else { return };
    let state = both.sandbox.state();
    let mode = || fs::metadata(&state).unwrap().mode() & 0o7777;
    let list = ["models", "auth", "list"];
    for open in [0o777, 0o2775, 0o1777] {
        open_to(&state, open, both.attacker.team);
        let said = both.sandbox.run(&list);
        assert!(said.expect_code(0).stderr.contains("other users could put files"), "{said:#?}");
        assert_eq!(mode() & 0o777, open & 0o755);
        assert!(!both.attacker.writes(&state.join("clawdbot.json"), b"{}", 0o644));
        let quiet = both.sandbox.run(&list);
        assert!(!quiet.stderr.contains("other users"), "{quiet:#?}");
    }
    for (owner, mode, is_refused) in [
        (both.attacker.id, 0o777, true),
        (both.attacker.id, 0o755, true),
        (0, 0o777, true),
        (0, 0o755, false),
        // A volume of Kubernetes with the victim's group.
        (0, 0o2770, false),
    ] {
        chown(&state, Some(owner), Some(both.victim.id)).unwrap();
        set_mode(&state, mode);
        let run = both.sandbox.run(&list);
        assert_eq!(run.code, Some(if is_refused { 74 } else { 0 }), "{owner} {mode:o}: {run:#?}");
        let doctor = both.sandbox.run(&["doctor", "--json"]);
        assert_eq!(doctor.stdout.contains("state_of_administrator"), owner == 0, "{doctor:#?}");
    }
}

/// Files without an end, and includes that multiply: the size is known before anything is read.
#[test]
fn what_has_no_end_is_refused_within_a_second() {
    let sandbox = Sandbox::new();
    sandbox.seed_store("main", &store_with(OURS));
    let (state, store) = (sandbox.state(), sandbox.store_path("main"));
    let huge = |path: &Path| {
        write(path, b"");
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(8 << 30).unwrap();
    };
    let import = sandbox.home().join("import.json");
    let from = format!("--from={}", import.display());
    let token = ["models", "auth", "token", "--provider", "acme"];
    let cases: [(&Path, Vec<&str>); 5] = [
        (&store, token.to_vec()),
        (&state.join("clawdbot.json"), token.to_vec()),
        (&state.join("providers/more.json"), vec!["plugins", "list"]),
        (&import, vec!["models", "auth", "import", &from]),
        (
            &sandbox.home().join(".codex/auth.json"),
            vec!["models", "auth", "import", "--from", "codex"],
        ),
    ];
    for (place, command) in &cases {
        let before = fs::read(place).ok();
        for is_device in [false, true] {
            if is_device {
                let _ = fs::remove_file(place);
                fs::create_dir_all(place.parent().unwrap()).unwrap();
                std::os::unix::fs::symlink("/dev/zero", place).unwrap();
            } else {
                huge(place);
            }
            let run = limited(&sandbox, command);
            assert_ne!(run.code, None, "{}: it was ended: {run:#?}", place.display());
            let said = format!("{}{}", run.stdout, run.stderr);
            assert!(
                said.contains("larger than such a file") || said.contains("a device"),
                "{run:#?}"
            );
            fs::remove_file(place).unwrap();
        }
        if let Some(before) = before {
            write(place, &before);
        }
    }
    // Eight files, each including the next one ten times.
    for depth in 0..8 {
        let next = format!("\"./{}.json5\"", depth + 1);
        let text = format!("{{ \"$include\": [{}] }}", vec![next; 10].join(", "));
        write(&state.join(format!("{depth}.json5")), text.as_bytes());
    }
    write(&state.join("8.json5"), b"{}");
    sandbox.write_config("{ \"$include\": \"./0.json5\" }");
    let run = limited(&sandbox, &["models", "status"]);
    assert!(run.expect_code(64).stderr.contains("too much is included"), "{run:#?}");
    // The control: without the bomb all of it works.
    fs::remove_file(state.join("clawdbot.json")).unwrap();
    assert_eq!(sandbox.run(&token).expect_code(0).line(), OURS);
}

/// With little memory, and ten seconds of a processor at most: a file that is read to its end takes more.
fn limited(sandbox: &Sandbox, args: &[&str]) -> Finished {
    let words: Vec<String> = args.iter().map(|word| format!("'{word}'")).collect();
    let program = e2e::sandbox::binary();
    let mut with_sh = Sandbox::command(sandbox, &[]);
    with_sh.arg("unused");
    let script = format!(
        "ulimit -t 10; ulimit -v 1000000; exec '{}' {}",
        program.display(),
        words.join(" ")
    );
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", &script]).env_clear().current_dir(sandbox.home());
    command.envs(with_sh.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    Finished {
        args: words,
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
