//! Agents whose directories or stores are not theirs alone: deleting one leaves what others use.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use e2e::issuer::{Issuer, TokenState};
use e2e::sandbox::Sandbox;
use serde_json::{Value, json};

const PROFILE: &str = "demo:alice";

/// A home whose `one` has a login, and a config with these entries beside `main`.
fn home(issuer: &Issuer, entries: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write_config(&format!("{{ agents: {{ list: [{{ id: 'main' }}, {entries}] }} }}"));
    sandbox.seed_expired(issuer, "demo", &["alice"]);
    let store = sandbox.read_store("main");
    sandbox.seed_store("one", &store);
    fs::remove_file(sandbox.store_path("main")).unwrap();
    sandbox
}

fn refresh_token(sandbox: &Sandbox) -> String {
    sandbox.profile("one", PROFILE)["refresh"].as_str().unwrap().to_owned()
}

fn delete(sandbox: &Sandbox, id: &str) -> Value {
    let run = sandbox.run(&["agents", "delete", id, "--force", "--revoke", "--json"]);
    run.expect_code(0).json()
}

fn token(sandbox: &Sandbox, agent: &str) {
    let words = ["models", "auth", "token", "--provider", "demo", "--agent", agent];
    sandbox.run(&words).expect_code(0);
}

#[test]
fn what_another_agent_uses_is_neither_revoked_nor_moved() {
    let links: [&dyn Fn(&Sandbox) -> String; 4] = [
        // The same directory in the config.
        &|sandbox| {
            let directory = sandbox.agent_dir("one");
            format!("{{ id: 'one' }}, {{ id: 'two', agentDir: '{}' }}", directory.display())
        },
        // The agent's folder, its directory, or its store is a link.
        &|sandbox| {
            symlink("one", sandbox.state().join("agents/two")).unwrap();
            "{ id: 'one' }, { id: 'two' }".to_owned()
        },
        &|sandbox| {
            fs::create_dir_all(sandbox.state().join("agents/two")).unwrap();
            symlink("../one/agent", sandbox.agent_dir("two")).unwrap();
            "{ id: 'one' }, { id: 'two' }".to_owned()
        },
        &|sandbox| {
            fs::create_dir_all(sandbox.agent_dir("two")).unwrap();
            symlink("../../one/agent/auth-profiles.json", sandbox.store_path("two")).unwrap();
            "{ id: 'one' }, { id: 'two' }".to_owned()
        },
    ];
    for (number, link) in links.iter().enumerate() {
        for (gone, left) in [("one", "two"), ("two", "one")] {
            let issuer = Issuer::start();
            let sandbox = home(&issuer, "");
            let entries = link(&sandbox);
            sandbox
                .write_config(&format!("{{ agents: {{ list: [{{ id: 'main' }}, {entries}] }} }}"));
            let old = refresh_token(&sandbox);
            let deleted = delete(&sandbox, gone);
            assert_eq!(deleted["revoked"], json!([]), "{number} {gone}");
            assert!(matches!(issuer.state_of(&old), TokenState::Live), "{number} {gone}");
            token(&sandbox, left);
        }
    }
    // The control: a login that is nobody else's is revoked and moved.
    let issuer = Issuer::start();
    let sandbox = home(&issuer, "{ id: 'one' }");
    let old = refresh_token(&sandbox);
    assert_eq!(delete(&sandbox, "one")["revoked"], json!([PROFILE]));
    assert_eq!(issuer.state_of(&old), TokenState::Revoked);
    assert!(!sandbox.store_path("one").exists());
}

#[test]
fn a_login_that_another_agent_holds_too_is_not_revoked() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer, "{ id: 'one' }, { id: 'two' }");
    sandbox.seed_store("two", &sandbox.read_store("one"));
    let old = refresh_token(&sandbox);
    assert_eq!(delete(&sandbox, "one")["revoked"], json!([]));
    assert!(matches!(issuer.state_of(&old), TokenState::Live));
    token(&sandbox, "two");
}

#[test]
fn a_directory_with_other_things_stays_and_only_the_credentials_are_moved() {
    let issuer = Issuer::start();
    for directory in ["~", "~/.clawdbot", "~/.clawdbot/agents", "~/work/..", "~/work"] {
        let entry = format!("{{ id: 'two', agentDir: '{directory}', workspace: '~/work/space' }}");
        let sandbox = home(&issuer, &format!("{{ id: 'one' }}, {entry}"));
        fs::create_dir_all(sandbox.home().join("work/space")).unwrap();
        e2e::sandbox::write(&sandbox.home().join("work/mine.txt"), b"mine");
        let paste = ["models", "auth", "paste-api-key", "--provider", "acme", "--agent", "two"];
        sandbox.run_with_input(&paste, "key-0123456789").expect_code(0);
        let deleted = delete(&sandbox, "two");
        assert_eq!(deleted["credentials"], json!(["acme:default"]), "{directory}");
        assert!(sandbox.home().join("work/mine.txt").exists(), "{directory}");
        assert!(sandbox.home().join("work/space").exists(), "{directory}");
        assert!(sandbox.store_path("one").exists(), "{directory}");
        let kept = Path::new(deleted["kept"].as_str().unwrap()).join("auth-profiles.json");
        assert!(fs::read_to_string(kept).unwrap().contains("key-0123456789"), "{directory}");
        token(&sandbox, "one");
        for command in deleted["restore"].as_array().unwrap() {
            let words = ["-c", command.as_str().unwrap()];
            assert!(std::process::Command::new("sh").args(words).status().unwrap().success());
        }
        let config = format!("{{ agents: {{ list: [{{ id: 'main' }}, {entry}] }} }}");
        sandbox.write_config(&config);
        let get = ["models", "auth", "token", "--provider", "acme", "--agent", "two"];
        assert_eq!(sandbox.run(&get).expect_code(0).line(), "key-0123456789", "{directory}");
    }
}

#[test]
fn the_advice_of_doctor_for_one_store_under_two_names_loses_nothing() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer, "{ id: 'one' }, { id: 'two' }");
    symlink("one", sandbox.state().join("agents/two")).unwrap();
    let doctor = |sandbox: &Sandbox| {
        let found = sandbox.run(&["doctor", "--offline", "--json"]).json();
        found["findings"].as_array().unwrap().clone()
    };
    let codes = |found: &[Value]| -> Vec<String> {
        found.iter().map(|it| it["code"].as_str().unwrap().to_owned()).collect()
    };
    let found = doctor(&sandbox);
    assert!(codes(&found).contains(&"one_store".to_owned()), "{found:?}");
    assert!(!codes(&found).contains(&"shared_token".to_owned()), "{found:?}");
    // The control: two stores with one token.
    fs::remove_file(sandbox.state().join("agents/two")).unwrap();
    sandbox.seed_store("two", &sandbox.read_store("one"));
    assert!(codes(&doctor(&sandbox)).contains(&"shared_token".to_owned()));

    // A directory that is for other things gets neither another owner nor other rights.
    let before = fs::metadata(sandbox.home()).unwrap().permissions();
    for directory in ["~", "/tmp", "~/.clawdbot"] {
        sandbox.write_config(&format!(
            "{{ agents: {{ list: [{{ id: 'main' }}, {{ id: 'wide', agentDir: '{directory}' }}] }} }}"
        ));
        let found = doctor(&sandbox);
        assert!(
            codes(&found).contains(&"agent_dir_for_others".to_owned()),
            "{directory}: {found:?}"
        );
        for finding in &found {
            let command = finding["command"].as_str().unwrap_or_default();
            let is_about = command.contains("/tmp ") || command.ends_with("/tmp");
            assert!(!is_about || !command.starts_with("chmod"), "{command}");
            assert!(finding["code"] != "agent_mode", "{finding}");
        }
    }
    sandbox.run(&["doctor", "--offline", "--fix"]);
    assert_eq!(fs::metadata(sandbox.home()).unwrap().permissions(), before);
}
