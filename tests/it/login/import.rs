//! `models auth import`: taken once, only what was chosen, and the other tool's file is left as it is.

use e2e::issuer::Issuer;
use e2e::sandbox::{Sandbox, write};
use serde_json::{Value, json};

const REFRESH: &str = "rt-of-codex-0123456789";

/// A home in which Codex is logged in; the text of its file.
fn with_codex() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let codex = json!({
        "OPENAI_API_KEY": null,
        "tokens": {"access_token": "at-of-codex", "refresh_token": REFRESH, "account_id": "acc-1"},
        "last_refresh": "2026-01-01T00:00:00Z",
    });
    let text = codex.to_string();
    write(&sandbox.home().join(".codex/auth.json"), text.as_bytes());
    (sandbox, text)
}

fn import(sandbox: &Sandbox, more: &[&str]) -> e2e::sandbox::Finished {
    let run = sandbox.run(&[&["models", "auth", "import"][..], more].concat());
    assert!(!run.stdout.contains(REFRESH) && !run.stderr.contains(REFRESH), "{run:#?}");
    run
}

#[test]
fn nothing_is_taken_of_a_login_until_somebody_says_what() {
    let (sandbox, _) = with_codex();
    let run = import(&sandbox, &["--from", "codex"]);
    assert!(run.expect_code(64).stderr.contains("log each other out"), "{run:#?}");
    assert!(run.stderr.contains("models auth login --provider openai-codex"), "{run:#?}");
    assert!(!sandbox.store_path("main").exists());
}

#[test]
fn an_access_token_is_taken_without_the_refresh_token() {
    let (sandbox, before) = with_codex();
    import(&sandbox, &["--from", "codex", "--access-only"]).expect_code(0);
    let profile = sandbox.profile("main", "openai-codex:imported");
    assert_eq!((&profile["type"], &profile["token"]), (&json!("token"), &json!("at-of-codex")));
    assert!(!sandbox.read_store("main").to_string().contains(REFRESH));
    let after = std::fs::read_to_string(sandbox.home().join(".codex/auth.json")).unwrap();
    assert_eq!(after, before);
}

#[test]
fn a_login_that_is_moved_comes_with_the_warning_and_only_once() {
    let (sandbox, _) = with_codex();
    let moved = import(&sandbox, &["--from", "codex", "--take-over"]);
    assert!(moved.expect_code(0).stderr.contains("must not use that login any more"), "{moved:#?}");
    let profile = sandbox.profile("main", "openai-codex:imported");
    assert_eq!((&profile["refresh"], &profile["accountId"]), (&json!(REFRESH), &json!("acc-1")));
    let again = import(&sandbox, &["--from", "codex", "--take-over"]);
    assert!(again.expect_code(64).stderr.contains("--force"), "{again:#?}");
}

#[test]
fn a_login_that_nobody_can_renew_here_gives_its_access_token_only() {
    let sandbox = Sandbox::new();
    let claude = json!({"claudeAiOauth": {
        "accessToken": "sk-ant-oat01-x", "refreshToken": REFRESH, "expiresAt": 9_999_999_999_999_u64,
    }});
    write(&sandbox.home().join(".claude/.credentials.json"), claude.to_string().as_bytes());
    import(&sandbox, &["--from", "claude", "--take-over"]).expect_code(64);
    import(&sandbox, &["--from", "claude", "--access-only", "--json"]).expect_code(0);
    let token = sandbox.run(&["models", "auth", "token", "--provider", "anthropic"]);
    assert_eq!(token.expect_code(0).line(), "sk-ant-oat01-x");
}

#[test]
fn a_store_from_another_machine_is_moved_whole_and_works() {
    let (old, new, issuer) = (Sandbox::new(), Sandbox::new(), Issuer::start());
    old.seed_expired(&issuer, "acme", &["alice"]);
    old.edit_store("main", |store| {
        store["profiles"]["acme:alice"]["note"] = json!([1, 2]);
        store["profiles"]["openai:default"] =
            json!({"type": "api_key", "provider": "openai", "key": "sk-1"});
    });
    new.write_manifest("acme", &issuer.manifest("acme"));
    let path = old.store_path("main");
    let run = import(&new, &["--from", path.to_str().unwrap(), "--take-over", "--json"]);
    assert_eq!(run.expect_code(0).json()["imported"].as_array().unwrap().len(), 2);
    assert_eq!(new.profile("main", "acme:alice")["note"], json!([1, 2]));
    assert_eq!(new.profile("main", "openai:default")["key"], "sk-1");
    new.run(&["models", "auth", "token", "--provider", "acme"]).expect_code(0);
    assert_eq!(issuer.requests("refresh_token"), 1);
}

#[test]
fn a_file_with_nothing_in_it_imports_nothing() {
    let sandbox = Sandbox::new();
    import(&sandbox, &["--from", "codex", "--access-only"]).expect_code(3);
    for (text, code) in [("{}", 3), ("not json", 3)] {
        let path = sandbox.home().join("file.json");
        write(&path, text.as_bytes());
        import(&sandbox, &["--from", path.to_str().unwrap(), "--access-only"]).expect_code(code);
    }
    import(&sandbox, &["--from", "/no/such/file", "--access-only"]).expect_code(64);
    assert_eq!(Value::Bool(sandbox.store_path("main").exists()), json!(false));
}

#[test]
fn why_there_is_nothing_to_import_is_said() {
    let (sandbox, text) = with_codex();
    let path = sandbox.home().join(".codex/auth.json");
    let refused = |sandbox: &Sandbox| {
        let run = import(sandbox, &["--from", "codex"]);
        run.expect_code(3);
        run.stderr
    };
    write(&path, &text.as_bytes()[..text.len() / 2]);
    assert!(refused(&sandbox).contains("is damaged: EOF"));
    write(&path, b"{}");
    assert!(refused(&sandbox).contains("there is no login"));
    std::fs::remove_file(&path).unwrap();
    assert!(refused(&sandbox).contains("there is no login"));
    std::fs::create_dir(&path).unwrap();
    let said = refused(&sandbox);
    assert!(said.contains("cannot be read: it is a directory") && said.contains("ls -l"), "{said}");
}
