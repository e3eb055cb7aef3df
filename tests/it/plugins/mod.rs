//! Providers as separate programs: the examples, the conformance check, and plugins that misbehave.

use std::net::TcpListener;

use e2e::http::{self, Response};
use e2e::sandbox::{Sandbox, example_plugin, set_mode};
use serde_json::{Value, json};

const KEYBOX: &[u8] = include_bytes!("../../../examples/provider-python/clawdbot-provider-keybox");
/// A plugin that follows every rule; the broken ones are derived from it.
const GOOD: &str = include_str!("../../plugins/clawdbot-provider-good");
const DEMO: &str = "demo:default";
const TOKEN: [&str; 5] = ["models", "auth", "token", "--provider", "demo"];

/// A home with a plugin in it, and the programs of the machine.
fn home(id: &str, program: &[u8]) -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.allow_scripts();
    sandbox.install_plugin(id, program);
    sandbox
}

/// A home with a login made with the Rust example plugin.
fn logged_in() -> Sandbox {
    let sandbox = home("demo", &example_plugin());
    let login = ["models", "auth", "login", "--provider", "demo"];
    let run = sandbox.run_with_input(&login, "alice\n2\n1234\nyes\n");
    run.expect_code(0);
    assert!(run.stderr.contains("https://demo.example/device"), "{run:#?}");
    assert!(run.stderr.contains("DEMO-2468"), "{run:#?}");
    sandbox
}

/// The rules that the plugin breaks, with the reason for each.
fn broken_rules(id: &str, program: &[u8]) -> Vec<(String, String)> {
    let sandbox = home(id, program);
    let path = sandbox.plugin_path(id);
    let args = ["plugins", "check", path.to_str().unwrap(), "--json", "--timeout", "3s"];
    let run = sandbox.run(&args);
    let report = run.json();
    let checks = report["checks"].as_array().unwrap().iter();
    let failed: Vec<_> = checks
        .filter(|check| check["outcome"] == "failed")
        .map(|check| {
            let text = |member: &str| check[member].as_str().unwrap().to_owned();
            (text("name"), text("reason"))
        })
        .collect();
    run.expect_code(if failed.is_empty() { 0 } else { 64 });
    assert_eq!(report["passed"], failed.is_empty());
    failed
}

#[test]
fn the_checker_passes_the_example_in_rust_and_runs_every_rule() {
    let sandbox = home("demo", &example_plugin());
    let path = sandbox.plugin_path("demo");
    let run = sandbox.run(&["plugins", "check", path.to_str().unwrap()]);
    run.expect_code(0);
    assert!(!run.stdout.contains("not run"), "{run:#?}");
}

#[test]
fn the_checker_passes_the_example_in_python() {
    let gateway = gateway();
    let sandbox = home("keybox", KEYBOX);
    let path = sandbox.plugin_path("keybox");
    let replies = json!({"address": gateway, "key": "key-of-alice"}).to_string();
    let args = ["plugins", "check", path.to_str().unwrap(), "--answers", "-", "--json"];
    let run = sandbox.run_with_input(&args, &replies);
    let report = run.expect_code(0).json();
    let not_run = report["checks"].as_array().unwrap().iter();
    let not_run: Vec<_> = not_run.filter(|it| it["outcome"] == "not_run").collect();
    // A key is not refreshed.
    assert_eq!(not_run.len(), 2, "{report:#}");
}

#[test]
fn the_checker_fails_each_broken_plugin_for_its_own_reason() {
    // The control.
    assert_eq!(broken_rules("good", GOOD.as_bytes()), []);
    let broken = [
        ("if version != 1:", "if False:", "version", "asked the person"),
        ("account = token[1]", "account = \"eve\"", "refresh", "another account"),
        ("sys.exit(0)  # OVER", "time.sleep(60)", "end", "lives on 2 s"),
        ("# LOG", "sys.stderr.write(credential[\"refresh_token\"])", "stderr", "a token"),
        ("# LATER", "time.sleep(60)", "login", "no answer within 15 s"),
        ("fail(\"canceled\")", "account = \"nobody\"", "cancel", "logged in all the same"),
        ("# CHATTER", "say({\"type\": \"progress\"})", "waits", "spoke before it was asked"),
        ("token[0] != \"good\"", "False", "refusal", "without an error"),
        ("[1]", "[7]", "hello", "7 against 1"),
        (
            "\"expires_in\"",
            "\"account\": \"\\a\", \"email\": \"\\u001b[2J\", \"x\"",
            "login",
            "not a clean line",
        ),
    ];
    std::thread::scope(|scope| {
        let tried = broken.map(|(what, instead, rule, reason)| {
            assert!(GOOD.contains(what), "{what}");
            let program = GOOD.replace(what, instead);
            let rules = scope.spawn(move || broken_rules("good", program.as_bytes()));
            (rules, instead, rule, reason)
        });
        for (rules, instead, rule, reason) in tried {
            let rules = rules.join().unwrap();
            let first = rules.first().unwrap_or_else(|| panic!("`{instead}` was not noticed"));
            assert_eq!(first.0, rule, "{rules:?}");
            assert!(first.1.contains(reason), "{rules:?}");
        }
    });
}

#[test]
fn a_login_with_a_plugin_is_stored_and_refreshed_like_any_other() {
    let sandbox = logged_in();
    let profile = sandbox.profile("main", DEMO);
    assert_eq!(
        (&profile["type"], &profile["tokenEndpoint"], &profile["accountId"], &profile["region"]),
        (&json!("oauth"), &json!("plugin:demo"), &json!("alice"), &json!("us"))
    );
    assert_eq!(sandbox.run(&TOKEN).expect_code(0).line(), profile["access"]);

    sandbox.expire("main", DEMO);
    let token = sandbox.run(&TOKEN).expect_code(0).line().to_owned();
    let renewed = sandbox.profile("main", DEMO);
    assert_eq!(renewed["access"], token);
    assert_ne!(renewed["access"], profile["access"]);
    assert_eq!((&renewed["region"], &renewed["accountId"]), (&json!("us"), &json!("alice")));
}

#[test]
fn many_processes_on_one_expired_token_start_the_plugin_once() {
    let sandbox = logged_in();
    sandbox.expire("main", DEMO);
    let runs = sandbox.run_many(16, &TOKEN);
    let first = runs[0].expect_code(0).line();
    assert!(runs.iter().all(|run| run.code == Some(0) && run.line() == first));
    // The plugin counts its refreshes in the token.
    let refresh = sandbox.profile("main", DEMO)["refresh"].as_str().unwrap().to_owned();
    assert!(refresh.starts_with("demo-refresh-alice/us/2/"), "{refresh}");
}

#[test]
fn a_token_that_the_plugin_refuses_needs_a_new_login() {
    let sandbox = logged_in();
    sandbox.expire("main", DEMO);
    sandbox.edit_store("main", |store| {
        store["profiles"][DEMO]["refresh"] = "never given".into();
    });
    for _ in 0..2 {
        let run = sandbox.run(&[&TOKEN[..], &["--json"]].concat());
        let error = run.expect_code(4).json()["error"].clone();
        let hint = error["hint"].as_str().unwrap();
        assert!(hint.contains("models auth login --provider demo"), "{error}");
    }
    assert!(sandbox.profile("main", DEMO).is_object());
}

#[test]
fn a_logout_tells_the_plugin() {
    let sandbox = logged_in();
    let run = sandbox.run(&["models", "auth", "logout", DEMO]);
    assert!(run.expect_code(0).stdout.contains("revoked"), "{run:#?}");
    assert!(sandbox.profile("main", DEMO).is_null());
}

#[test]
fn a_login_that_is_given_up_stores_nothing() {
    let sandbox = home("demo", &example_plugin());
    let login = ["models", "auth", "login", "--provider", "demo"];
    for input in ["", "alice\n", "alice\n1\n"] {
        let run = sandbox.run_with_input(&login, input);
        assert!(run.expect_code(4).stderr.contains("given up"), "{run:#?}");
    }
    let run = sandbox.run_with_input(&login, "alice\n1\n\nyes\n");
    assert!(run.expect_code(4).stderr.contains("bad_code"), "{run:#?}");
    assert!(!sandbox.store_path("main").exists());
}

#[test]
fn a_plugin_hands_over_a_key_that_its_gateway_takes() {
    let gateway = gateway();
    let sandbox = home("keybox", KEYBOX);
    let login = ["models", "auth", "login", "--provider", "keybox", "--no-browser"];
    let refused = sandbox.run_with_input(&login, &format!("{gateway}\nanother\n"));
    assert!(refused.expect_code(4).stderr.contains("does not take this key"), "{refused:#?}");

    sandbox.run_with_input(&login, &format!("{gateway}\nkey-of-alice\n")).expect_code(0);
    let profile = sandbox.profile("main", "keybox:default");
    assert_eq!(
        (&profile["type"], &profile["key"], &profile["accountId"], &profile["baseUrl"]),
        (&json!("api_key"), &json!("key-of-alice"), &json!("alice"), &json!(gateway))
    );
    let token = sandbox.run(&["models", "auth", "token", "--provider", "keybox"]);
    assert_eq!(token.expect_code(0).line(), "key-of-alice");

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = sandbox.run_with_input(&login, &format!("http://{nobody}\nkey-of-alice\n"));
    gone.expect_code(5);
}

#[test]
fn a_plugin_has_no_terminal_and_no_secret_of_ours() {
    let mut sandbox = home("good", GOOD.replace("# LOG", WITNESS).as_bytes());
    sandbox.set_env("ACME_API_KEY", "secret");
    sandbox
        .run_with_input(&["models", "auth", "login", "--provider", "good"], "alice\n")
        .expect_code(0);
    let seen = std::fs::read(sandbox.plugin_path("good").with_file_name("seen")).unwrap();
    let seen: Value = serde_json::from_slice(&seen).unwrap();
    assert_eq!(seen["leads_its_session"], true, "{seen}");
    assert_eq!(seen["terminal"], false, "{seen}");
    assert_eq!(seen["arguments"], 1, "{seen}");
    let names: Vec<_> = seen["environment"].as_array().unwrap().iter().collect();
    assert!(!names.iter().any(|name| *name == "ACME_API_KEY" || *name == "CLAWDBOT_STATE_DIR"));
    assert!(names.iter().any(|name| *name == "HOME"), "{seen}");
}

const WITNESS: &str = r#"
    import os
    try:
        terminal = bool(open("/dev/tty"))
    except OSError:
        terminal = False
    with open("seen", "w") as file:
        json.dump({"leads_its_session": os.getsid(0) == os.getpid(), "terminal": terminal,
            "arguments": len(sys.argv), "environment": list(os.environ)}, file)
"#;

#[test]
fn the_list_says_how_each_plugin_stands() {
    let sandbox = home("demo", &example_plugin());
    sandbox.install_plugin("plain", b"no program");
    set_mode(&sandbox.plugin_path("plain"), 0o644);
    sandbox.install_plugin("open", GOOD.as_bytes());
    set_mode(&sandbox.plugin_path("open"), 0o666 | 0o111);
    sandbox.install_plugin(
        "later",
        GOOD.replace("[1]", "[2]").replace("\"good\"", "\"later\"").as_bytes(),
    );
    sandbox.install_plugin("dumb", b"#!/bin/sh\nexit 0\n");
    sandbox.write_manifest("gone", &json!({"id": "gone", "flows": ["plugin"]}));
    sandbox.write_manifest("wrong", &json!({"id": "wrong", "flows": ["plugin"], "command": "x"}));
    let list = sandbox.run(&["plugins", "list", "--json"]).expect_code(0).json();
    let state = |id: &str| {
        let all = list["providers"].as_array().unwrap();
        let provider = all.iter().find(|provider| provider["id"] == id).unwrap();
        provider["state"].as_str().map(str::to_owned)
    };
    for (id, expected) in [
        ("demo", "ok"),
        ("plain", "not_executable"),
        ("open", "unsafe"),
        ("later", "version_mismatch"),
        ("dumb", "broken"),
        ("gone", "missing"),
    ] {
        assert_eq!(state(id).as_deref(), Some(expected), "{id}");
    }
    assert_eq!(state("openai-codex"), None);
    let error = &list["errors"][0];
    assert_eq!((&error["field"], list["errors"].as_array().unwrap().len()), (&json!("command"), 1));
    // The text output has the reason, too.
    let text = sandbox.run(&["plugins", "list"]).stdout;
    assert!(text.contains("not_executable: "), "{text}");
}

#[test]
fn a_manifest_names_a_plugin_that_is_elsewhere() {
    let mut sandbox = Sandbox::new();
    sandbox.allow_scripts();
    let elsewhere = sandbox.home().join("tools");
    e2e::sandbox::write(
        &elsewhere.join("acme-login"),
        GOOD.replace("\"good\"", "\"acme\"").as_bytes(),
    );
    set_mode(&elsewhere.join("acme-login"), 0o755);
    set_mode(&elsewhere, 0o755);
    let manifest = json!({
        "id": "acme", "label": "Acme", "aliases": ["acme-ai"], "flows": ["plugin", "api_key"],
        "command": elsewhere.join("acme-login"), "profile_name": "work",
    });
    sandbox.write_manifest("acme", &manifest);
    set_mode(&sandbox.state().join("providers"), 0o755);
    set_mode(&sandbox.state().join("providers/acme.json"), 0o644);
    let login = ["models", "auth", "login", "--provider", "acme-ai"];
    let run = sandbox.run_with_input(&login, "alice\n");
    assert!(run.expect_code(0).stderr.contains("Acme: Who?"), "{run:#?}");
    assert_eq!(sandbox.profile("main", "acme:work")["tokenEndpoint"], "plugin:acme");
    // Another user who could change the manifest could choose the program.
    set_mode(&sandbox.state().join("providers/acme.json"), 0o666);
    let run = sandbox.run_with_input(&login, "alice\n");
    run.expect_code(64);
    assert!(!run.stderr.contains("Who?"), "{run:#?}");
    let list = sandbox.run(&["plugins", "list"]);
    assert!(format!("{list:?}").contains("acme.json"), "{list:#?}");
}

/// A gateway with one valid key.
fn gateway() -> String {
    http::serve(|request| match request.header("authorization") {
        Some("Bearer key-of-alice") => Response::json(200, &json!({"id": "alice"})),
        _ => Response::json(401, &json!({})),
    })
}
