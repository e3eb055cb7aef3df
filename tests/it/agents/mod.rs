//! Agents: each sees only its own profiles, unless its user shares another's; creating and deleting
//! them.

#[cfg(unix)]
mod same_store;

use e2e::issuer::{Issuer, TokenState};
use e2e::now_ms;
use e2e::sandbox::Sandbox;
use serde_json::{Value, json};
use std::fs;

const PROFILE: &str = "demo:alice";
const OF_WORK: [&str; 7] = ["models", "auth", "token", "--provider", "demo", "--agent", "work"];

/// A home where `main` has an expired login and `work` has nothing.
fn home(issuer: &Issuer) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.seed_expired(issuer, "demo", &["alice"]);
    sandbox.seed_store("work", &json!({"version": 1, "profiles": {}}));
    sandbox
}

fn share(sandbox: &Sandbox) {
    sandbox.run(&["agents", "share", "work", "--from", "main"]).expect_code(0);
}

fn refresh_token(sandbox: &Sandbox, agent: &str) -> String {
    sandbox.profile(agent, PROFILE)["refresh"].as_str().unwrap().to_owned()
}

#[test]
fn an_agent_without_the_login_is_told_who_has_it_and_how_to_share() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer);
    let by_profile = ["models", "auth", "token", "--profile", PROFILE, "--agent", "work"];
    let refresh = ["models", "auth", "refresh", PROFILE, "--agent", "work"];
    let report = ["models", "auth", "report", PROFILE, "--ok", "--agent", "work"];
    for words in [&OF_WORK[..], &by_profile, &refresh, &report] {
        let run = sandbox.run(&[words, &["--json"]].concat());
        let error = run.expect_code(3).json();
        let hint = error["error"]["hint"].as_str().unwrap();
        assert!(hint.contains("clawdbot agents share work --from main"), "{words:?}: {hint}");
        assert!(hint.contains("login --provider demo --agent work"), "{words:?}: {hint}");
    }
    assert_eq!(issuer.requests("refresh_token"), 0);
    share(&sandbox);
    sandbox.run(&OF_WORK).expect_code(0);
}

#[test]
fn a_shared_profile_is_refreshed_at_its_owners_and_copied_nowhere() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer);
    let old = refresh_token(&sandbox, "main");
    share(&sandbox);
    let token = sandbox.run(&OF_WORK).expect_code(0).line().to_owned();
    assert_eq!(sandbox.profile("main", PROFILE)["access"], token);
    assert!(matches!(issuer.state_of(&old), TokenState::Spent { .. }));
    assert_eq!(sandbox.read_store("work")["profiles"], json!({}));
    // The hot path sees the shared profile, too.
    assert_eq!(sandbox.run(&OF_WORK).expect_code(0).line(), token);
    let json = sandbox.run(&[&OF_WORK[..], &["--json"]].concat()).expect_code(0).json();
    assert_eq!((&json["agentId"], &json["profileId"]), (&json!("work"), &json!(PROFILE)));
    assert_eq!(issuer.requests("refresh_token"), 1);

    sandbox.run(&["agents", "share", "work", "--none"]).expect_code(0);
    sandbox.run(&OF_WORK).expect_code(3);
}

#[test]
fn a_clone_counts_as_the_owners_and_another_account_as_its_own() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer);
    // A Clawdbot copied main's file, and main has refreshed since.
    sandbox.seed_store("work", &sandbox.read_store("main"));
    let stale = refresh_token(&sandbox, "work");
    share(&sandbox);
    let token = sandbox.run(&OF_WORK).expect_code(0).line().to_owned();
    assert_eq!(sandbox.profile("main", PROFILE)["access"], token);
    assert!(matches!(issuer.state_of(&stale), TokenState::Spent { .. }));
    assert_eq!(issuer.requests("refresh_token"), 1);

    // A profile of that name with another account is the agent's own.
    sandbox.edit_store("work", |store| {
        let own = &mut store["profiles"][PROFILE];
        (own["accountId"], own["access"]) = (json!("someone else"), json!("own-token"));
        (own["email"], own["expires"]) = (json!("else@example.com"), json!(now_ms() + 3_600_000));
    });
    assert_eq!(sandbox.run(&OF_WORK).expect_code(0).line(), "own-token");
}

#[test]
fn what_is_learned_about_a_shared_profile_is_written_at_its_owners() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer);
    share(&sandbox);
    let of_work = |words: &[&str]| sandbox.run(&[words, &["--agent", "work", "--json"]].concat());
    of_work(&["models", "auth", "report", PROFILE, "--failed", "rate_limit"]).expect_code(0);
    assert!(sandbox.read_store("main")["usageStats"][PROFILE]["cooldownUntil"].is_u64());
    assert!(sandbox.read_store("work")["usageStats"].is_null());
    let list = of_work(&["models", "auth", "list"]).expect_code(0).json();
    assert_eq!(list["profiles"][0]["sharedFrom"], "main");
    assert!(list["profiles"][0]["cooldownUntil"].is_u64(), "{list}");
    sandbox.run(&OF_WORK).expect_code(6);
    of_work(&["models", "auth", "cooldown", "clear", PROFILE]).expect_code(0);
    assert!(sandbox.read_store("main")["usageStats"][PROFILE]["cooldownUntil"].is_null());

    // An order is the agent's own.
    of_work(&["models", "auth", "order", "set", "--provider", "demo", PROFILE]).expect_code(0);
    assert_eq!(sandbox.read_store("work")["order"]["demo"], json!([PROFILE]));
    assert!(sandbox.read_store("main")["order"].is_null());

    let error = of_work(&["models", "auth", "logout", PROFILE]).expect_code(3).json();
    let hint = error["error"]["hint"].as_str().unwrap();
    assert!(hint.contains(&format!("models auth logout {PROFILE} --agent main")), "{hint}");
    assert!(sandbox.profile("main", PROFILE).is_object());
}

#[test]
fn a_login_of_an_account_that_is_shared_is_saved_at_its_owners() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer);
    sandbox.write_manifest("demo", &issuer.manifest("demo"));
    sandbox.log_in("demo", &[]).expect_code(0);
    let ids = |agent: &str| -> Vec<String> {
        let store = sandbox.read_store(agent);
        store["profiles"].as_object().unwrap().keys().cloned().collect()
    };
    let before = ids("main");
    share(&sandbox);
    sandbox.log_in("demo", &["--agent", "work"]).expect_code(0);
    assert_eq!(ids("main"), before);
    assert_eq!(sandbox.read_store("work")["profiles"], json!({}));
}

#[test]
fn sharing_goes_one_step_and_never_in_a_circle() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer);
    sandbox.seed_store("third", &json!({"version": 1, "profiles": {}}));
    share(&sandbox);
    let run = |words: &[&str]| sandbox.run(&[&["agents", "share"], words].concat());
    run(&["third", "--from", "work"]).expect_code(64);
    run(&["main", "--from", "third"]).expect_code(64);
    run(&["work", "--from", "work"]).expect_code(64);
    run(&["work", "--from", "nobody"]).expect_code(64);
    assert_eq!(run(&["work", "--json"]).expect_code(0).json()["from"], "main");
    let agents = sandbox.run(&["agents", "list", "--json"]).expect_code(0).json();
    let work = agents.as_array().unwrap().iter().find(|agent| agent["id"] == "work").unwrap();
    assert_eq!(work["sharesFrom"], "main");

    e2e::sandbox::write(&sandbox.agent_dir("work").join(".auth-share.json"), b"{");
    sandbox.run(&OF_WORK).expect_code(8);
}

#[test]
fn an_agent_that_does_not_exist_is_an_error_of_every_command() {
    let sandbox = Sandbox::new();
    for words in [
        &["agents", "list"][..],
        &["models", "status"],
        &["models", "auth", "list"],
        &["models", "auth", "token", "--provider", "x"],
        &["models", "set", "a/b"],
        &["channels", "list"],
        &["plugins", "list"],
    ] {
        let run = sandbox.run(&[words, &["--agent", "nobody"]].concat());
        run.expect_code(64);
        assert!(run.stderr.contains("nobody"), "{words:?}: {}", run.stderr);
    }
}

#[test]
fn an_added_agent_has_its_folders_its_entry_and_its_rules() {
    let sandbox = Sandbox::new();
    sandbox.write_config(
        "// mine\n{\n  bindings: [\n    { agentId: 'main', match: { channel: 'slack' } }, // ours\n  ],\n}\n",
    );
    let workspace = sandbox.home().join("clawd-ops");
    let add = [
        "agents",
        "add",
        "Ops Team!",
        "--workspace",
        "~/clawd-ops",
        "--model",
        "openai/gpt-5.2",
        "--bind",
        "telegram:biz",
        "--bind",
        "slack",
        "--json",
    ];
    let added = sandbox.run(&add).expect_code(0).json();
    assert_eq!(added["agentId"], "ops-team");
    assert_eq!(added["bindings"]["added"], json!(["telegram accountId=biz"]));
    assert_eq!(added["bindings"]["conflicts"], json!(["slack (agent=main)"]));
    assert!(workspace.is_dir() && sandbox.agent_dir("ops-team").is_dir());
    assert!(sandbox.state().join("agents/ops-team/sessions").is_dir());
    let config = fs::read_to_string(sandbox.state().join("clawdbot.json")).unwrap();
    assert!(config.starts_with("// mine\n{") && config.contains("// ours\n"), "{config}");
    let agents = sandbox.run(&["agents", "list", "--json", "--bindings"]).expect_code(0).json();
    let ids: Vec<_> = agents.as_array().unwrap().iter().map(|it| it["id"].clone()).collect();
    assert_eq!(ids, ["main", "ops-team"]);
    assert_eq!(agents[0]["isDefault"], true);
    assert_eq!(agents[1]["bindingDetails"], json!(["telegram accountId=biz"]));

    sandbox.run(&add).expect_code(64);
    let one = ["agents", "add", "x", "--non-interactive"];
    assert!(sandbox.run(&one).expect_code(64).stderr.contains("--workspace"));
    let taken = sandbox.agent_dir("ops-team");
    let taken = taken.to_str().unwrap();
    sandbox
        .run(&["agents", "add", "x", "--workspace", "~/x", "--agent-dir", taken])
        .expect_code(64);
    sandbox.run(&["agents", "add", "main", "--workspace", "~/x"]).expect_code(64);
}

#[test]
fn a_deleted_agent_is_kept_and_can_be_brought_back() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer);
    let work = issuer_profile(&sandbox, &issuer);
    sandbox.write_config(
        "{ agents: { list: [ { id: 'main' }, { id: 'work' } /* w */ ] }, bindings: [ { agentId: 'work', match: { channel: 'x' } } ], tools: { agentToAgent: { allow: ['work', 'main'] } } }",
    );
    let delete = ["agents", "delete", "work"];
    let unasked = sandbox.run(&delete);
    unasked.expect_code(64);
    assert!(unasked.stderr.contains(PROFILE) && unasked.stderr.contains("--force"));
    let deleted = sandbox.run(&[&delete[..], &["--force", "--json"]].concat());
    let deleted = deleted.expect_code(0).json();
    assert_eq!(deleted["credentials"], json!([PROFILE]));
    assert_eq!((&deleted["removedBindings"], &deleted["removedAllow"]), (&json!(1), &json!(1)));
    assert!(!sandbox.agent_dir("work").exists());
    let agents = sandbox.run(&["agents", "list", "--json"]).expect_code(0).json();
    assert_eq!(agents.as_array().unwrap().len(), 1, "{agents}");
    private(&sandbox.state().join("deleted"), &deleted);
    sandbox.run(&OF_WORK).expect_code(64);

    for command in deleted["restore"].as_array().unwrap() {
        let words = ["-c", command.as_str().unwrap()];
        let status = std::process::Command::new("sh").args(words).status();
        assert!(status.unwrap().success());
    }
    assert_eq!(refresh_token(&sandbox, "work"), work);
    sandbox.run(&OF_WORK).expect_code(0);
    sandbox.run(&["agents", "delete", "main", "--force"]).expect_code(64);
    sandbox.run(&["agents", "delete", "nobody", "--force"]).expect_code(64);
}

/// Gives `work` a login of its own; returns its refresh token.
fn issuer_profile(sandbox: &Sandbox, issuer: &Issuer) -> String {
    let tokens = issuer.grant("bob");
    let profile = e2e::sandbox::expired(issuer, "demo", &tokens);
    sandbox.seed_store("work", &json!({"version": 1, "profiles": {PROFILE: profile}}));
    tokens.refresh
}

#[cfg(unix)]
fn private(deleted: &std::path::Path, json: &Value) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(deleted), 0o700);
    let kept = std::path::Path::new(json["kept"].as_str().unwrap());
    assert_eq!(mode(&kept.join("auth-profiles.json")), 0o600);
}

#[cfg(not(unix))]
fn private(_: &std::path::Path, _: &Value) {}

#[test]
fn a_deleted_agent_hands_its_login_to_those_who_wait_for_it() {
    let issuer = Issuer::start();
    let sandbox = Sandbox::new();
    sandbox.seed_expired(&issuer, "demo", &["alice"]);
    let copy = sandbox.read_store("main");
    // `work` refreshes the login; `main` could not be reached, and finds the token through the
    // record.
    sandbox.seed_store("work", &copy);
    fs::remove_file(sandbox.store_path("main")).unwrap();
    sandbox.run(&OF_WORK).expect_code(0);
    let living = refresh_token(&sandbox, "work");
    sandbox.seed_store("main", &copy);
    sandbox.run(&["agents", "delete", "work", "--force"]).expect_code(0);
    assert_eq!(refresh_token(&sandbox, "main"), living);
    sandbox.run(&OF_WORK[..5]).expect_code(0);
}

#[test]
fn the_readers_of_a_deleted_agent_read_nobody() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer);
    sandbox.seed_store("boss", &sandbox.read_store("main"));
    sandbox.run(&["agents", "share", "work", "--from", "boss"]).expect_code(0);
    let run = sandbox.run(&["agents", "delete", "boss", "--force"]);
    assert!(run.expect_code(0).stderr.contains("`work` reads the profiles"), "{}", run.stderr);
    let shared = sandbox.run(&["agents", "share", "work", "--json"]).expect_code(0).json();
    assert_eq!(shared["from"], Value::Null);
}

#[test]
fn a_revoked_login_of_a_deleted_agent_is_dead_and_not_kept() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer);
    let token = issuer_profile(&sandbox, &issuer);
    let run = sandbox.run(&["agents", "delete", "work", "--yes", "--revoke", "--json"]);
    let deleted = run.expect_code(0).json();
    assert_eq!(deleted["revoked"], json!([PROFILE]), "{}", run.stderr);
    assert_eq!(issuer.state_of(&token), TokenState::Revoked);
    let kept = fs::read_to_string(
        std::path::Path::new(deleted["kept"].as_str().unwrap()).join("auth-profiles.json"),
    );
    assert!(!kept.unwrap().contains(&token));
}
