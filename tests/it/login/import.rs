//! `models auth import`: imports once, only what the user chose, and leaves the other tool's file
//! unchanged.

use e2e::issuer::Issuer;
use e2e::sandbox::{Sandbox, write};
use serde_json::{Value, json};

const REFRESH: &str = "rt-of-codex-0123456789";

/// A home with a Codex login; also returns the text of its file.
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
    let before = std::fs::read(sandbox.store_path("main")).unwrap();
    let again = import(&sandbox, &["--from", "codex", "--take-over"]);
    assert!(again.expect_code(0).stdout.contains("Unchanged"), "{again:#?}");
    assert_eq!(std::fs::read(sandbox.store_path("main")).unwrap(), before);
}

/// A store of three profiles, the last one with this key.
fn three(key: &str) -> Value {
    json!({"version": 1, "profiles": {
        "openai:default": {"type": "api_key", "provider": "openai", "key": "sk-1-0123456789abcdef",
            "label": "mine", "email": "me@example.test", "metadata": {"team": [1, 2.50]}},
        "acme:me": {"type": "token", "provider": "acme", "token": "t-0123456789",
            "accountId": "acc-1", "note": null},
        "groq:default": {"type": "api_key", "provider": "groq", "key": key},
    }})
}

fn written(sandbox: &Sandbox, value: &Value) -> String {
    let path = sandbox.home().join("from.json");
    write(&path, value.to_string().as_bytes());
    path.to_str().unwrap().to_owned()
}

#[test]
fn nothing_is_imported_if_one_entry_cannot_be() {
    let sandbox = Sandbox::new();
    for wrong in ["sk-0123...89ab", "sk-\u{1}0123456789", "https://acme.example/key"] {
        let from = written(&sandbox, &three(wrong));
        let before = std::fs::read(&from).unwrap();
        let run = import(&sandbox, &["--from", &from]);
        let said = &run.expect_code(64).stderr;
        assert!(said.contains("`groq:default`") && said.contains("nothing was stored"), "{said}");
        assert!(!said.contains("0123"), "{said}");
        assert!(!sandbox.store_path("main").exists());
        assert_eq!(std::fs::read(&from).unwrap(), before);
    }
    let mut named = three("gsk-0123456789");
    let profile = named["profiles"]["groq:default"].take();
    named["profiles"]["groq:\nx"] = profile;
    let run = import(&sandbox, &["--from", &written(&sandbox, &named)]);
    assert!(run.expect_code(64).stderr.contains("no name for a profile"), "{run:#?}");
    assert!(!sandbox.store_path("main").exists());

    // The control: with a valid key, everything is imported.
    let all = three("gsk-0123456789");
    import(&sandbox, &["--from", &written(&sandbox, &all)]).expect_code(0);
    assert_eq!(sandbox.read_store("main")["profiles"], all["profiles"]);
}

#[test]
fn a_name_that_is_taken_goes_to_the_next_one_and_is_replaced_only_by_force() {
    let sandbox = Sandbox::new();
    let other = json!({"type": "api_key", "provider": "openai", "key": "sk-other-0123456789"});
    sandbox.seed_store("main", &json!({"version": 1, "profiles": {"openai:default": other}}));
    let from = written(&sandbox, &three("gsk-0123456789"));
    let run = import(&sandbox, &["--from", &from, "--json"]);
    let ids = run.expect_code(0).json()["imported"].clone();
    let ids: Vec<_> = ids.as_array().unwrap().iter().map(|it| it["profileId"].clone()).collect();
    assert_eq!(ids, ["openai:default-2", "acme:me", "groq:default"]);
    assert!(run.stderr.contains("`openai:default` holds another key"), "{run:#?}");
    assert_eq!(sandbox.profile("main", "openai:default"), other);
    assert_eq!(sandbox.profile("main", "openai:default-2")["label"], "mine");

    let codex = json!({"OPENAI_API_KEY": "sk-third-0123456789"});
    write(&sandbox.home().join(".codex/auth.json"), codex.to_string().as_bytes());
    let named = ["--from", "codex", "--profile-id", "openai:default"];
    let refused = import(&sandbox, &named);
    assert!(refused.expect_code(64).stderr.contains("--force"), "{refused:#?}");
    assert_eq!(sandbox.profile("main", "openai:default"), other);
    import(&sandbox, &[&named[..], &["--force"]].concat()).expect_code(0);
    assert_eq!(sandbox.profile("main", "openai:default")["key"], "sk-third-0123456789");
}

#[test]
fn a_login_keeps_its_account_whatever_is_taken_of_it() {
    let login = json!({"type": "oauth", "provider": "openai-codex", "access": "at-0123456789",
        "refresh": REFRESH, "expires": 9_999_999_999_999_u64, "accountId": "acc-1",
        "email": "me@example.test", "label": "work", "chatgptPlanType": "pro"});
    let from = json!({"version": 1, "profiles": {"openai-codex:me": login}});
    for (option, kind) in [("--access-only", "token"), ("--take-over", "oauth")] {
        let sandbox = Sandbox::new();
        import(&sandbox, &["--from", &written(&sandbox, &from), option]).expect_code(0);
        let profile = sandbox.profile("main", "openai-codex:me");
        assert_eq!(profile["type"], kind);
        for name in ["accountId", "email", "label", "chatgptPlanType", "expires"] {
            assert_eq!(profile[name], login[name], "{option}: {name}");
        }
        let has_refresh = sandbox.read_store("main").to_string().contains(REFRESH);
        assert_eq!(has_refresh, option == "--take-over");
    }
}

#[test]
fn what_opencode_keeps_is_imported_as_keys_and_what_is_left_out_is_named() {
    let sandbox = Sandbox::new();
    let from = written(
        &sandbox,
        &json!({
            "openrouter": {"type": "api", "key": "sk-or-0123456789", "metadata": {"a": "b"}},
            "groq": {"type": "api", "key": "!op read op://work/groq"},
            "acme": {"type": "api", "key": "{env:ACME_KEY}"},
            "https://x.example": {"type": "wellknown", "key": "X", "token": "t-secret"},
        }),
    );
    let run = import(&sandbox, &["--from", &from]);
    let kept = json!({"type": "api_key", "provider": "openrouter", "key": "sk-or-0123456789",
        "metadata": {"a": "b"}});
    assert_eq!(run.expect_code(0).stderr.matches("note: left out: ").count(), 3, "{run:#?}");
    assert_eq!(sandbox.read_store("main")["profiles"], json!({"openrouter:default": kept}));
    for part in ["paste-api-key --provider groq --from-command", "--from-env ACME_KEY", "x.example"]
    {
        assert!(run.stderr.contains(part), "{part}: {run:#?}");
    }
    assert!(!run.stderr.contains("t-secret") && !run.stderr.contains("op://"), "{run:#?}");
}

#[test]
fn of_a_codex_file_with_a_key_and_a_login_it_is_said_what_was_taken() {
    let codex = json!({
        "OPENAI_API_KEY": "sk-0123456789abcdef",
        "tokens": {"access_token": "at-of-codex", "refresh_token": REFRESH, "account_id": "acc-1"},
    });
    let sandbox = Sandbox::new();
    write(&sandbox.home().join(".codex/auth.json"), codex.to_string().as_bytes());
    // Not even the key is imported until the user decides about the login.
    import(&sandbox, &["--from", "codex"]).expect_code(64);
    assert!(!sandbox.store_path("main").exists());
    let run = import(&sandbox, &["--from", "codex", "--access-only"]);
    for part in [
        "the API key as profile `openai:default`",
        "the access token as profile `openai-codex:imported`",
    ] {
        assert!(run.expect_code(0).stdout.contains(part), "{part}: {run:#?}");
    }
    assert_eq!(sandbox.profile("main", "openai-codex:imported")["accountId"], "acc-1");
}

#[test]
fn a_login_that_was_renewed_here_since_is_not_imported_again() {
    let (old, new, issuer) = (Sandbox::new(), Sandbox::new(), Issuer::start());
    old.seed_expired(&issuer, "acme", &["alice"]);
    new.write_manifest("acme", &issuer.manifest("acme"));
    let path = old.store_path("main");
    let take = ["--from", path.to_str().unwrap(), "--take-over"];
    import(&new, &take).expect_code(0);
    let token = ["models", "auth", "token", "--provider", "acme"];
    let first = new.run(&token);
    first.expect_code(0);
    let before = std::fs::read(new.store_path("main")).unwrap();
    let again = import(&new, &take);
    assert!(again.expect_code(0).stdout.contains("Unchanged: profile `acme:alice`"), "{again:#?}");
    assert_eq!(std::fs::read(new.store_path("main")).unwrap(), before);
    assert_eq!(new.run(&token).expect_code(0).line(), first.line());
    assert_eq!(issuer.requests("refresh_token"), 1);
}

#[test]
fn a_file_that_cannot_be_read_whole_changes_nothing() {
    let sandbox = Sandbox::new();
    let whole = three("gsk-0123456789").to_string();
    let later = json!({"version": 7, "profiles": three("gsk-0123456789")["profiles"]}).to_string();
    let cases: [(&[u8], &str); 4] = [
        (&whole.as_bytes()[..whole.len() / 2], "is damaged: EOF"),
        (later.as_bytes(), "later version (7)"),
        (b"SQLite format 3\0\x10\0", "is a database"),
        (b"\xff\xfe{\0}\0", "UTF-16"),
    ];
    for (bytes, wanted) in cases {
        let path = sandbox.home().join("from.json");
        write(&path, bytes);
        let run = import(&sandbox, &["--from", path.to_str().unwrap()]);
        assert!(run.expect_code(3).stderr.contains(wanted), "{wanted}: {run:#?}");
        assert!(!sandbox.store_path("main").exists(), "{wanted}");
    }
}

#[test]
fn the_files_of_pi_are_as_they_were_whatever_runs_with_its_variable() {
    let mut sandbox = Sandbox::new();
    let pi = sandbox.home().join(".pi/agent");
    let login = json!({"openai-codex": {"type": "oauth", "access": "a", "refresh": REFRESH,
        "expires": 9_999_999_999_999_u64}, "zai": {"type": "api_key", "key": "k-0123456789"}});
    write(&pi.join("auth.json"), login.to_string().as_bytes());
    write(&pi.join("settings.json"), b"{}");
    let listing = || {
        let entries = std::fs::read_dir(&pi).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<_> = entries.map(|path| (std::fs::read(&path).unwrap(), path)).collect();
        all.sort();
        all
    };
    let before = listing();
    sandbox.set_env("PI_CODING_AGENT_DIR", &pi);
    let paste = ["models", "auth", "paste-api-key", "--provider", "acme"];
    sandbox.run(&["models", "status"]);
    sandbox.run(&["models", "auth", "list"]).expect_code(0);
    sandbox.run_with_input(&paste, "key-0123456789abcdef\n").expect_code(0);
    sandbox.run(&["models", "auth", "token", "--provider", "acme"]).expect_code(0);
    let from = pi.join("auth.json");
    import(&sandbox, &["--from", from.to_str().unwrap(), "--access-only"]).expect_code(0);
    sandbox.run(&["doctor", "--offline", "--fix"]);
    assert_eq!(listing(), before);
    // A stored profile is in the usual place.
    assert_eq!(sandbox.profile("main", "acme:default")["key"], "key-0123456789abcdef");
    assert_eq!(sandbox.profile("main", "zai:default")["key"], "k-0123456789");
    assert_eq!(sandbox.profile("main", "openai-codex:default")["token"], "a");
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
