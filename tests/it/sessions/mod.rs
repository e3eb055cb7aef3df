//! Conversations: the user's choice, routing's choice, and when a pin moves.

use e2e::now_ms;
use e2e::sandbox::{Finished, Sandbox, write};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

const KEY: &str = "agent:main:main";

/// A home with three keys of one provider, and a conversation.
fn home() -> Sandbox {
    let sandbox = Sandbox::new();
    let key = |provider: &str| json!({"type": "api_key", "provider": provider, "key": "key-0123456789abcdef"});
    let profiles = json!({
        "acme:a": key("acme"), "acme:b": key("acme"), "acme:me+x.y@mail.example": key("acme"),
        "zeta:z": key("zeta"),
    });
    sandbox.seed_store(
        "main",
        &json!({"version": 1, "profiles": profiles,
        "order": {"acme": ["acme:a", "acme:b", "acme:me+x.y@mail.example"]}}),
    );
    sandbox.write_config("{ agents: { defaults: { model: 'acme/big', models: { 'acme/little': { alias: 'Opus' } } } } }");
    let text = format!(
        "{{\n  \"{KEY}\": {{\n    \"sessionId\": \"s\",\n    \"n\": 1.50,\n    \"cut\": \"\\ud83d\"\n  }}\n}}"
    );
    write(&path(&sandbox), text.as_bytes());
    sandbox
}

fn path(sandbox: &Sandbox) -> PathBuf {
    sandbox.state().join("agents/main/sessions/sessions.json")
}

fn entry(sandbox: &Sandbox) -> Value {
    let text = fs::read_to_string(path(sandbox)).unwrap().replace("\\ud83d", "");
    serde_json::from_str::<Value>(&text).unwrap()[KEY].clone()
}

fn token(sandbox: &Sandbox, more: &[&str]) -> Finished {
    let args = ["models", "auth", "token", "--json", "--session", KEY];
    sandbox.run(&[&args[..], more].concat())
}

#[track_caller]
fn routed(sandbox: &Sandbox, more: &[&str]) -> Value {
    token(sandbox, more).expect_code(0).json()["profileId"].clone()
}

fn model(sandbox: &Sandbox, directive: &str) -> Finished {
    sandbox.run(&["sessions", "model", KEY, directive, "--json"])
}

#[test]
fn a_directive_pins_a_model_and_a_profile_and_every_other_byte_stays() {
    let sandbox = home();
    let said = model(&sandbox, "/model Opus@acme:me+x.y@mail.example").expect_code(0).json();
    assert_eq!((&said["model"], &said["profileSource"]), (&json!("acme/little"), &json!("user")));
    let text = fs::read_to_string(path(&sandbox)).unwrap();
    assert!(text.contains("\"n\": 1.50") && text.contains("\"cut\": \"\\ud83d\""), "{text}");
    let got = token(&sandbox, &[]).expect_code(0).json();
    assert_eq!(
        (&got["profileId"], &got["model"]),
        (&json!("acme:me+x.y@mail.example"), &json!("acme/little"))
    );
    // A profile alone keeps the model.
    let said = model(&sandbox, "@acme:b").expect_code(0).json();
    assert_eq!((&said["model"], &said["profileId"]), (&json!("acme/little"), &json!("acme:b")));

    let list = sandbox.run(&["sessions", "list", "--json"]).expect_code(0).json();
    assert_eq!(
        (&list["sessions"][0]["key"], &list["sessions"][0]["profileId"]),
        (&json!(KEY), &json!("acme:b"))
    );
    let cleared = sandbox.run(&["sessions", "clear", KEY, "--json"]).expect_code(0).json();
    assert_eq!((&cleared["model"], &cleared["profileId"]), (&json!("acme/big"), &Value::Null));
    let text = fs::read_to_string(path(&sandbox)).unwrap();
    assert!(text.contains("\"sessionId\": \"s\"") && !text.contains("Override"), "{text}");
    sandbox.run(&["sessions", "show", "main", "--json"]).expect_code(0);
    sandbox.run(&["sessions", "clear", "agent:main:none"]).expect_code(64);
}

#[test]
fn a_wrong_directive_changes_nothing() {
    let sandbox = home();
    let before = fs::read(path(&sandbox)).unwrap();
    model(&sandbox, "/model Opus@acme:gone").expect_code(3);
    let foreign = model(&sandbox, "/model Opus@zeta:z").expect_code(3).json();
    assert!(foreign["error"]["hint"].as_str().unwrap().contains("/model zeta/"), "{foreign}");
    model(&sandbox, "acme/").expect_code(64);
    model(&sandbox, "/model").expect_code(64);
    assert_eq!(fs::read(path(&sandbox)).unwrap(), before);
}

#[test]
fn a_pin_that_cannot_be_used_is_an_error_that_names_it_and_the_way_out() {
    let sandbox = home();
    model(&sandbox, "@acme:b").expect_code(0);
    assert_eq!(routed(&sandbox, &[]), "acme:b");
    let error = |code: i32| {
        let error = token(&sandbox, &[]).expect_code(code).json()["error"].clone();
        let (message, hint) = (error["message"].as_str().unwrap(), error["hint"].as_str().unwrap());
        assert!(message.contains("pinned") && message.contains("acme:b"), "{error}");
        assert!(hint.contains(&format!("clawdbot sessions clear {KEY}")), "{error}");
    };
    sandbox.run(&["models", "auth", "report", "acme:b", "--failed", "billing"]).expect_code(0);
    error(6);
    let order = ["models", "auth", "order", "set", "--provider", "acme", "acme:a"];
    sandbox.run(&order).expect_code(0);
    error(3);
    sandbox.run(&["models", "auth", "remove", "acme:b"]).expect_code(0);
    error(3);
    assert_eq!(entry(&sandbox)["authProfileOverride"], "acme:b", "a person's pin is theirs to end");
    sandbox.run(&["sessions", "clear", KEY]).expect_code(0);
    assert_eq!(routed(&sandbox, &[]), "acme:a");
}

#[test]
fn routings_own_choice_stays_until_a_new_session_a_compaction_or_a_rest() {
    let sandbox = home();
    assert_eq!(routed(&sandbox, &[]), "acme:a");
    let pinned = entry(&sandbox);
    assert_eq!(pinned["authProfileOverrideSource"], "auto", "{pinned}");
    assert_eq!(pinned["authProfileOverrideCompactionCount"], 0, "{pinned}");
    let text = fs::read(path(&sandbox)).unwrap();
    assert_eq!(routed(&sandbox, &[]), "acme:a");
    assert_eq!(fs::read(path(&sandbox)).unwrap(), text, "nothing moved");

    assert_eq!(routed(&sandbox, &["--new-session"]), "acme:b");
    assert_eq!(routed(&sandbox, &[]), "acme:b");
    let compacted = fs::read_to_string(path(&sandbox)).unwrap();
    let compacted = compacted.replace("\"n\": 1.50", "\"compactionCount\": 1");
    write(&path(&sandbox), compacted.as_bytes());
    assert_eq!(routed(&sandbox, &[]), "acme:me+x.y@mail.example");
    let report = ["models", "auth", "report", "acme:me+x.y@mail.example", "--failed", "timeout"];
    sandbox.run(&report).expect_code(0);
    assert_eq!(routed(&sandbox, &[]), "acme:a");
    // A request for another provider moves nothing.
    let text = fs::read(path(&sandbox)).unwrap();
    assert_eq!(routed(&sandbox, &["--provider", "zeta"]), "zeta:z");
    assert_eq!(fs::read(path(&sandbox)).unwrap(), text);
}

#[test]
fn a_session_nobody_knows_is_made_only_when_somebody_starts_it() {
    let sandbox = home();
    let token = ["models", "auth", "token", "--json", "--session", "agent:main:tool:1"];
    sandbox.run(&token).expect_code(0);
    assert!(!fs::read_to_string(path(&sandbox)).unwrap().contains("tool:1"));
    sandbox.run(&[&token[..], &["--new-session"]].concat()).expect_code(0);
    let shown = sandbox.run(&["sessions", "show", "agent:main:tool:1", "--json"]);
    assert_eq!(shown.expect_code(0).json()["profileSource"], "auto");
    let text = fs::read_to_string(path(&sandbox)).unwrap().replace("\\ud83d", "");
    let made = serde_json::from_str::<Value>(&text).unwrap()["agent:main:tool:1"].clone();
    assert_eq!(made["sessionId"].as_str().unwrap().len(), 36, "{made}");
}

#[test]
fn a_key_of_another_agent_means_that_agent() {
    let sandbox = home();
    sandbox.seed_store(
        "work",
        &json!({"version": 1, "profiles": {
            "acme:w": {"type": "api_key", "provider": "acme", "key": "key-w-0123456789abcdef"},
        }}),
    );
    let run = |args: &[&str]| sandbox.run(args);
    let said = run(&["sessions", "model", "agent:work:main", "@acme:w", "--json"]);
    assert_eq!(said.expect_code(0).json()["agentId"], "work");
    let got = run(&["models", "auth", "token", "--json", "--session", "agent:work:main"]);
    assert_eq!(got.expect_code(0).json()["profileId"], "acme:w");
    assert!(sandbox.state().join("agents/work/sessions/sessions.json").exists());
    run(&["sessions", "show", "agent:work:main", "--agent", "main"]).expect_code(64);
    run(&["sessions", "show", "agent:nobody:main"]).expect_code(64);
}

#[test]
fn the_lock_of_the_sessions_is_waited_for_and_a_dead_ones_is_removed() {
    let sandbox = home();
    let lock = path(&sandbox).with_extension("json.lock");
    let owner = json!({"pid": 1, "startedAt": now_ms()}).to_string();
    write(&lock, owner.as_bytes());
    let waiting = sandbox.start(&["sessions", "model", KEY, "@acme:b"]);
    // It waits; the holder of the lock writes meanwhile, and that write stays.
    let text = fs::read_to_string(path(&sandbox)).unwrap().replace("1.50", "2.50");
    write(&path(&sandbox), text.as_bytes());
    fs::remove_file(&lock).unwrap();
    waiting.finish().expect_code(0);
    assert!(fs::read_to_string(path(&sandbox)).unwrap().contains("2.50"));
    assert!(!lock.exists());

    write(&lock, owner.as_bytes());
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
    fs::File::options().write(true).open(&lock).unwrap().set_modified(old).unwrap();
    model(&sandbox, "default").expect_code(0);
    let left = fs::read_dir(lock.parent().unwrap()).unwrap().count();
    assert_eq!(left, 1, "only the sessions themselves");
}

#[test]
fn no_choice_of_many_processes_is_lost() {
    let sandbox = home();
    let keys: Vec<_> = (0..12).map(|number| format!("agent:main:chat:{number}")).collect();
    let start = |key: &String| {
        let mut running = sandbox.start(&["sessions", "model", key, "@acme:b"]);
        running.close_input();
        running
    };
    let all: Vec<_> = keys.iter().map(start).collect();
    for run in all {
        run.finish().expect_code(0);
    }
    let text = fs::read_to_string(path(&sandbox)).unwrap();
    assert!(keys.iter().all(|key| text.contains(key)), "{text}");
}
