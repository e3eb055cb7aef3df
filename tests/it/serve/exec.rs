//! `models auth exec --proxy`: one program, no daemon.

use super::{World, limited};

/// A script that shows what it was given, and asks the provider with it.
fn script(world: &World, more: &str) -> String {
    let path = world.sandbox.home().join("tool.sh");
    let text = format!(
        "#!/bin/sh\nenv | sort\ncurl -sS -H \"authorization: Bearer $ACME_API_KEY\" \
         -H 'content-type: application/json' -d '{{\"model\":\"m\"}}' \
         \"$ACME_BASE_URL/chat/completions\"\n{more}\n"
    );
    e2e::sandbox::write(&path, text.as_bytes());
    e2e::sandbox::set_mode(&path, 0o755);
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_program_gets_a_token_of_its_own_and_fails_over_without_a_daemon() {
    let mut world = World::with_keys(&["key-one", "key-two"]);
    world.sandbox.allow_scripts();
    world.sandbox.set_env("ANTHROPIC_API_KEY", "SECRET-of-somebody-else");
    world.upstream.set("key-one", limited("400"));
    let tool = script(&world, "exit 3");
    let exec = ["models", "auth", "exec", "--proxy", "--provider", "acme", "--", tool.as_str()];
    let ran = world.sandbox.run(&exec);
    ran.expect_code(3);
    assert!(ran.stdout.contains("pong"), "{ran:?}");
    assert!(ran.stdout.contains("ACME_API_KEY=clawd_"), "{ran:?}");
    assert!(!ran.stdout.contains("key-one") && !ran.stdout.contains("key-two"), "{ran:?}");
    assert_eq!(world.upstream.secrets(), ["key-one", "key-two"]);
    // What it learned is in the store before it ends.
    assert!(world.cooldown("acme:key-one").is_some());
    assert!(!world.sandbox.state().join("clients.json").exists());
    // Its token is worth nothing afterwards, nor is there anybody to show it to.
    let line = ran.stdout.lines().find(|line| line.starts_with("ACME_BASE_URL=")).unwrap();
    let base = line.trim_start_matches("ACME_BASE_URL=");
    assert!(e2e::http::get(&format!("{base}/models")).is_err());
}

#[test]
fn the_provider_of_a_profile_is_granted_and_no_other() {
    let mut world = World::with_keys(&["key-one", "key-two"]);
    world.sandbox.allow_scripts();
    let tool = script(&world, "kill -TERM $$");
    let exec =
        ["models", "auth", "exec", "--proxy", "--profile", "acme:key-two", "--", tool.as_str()];
    world.sandbox.run(&exec).expect_code(128 + 15);
    assert_eq!(world.upstream.secrets(), ["key-two"]);
    let unknown = world.run("models auth exec --proxy --provider nobody -- true");
    assert!(unknown.expect_code(64).stderr.contains("is not known here"));
}
