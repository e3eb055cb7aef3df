//! `auth.json` beside the store, as runtimes inside other programs see it.

use e2e::issuer::Issuer;
use e2e::sandbox::{Sandbox, write};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

fn path(sandbox: &Sandbox) -> PathBuf {
    sandbox.agent_dir("main").join("auth.json")
}

fn cache(sandbox: &Sandbox) -> Value {
    let bytes = fs::read(path(sandbox));
    bytes.map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap())
}

fn key(name: &str) -> Value {
    json!({"type": "api_key", "key": format!("key-{name}-0123456789abcdef")})
}

fn paste(sandbox: &Sandbox, name: &str) {
    let id = format!("acme:{name}");
    let args = ["models", "auth", "paste-api-key", "--provider", "acme", "--profile-id", &id];
    let key = format!("key-{name}-0123456789abcdef\n");
    sandbox.run_with_input(&args, &key).expect_code(0);
}

#[test]
fn a_login_is_cached_as_a_key_renewed_with_it_and_gone_after_logout() {
    let issuer = Issuer::start();
    let sandbox = Sandbox::new();
    sandbox.write_manifest("demo", &issuer.manifest("demo"));
    sandbox.log_in("demo", &[]).expect_code(0);
    let token = ["models", "auth", "token", "--provider", "demo"];
    let access = sandbox.run(&token).expect_code(0).line().to_owned();
    assert_eq!(cache(&sandbox), json!({"demo": {"type": "api_key", "key": access}}));
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        assert_eq!(path(&sandbox).metadata().unwrap().mode() & 0o777, 0o600);
    }

    // Reading a fresh token changes nothing.
    let before = path(&sandbox).metadata().unwrap().modified().unwrap();
    sandbox.run(&token).expect_code(0);
    assert_eq!(path(&sandbox).metadata().unwrap().modified().unwrap(), before);

    sandbox.expire("main", "demo:alice@example.test");
    let renewed = sandbox.run(&token).expect_code(0).line().to_owned();
    assert_ne!(renewed, access);
    assert_eq!(cache(&sandbox)["demo"]["key"], renewed);
    let text = fs::read_to_string(path(&sandbox)).unwrap();
    let refresh = sandbox.profile("main", "demo:alice@example.test")["refresh"].clone();
    assert!(!text.contains(refresh.as_str().unwrap()), "a refresh token is in the cache");

    sandbox.run(&["models", "auth", "logout", "demo:alice@example.test"]).expect_code(0);
    assert_eq!(cache(&sandbox), Value::Null);
}

#[test]
fn the_cache_follows_orders_reports_and_removals() {
    let sandbox = Sandbox::new();
    paste(&sandbox, "a");
    paste(&sandbox, "b");
    assert_eq!(cache(&sandbox)["acme"], key("a"));
    let run = |words: &str| {
        sandbox.run(&words.split(' ').collect::<Vec<_>>()).expect_code(0).line().to_owned()
    };
    run("models auth order set --provider acme acme:b acme:a");
    assert_eq!(cache(&sandbox)["acme"], key("b"));
    run("models auth report acme:b --failed rate_limit");
    assert_eq!(cache(&sandbox)["acme"], key("a"));
    run("models auth cooldown clear acme:b");
    assert_eq!(cache(&sandbox)["acme"], key("b"));
    run("models auth remove acme:b");
    assert_eq!(cache(&sandbox)["acme"], key("a"));
    run("models auth remove acme:a");
    assert_eq!(cache(&sandbox), Value::Null);
}

#[test]
fn what_a_runtime_wrote_itself_stays_and_is_not_imported() {
    let sandbox = Sandbox::new();
    paste(&sandbox, "a");
    let theirs = json!({"zeta": {"type": "oauth", "access": "a", "refresh": "r", "expires": 1}});
    let mut both = cache(&sandbox);
    both["zeta"] = theirs["zeta"].clone();
    write(&path(&sandbox), both.to_string().as_bytes());
    paste(&sandbox, "a");
    sandbox.run(&["models", "auth", "remove", "acme:a"]).expect_code(0);
    assert_eq!(cache(&sandbox), theirs);
    fs::remove_file(sandbox.store_path("main")).unwrap();
    let list = sandbox.run(&["models", "auth", "list", "--json"]).expect_code(0).json();
    assert_eq!(list["profiles"], json!([]), "our own cache is no legacy store");
}

#[test]
fn a_legacy_store_is_imported_first_and_then_its_name_is_the_caches() {
    let sandbox = Sandbox::new();
    write(&path(&sandbox), json!({"acme": key("old")}).to_string().as_bytes());
    let order = ["models", "auth", "order", "set", "--provider", "acme", "acme:default"];
    sandbox.run(&order).expect_code(0);
    assert_eq!(sandbox.profile("main", "acme:default")["key"], key("old")["key"]);
    assert_eq!(cache(&sandbox), json!({"acme": key("old")}));

    // With a store, a legacy file is not imported, so it must not be changed.
    let sandbox = Sandbox::new();
    let legacy = json!({"acme": key("old")}).to_string();
    write(&path(&sandbox), legacy.as_bytes());
    let profile = json!({"type": "api_key", "provider": "acme", "key": "key-0123456789abcdef"});
    sandbox.seed_store("main", &json!({"version": 1, "profiles": {"acme:default": profile}}));
    sandbox.run(&order).expect_code(0);
    assert_eq!(fs::read_to_string(path(&sandbox)).unwrap(), legacy);
}
