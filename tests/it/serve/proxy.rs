//! What a client of the proxy gets, and what the stores learn.

use e2e::sandbox::write;
use e2e::upstream::Behaviour;
use serde_json::json;

use super::{World, from_now, limited};

#[test]
fn a_limit_goes_to_the_next_account_and_its_end_into_the_store() {
    let world = World::with_keys(&["key-one", "key-two"]);
    world.upstream.set("key-one", limited("400"));
    let token = world.client("tool --provider acme");
    let server = world.serve(&[]);
    let answer = server.ask(&token);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("pong"));
    assert_eq!(world.upstream.secrets(), ["key-one", "key-two"]);
    assert_eq!(world.upstream.began(), 1);
    // The next request knows it, and so does every other program, when the server has ended.
    assert_eq!(server.ask(&token).status, 200);
    assert_eq!(world.upstream.secrets(), ["key-one", "key-two", "key-two"]);
    server.stop().expect_code(0);
    let left = world.cooldown("acme:key-one").map(from_now).unwrap();
    assert!((300_000..=400_000).contains(&left), "{left}");
    let first = world.run("models auth token --provider acme --json").json();
    assert_eq!(first["profileId"], "acme:key-two");
    let used = &world.sandbox.read_store("main")["usageStats"]["acme:key-two"]["lastUsed"];
    assert!(used.is_u64(), "{used}");
}

#[test]
fn where_all_are_in_cooldown_nothing_is_sent_and_the_soonest_end_is_told() {
    let world = World::with_keys(&["key-one", "key-two"]);
    world.upstream.set("key-one", limited("400")).set("key-two", limited("90"));
    let token = world.client("tool --provider acme");
    let server = world.serve(&[]);
    let refused = server.ask(&token);
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), Some("90"));
    let sent = world.upstream.seen().len();
    let refused = server.ask(&token);
    assert_eq!((refused.status, world.upstream.seen().len()), (429, sent));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=90).contains(&wait), "{wait}");
}

#[test]
fn what_the_command_line_changes_counts_for_the_next_request() {
    let world = World::with_keys(&["key-one", "key-two"]);
    let token = world.client("tool --provider acme");
    let server = world.serve(&[]);
    let asked = |conversation: &str| {
        let body = json!({"model": "m", "prompt_cache_key": conversation});
        let answer = server.post("/acme/chat/completions", &token, &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        world.upstream.secrets().last().unwrap().clone()
    };
    assert_eq!(asked("a"), "key-one");
    world.run("models auth order set --provider acme acme:key-two acme:key-one").expect_code(0);
    assert_eq!(asked("b"), "key-two");
    // A conversation stays where its caches are.
    assert_eq!(asked("a"), "key-one");
    world.run("models auth report acme:key-two --failed rate_limit").expect_code(0);
    assert_eq!(asked("c"), "key-one");
    world.run("models auth cooldown clear acme:key-two").expect_code(0);
    assert_eq!(asked("d"), "key-two");
    world.run("models auth remove acme:key-two").expect_code(0);
    assert_eq!(asked("e"), "key-one");
    // An editor's change, too.
    world.upstream.set("key-new", Behaviour::Serve);
    world.sandbox.edit_store("main", |store| {
        store["profiles"]["acme:key-one"]["key"] = "key-new".into();
    });
    assert_eq!(asked("f"), "key-new");
}

#[test]
fn new_conversations_take_turns_where_nobody_set_an_order() {
    let world = World::with_keys(&["key-one", "key-two"]);
    world.sandbox.edit_store("main", |store| store["order"] = json!({}));
    let token = world.client("tool --provider acme");
    let server = world.serve(&[]);
    for conversation in ["a", "b", "c", "d"] {
        let body = json!({"model": "m", "prompt_cache_key": conversation});
        assert_eq!(server.post("/acme/chat/completions", &token, &body).status, 200);
    }
    let mut secrets = world.upstream.secrets();
    secrets.sort();
    assert_eq!(secrets, ["key-one", "key-one", "key-two", "key-two"]);
}

#[test]
fn an_overload_is_over_in_seconds_and_counts_as_no_failure() {
    let world = World::with_keys(&["key-one", "key-two"]);
    let body = json!({"error": {"type": "overloaded_error", "message": "Overloaded"}});
    world.upstream.set("key-one", Behaviour::Refuse(529, Vec::new(), body));
    let token = world.client("tool --provider acme");
    let server = world.serve(&[]);
    assert_eq!(server.ask(&token).status, 200);
    server.stop().expect_code(0);
    let usage = &world.sandbox.read_store("main")["usageStats"]["acme:key-one"];
    let left = from_now(usage["cooldownUntil"].as_u64().unwrap());
    assert!(left <= 30_000 && usage["errorCount"].as_u64().unwrap_or(0) == 0, "{usage}");
}

#[test]
fn a_damaged_store_is_told_and_left_and_served_again_when_it_is_whole() {
    let mut world = World::with_keys(&["key-one"]);
    world.sandbox.set_env("CLAWDBOT_LOCK_TIMEOUT", "0");
    let token = world.client("tool --provider acme");
    let server = world.serve(&[]);
    assert_eq!(server.ask(&token).status, 200);
    let path = world.sandbox.store_path("main");
    let whole = std::fs::read(&path).unwrap();
    for name in std::fs::read_dir(world.sandbox.agent_dir("main")).unwrap() {
        let name = name.unwrap().path();
        if name.extension().is_some_and(|it| it == "bak") {
            std::fs::remove_file(name).unwrap();
        }
    }
    write(&path, b"{");
    assert_eq!(server.ask(&token).status, 503);
    assert_eq!(std::fs::read(&path).unwrap(), b"{");
    write(&path, &whole);
    assert_eq!(server.ask(&token).status, 200);
}
