//! Pasted secrets: from standard input, stored completely, never shown.

use e2e::sandbox::Sandbox;
use serde_json::json;

const TOKEN: &str =
    "sk-ant-oat01-aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggg";

fn handed_out(sandbox: &Sandbox, provider: &str) -> String {
    let run = sandbox.run(&["models", "auth", "token", "--provider", provider]);
    run.expect_code(0).line().to_owned()
}

#[test]
fn a_setup_token_is_stored_and_handed_out() {
    let sandbox = Sandbox::new();
    let run =
        sandbox.run_with_input(&["models", "auth", "setup-token", "--yes"], &format!("{TOKEN}\n"));
    run.expect_code(0);
    let expected = json!({"type": "token", "provider": "anthropic", "token": TOKEN,
        "destinations": ["https://api.anthropic.com"]});
    assert_eq!(sandbox.profile("main", "anthropic:manual"), expected);
    assert_eq!(handed_out(&sandbox, "anthropic"), TOKEN);
    assert!(!format!("{}{}", run.stdout, run.stderr).contains(TOKEN), "{run:#?}");
}

#[test]
fn a_token_pasted_across_line_wraps_is_whole_again() {
    let sandbox = Sandbox::new();
    let wrapped = format!("  {}\r\n   {}  \n{}\n", &TOKEN[..40], &TOKEN[40..60], &TOKEN[60..]);
    let args = ["models", "auth", "paste-token", "--provider", "anthropic", "--expires-in", "365d"];
    sandbox.run_with_input(&args, &wrapped).expect_code(0);
    let profile = sandbox.profile("main", "anthropic:manual");
    assert_eq!(profile["token"], TOKEN);
    assert!(profile["expires"].as_u64().unwrap() > e2e::now_ms() + 364 * 86_400_000);
}

#[test]
fn a_token_that_looks_odd_is_stored_with_a_warning() {
    let sandbox = Sandbox::new();
    let args = ["models", "auth", "paste-token", "--provider", "anthropic"];
    let odd = sandbox.run_with_input(&args, "hello-this-is-not-a-setup-token\n");
    assert!(odd.expect_code(0).stderr.contains("warning"), "{odd:#?}");
    let proper = sandbox.run_with_input(&args, &format!("{TOKEN}\n"));
    assert!(!proper.expect_code(0).stderr.contains("warning"), "{proper:#?}");
}

#[test]
fn an_api_key_of_a_provider_nobody_described_is_stored_and_handed_out() {
    let sandbox = Sandbox::new();
    let args = ["models", "auth", "paste-api-key", "--provider", "acme"];
    sandbox.run_with_input(&args, "key-0123456789abcdef\n").expect_code(0);
    assert_eq!(sandbox.profile("main", "acme:default")["type"], "api_key");
    assert_eq!(handed_out(&sandbox, "acme"), "key-0123456789abcdef");
    let named = [&args[..], &["--profile-id", "acme:work"]].concat();
    sandbox.run_with_input(&named, "key-of-work-0123456789\n").expect_code(0);
    assert_eq!(sandbox.profile("main", "acme:default")["key"], "key-0123456789abcdef");
    assert_eq!(sandbox.profile("main", "acme:work")["key"], "key-of-work-0123456789");
}

#[test]
fn nothing_pasted_stores_nothing() {
    let sandbox = Sandbox::new();
    let args = ["models", "auth", "paste-api-key", "--provider", "acme"];
    for input in ["", "\n", "   \n\n"] {
        let run = sandbox.run_with_input(&args, input);
        assert_eq!(run.code, Some(64), "{input:?}: {run:#?}");
        assert!(!sandbox.store_path("main").exists());
    }
}

#[test]
fn what_others_wrote_survives_a_paste() {
    let sandbox = Sandbox::new();
    let store = json!({
        "version": 1,
        "profiles": {
            "acme:old": {"type": "api_key", "provider": "acme", "key": "old-key-0123456789", "note": [1, 2.50]},
            "later:thing": {"type": "passkey", "provider": "later", "blob": {"a": 1}},
            "broken": "not an object",
        },
        "order": {"acme": ["acme:old"]},
        "future": {"deep": [true, null]},
    });
    sandbox.seed_store("main", &store);
    let args = ["models", "auth", "paste-api-key", "--provider", "acme"];
    sandbox.run_with_input(&args, "key-0123456789abcdef\n").expect_code(0);
    let after = sandbox.read_store("main");
    for pointer in
        ["/profiles/acme:old", "/profiles/later:thing", "/profiles/broken", "/order", "/future"]
    {
        assert_eq!(after.pointer(pointer), store.pointer(pointer), "{pointer} was lost");
    }
}
