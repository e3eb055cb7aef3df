//! Files under attack: another user in our group who exchanges names while we read and write, loose
//! permissions, other owners, unusual umasks, limits; and what remains on the disk after a login is
//! removed.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use e2e::issuer::Issuer;
use e2e::sandbox::{Sandbox, set_mode, write};
use serde_json::{Value, json};

const PASTE: [&str; 5] = ["models", "auth", "paste-api-key", "--provider", "acme"];
const TOKEN: [&str; 5] = ["models", "auth", "token", "--provider", "acme"];
const KEY: &str = "key-of-ours-0123456789";

fn store_with(key: &str) -> String {
    let profile = json!({"type": "api_key", "provider": "acme", "key": key});
    json!({"version": 1, "profiles": {"acme:default": profile}}).to_string()
}

fn home() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.run_with_input(&PASTE, KEY).expect_code(0);
    sandbox
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Everything below a directory.
fn below(root: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all.extend(below(&entry.path()));
        }
        all.push(entry.path());
    }
    all
}

fn is_root() -> bool {
    // The owner of a new file shows who we are.
    tempfile::tempdir().is_ok_and(|made| fs::metadata(made.path()).unwrap().uid() == 0)
}

/// The binary, after a line of shell code.
fn after(sandbox: &Sandbox, line: &str, args: &[&str]) -> Command {
    let run = sandbox.command(args);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("{line}; exec \"$@\""), "sh"]);
    command.arg(run.get_program()).args(run.get_args()).env_clear();
    command.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(sandbox.home());
    command
}

fn count(number: &AtomicUsize) -> usize {
    number.load(Ordering::Relaxed)
}

/// Another user in our group repeatedly exchanges every name for a link while we read and write:
/// nothing is written outside, and none of their files is read as ours.
#[test]
fn somebody_of_our_group_who_exchanges_names_gets_nowhere() {
    if !is_root() || Command::new("setpriv").arg("--version").output().is_err() {
        println!("NOT RUN: only the administrator, with `setpriv`, can be somebody else");
        return;
    }
    let sandbox = home();
    let root = sandbox.home().parent().unwrap().to_owned();
    let (outside, theirs) = (sandbox.home().join("outside.json"), root.join("theirs"));
    write(&outside, store_with("key-of-another-place").as_bytes());
    fs::create_dir(&theirs).unwrap();
    write(&theirs.join("store.json"), store_with("key-of-somebody-else").as_bytes());
    std::os::unix::fs::chown(&theirs, Some(65_534), None).unwrap();
    std::os::unix::fs::chown(theirs.join("store.json"), Some(65_534), None).unwrap();
    set_mode(&theirs.join("store.json"), 0o644);
    let before = fs::read(&outside).unwrap();
    let agent = sandbox.agent_dir("main");
    let open_to_the_group = || {
        for step in agent.ancestors().take_while(|step| step.starts_with(&root)) {
            set_mode(step, if step == agent { 0o775 } else { 0o755 });
        }
    };
    open_to_the_group();
    let script = r#"
        cd "$1" || exit 1
        for round in $(seq 100000); do
            for name in auth-profiles.json .auth-profiles.json.new .auth-profiles.json.bak .auth-profiles.flock auth.json; do
                ln -sfn "$2" "$3/link" 2>/dev/null && mv -fT "$3/link" "$name" 2>/dev/null && echo exchanged
                cp "$3/store.json" "$3/copy" 2>/dev/null && mv -fT "$3/copy" "$name" 2>/dev/null
            done
            [ -e "$3/stop" ] && exit 0
        done"#;
    let mut attacker = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=0", "--clear-groups", "sh", "-c", script, "sh"])
        .args([&agent, &outside, &theirs])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let exchanged = AtomicUsize::new(0);
    let output = std::io::BufReader::new(attacker.stdout.take().unwrap());
    let mut fooled = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in std::io::BufRead::lines(output) {
                exchanged.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut rounds = 0;
        while rounds < 150 || (rounds < 2_000 && (fooled == 0 || count(&exchanged) < 20)) {
            rounds += 1;
            open_to_the_group();
            // The control: who reads without looking whose file it is takes theirs for ours.
            let naive = fs::read_to_string(sandbox.store_path("main")).unwrap_or_default();
            fooled += usize::from(naive.contains("key-of-somebody-else"));
            sandbox.run_with_input(&PASTE, KEY);
            open_to_the_group();
            let read = sandbox.run(&TOKEN);
            assert!(["", KEY].contains(&read.line()), "{read:#?}");
            assert_eq!(fs::read(&outside).unwrap(), before, "something was written outside");
        }
        write(&theirs.join("stop"), b"");
    });
    attacker.wait().unwrap();
    assert!(fooled > 0 && count(&exchanged) >= 20, "fooled {fooled} times, {exchanged:?} names");
    // The directory was closed to the group by the last write that was let through.
    open_to_the_group();
    for name in below(&agent) {
        let _ = fs::remove_file(name);
    }
    sandbox.run_with_input(&PASTE, KEY).expect_code(0);
    assert_eq!(mode(&agent) & 0o022, 0);
}

#[test]
fn links_that_others_could_have_put_there_are_not_followed() {
    let sandbox = home();
    let (agent, outside) = (sandbox.agent_dir("main"), sandbox.home().join("outside"));
    for name in
        [".auth-profiles.json.new", ".auth-profiles.flock", ".auth-profiles.json.bak", "auth.json"]
    {
        write(&outside, b"not ours to write");
        let place = agent.join(name);
        let _ = fs::remove_file(&place);
        std::os::unix::fs::symlink(&outside, &place).unwrap();
        let run = sandbox.run_with_input(&PASTE, "key-new-0123456789");
        assert_eq!(fs::read(&outside).unwrap(), b"not ours to write", "{name}: {run:#?}");
        assert!(matches!(run.code, Some(0 | 74)), "{name}: {run:#?}");
        let _ = fs::remove_file(&place);
    }
    std::os::unix::fs::symlink(&outside, agent.join("auth-profiles.json.lock")).unwrap();
    sandbox.run_with_input(&PASTE, "key-last-0123456789").expect_code(74);
    assert_eq!(fs::read(&outside).unwrap(), b"not ours to write");
}

#[test]
fn a_state_directory_of_another_user_is_refused() {
    if !is_root() {
        println!("NOT RUN: only the administrator can make files of another user");
        return;
    }
    let sandbox = home();
    let (store, agent) = (sandbox.store_path("main"), sandbox.agent_dir("main"));
    let before = fs::read(&store).unwrap();
    for path in [&agent, &sandbox.state().join("agents"), &store] {
        std::os::unix::fs::chown(path, Some(65_534), None).unwrap();
        let run = sandbox.run_with_input(&PASTE, "key-new-0123456789");
        assert!(run.expect_code(74).stderr.contains("belongs to another user"), "{run:#?}");
        assert_eq!(fs::read(&store).unwrap(), before);
        if path == &store {
            let read = sandbox.run(&TOKEN);
            assert!(read.expect_code(74).stderr.contains("belongs to another user"), "{read:#?}");
        }
        std::os::unix::fs::chown(path, Some(0), None).unwrap();
    }
    sandbox.run(&TOKEN).expect_code(0);
}

#[test]
fn whatever_the_mask_files_are_for_their_owner_only() {
    let issuer = Issuer::start();
    for mask in ["000", "077", "177", "777"] {
        let sandbox = Sandbox::new();
        fs::remove_dir_all(sandbox.state()).unwrap();
        let run = after(&sandbox, &format!("umask {mask}"), &PASTE)
            .stdin(Stdio::from(pipe_with(KEY)))
            .output()
            .unwrap();
        if mask == "777" {
            // Not even we may read what we make then, unless we are the administrator.
            assert!(run.status.code().is_some());
            continue;
        }
        assert!(run.status.success(), "{mask}: {run:?}");
        sandbox.seed_expired(&issuer, "demo", &["alice"]);
        set_mode(&sandbox.store_path("main"), 0o600);
        let token = ["models", "auth", "token", "--provider", "demo"];
        let run = after(&sandbox, &format!("umask {mask}"), &token).output().unwrap();
        assert!(run.status.success(), "{mask}: {run:?}");
        for path in below(&sandbox.state()) {
            let by_hand =
                path.ends_with("providers") || path.extension().is_some_and(|it| it == "json");
            if by_hand && path.starts_with(sandbox.state().join("providers")) {
                continue;
            }
            assert_eq!(mode(&path) & 0o077, 0, "{mask}: {} {:o}", path.display(), mode(&path));
            let is_open_to_us = !path.is_dir() || mode(&path) == 0o700;
            assert!(is_open_to_us, "{mask}: {} {:o}", path.display(), mode(&path));
        }
    }
}

fn pipe_with(text: &str) -> std::io::PipeReader {
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut writer, text.as_bytes()).unwrap();
    reader
}

/// While many processes save, somebody looks all the time: never a file that others may read, never an empty or half
/// store. The control: a writer in place is caught by the same look.
#[test]
fn nobody_ever_sees_a_loose_or_half_file() {
    // Where waiting for the disk costs nothing, there can be more of it.
    let memory = Path::new("/dev/shm");
    let is_quick = memory.is_dir();
    let saves = if is_quick { 10_000 } else { 1_000 };
    let sandbox = if is_quick { Sandbox::within(memory) } else { Sandbox::new() };
    sandbox.run_with_input(&PASTE, KEY).expect_code(0);
    let (agent, store) = (sandbox.agent_dir("main"), sandbox.store_path("main"));
    let look = || {
        let mut wrong = Vec::new();
        let bytes = fs::read(&store).unwrap_or_default();
        if serde_json::from_slice::<Value>(&bytes).is_err() {
            wrong.push(format!("{} bytes that are no JSON", bytes.len()));
        }
        for entry in fs::read_dir(&agent).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Ok(found) = fs::symlink_metadata(entry.path())
                && found.is_file()
                && found.mode() & 0o077 != 0
            {
                wrong.push(format!("{name} has mode {:o}", found.mode() & 0o777));
            }
        }
        wrong
    };
    let watch = |until: &AtomicBool, looks: &AtomicUsize| {
        let mut wrong = Vec::new();
        while !until.load(Ordering::Relaxed) && wrong.is_empty() {
            wrong.extend(look());
            looks.fetch_add(1, Ordering::Relaxed);
        }
        wrong
    };
    let caught = |work: &dyn Fn(&AtomicBool)| {
        let (done, looks) = (AtomicBool::new(false), AtomicUsize::new(0));
        let wrong = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let wrong = watch(&done, &looks);
                done.store(true, Ordering::Relaxed);
                wrong
            });
            work(&done);
            done.store(true, Ordering::Relaxed);
            watcher.join().unwrap()
        });
        (wrong, looks.into_inner())
    };
    let (wrong, looks) = caught(&|_| {
        let ours = auth_store::Store::at(&store);
        for number in 0..saves {
            let credential =
                auth_store::Credential::ApiKey(format!("key-{number}").as_str().into());
            let put = |document: &mut auth_store::Document| {
                document.put(&"acme:more".into(), "acme", &credential, &serde_json::Map::new());
            };
            ours.update(put).unwrap();
        }
    });
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(looks > saves / 2, "looked {looks} times only");

    let whole = fs::read(&store).unwrap();
    let (wrong, _) = caught(&|found| {
        for _ in 0..20_000 {
            write(&store, &whole);
            if found.load(Ordering::Relaxed) {
                return;
            }
        }
    });
    assert!(!wrong.is_empty(), "the look cannot tell a writer in place");
}

#[test]
fn a_second_name_of_the_store_keeps_the_old_credentials() {
    let sandbox = home();
    let (store, other) = (sandbox.store_path("main"), sandbox.home().join("other-name.json"));
    fs::hard_link(&store, &other).unwrap();
    let doctor = sandbox.run(&["doctor"]);
    assert!(doctor.stdout.contains("second name"), "{doctor:#?}");
    let forced = [&PASTE[..], &["--force"]].concat();
    sandbox.run_with_input(&forced, "key-new-0123456789").expect_code(0);
    assert!(fs::read_to_string(&other).unwrap().contains(KEY));
    assert_eq!(sandbox.run(&TOKEN).line(), "key-new-0123456789");
}

#[test]
fn a_store_that_is_large_deep_or_says_things_twice_is_read_and_kept() {
    let sandbox = home();
    let store = sandbox.store_path("main");
    let key =
        |key: &str| format!(r#""acme:a":{{"type":"api_key","provider":"acme","key":"{key}"}}"#);
    let with = |x: &str| {
        format!(r#"{{"version":1,"x":{x},"profiles":{{{},{}}}}}"#, key("one"), key("two"))
    };
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let large = format!("\"{}\"", "a".repeat(65 << 20));
    for text in [with("[0.10]"), with(&deep), with(&large)] {
        write(&store, text.as_bytes());
        assert_eq!(sandbox.run(&TOKEN).expect_code(0).line(), "two");
        sandbox.run_with_input(&PASTE, KEY).expect_code(0);
        let written = fs::read(&store).unwrap();
        assert!(
            written.starts_with(&text.as_bytes()[..text.len() - 2]),
            "another byte was changed"
        );
        assert!(written.len() < text.len() + 200, "{} {}", written.len(), text.len());
    }
    // The control: incomplete content counts as damaged.
    let _ = fs::remove_file(sandbox.agent_dir("main").join(".auth-profiles.json.bak"));
    let endless = "[".repeat(1_000_000);
    write(&store, endless.as_bytes());
    for run in [sandbox.run(&TOKEN), sandbox.run_with_input(&PASTE, KEY)] {
        let what = format!("{:?} {} {}", run.code, run.stdout, run.stderr);
        assert_eq!(run.code, Some(8), "{what:.300}");
    }
    assert!(fs::read(&store).unwrap() == endless.as_bytes(), "the file was changed");
}

#[test]
fn odd_ends_of_tokens_are_no_crash_and_no_loop() {
    let issuer = Issuer::start();
    let far = e2e::now_ms() + 400 * 86_400_000;
    for expires in [
        json!(null),
        json!("soon"),
        json!(-5),
        json!(1.5e300),
        json!(1_700_000_000),
        json!(0),
        json!(far),
        json!({}),
        json!(u64::MAX),
    ] {
        let sandbox = Sandbox::new();
        sandbox.seed_expired(&issuer, "demo", &["alice"]);
        sandbox.edit_store("main", |store| {
            store["profiles"]["demo:alice"]["expires"] = expires.clone();
        });
        let before = issuer.requests("refresh_token");
        let run = sandbox.run(&["models", "auth", "token", "--provider", "demo"]);
        assert!(matches!(run.code, Some(0 | 3 | 4)), "{expires}: {run:#?}");
        assert!(issuer.requests("refresh_token") - before <= 1, "{expires}");
        sandbox.run(&["models", "auth", "list", "--json"]).expect_code(0).json();
    }
}

#[test]
fn a_limit_on_file_sizes_is_an_error_and_the_store_stays() {
    let sandbox = home();
    sandbox.edit_store("main", |store| store["filler"] = "x".repeat(40_000).into());
    let before = fs::read(sandbox.store_path("main")).unwrap();
    let limited = |limit: &str| {
        let mut command = after(&sandbox, &format!("ulimit -f {limit}"), &PASTE);
        command.stdin(Stdio::from(pipe_with("key-new-0123456789"))).output().unwrap()
    };
    let run = limited("8");
    assert_eq!((run.status.code(), run.status.signal()), (Some(74), None), "{run:?}");
    assert_eq!(fs::read(sandbox.store_path("main")).unwrap(), before);
    assert!(limited("10000").status.success());
}

#[test]
fn an_output_that_nobody_reads_is_an_error_and_no_crash() {
    let sandbox = home();
    for args in [&["models", "status"][..], &["models", "auth", "list", "--json"], &TOKEN] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let run = sandbox.command(args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(74), "{args:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

/// A crash writes no memory to the disk; and a program that replaces us has its original limit
/// again.
#[test]
fn a_crash_leaves_no_core() {
    let issuer = Issuer::start();
    let sandbox = Sandbox::new();
    sandbox.write_manifest("demo", &issuer.manifest("demo"));
    let crash = "ulimit -c unlimited 2>/dev/null";
    let abort = |command: &mut Command| command.stdout(Stdio::null()).output().unwrap().status;
    let control = abort(
        Command::new("sh")
            .args(["-c", &format!("{crash}; kill -ABRT $$")])
            .current_dir(sandbox.home()),
    );
    if !control.core_dumped() {
        println!("NOT RUN: no program dumps its core on this machine");
    }
    let login = ["models", "auth", "login", "--provider", "demo", "--no-browser"];
    let mut command = after(&sandbox, crash, &login);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut talk = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("http") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut talk, &mut line).unwrap() > 0);
    }
    e2e::sandbox::kill_with("ABRT", child.id());
    let status = child.wait().unwrap();
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false));

    sandbox.run_with_input(&PASTE, KEY).expect_code(0);
    let exec = ["models", "auth", "exec", "--provider", "acme", "--", "/bin/sh", "-c", "ulimit -c"];
    let run = after(&sandbox, "ulimit -c 77", &exec).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&run.stdout).trim(), "77", "{run:?}");
}

/// After a logout, and after a remove, no file of the state directory contains the token any more:
/// no backup, response, cache or temporary file.
#[test]
fn what_was_logged_out_is_nowhere_on_the_disk() {
    let issuer = Issuer::start();
    for last in ["logout", "remove"] {
        let sandbox = Sandbox::new();
        sandbox.seed_expired(&issuer, "demo", &["alice", "bob"]);
        let token = ["models", "auth", "token", "--profile", "demo:alice"];
        let first = sandbox.profile("main", "demo:alice")["refresh"].as_str().unwrap().to_owned();
        sandbox.run(&token).expect_code(0);
        sandbox.expire("main", "demo:alice");
        let access = sandbox.run(&token).expect_code(0).line().to_owned();
        let refresh = sandbox.profile("main", "demo:alice")["refresh"].as_str().unwrap().to_owned();
        let holders = |secret: &str| -> Vec<PathBuf> {
            let has = |path: &PathBuf| {
                fs::read(path).is_ok_and(|bytes| {
                    bytes.windows(secret.len()).any(|part| part == secret.as_bytes())
                })
            };
            below(&sandbox.state()).into_iter().filter(has).collect()
        };
        assert!(holders(&refresh).len() >= 2, "the control: store and backup have it");
        sandbox.run(&["models", "auth", last, "demo:alice"]).expect_code(0);
        for secret in [&first, &refresh, &access] {
            assert_eq!(holders(secret), Vec::<PathBuf>::new(), "after {last}");
        }
        assert_ne!(sandbox.profile("main", "demo:bob"), Value::Null);
    }
}

/// `BROWSER` is ignored, and the program that opens an address gets no secret and a single
/// argument.
#[cfg(target_os = "linux")]
#[test]
fn the_browser_gets_one_address_and_no_secret() {
    let issuer = Issuer::start();
    let mut sandbox = Sandbox::new();
    sandbox.allow_scripts();
    let seen = sandbox.home().join("seen");
    let script = "#!/bin/sh\n{ echo $#; echo \"$1\"; env; } > \"$HOME/seen.new\"; mv \"$HOME/seen.new\" \"$HOME/seen\"\n";
    let program = sandbox.bin().join("xdg-open");
    write(&program, script.as_bytes());
    set_mode(&program, 0o755);
    sandbox.set_env("PATH", format!("{}:/usr/bin:/bin", sandbox.bin().display()));
    sandbox.set_env("BROWSER", format!("touch {}/hijacked; %s", sandbox.home().display()));
    sandbox.set_env("DISPLAY", ":0");
    for name in ["OTHER_API_KEY", "GH_TOKEN", "DB_PASSWORD", "A_SECRET"] {
        sandbox.set_env(name, "SECRET-VALUE");
    }
    // What the opener saw, and where its address leads while the login waits.
    let opened = |sandbox: &Sandbox, manifest: &Value| -> (Option<String>, Option<String>) {
        sandbox.write_manifest("demo", manifest);
        let mut login = sandbox.start(&["models", "auth", "login", "--provider", "demo"]);
        let mut said = String::new();
        while let Some(line) = login.next_line() {
            said.push_str(&line);
            if line.starts_with("http") || line.starts_with("error") {
                break;
            }
        }
        let is_web = said.contains("http://127.0.0.1");
        let deadline = std::time::Instant::now() + e2e::TIMEOUT;
        while is_web && !seen.exists() && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        let seen_by = fs::read_to_string(&seen).ok();
        let address = seen_by.as_ref().and_then(|it| it.lines().nth(1));
        let response = address.map(|address| e2e::http::get(address).unwrap());
        let leads_to = response.and_then(|it| it.header("location").map(str::to_owned));
        login.close_input();
        e2e::sandbox::kill_with("TERM", login.id());
        login.finish();
        (seen_by, leads_to)
    };
    let (seen_by, leads_to) = opened(&sandbox, &issuer.manifest("demo"));
    let seen_by = seen_by.expect("the opener was started");
    let mut lines = seen_by.lines();
    assert_eq!(lines.next(), Some("1"));
    // Everybody may read arguments, so nothing of the login is in them.
    let address = lines.next().unwrap();
    assert!(address.starts_with("http://127.0.0.1:") && address.contains("/start/"), "{address}");
    let leads_to = leads_to.expect("it leads on");
    assert!(leads_to.starts_with(&format!("{}/authorize?", issuer.url())), "{leads_to}");
    let state = leads_to.split("state=").nth(1).unwrap().split('&').next().unwrap();
    assert!(state.len() >= 22 && !seen_by.contains(state), "{seen_by}");
    assert!(!seen_by.contains("SECRET-VALUE"), "{seen_by}");
    assert!(!sandbox.home().join("hijacked").exists());

    // Addresses that a shell or another program could interpret differently are not opened.
    fs::remove_file(&seen).unwrap();
    for address in
        ["file:///etc/passwd", "https://a.example/$(touch x)", "javascript:alert(1)", "-h"]
    {
        let mut manifest = issuer.manifest("demo");
        manifest["endpoints"] = json!({"authorization": address, "token": issuer.token_endpoint()});
        let (_, leads_to) = opened(&sandbox, &manifest);
        assert_eq!(leads_to.filter(|it| !it.contains("%24(")), None, "{address}");
        let _ = fs::remove_file(&seen);
    }
}
