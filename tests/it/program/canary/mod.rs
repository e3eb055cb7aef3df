//! Marked secrets through every command and every failure, at the highest log level: output, stored
//! files, child processes and leftovers are searched for the marks, which may be only in the files
//! that store secrets.

mod world;

use std::fs;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use e2e::http;
use e2e::sandbox::{Finished, set_mode, write};
use serde_json::json;
use world::{PROFILE, Reply, World, look_at_processes, secret, verbose};

const TOKEN: [&str; 5] = ["models", "auth", "token", "--provider", "acme"];

#[track_caller]
fn expect_none(leaks: &[String]) {
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}

/// The control: a secret in a forbidden place is found, whatever the place.
#[test]
fn a_planted_secret_is_found_wherever_it_is() {
    let mut world = World::new();
    let planted = secret("planted");
    let encoded = STANDARD_NO_PAD.encode(format!("user:{planted}"));
    for (place, text) in [
        ("home/tmp/left", planted.as_str()),
        ("home/.clawdbot/locks/refresh/record", encoded.as_str()),
        ("home/.clawdbot/agents/main/agent/.auth-profiles.flock", planted.as_str()),
        ("home/core", &format!("\0\0{planted}\0")),
    ] {
        write(&world.sandbox.home().parent().unwrap().join(place), text.as_bytes());
    }
    write(&world.sandbox.home().join("tmp").join(&planted), b"");
    let said = |stdout: &str, stderr: &str, code| Finished {
        args: Vec::new(),
        code: Some(code),
        stdout: stdout.to_owned(),
        stderr: stderr.to_owned(),
    };
    world.check(&said("", &planted, 0), true);
    world.check(&said(&planted, "", 0), false);
    world.check(&said(&planted, "", 0), true);
    world.check(&said("", "thread 'main' panicked", 101), false);
    assert_eq!(world.leaks.len(), 3);
    if cfg!(target_os = "linux") {
        // A process of the sandbox with the secret in its arguments and its environment.
        let mut careless = Command::new("sh");
        careless.args(["-c", "read line", "__refresh", &planted]).env("HOME", world.sandbox.home());
        let mut child = careless.env("X", &planted).stdin(Stdio::piped()).spawn().unwrap();
        let home = world.sandbox.home().to_str().unwrap().to_owned();
        let (looked_at, leaks) = look_at_processes(&home);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((looked_at, leaks.len()), (1, 2), "{leaks:#?}");
    }
    let all = world.leaks();
    assert_eq!(all.len(), 3 + 5, "{all:#?}");
}

#[test]
fn no_login_leaks_a_secret_however_it_ends() {
    let mut world = World::new();
    let code = secret("code");

    // Refused by the user.
    let (login, ends_on) = world.begin_login();
    let url = ends_on(&format!("error=access_denied&error_description={code}&state=wrong"));
    world.browse(&url);
    world.browse(&ends_on("error=access_denied&error_description=no&state=STATE"));
    let run = login.finish();
    world.check(&run, false);
    run.expect_code(4);

    // Wrong states and incomplete responses, in the browser and pasted; then an exchange that
    // fails.
    for reply in [
        Reply::Error(400, "invalid_grant"),
        Reply::Nested(401, "invalid_client"),
        Reply::Text(200, "text/html"),
        Reply::Redirect,
        Reply::WrongType,
    ] {
        world.next(&[reply]);
        let (mut login, ends_on) = world.begin_login();
        world.browse(&ends_on(&format!("code={code}&state=wrong")));
        world.browse(&ends_on(&format!("code={code}&code={code}&state=STATE")));
        login.type_in(&format!("{}\n", ends_on(&format!("code={code}&state=wrong"))));
        login.type_in(&format!("{code}\nhttps://evil.example/?code={code}&state=x\n"));
        world.browse(&ends_on(&format!("code={code}&state=STATE")));
        let run = login.finish();
        world.check(&run, false);
        assert_ne!(run.code, Some(0), "{reply:?}: {run:#?}");
    }

    // In two steps: a wrong address, a failing exchange, and finally one that works.
    let start = ["models", "auth", "login", "--provider", "acme", "--start", "--json"];
    for replies in [&[Reply::Error(400, "invalid_grant")][..], &[]] {
        world.next(replies);
        let begun = world.run(&start, "").json();
        let url = begun["url"].as_str().unwrap();
        let query = http::decode(url.split_once('?').unwrap().1);
        let state = http::find(&query, "state").unwrap().to_owned();
        let redirect = begun["redirectUri"].as_str().unwrap().to_owned();
        let finish = ["models", "auth", "login", "--provider", "acme", "--finish", "-"];
        world.run(&finish, &format!("{redirect}?code={code}&state=wrong"));
        let run = world.run(&finish, &format!("{redirect}?code={code}&state={state}"));
        assert_eq!(run.code == Some(0), replies.is_empty(), "{run:#?}");
    }

    // By browser, and with a device code.
    let (login, ends_on) = world.begin_login();
    world.browse(&ends_on(&format!("code={code}&state=STATE")));
    let run = login.finish();
    world.check(&run, false);
    run.expect_code(0);
    for replies in [&[Reply::Error(400, "access_denied")][..], &[]] {
        world.next(replies);
        world.run(&["models", "auth", "login", "--provider", "acme", "--device-code"], "");
    }
    assert!(world.script.lock().unwrap().learned.len() > 5, "no verifier was seen");
    expect_none(&world.leaks());
}

#[test]
fn no_refresh_leaks_a_secret_however_it_ends() {
    let mut world = World::new();
    let refresh = ["models", "auth", "refresh", PROFILE, "--force"];
    for reply in [
        Reply::Error(400, "invalid_grant"),
        Reply::Nested(401, "refresh_token_reused"),
        Reply::Error(400, "invalid_client"),
        Reply::Error(503, "temporarily_unavailable"),
        Reply::Error(418, "something_new"),
        Reply::Text(200, "text/html"),
        Reply::Text(200, "application/json"),
        Reply::Text(429, "text/plain"),
        Reply::Redirect,
        Reply::OtherAccount,
        Reply::NoAccess,
        Reply::WrongType,
    ] {
        world.seed();
        world.next(&[reply]);
        let run = world.run(&refresh, "");
        assert_ne!(run.code, Some(0), "{reply:?}: {run:#?}");
        world.next(&[]);
        let _ = world.token_output(&[&TOKEN[..], &["--json", "--no-refresh"]].concat(), "");
        world.run(&["models", "status"], "");
        world.run(&["models", "auth", "list", "--json"], "");
        world.run(&["doctor"], "");
    }
    world.next(&[]);
    world.seed();
    world.token_output(&TOKEN, "").expect_code(0);
    let looked_at = world.script.lock().unwrap().looked_at;
    assert!(looked_at > 0 || !cfg!(target_os = "linux"), "no process was looked at");
    expect_none(&world.leaks());
}

#[test]
fn no_command_leaks_a_secret() {
    let mut world = World::new();
    world.seed();
    world.token_output(&TOKEN, "").expect_code(0);
    let key = secret("key");
    world.run(&["models", "auth", "paste-api-key", "--provider", "other"], &key).expect_code(0);
    world.run(&["models", "auth", "paste-token", "--provider", "third"], &key).expect_code(0);
    world.run(&["models", "auth", "setup-token", "--yes"], &key);

    // The user types a key in place of a name.
    world
        .run(&["models", "auth", "paste-api-key", "--provider", "other", &key], "")
        .expect_code(64);
    world.run(&["models", "auth", "paste-token", &format!("--token={key}")], "").expect_code(64);

    let elsewhere = world.sandbox.home().join("by-hand");
    let helper = elsewhere.join("helper");
    write(&helper, format!("#!/bin/sh\necho {key} >&2\necho {key}\nexit ${{1:-0}}\n").as_bytes());
    set_mode(&helper, 0o755);
    for end in ["0", "3"] {
        let command = format!("{} {end}", helper.display());
        let args = ["models", "auth", "paste-api-key", "--provider", "kept", "--from-command"];
        world.run(&[&args[..], &[&command]].concat(), "");
        world.token_output(&["models", "auth", "token", "--provider", "kept"], "");
    }

    for args in [
        "models status",
        "models status --json",
        "models status --check",
        "models status --probe --probe-timeout 2s",
        "models status --probe --json",
        "models auth list",
        "models auth list --json",
        "models auth explain",
        "models auth explain --json",
        "models auth order get --provider acme",
        "models auth order set --provider acme acme:alice",
        "models auth report acme:alice --failed rate_limit",
        "models auth cooldown list",
        "models auth cooldown clear",
        "channels list --json",
        "agents list --json",
        "agents add work --workspace ws --non-interactive",
        "agents share work --from main",
        "models auth list --agent work",
        "agents share work --none",
        "models auth token --agent work --provider acme",
        "sessions list",
        "plugins list",
        "doctor",
        "doctor --json",
        "doctor --fix",
    ] {
        world.run(&args.split(' ').collect::<Vec<_>>(), "");
    }
    for args in [
        &["models", "auth", "token", "--provider", "acme", "--format", "header"][..],
        &["models", "auth", "token", "--provider", "acme", "--format", "exec-credential"],
        &["models", "auth", "env", "--provider", "other"],
        &["models", "auth", "exec", "--provider", "other", "--", "sh", "-c", "echo $OTHER_API_KEY"],
    ] {
        world.token_output(args, "");
    }

    // A provider's error messages, with the key in them.
    let body = json!({"error": {"code": "x", "message": format!("bad key {key} ({key})")}});
    let reply = format!("HTTP/1.1 401 No\r\nx-key: {key}\r\n\r\n{body}");
    world.run(&["models", "auth", "report", "other:default", "--from-response"], &reply);
    world.run(&["models", "auth", "report", "other:default", "--from-response"], &key);
    world.run(&["models", "auth", "list"], "");
    world.run(&["models", "auth", "explain", "--provider", "other"], "");

    // Logins of other tools, intact and damaged.
    let codex = world.sandbox.home().join(".codex/auth.json");
    let tokens = json!({"access_token": key, "refresh_token": key, "account_id": "a"});
    let whole = json!({"tokens": tokens, "OPENAI_API_KEY": key}).to_string();
    for text in [&whole[..whole.len() - 5], &whole, &format!("{{\"tokens\": \"{key}\"}}")] {
        write(&codex, text.as_bytes());
        world.run(&["models", "auth", "import", "--from", "codex"], "");
        world.run(&["models", "auth", "import", "--from", "codex", "--access-only"], "");
        world.run(&["doctor"], "");
    }

    // Logouts whose revocation fails: the issuer repeats the whole request.
    world.run(&["models", "auth", "logout", PROFILE], "").expect_code(5);
    world.run(&["models", "auth", "remove", "other:default"], "").expect_code(0);
    expect_none(&world.leaks());
}

#[test]
fn no_damaged_file_makes_us_repeat_a_secret() {
    let mut world = World::new();
    let key = secret("key");
    let store = world.sandbox.store_path("main");
    let profile =
        |more: &str| format!(r#"{{"type":"api_key","provider":"acme","key":"{key}"{more}}}"#);
    let whole = format!(r#"{{"version":1,"profiles":{{"acme:a":{}}}}}"#, profile(""));
    let odd = |profile: &str| format!(r#"{{"version":1,"profiles":{{"acme:a":{profile}}}}}"#);
    for text in [
        whole[..whole.len() - 9].to_owned(),
        format!("{whole}{key}"),
        whole.replace("\"key\"", &format!("\"{key}\"")),
        odd(&profile(&format!(r#","key":"{key}""#))),
        odd(&format!("\"{key}\"")),
        odd(&format!(r#"{{"type":"{key}","provider":"acme"}}"#)),
        odd(&format!(
            r#"{{"type":"oauth","provider":"acme","access":["{key}"],"refresh":{{"{key}":1}}}}"#
        )),
        odd(&profile(&format!(r#","expires":"{key}","email":5"#))),
        format!(r#"{{"version":"{key}","profiles":{{}}}}"#),
        format!("\"{key}\""),
        key.clone(),
    ] {
        write(&store, text.as_bytes());
        for args in [
            "models auth list",
            "models auth list --json",
            "models auth token --provider acme --json",
            "doctor",
            "doctor --json",
            "models auth order set --provider acme acme:a",
        ] {
            let hands_out = args.contains(" token ");
            let args: Vec<&str> = args.split(' ').collect();
            let run = world.sandbox.run(&verbose(&args));
            world.check(&run, hands_out && run.code == Some(0));
        }
    }
    write(&store, whole.as_bytes());
    fs::create_dir(world.sandbox.agent_dir("main").join("auth-profiles.json.lock")).unwrap();
    world.run(&["models", "auth", "remove", "acme:a"], "").expect_code(7);
    expect_none(&world.leaks());
}

/// A plugin that repeats everything it is sent, wherever it can, and ends in every possible way.
#[cfg(unix)]
#[test]
fn no_plugin_makes_us_repeat_a_secret() {
    let plugin = r#"#!/bin/sh
echo '{"type":"hello","versions":[1],"id":"loud","operations":["login","refresh","revoke"]}'
read -r line
env > "$HOME/tmp/environment-of-the-plugin"
echo "$line" >&2
token=$(printf %s "$line" | sed 's/.*"refresh_token":"\([^"]*\)".*/\1/')
END
"#;
    let mut world = World::new();
    for end in [
        r#"echo "{\"type\":\"error\",\"kind\":\"rejected\",\"message\":\"no $token\"}""#,
        r#"echo "{\"type\":\"error\",\"kind\":\"unavailable\",\"message\":\"$token\"}""#,
        r#"echo "{\"type\":\"$token\"}""#,
        r#"echo "$line""#,
        r#"echo "not json $token""#,
        "exit 9",
        "kill -9 $$",
    ] {
        world.sandbox.install_plugin("loud", plugin.replace("END", end).as_bytes());
        world.seed();
        world.sandbox.edit_store("main", |store| {
            let profile = &mut store["profiles"][PROFILE];
            profile["provider"] = "loud".into();
            profile["tokenEndpoint"] = "plugin:loud".into();
        });
        let run = world.run(&["models", "auth", "refresh", PROFILE, "--force"], "");
        assert_ne!(run.code, Some(0), "{end}: {run:#?}");
        world.run(&["models", "auth", "logout", PROFILE], "");
    }
    assert!(world.sandbox.home().join("tmp/environment-of-the-plugin").exists());
    expect_none(&world.leaks());
}
