//! Invalid input: a clear error, the exit code of its kind, and nothing lost.

use e2e::issuer::Issuer;
use e2e::sandbox::{Finished, Sandbox, write};
use e2e::user::User;
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

/// How many copies of damaged stores an agent has.
fn copies(sandbox: &Sandbox, agent: &str) -> usize {
    let entries = fs::read_dir(sandbox.agent_dir(agent)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(".corrupt.")).count()
}

#[test]
fn every_command_that_recovers_a_store_says_so() {
    let id = "acme:default";
    let commands: [&[&str]; 23] = [
        &TOKEN,
        &["models", "auth", "token", "--provider", "acme", "--json"],
        &["models", "auth", "token", "--profile", id, "--no-refresh"],
        &["models", "auth", "token", "--provider", "other"],
        &["models", "auth", "env", "--provider", "acme"],
        &["models", "auth", "exec", "--provider", "acme", "--", "true"],
        &["models", "auth", "list"],
        &["models", "auth", "explain", "--provider", "acme"],
        &["models", "status"],
        &["models", "status", "--json"],
        &["models", "auth", "refresh"],
        &["models", "auth", "report", id, "--ok"],
        &["models", "auth", "report", id, "--failed", "rate_limit"],
        &["models", "auth", "order", "get", "--provider", "acme"],
        &["models", "auth", "order", "set", "--provider", "acme", id],
        &["models", "auth", "cooldown", "list"],
        &["models", "auth", "cooldown", "clear", id],
        &["models", "auth", "remove", id],
        &["models", "auth", "logout", id],
        &PASTE,
        &["channels", "list"],
        &["sessions", "model", "agent:main:main", &format!("acme/m@{id}")],
        &["doctor", "--fix"],
    ];
    let mut recovered = 0;
    for command in commands {
        let sandbox = Sandbox::new();
        sandbox.run_with_input(&PASTE, "key-0123456789abcdef\n").expect_code(0);
        write(&sandbox.store_path("main"), b"{\"version\": 1, \"profi");
        let run = sandbox.run_with_input(command, "key-new-0123456789\n");
        let said = run.stderr.matches("was damaged (").count();
        assert_eq!(said, copies(&sandbox, "main"), "{command:?}: {run:#?}");
        if said > 0 {
            assert!(run.stderr.contains("byte 21") && run.stderr.contains(".corrupt."), "{run:#?}");
        }
        recovered += said;
        // The control: nothing is reported twice.
        let again = sandbox.run(&["models", "auth", "list"]);
        assert_eq!(
            again.stderr.matches("was damaged (").count(),
            1 - said,
            "{command:?}: {again:#?}"
        );
    }
    assert!(recovered >= 20, "{recovered} of {} commands read the store", commands.len());
}

#[test]
fn what_is_removed_may_be_in_a_kept_copy_and_that_is_said() {
    for word in ["remove", "logout"] {
        let sandbox = Sandbox::new();
        sandbox.run_with_input(&PASTE, "key-0123456789abcdef\n").expect_code(0);
        let whole = fs::read(sandbox.store_path("main")).unwrap();
        write(&sandbox.store_path("main"), &whole[..whole.len() - 3]);
        sandbox.run(&TOKEN).expect_code(0);
        let run = sandbox.run(&["models", "auth", word, "acme:default"]);
        let said = &run.expect_code(0).stderr;
        let command = said.lines().find_map(|line| line.split("remove it: ").nth(1)).unwrap();
        let run = Command::new("/bin/sh").args(["-c", command]).status().unwrap();
        assert!(run.success() && copies(&sandbox, "main") == 0, "{command}");
        for entry in fs::read_dir(sandbox.agent_dir("main")).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap_or_default();
            assert!(!bytes.windows(8).any(|it| it == b"key-0123"), "{word}");
        }
    }
}

#[test]
fn a_report_keeps_what_it_is_not_about_and_refuses_what_it_would_replace() {
    let sandbox = Sandbox::new();
    let report = ["models", "auth", "report", "acme:default", "--failed", "rate_limit"];
    let text = |usage: &str| {
        let profiles = store_of_one_key()["profiles"].to_string();
        format!(r#"{{"version":1,"profiles":{profiles},"usageStats":{usage}}}"#)
    };
    let kept = r#""openai:a":{"disabledUntil":9999999999999,"x":1,"x":2},"x\ud83d":{}"#;
    write(&sandbox.store_path("main"), text(&format!("{{{kept}}}")).as_bytes());
    sandbox.run(&report).expect_code(0);
    let written = fs::read_to_string(sandbox.store_path("main")).unwrap();
    assert!(written.starts_with(text(&format!("{{{kept},")).trim_end_matches('}')), "{written}");
    assert!(written.contains("cooldownUntil"), "{written}");

    let odd = text("[1]");
    write(&sandbox.store_path("main"), odd.as_bytes());
    let run = sandbox.run(&report);
    let said = &run.expect_code(8).stderr;
    assert!(said.contains("auth-profiles.json") && said.contains("`usageStats`"), "{said}");
    assert_eq!(fs::read_to_string(sandbox.store_path("main")).unwrap(), odd);
    // Commands that do not change it work, and report that it is ignored.
    assert!(
        sandbox.run(&["models", "auth", "list"]).expect_code(0).stderr.contains("`usageStats`")
    );
    sandbox.run(&TOKEN).expect_code(0);
    sandbox.run_with_input(&PASTE, "key-new-0123456789\n").expect_code(0);
    let written = fs::read_to_string(sandbox.store_path("main")).unwrap();
    assert!(written.ends_with(r#""usageStats":[1]}"#), "{written}");
}

#[test]
fn an_end_is_an_end_however_it_is_written() {
    let sandbox = Sandbox::new();
    let token = |expires: serde_json::Value| {
        let token = json!({"type": "token", "provider": "acme", "token": "t-0123456789", "expires": expires});
        sandbox.seed_store("main", &json!({"version": 1, "profiles": {"acme:a": token}}));
        sandbox.run(&TOKEN).code
    };
    let past = 1_600_000_000_i64;
    let future = past + 1_600_000_000;
    for (at, code) in [(past, Some(3)), (future, Some(0))] {
        for expires in [
            json!(at * 1000),
            json!(at),
            json!(format!("{at}000.5").parse::<f64>().unwrap()),
            json!(at.to_string()),
            json!((at * 1000).to_string()),
            json!(format!("{at}.5")),
        ] {
            assert_eq!(token(expires.clone()), code, "{expires}");
        }
    }
    assert_eq!(token(json!("2020-09-13T12:26:40Z")), Some(3));
    assert_eq!(token(json!("2071-05-27T00:53:20+02:00")), Some(0));
    assert_eq!(token(json!("soon")), Some(0));
    let listed = sandbox.run(&["models", "auth", "list", "--json"]);
    assert!(listed.stdout.contains(r#""access": "unknown""#), "{listed:#?}");
    let doctor = sandbox.run(&["doctor", "--offline"]);
    assert!(doctor.stdout.contains("`expires` of `acme:a`"), "{doctor:#?}");
}

#[test]
fn an_empty_access_token_is_not_handed_out() {
    for access in [json!(""), json!(" \n"), json!(null), json!(5)] {
        let sandbox = Sandbox::new();
        let end = e2e::now_ms() + 3_600_000;
        let login = json!({"type": "oauth", "provider": "acme", "access": access, "refresh": "r", "expires": end});
        sandbox.seed_store("main", &json!({"version": 1, "profiles": {"acme:a": login}}));
        for more in [&[][..], &["--json"], &["--no-refresh"]] {
            let run = sandbox.run(&[&TOKEN[..], more].concat());
            assert!(
                run.code != Some(0) && !run.stdout.contains("token\":\"\""),
                "{access} {run:#?}"
            );
        }
    }
}

#[test]
fn a_newer_store_is_read_only() {
    let sandbox = Sandbox::new();
    let mut store = store_of_one_key();
    store["version"] = 2.into();
    sandbox.seed_store("main", &store);
    let before = fs::read(sandbox.store_path("main")).unwrap();
    let run = sandbox.run_with_input(&PASTE, "key-new-0123456789\n");
    assert!(run.expect_code(8).stderr.contains("version 2,"), "{run:#?}");
    assert_eq!(fs::read(sandbox.store_path("main")).unwrap(), before);
    // The control: to JavaScript these are 1.
    for version in [json!("1"), json!(true)] {
        store["version"] = version;
        sandbox.seed_store("main", &store);
        sandbox.run_with_input(&PASTE, "key-new-0123456789\n").expect_code(0);
    }
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
    let redirect = User::named("alice").walk(start["url"].as_str().unwrap()).unwrap();
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

/// The control of the three tests above: in the same namespace, with free space, the refresh works.
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

/// Runs the binary in its own mount namespace, after a script has prepared the state directory
/// (`$DIR`, of which `$COPY` is a copy), and reports at the end whether the store is `unchanged`.
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
