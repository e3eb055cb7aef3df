//! The chosen profile, across runs of the real binary: order, cooldown, pins.

use e2e::issuer::Issuer;
use e2e::sandbox::{Sandbox, write};
use serde_json::{Value, json};

const TOKEN: [&str; 7] = ["models", "auth", "token", "--provider", "acme", "--format", "json"];

/// A home with three API keys of an unknown provider.
fn home() -> Sandbox {
    let sandbox = Sandbox::new();
    let key = |name: &str| json!({"type": "api_key", "provider": "acme", "key": format!("key-{name}-0123456789")});
    let profiles = json!({"acme:a": key("a"), "acme:b": key("b"), "acme:c": key("c")});
    sandbox.seed_store("main", &json!({"version": 1, "profiles": profiles}));
    sandbox
}

#[track_caller]
fn routed(sandbox: &Sandbox) -> Value {
    sandbox.run(&TOKEN).expect_code(0).json()["profileId"].clone()
}

fn report(sandbox: &Sandbox, profile: &str, outcome: &[&str]) {
    sandbox.run(&[&["models", "auth", "report", profile], outcome].concat()).expect_code(0);
}

#[test]
fn the_stored_order_wins_over_the_configs() {
    let sandbox = home();
    sandbox
        .write_config("{ auth: { order: { acme: ['acme:b', 'acme:a'] } } } // comments are fine");
    assert_eq!(routed(&sandbox), "acme:b");
    let order = ["models", "auth", "order"];
    let set = ["set", "--provider", "acme", "acme:c", "acme:a"];
    sandbox.run(&[&order[..], &set].concat()).expect_code(0);
    assert_eq!(routed(&sandbox), "acme:c");
    let get = sandbox.run(&[&order[..], &["get", "--provider", "acme", "--json"]].concat());
    assert_eq!(get.expect_code(0).json()["order"], json!(["acme:c", "acme:a"]));
    sandbox.run(&[&order[..], &["clear", "--provider", "acme"]].concat()).expect_code(0);
    assert_eq!(routed(&sandbox), "acme:b");
}

#[test]
fn a_rate_limit_moves_to_the_next_profile_until_all_rest() {
    let sandbox = home();
    let order = ["models", "auth", "order", "set", "--provider", "acme"];
    sandbox.run(&[&order[..], &["acme:a", "acme:b"]].concat()).expect_code(0);
    assert_eq!(routed(&sandbox), "acme:a");
    report(&sandbox, "acme:a", &["--failed", "rate_limit", "--retry-after", "10m"]);
    assert_eq!(routed(&sandbox), "acme:b");
    report(&sandbox, "acme:b", &["--failed", "billing"]);
    let run = sandbox.run(&[&TOKEN[..], &["--json"]].concat());
    let error = run.expect_code(6).json();
    assert!(error["error"]["message"].is_string(), "{error}");
    report(&sandbox, "acme:a", &["--ok"]);
    assert_eq!(routed(&sandbox), "acme:a");
}

#[test]
fn explain_says_who_comes_first_and_why_the_others_do_not() {
    let sandbox = home();
    report(&sandbox, "acme:a", &["--failed", "rate_limit"]);
    let args = ["models", "auth", "explain", "--provider", "acme", "--json"];
    let plan = sandbox.run(&args).expect_code(0).json();
    assert_eq!(plan["provider"], "acme");
    let ids: Vec<_> = plan["candidates"].as_array().unwrap().iter().map(|c| &c["id"]).collect();
    assert_eq!(ids, ["acme:b", "acme:c", "acme:a"], "{plan}");
    assert!(plan["candidates"][2]["why"].is_string() && plan["excluded"].is_array(), "{plan}");
}

#[test]
fn the_oldest_use_comes_first_where_there_is_no_order() {
    let sandbox = home();
    report(&sandbox, "acme:a", &["--ok"]);
    report(&sandbox, "acme:b", &["--ok"]);
    assert_eq!(routed(&sandbox), "acme:c");
    report(&sandbox, "acme:c", &["--ok"]);
    assert_eq!(routed(&sandbox), "acme:a");
}

#[test]
fn a_users_pin_holds_for_its_session_only() {
    let sandbox = home();
    let key = "agent:main:main";
    let sessions = json!({key: {
        "sessionId": "s1", "updatedAt": 1,
        "authProfileOverride": "acme:c", "authProfileOverrideSource": "user",
    }});
    let path = sandbox.state().join("agents/main/sessions/sessions.json");
    write(&path, sessions.to_string().as_bytes());
    let pinned = sandbox.run(&[&TOKEN[..], &["--session", key]].concat());
    assert_eq!(pinned.expect_code(0).json()["profileId"], "acme:c");
    assert_eq!(routed(&sandbox), "acme:a");
}

#[test]
fn list_names_every_profile_and_whether_it_can_be_used() {
    let issuer = Issuer::start();
    let sandbox = Sandbox::new();
    sandbox.seed_expired(&issuer, "demo", &["alice"]);
    let list = sandbox.run(&["models", "auth", "list", "--json"]).expect_code(0).json();
    let profile = &list["profiles"][0];
    assert_eq!(list["agentId"], "main");
    assert_eq!((&profile["id"], &profile["type"]), (&json!("demo:alice"), &json!("oauth")));
    assert_eq!((&profile["access"], &profile["refresh"]), (&json!("expired"), &json!("yes")));
    let said = list.to_string();
    assert!(!said.contains("rt-secret"), "{said}");
}
