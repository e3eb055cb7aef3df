//! The config: read as users write it, in several files; changed without touching unrelated bytes.

use e2e::sandbox::{Sandbox, write};
use serde_json::json;
use std::fs;

fn config(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.state().join("clawdbot.json")).unwrap()
}

/// A home with a key of an unknown provider.
fn home() -> Sandbox {
    let sandbox = Sandbox::new();
    let key = json!({"type": "api_key", "provider": "acme", "key": "key-0123456789"});
    let profiles =
        json!({"acme:a": key, "other:b": {"type": "api_key", "provider": "other", "key": "k"}});
    sandbox.seed_store("main", &json!({"version": 1, "profiles": profiles}));
    sandbox
}

#[test]
fn models_are_set_listed_and_taken_away_without_a_changed_comment() {
    let sandbox = Sandbox::new();
    let before = "{\n  // models\n  agents: {\n    defaults: {\n      model: 'a/one', // the best\n    },\n  },\n}\n";
    sandbox.write_config(before);
    let run = |words: &[&str]| sandbox.run(&[&["models"], words].concat()).expect_code(0).clone();
    run(&["set", "b/two"]);
    assert_eq!(config(&sandbox), before.replace("a/one", "b/two"));
    run(&["fallbacks", "add", "c/three"]);
    run(&["fallbacks", "add", "d/four"]);
    run(&["fallbacks", "add", "c/three"]);
    let fallbacks = ["fallbacks", "list", "--json"];
    assert_eq!(run(&fallbacks).json(), json!({"fallbacks": ["c/three", "d/four"]}));
    run(&["aliases", "add", "Big", "c/three"]);
    assert_eq!(run(&["aliases", "list", "--json"]).json(), json!({"aliases": {"Big": "c/three"}}));
    run(&["set", "Big"]);
    assert_eq!(run(&["status", "--plain"]).line(), "Big".replace("Big", "c/three"));
    run(&["fallbacks", "remove", "Big"]);
    assert_eq!(run(&["fallbacks", "list", "--plain"]).line(), "d/four");
    run(&["fallbacks", "clear"]);
    assert_eq!(run(&fallbacks).json(), json!({"fallbacks": []}));
    run(&["aliases", "remove", "Big"]);
    run(&["set-image", "e/five"]);
    run(&["image-fallbacks", "add", "f/six"]);
    assert_eq!(run(&["image-fallbacks", "list", "--plain"]).line(), "f/six");
    let now = config(&sandbox);
    assert!(now.contains("// models\n") && now.contains("// the best\n"), "{now}");
    for wrong in [&["fallbacks", "remove", "x/y"][..], &["aliases", "remove", "x"], &["set", " "]] {
        sandbox.run(&[&["models"], wrong].concat()).expect_code(64);
    }
    assert_eq!(config(&sandbox), now);
}

#[test]
fn the_model_of_one_agent_is_set_in_its_entry() {
    let sandbox = Sandbox::new();
    sandbox
        .write_config("{ agents: { list: [{ id: 'main' }, { id: 'Work', model: 'a/b' }] } } // x");
    sandbox.run(&["models", "set", "c/d", "--agent", "work"]).expect_code(0);
    assert_eq!(
        config(&sandbox),
        "{ agents: { list: [{ id: 'main' }, { id: 'Work', model: 'c/d' }] } } // x"
    );
    sandbox.run(&["models", "aliases", "list", "--agent", "work"]).expect_code(64);
}

#[test]
fn an_edit_goes_to_the_part_that_holds_the_key() {
    let sandbox = home();
    let main = "{ auth: { $include: './parts/auth.json5' } } // main\n";
    sandbox.write_config(main);
    let part = sandbox.state().join("parts/auth.json5");
    write(&part, b"{ // of auth\r\n  order: { acme: ['acme:a'] },\r\n}\r\n");
    let paste =
        ["models", "auth", "paste-api-key", "--provider", "acme", "--profile-id", "acme:new"];
    sandbox.run_with_input(&paste, "key-new-0123456789").expect_code(0);
    assert_eq!(config(&sandbox), main);
    let now = fs::read_to_string(part).unwrap();
    assert!(
        now.starts_with("{ // of auth\r\n  order: { acme: ['acme:a', 'acme:new'] },\r\n"),
        "{now}"
    );
    assert!(!now.replace("\r\n", "").contains('\n'), "{now:?}");
}

#[test]
fn mistakes_are_named_by_file_line_column_and_key() {
    let sandbox = home();
    sandbox.write_config("{\n  auth: { order: { acme: ['acme:a' 'x'] } },\n}");
    let run = sandbox.run(&["models", "status"]);
    run.expect_code(64);
    for part in ["clawdbot.json`", "line 2, column 36", "`auth.order.acme`"] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
    // Invalid values are ignored where possible, and reported.
    sandbox.write_config("{\n  auth: { order: { acme: ['acme:a', 5] } },\n}");
    let run = sandbox.run(&["models", "auth", "list"]);
    run.expect_code(0);
    let told = "`auth.order.acme[1]` is ignored: expected a string";
    assert!(
        run.stderr.contains(told) && run.stderr.contains("line 2, column 37"),
        "{}",
        run.stderr
    );
}

#[test]
fn an_odd_order_is_told_by_every_command_that_shows_routing() {
    let sandbox = home();
    sandbox.write_config(
        "{ auth: { order: { acme: ['acme:a', 'acme:gone', 'other:b'], none: [] } } }",
    );
    let commands: [&[&str]; 5] = [
        &["models", "status"],
        &["models", "auth", "list"],
        &["models", "auth", "order", "get", "--provider", "acme"],
        &["models", "auth", "explain", "--provider", "acme"],
        &["models", "auth", "token", "--provider", "acme"],
    ];
    for words in commands {
        let run = sandbox.run(words);
        run.expect_code(0);
        assert!(run.stderr.contains("acme:gone"), "{words:?}: {}", run.stderr);
        assert!(run.stderr.contains("other:b"), "{words:?}: {}", run.stderr);
    }
    for words in &commands[..2] {
        let run = sandbox.run(words);
        assert!(run.stderr.contains("none: the order is empty"), "{words:?}: {}", run.stderr);
    }
}

#[test]
fn a_directory_of_its_own_is_found_by_every_command() {
    let sandbox = Sandbox::new();
    sandbox.write_config(
        "{ agents: { list: [{ id: 'main' }, { id: 'work', agentDir: '~/elsewhere/../own' }] } }",
    );
    let paste = ["models", "auth", "paste-api-key", "--provider", "acme", "--agent", "work"];
    sandbox.run_with_input(&paste, "key-0123456789").expect_code(0);
    assert!(sandbox.home().join("own/auth-profiles.json").exists());
    let token = ["models", "auth", "token", "--provider", "acme", "--agent", "work"];
    assert_eq!(sandbox.run(&token).expect_code(0).line(), "key-0123456789");
    sandbox.run(&token[..5]).expect_code(3);
    sandbox.run(&["agents", "share", "main", "--from", "work"]).expect_code(0);
    assert_eq!(sandbox.run(&token[..5]).expect_code(0).line(), "key-0123456789");
}
