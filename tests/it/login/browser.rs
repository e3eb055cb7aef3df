//! Login at the test issuer: by callback, by paste, in two steps; and everything that must not end
//! a login.

use e2e::http;
use e2e::issuer::Issuer;
use e2e::sandbox::Sandbox;
use e2e::user::User;
use serde_json::{Value, json};
use std::net::TcpListener;

const LOGIN: [&str; 6] = ["models", "auth", "login", "--provider", "demo", "--no-browser"];

/// A home with the test issuer as the provider `demo`, after a change to its manifest.
fn home(issuer: &Issuer, change: impl FnOnce(&mut Value)) -> Sandbox {
    let sandbox = Sandbox::new();
    let mut manifest = issuer.manifest("demo");
    change(&mut manifest);
    sandbox.write_manifest("demo", &manifest);
    sandbox
}

fn query_of(url: &str, name: &str) -> String {
    let query = http::decode(url.split_once('?').unwrap().1);
    http::find(&query, name).unwrap_or_else(|| panic!("no {name} in {url}")).to_owned()
}

fn token(sandbox: &Sandbox) -> String {
    let run = sandbox.run(&["models", "auth", "token", "--provider", "demo"]);
    run.expect_code(0).line().to_owned()
}

#[test]
fn a_login_by_callback_stores_the_account_and_hands_out_its_token() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer, |_| {});
    sandbox.log_in("demo", &[]).expect_code(0);
    let profile = sandbox.profile("main", "demo:alice@example.test");
    assert_eq!(profile["type"], "oauth");
    assert_eq!(profile["accountId"], "alice");
    assert_eq!(profile["tokenEndpoint"], issuer.token_endpoint());
    assert_eq!(profile["access"], token(&sandbox));
}

#[test]
fn a_narrower_scope_than_asked_is_told_and_stored() {
    let issuer = Issuer::start();
    issuer.set(|policy| policy.scope = Some("openid offline_access".to_owned()));
    let sandbox = home(&issuer, |_| {});
    let run = sandbox.log_in("demo", &[]);
    assert!(run.expect_code(0).stderr.contains("warning: the provider did not grant: email\n"));
    let run = sandbox.log_in("demo", &["--json"]);
    assert_eq!(run.expect_code(0).json()["warnings"], json!(["the provider did not grant: email"]));
    let profile = sandbox.profile("main", "demo:alice@example.test");
    assert_eq!(profile["scope"], "openid offline_access");
    // The control: all requested scopes.
    issuer.set(|policy| policy.scope = Some("email offline_access openid more".to_owned()));
    assert_eq!(sandbox.log_in("demo", &["--json"]).json()["warnings"], json!([]));
}

/// An attacker who chooses our working directory must not choose the issuer: no `.env` is read,
/// neither there nor in the state directory.
#[test]
fn no_file_of_variables_changes_an_endpoint_or_a_client() {
    let issuer = Issuer::start();
    let mut sandbox =
        home(&issuer, |manifest| manifest["client_id_env"] = json!(["DEMO_CLIENT_ID"]));
    let elsewhere = sandbox.home().join("elsewhere");
    let lines = format!(
        "DEMO_CLIENT_ID=theirs\nCLAWDBOT_STATE_DIR={0}\nHOME={0}\nCLAWDBOT_CONFIG_PATH={0}/c\nHTTP_PROXY=http://127.0.0.1:1\n",
        elsewhere.display()
    );
    let agent = sandbox.agent_dir("main");
    for directory in [sandbox.home(), sandbox.state(), agent] {
        for name in [".env", ".env.local", ".envrc", "clawdbot.env"] {
            e2e::sandbox::write(&directory.join(name), lines.as_bytes());
        }
    }
    let client = |sandbox: &Sandbox| {
        let start = ["models", "auth", "login", "--provider", "demo", "--start", "--json"];
        let run = sandbox.run(&start);
        let url = run.expect_code(0).json()["url"].as_str().unwrap().to_owned();
        assert!(url.starts_with(&format!("{}/authorize?", issuer.url())), "{url}");
        query_of(&url, "client_id")
    };
    assert_eq!(client(&sandbox), e2e::issuer::CLIENT);
    sandbox.log_in("demo", &[]).expect_code(0);
    assert!(!elsewhere.exists());
    // The control: a real environment variable does.
    sandbox.set_env("DEMO_CLIENT_ID", "theirs");
    assert_eq!(client(&sandbox), "theirs");
}

#[test]
fn the_browser_is_told_only_after_the_credential_is_saved() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer, |_| {});
    let mut login = sandbox.start(&LOGIN);
    let url = login.authorization_url();
    let page = User::named("alice").visit(&url).unwrap();
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(sandbox.profile("main", "demo:alice@example.test").is_object());
    login.finish().expect_code(0);
}

#[test]
fn a_login_by_paste_needs_no_callback() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer, |_| {});
    let mut login = sandbox.start(&LOGIN);
    let url = login.authorization_url();
    let redirect = User::named("alice").walk(&url).unwrap();
    login.type_in(&format!("{redirect}\n"));
    login.finish().expect_code(0);
    assert!(sandbox.profile("main", "demo:alice@example.test").is_object());
}

#[test]
fn a_wrong_paste_is_named_and_the_login_goes_on() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer, |_| {});
    let mut login = sandbox.start(&LOGIN);
    let url = login.authorization_url();
    login.type_in("https://example.com/not/a/redirect\n");
    login.type_in("\n");
    let redirect = User::named("alice").walk(&url).unwrap();
    login.type_in(&format!("{redirect}\n"));
    login.finish().expect_code(0);
    assert_eq!(issuer.requests("authorization_code"), 1);
}

#[test]
fn the_end_of_the_input_does_not_end_a_login() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer, |_| {});
    let mut login = sandbox.start(&LOGIN);
    login.close_input();
    let url = login.authorization_url();
    User::named("alice").visit(&url).unwrap();
    login.finish().expect_code(0);
}

#[test]
fn a_login_in_two_steps_is_finished_from_the_input_or_from_an_argument() {
    let issuer = Issuer::start();
    for from_input in [true, false] {
        let sandbox = home(&issuer, |_| {});
        let args = ["models", "auth", "login", "--provider", "demo", "--start", "--json"];
        let start = sandbox.run(&args).expect_code(0).json();
        assert!(start["loginId"].is_string() && start["expires"].is_u64(), "{start}");
        let url = start["url"].as_str().unwrap();
        assert_eq!(query_of(url, "redirect_uri"), start["redirectUri"]);
        let redirect = User::named("alice").walk(url).unwrap();
        let finish = ["models", "auth", "login", "--finish"];
        if from_input {
            let args = [&finish[..], &["-"]].concat();
            sandbox.run_with_input(&args, &redirect).expect_code(0);
        } else {
            sandbox.run(&[&finish[..], &[redirect.as_str()]].concat()).expect_code(0);
        }
        assert!(sandbox.profile("main", "demo:alice@example.test").is_object());
    }
}

#[test]
fn two_finishes_of_one_login_exchange_its_code_once() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer, |_| {});
    let args = ["models", "auth", "login", "--provider", "demo", "--start", "--json"];
    let start = sandbox.run(&args).expect_code(0).json();
    let redirect = User::named("alice").walk(start["url"].as_str().unwrap()).unwrap();
    let finish = ["models", "auth", "login", "--finish", redirect.as_str()];
    let codes: Vec<_> = sandbox.run_many(8, &finish).iter().map(|run| run.code).collect();
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    assert_eq!(issuer.requests("authorization_code"), 1);
}

#[test]
fn the_request_is_the_one_of_the_standards() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer, |_| {});
    let args = ["models", "auth", "login", "--provider", "demo", "--start", "--json"];
    let start = sandbox.run(&args).expect_code(0).json();
    let url = start["url"].as_str().unwrap();
    assert_eq!(query_of(url, "response_type"), "code");
    assert_eq!(query_of(url, "code_challenge_method"), "S256");
    assert_eq!(query_of(url, "code_challenge").len(), 43);
    assert!(query_of(url, "state").len() >= 22 && query_of(url, "nonce").len() >= 22);
    let again = sandbox.run(&args).expect_code(0).json();
    let other = again["url"].as_str().unwrap();
    for name in ["state", "nonce", "code_challenge"] {
        assert_ne!(query_of(url, name), query_of(other, name), "{name} was used twice");
    }
}

#[test]
fn a_mismatched_state_is_ignored_and_the_login_goes_on() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer, |_| {});
    let mut login = sandbox.start(&LOGIN);
    let url = login.authorization_url();
    let redirect = query_of(&url, "redirect_uri");
    for query in ["code=x&state=wrong", "error=access_denied&state=wrong", "code=x", "error=x"] {
        let reply = http::get(&format!("{redirect}?{query}")).unwrap();
        assert_eq!(reply.status, 400, "{query}: {}", reply.text());
    }
    assert_eq!(issuer.requests("authorization_code"), 0);
    User::named("alice").visit(&url).unwrap();
    login.finish().expect_code(0);
}

#[test]
fn a_denied_consent_ends_the_login_with_the_providers_error() {
    let issuer = Issuer::start();
    issuer.set(|policy| policy.deny = true);
    let sandbox = home(&issuer, |_| {});
    let login = sandbox.log_in("demo", &[]);
    login.expect_code(4);
    assert!(login.stderr.contains("access_denied"), "{login:#?}");
    assert!(
        !sandbox.store_path("main").exists() || sandbox.read_store("main")["profiles"] == json!({})
    );
    assert_eq!(issuer.requests("authorization_code"), 0);
}

#[test]
fn a_taken_port_means_the_next_one() {
    let issuer = Issuer::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let (first, second) = (taken.local_addr().unwrap().port(), free.local_addr().unwrap().port());
    let sandbox = home(&issuer, |manifest| manifest["redirect"]["ports"] = json!([first, second]));
    drop(free);
    let mut login = sandbox.start(&LOGIN);
    let url = login.authorization_url();
    assert!(query_of(&url, "redirect_uri").contains(&format!(":{second}/")), "{url}");
    User::named("alice").visit(&url).unwrap();
    login.finish().expect_code(0);
}

#[test]
fn when_every_port_is_taken_the_redirect_is_pasted() {
    let issuer = Issuer::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let sandbox = home(&issuer, |manifest| manifest["redirect"]["ports"] = json!([port]));
    let mut login = sandbox.start(&LOGIN);
    let url = login.authorization_url();
    assert!(query_of(&url, "redirect_uri").contains(&format!(":{port}/")), "{url}");
    let redirect = User::named("alice").walk(&url).unwrap();
    login.type_in(&format!("{redirect}\n"));
    let finished = login.finish();
    finished.expect_code(0);
    assert!(finished.stderr.contains(&port.to_string()), "{finished:#?}");
    assert!(finished.stderr.contains("ssh -L"), "{finished:#?}");
}

#[test]
fn a_second_account_never_overwrites_the_first() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer, |_| {});
    sandbox.log_in("demo", &[]).expect_code(0);
    let first = sandbox.profile("main", "demo:alice@example.test");
    issuer.set(|policy| policy.account = "bob".to_owned());
    sandbox.log_in("demo", &[]).expect_code(0);
    assert_eq!(sandbox.profile("main", "demo:alice@example.test"), first);
    assert_eq!(sandbox.profile("main", "demo:bob@example.test")["accountId"], "bob");
}

#[test]
fn another_account_does_not_take_a_named_profile_over_without_force() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer, |_| {});
    sandbox.log_in("demo", &["--profile-id", "demo:work"]).expect_code(0);
    issuer.set(|policy| policy.account = "bob".to_owned());
    let refused = sandbox.log_in("demo", &["--profile-id", "demo:work"]);
    assert_ne!(refused.code, Some(0), "{refused:#?}");
    assert_eq!(sandbox.profile("main", "demo:work")["accountId"], "alice");
    sandbox.log_in("demo", &["--profile-id", "demo:work", "--force"]).expect_code(0);
    assert_eq!(sandbox.profile("main", "demo:work")["accountId"], "bob");
}

#[test]
fn no_secret_is_printed_during_a_login() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer, |_| {});
    let login = sandbox.log_in("demo", &["--verbose"]);
    login.expect_code(0);
    let profile = sandbox.profile("main", "demo:alice@example.test");
    let said = format!("{}{}", login.stdout, login.stderr);
    for field in ["access", "refresh"] {
        assert!(!said.contains(profile[field].as_str().unwrap()), "{field} was printed");
    }
}

#[cfg(unix)]
#[test]
fn what_a_login_writes_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let issuer = Issuer::start();
    let sandbox = home(&issuer, |_| {});
    sandbox.log_in("demo", &[]).expect_code(0);
    for entry in std::fs::read_dir(sandbox.agent_dir("main")).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", entry.path().display());
    }
}

#[test]
fn the_built_in_codex_login_works_at_a_test_issuer_that_extends_it() {
    let issuer = Issuer::start();
    let account = json!({"chatgpt_account_id": "acct-1", "chatgpt_plan_type": "pro"});
    issuer.set(|policy| {
        let profile = json!({"email": "alice@example.test"});
        policy.claims.insert("https://api.openai.com/auth".to_owned(), account);
        policy.claims.insert("https://api.openai.com/profile".to_owned(), profile);
    });
    let sandbox = Sandbox::new();
    let endpoints = json!({
        "authorization": format!("{}/authorize", issuer.url()),
        "token": issuer.token_endpoint(),
        "revocation": format!("{}/revoke", issuer.url()),
    });
    let manifest = json!({
        "id": "openai-codex", "extends": "openai-codex", "issuer": issuer.url(), "endpoints": endpoints,
        "redirect": {"host": "127.0.0.1", "ports": [], "path": "/auth/callback"},
    });
    sandbox.write_manifest("openai-codex", &manifest);
    sandbox.log_in("openai-codex", &[]).expect_code(0);
    let id = "openai-codex:alice@example.test";
    assert_eq!(sandbox.profile("main", id)["accountId"], "acct-1");
    sandbox.expire("main", id);
    let token = ["models", "auth", "token", "--provider", "openai-codex"];
    assert_eq!(sandbox.run(&token).expect_code(0).line(), sandbox.profile("main", id)["access"]);
    assert_eq!((issuer.requests("refresh_token"), issuer.outcomes("reuse")), (1, 0));
}
