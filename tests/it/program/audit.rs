//! The audit log tells what happened to the credentials, and has no secret in it.

use e2e::issuer::Issuer;
use e2e::sandbox::Sandbox;
use serde_json::Value;
use std::fs;

const ALICE: &str = "demo:alice@example.test";

fn events(sandbox: &Sandbox) -> Vec<Value> {
    let shown = sandbox.run(&["audit", "--json"]).expect_code(0).json();
    shown["events"].as_array().unwrap().clone()
}

fn kinds(sandbox: &Sandbox) -> Vec<String> {
    events(sandbox).iter().map(|event| event["what"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_audit_log_tells_the_story_of_a_login_without_a_secret() {
    let issuer = Issuer::start();
    let sandbox = Sandbox::new();
    sandbox.write_manifest("demo", &issuer.manifest("demo"));
    sandbox.log_in("demo", &[]).expect_code(0);
    issuer.set(|policy| policy.account = "bob".to_owned());
    sandbox.log_in("demo", &[]).expect_code(0);
    let mut secrets = Vec::new();
    let mut remember = |sandbox: &Sandbox| {
        let store = sandbox.read_store("main");
        for profile in store["profiles"].as_object().unwrap().values() {
            secrets
                .extend(["access", "refresh"].map(|it| profile[it].as_str().unwrap().to_owned()));
        }
    };
    remember(&sandbox);
    sandbox.expire("main", ALICE);
    sandbox.run(&["models", "auth", "token", "--profile", ALICE]).expect_code(0);
    remember(&sandbox);
    let report = ["models", "auth", "report", ALICE, "--failed", "rate_limit"];
    sandbox.run(&report).expect_code(0);
    sandbox.run(&["models", "auth", "logout", ALICE]).expect_code(0);

    let events = events(&sandbox);
    let told: Vec<_> = events
        .iter()
        .map(|it| (it["what"].as_str().unwrap(), it["profile"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("login", ALICE),
            ("login", "demo:bob@example.test"),
            ("refresh", ALICE),
            ("token", ALICE),
            ("failover", ALICE),
            ("logout", ALICE),
        ]
    );
    assert_eq!(events[0]["destination"], issuer.url());
    assert_eq!(events[2]["destination"], issuer.url());
    assert_eq!(events[5]["detail"], "revoked");
    assert!(events.iter().all(|it| it["agent"] == "main" && it["provider"] == "demo"));
    if cfg!(target_os = "linux") {
        // Who asked is the program that ran us: these tests.
        let asking = std::env::current_exe().unwrap();
        assert!(events.iter().all(|it| it["program"] == asking.to_str().unwrap()), "{events:#?}");
        assert!(events.iter().all(|it| it["uid"].is_u64()));
    }
    let text = fs::read_to_string(sandbox.state().join("audit.jsonl")).unwrap();
    for secret in &secrets {
        assert!(!text.contains(secret.as_str()), "{text}");
    }
    let run = sandbox.run(&["audit", "--since", "1h"]);
    assert_eq!(run.expect_code(0).stdout.lines().count(), 6, "{run:#?}");
    assert!(run.stderr.starts_with("Not in the audit log: tokens that were fresh"), "{run:#?}");
}

#[test]
fn a_fresh_token_is_noted_only_if_the_user_wants_all() {
    let issuer = Issuer::start();
    let sandbox = Sandbox::new();
    sandbox.write_manifest("demo", &issuer.manifest("demo"));
    sandbox.log_in("demo", &[]).expect_code(0);
    let token = ["models", "auth", "token", "--profile", ALICE];
    sandbox.run(&token).expect_code(0);
    assert_eq!(kinds(&sandbox), ["login"]);
    sandbox.run(&["settings", "set", "audit", "all"]).expect_code(0);
    sandbox.run(&token).expect_code(0);
    assert_eq!(kinds(&sandbox), ["login", "token"]);
    sandbox.run(&["settings", "set", "audit", "off"]).expect_code(0);
    sandbox.run(&token).expect_code(0);
    sandbox.run(&["models", "auth", "logout", ALICE]).expect_code(0);
    assert_eq!(kinds(&sandbox), ["login", "token"]);
    assert_eq!(sandbox.run(&["settings", "get", "audit"]).expect_code(0).line(), "off");
    sandbox.run(&["settings", "unset", "audit"]).expect_code(0);
    assert_eq!(sandbox.run(&["settings", "get", "audit"]).expect_code(0).line(), "slow");
    sandbox.run(&["settings", "set", "audit", "sometimes"]).expect_code(64);
    sandbox.run(&["settings", "set", "auth", "x"]).expect_code(64);
}

#[test]
fn an_audit_log_that_cannot_be_written_is_said_and_stops_nothing() {
    let issuer = Issuer::start();
    let sandbox = Sandbox::new();
    sandbox.write_manifest("demo", &issuer.manifest("demo"));
    fs::create_dir_all(sandbox.state().join("audit.jsonl")).unwrap();
    let run = sandbox.log_in("demo", &[]);
    assert!(
        run.expect_code(0).stderr.contains("warning: the audit log was not written"),
        "{run:#?}"
    );
    sandbox.expire("main", ALICE);
    let run = sandbox.run(&["models", "auth", "token", "--profile", ALICE]);
    assert!(
        run.expect_code(0).stderr.contains("warning: the audit log was not written"),
        "{run:#?}"
    );
}
