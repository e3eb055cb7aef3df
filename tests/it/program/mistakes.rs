//! Bad input: a clear error, the exit code of its kind, and nothing lost.

use e2e::issuer::Issuer;
use e2e::person::Person;
use e2e::sandbox::{Finished, Sandbox, write};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const TOKEN: [&str; 5] = ["models", "auth", "token", "--provider", "acme"];
const PASTE: [&str; 5] = ["models", "auth", "paste-api-key", "--provider", "acme"];

fn store_of_one_key() -> serde_json::Value {
    let key = json!({"type": "api_key", "provider": "acme", "key": "key-0123456789abcdef"});
    json!({"version": 1, "profiles": {"acme:default": key}})
}

#[test]
fn a_store_that_does_not_parse_is_never_overwritten() {
    for text in ["", "{\"version\": 1, \"profiles\": {\"acme:def", "[]", "\u{0}\u{0}\u{0}\u{0}"] {
        let sandbox = Sandbox::new();
        write(&sandbox.store_path("main"), text.as_bytes());
        for run in [sandbox.run(&TOKEN), sandbox.run_with_input(&PASTE, "key-new-0123456789\n")] {
            assert_eq!(run.code, Some(8), "{text:?}: {run:#?}");
            assert!(run.stderr.contains("auth-profiles.json"), "{text:?}: {run:#?}");
        }
        assert_eq!(fs::read_to_string(sandbox.store_path("main")).unwrap(), text);
    }
}

#[test]
fn a_damaged_store_is_recovered_from_its_backup_and_a_copy_is_kept() {
    let issuer = Issuer::start();
    let sandbox = Sandbox::new();
    sandbox.write_manifest("demo", &issuer.manifest("demo"));
    sandbox.log_in("demo", &[]).expect_code(0);
    let token = ["models", "auth", "token", "--provider", "demo"];
    let before = sandbox.run(&token);
    let torn = &fs::read(sandbox.store_path("main")).unwrap()[..100];
    write(&sandbox.store_path("main"), torn);
    let after = sandbox.run(&token);
    assert_eq!(after.expect_code(0).line(), before.expect_code(0).line());
    sandbox.run_with_input(&PASTE, "key-new-0123456789\n").expect_code(0);
    assert!(sandbox.profile("main", "demo:alice@example.test").is_object());
    let copies = fs::read_dir(sandbox.agent_dir("main"))
        .unwrap()
        .filter(|entry| fs::read(entry.as_ref().unwrap().path()).is_ok_and(|bytes| bytes == torn));
    assert_eq!(copies.count(), 1, "the damaged bytes were not kept");
}

#[test]
fn a_newer_store_is_read_only() {
    let sandbox = Sandbox::new();
    let mut store = store_of_one_key();
    store["version"] = 2.into();
    sandbox.seed_store("main", &store);
    let before = fs::read(sandbox.store_path("main")).unwrap();
    sandbox.run_with_input(&PASTE, "key-new-0123456789\n").expect_code(8);
    assert_eq!(fs::read(sandbox.store_path("main")).unwrap(), before);
}

#[test]
fn an_unknown_provider_is_named() {
    let sandbox = Sandbox::new();
    let run = sandbox.run(&["models", "auth", "login", "--provider", "nosuch", "--no-browser"]);
    assert!(run.expect_code(64).stderr.contains("nosuch"), "{run:#?}");
}

#[test]
fn no_credential_is_exit_3_with_the_way_to_get_one() {
    let run = Sandbox::new().run(&TOKEN);
    assert!(run.expect_code(3).stderr.contains("clawdbot models auth"), "{run:#?}");
    assert_eq!(run.stdout, "");
}

#[test]
fn failures_are_json_for_who_asks_for_json() {
    let run = Sandbox::new().run(&[&TOKEN[..], &["--json"]].concat());
    let error = run.expect_code(3).json();
    assert!(error["error"]["code"].is_string() && error["error"]["message"].is_string(), "{error}");
}

#[test]
fn a_wrong_manifest_names_file_and_field_and_leaves_the_others_alone() {
    let issuer = Issuer::start();
    let sandbox = Sandbox::new();
    sandbox.write_manifest("demo", &issuer.manifest("demo"));
    let mut broken = issuer.manifest("broken");
    broken["redirect"]["ports"] = json!("1455");
    sandbox.write_manifest("broken", &broken);
    let run = sandbox.run(&["models", "auth", "login", "--provider", "broken", "--no-browser"]);
    run.expect_code(64);
    assert!(run.stderr.contains("broken.json") && run.stderr.contains("ports"), "{run:#?}");
    sandbox.log_in("demo", &[]).expect_code(0);
}

#[test]
fn a_plain_http_endpoint_is_accepted_on_loopback_only() {
    let sandbox = Sandbox::new();
    let mut manifest = Issuer::start().manifest("far");
    manifest["issuer"] = "http://login.acme.example".into();
    sandbox.write_manifest("far", &manifest);
    let run = sandbox.run(&["models", "auth", "login", "--provider", "far", "--no-browser"]);
    assert!(run.expect_code(64).stderr.contains("far.json"), "{run:#?}");
}

#[test]
fn a_wrong_url_does_not_finish_a_login_and_the_right_one_still_does() {
    let issuer = Issuer::start();
    let sandbox = Sandbox::new();
    sandbox.write_manifest("demo", &issuer.manifest("demo"));
    let start = ["models", "auth", "login", "--provider", "demo", "--start", "--json"];
    let start = sandbox.run(&start).expect_code(0).json();
    let finish =
        |url: &str| sandbox.run_with_input(&["models", "auth", "login", "--finish", "-"], url);
    let redirect = Person::named("alice").walk(start["url"].as_str().unwrap()).unwrap();
    let wrong_state = format!("{}?code=x&state=wrong", start["redirectUri"].as_str().unwrap());
    for wrong in ["", "hello", "https://example.com/?code=1&state=2", &wrong_state] {
        let run = finish(wrong);
        assert_eq!(run.code, Some(64), "{wrong:?}: {run:#?}");
    }
    assert_eq!(issuer.requests("authorization_code"), 0);
    finish(&redirect).expect_code(0);
}

#[test]
fn words_that_are_not_ours_go_to_the_next_binary_on_the_path() {
    let sandbox = Sandbox::new();
    let run = sandbox.run(&["gateway", "status"]);
    assert!(run.expect_code(64).stderr.contains("gateway"), "{run:#?}");
    let other = sandbox.bin().join("clawdbot");
    write(&other, b"#!/bin/sh\necho \"other: $*\"\nexit 9\n");
    make_executable(&other);
    let run = sandbox.run(&["gateway", "status", "--deep"]);
    assert_eq!(run.expect_code(9).line(), "other: gateway status --deep");
}

#[test]
fn nonsense_is_a_usage_error() {
    let sandbox = Sandbox::new();
    for args in [&["models", "auth", "token", "--no-such-flag"][..], &["models", "auth", "report"]]
    {
        sandbox.run(args).expect_code(64);
    }
}

#[test]
fn a_lock_held_by_a_live_process_is_exit_7_and_nothing_is_written() {
    let mut sandbox = Sandbox::new();
    sandbox.set_env("CLAWDBOT_LOCK_TIMEOUT", "1");
    sandbox.seed_store("main", &store_of_one_key());
    let before = fs::read(sandbox.store_path("main")).unwrap();
    let lock = sandbox.agent_dir("main").join(".auth-profiles.flock");
    write(&lock, b"");
    let file = fs::OpenOptions::new().write(true).open(&lock).unwrap();
    hold(&file);
    let run = sandbox.run_with_input(&PASTE, "key-new-0123456789\n");
    assert!(run.expect_code(7).stderr.contains("auth-profiles"), "{run:#?}");
    assert_eq!(fs::read(sandbox.store_path("main")).unwrap(), before);
    drop(file);
    sandbox.run_with_input(&PASTE, "key-new-0123456789\n").expect_code(0);
}

#[expect(clippy::disallowed_methods, reason = "the test plays another process that holds the lock")]
fn hold(file: &fs::File) {
    file.lock().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_sends_no_request_and_keeps_the_store() {
    let issuer = Issuer::start();
    let sandbox = Sandbox::new();
    sandbox.seed_expired(&issuer, "demo", &["alice"]);
    let full = "mount -t tmpfs -o size=64k,mode=700 none \"$DIR\" && cp -a \"$COPY\"/. \"$DIR\" && \
                (cat /dev/zero > \"$DIR/filler\") 2>/dev/null; before=$(cksum < \"$STORE\")";
    let token = ["models", "auth", "token", "--provider", "demo"];
    let run = in_namespace(&sandbox, full, &token);
    assert_eq!(run.code, Some(74), "{run:#?}");
    assert!(run.stdout.contains("unchanged"), "{run:#?}");
    assert_eq!(issuer.requests("refresh_token"), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_read_only_directory_sends_no_request_and_keeps_the_store() {
    let issuer = Issuer::start();
    let sandbox = Sandbox::new();
    sandbox.seed_expired(&issuer, "demo", &["alice"]);
    let read_only = "mount --bind \"$DIR\" \"$DIR\" && mount -o remount,bind,ro \"$DIR\"; \
                     before=$(cksum < \"$STORE\")";
    let token = ["models", "auth", "token", "--provider", "demo"];
    let run = in_namespace(&sandbox, read_only, &token);
    assert_eq!(run.code, Some(74), "{run:#?}");
    assert!(run.stdout.contains("unchanged"), "{run:#?}");
    assert_eq!(issuer.requests("refresh_token"), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_store_that_is_mounted_by_itself_sends_no_request_and_says_what_to_mount() {
    let issuer = Issuer::start();
    let sandbox = Sandbox::new();
    sandbox.seed_expired(&issuer, "demo", &["alice"]);
    let mounted = "mount --bind \"$STORE\" \"$STORE\"; before=$(cksum < \"$STORE\")";
    let token = ["models", "auth", "token", "--provider", "demo"];
    let run = in_namespace(&sandbox, mounted, &token);
    assert_eq!(run.code, Some(74), "{run:#?}");
    assert!(run.stdout.contains("unchanged"), "{run:#?}");
    assert!(run.stderr.contains("mount its directory"), "{run:#?}");
    assert_eq!(issuer.requests("refresh_token"), 0);
}

/// The control of the three tests above: in the same namespace, with room to write, the refresh works.
#[cfg(target_os = "linux")]
#[test]
fn the_namespace_itself_is_no_obstacle() {
    let issuer = Issuer::start();
    let sandbox = Sandbox::new();
    sandbox.seed_expired(&issuer, "demo", &["alice"]);
    let room = "mount -t tmpfs -o size=4m,mode=700 none \"$DIR\" && cp -a \"$COPY\"/. \"$DIR\"; \
                before=$(cksum < \"$STORE\")";
    let token = ["models", "auth", "token", "--provider", "demo"];
    let run = in_namespace(&sandbox, room, &token);
    assert_eq!(run.code, Some(0), "{run:#?}");
    assert_eq!(issuer.requests("refresh_token"), 1);
}

/// Runs the binary in a mount namespace of its own, after a script has prepared the state directory (`$DIR`, of which
/// `$COPY` is a copy), and says at the end whether the store is `unchanged`.
#[cfg(target_os = "linux")]
fn in_namespace(sandbox: &Sandbox, prepare: &str, args: &[&str]) -> Finished {
    let copy = sandbox.home().join("copy");
    let copied = Command::new("cp").arg("-a").arg(sandbox.state()).arg(&copy).status();
    assert!(copied.unwrap().success());
    let script = format!(
        "{prepare}; \"$@\"; code=$?; [ \"$before\" = \"$(cksum < \"$STORE\")\" ] && echo unchanged; exit $code"
    );
    let run = sandbox.command(args);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"]);
    command.arg(run.get_program()).args(run.get_args()).env_clear();
    let env = run.get_envs().filter_map(|(name, value)| Some((name, value?)));
    command.envs(env).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("DIR", sandbox.state()).env("COPY", &copy).env("STORE", sandbox.store_path("main"));
    let output = command.stdin(Stdio::null()).output().expect("unshare starts");
    Finished {
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn make_executable(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let _ = path;
}
