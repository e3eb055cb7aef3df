//! Where secrets may go: to the origins that were known at the login, and nowhere a manifest points them to later.

use e2e::http::{self, Response};
use e2e::issuer::{Issuer, TokenState};
use e2e::sandbox::Sandbox;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const PROFILE: &str = "demo:alice@example.test";

/// A server of somebody else, and what it was sent.
fn evil() -> (String, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let log = Arc::clone(&seen);
    let url = http::serve(move |request| {
        log.lock().unwrap().push(format!("{} {:?}", request.path(), request.fields()));
        Response::json(200, &json!({}))
    });
    (url, seen)
}

/// A home with a login, and its manifest.
fn home(issuer: &Issuer) -> (Sandbox, Value) {
    let (sandbox, manifest) = (Sandbox::new(), issuer.manifest("demo"));
    sandbox.write_manifest("demo", &manifest);
    sandbox.log_in("demo", &[]).expect_code(0);
    (sandbox, manifest)
}

#[test]
fn a_login_records_the_origins_that_its_secrets_are_for() {
    let issuer = Issuer::start();
    let (sandbox, _) = home(&issuer);
    assert_eq!(sandbox.profile("main", PROFILE)["destinations"], json!([issuer.url()]));
    let show = ["models", "auth", "destination", "show", PROFILE, "--json"];
    let shown = sandbox.run(&show).expect_code(0).json();
    assert_eq!(shown["destinations"], json!([issuer.url()]));
    assert_eq!((&shown["source"], &shown["refused"]), (&json!("recorded"), &json!([])));
    // A refresh keeps the record.
    sandbox.expire("main", PROFILE);
    sandbox.run(&["models", "auth", "token", "--profile", PROFILE]).expect_code(0);
    assert_eq!(sandbox.profile("main", PROFILE)["destinations"], json!([issuer.url()]));
}

#[test]
fn a_manifest_that_is_edited_later_sends_no_token_elsewhere_until_the_user_accepts_it() {
    let issuer = Issuer::start();
    let (sandbox, mut manifest) = home(&issuer);
    let (evil, seen) = evil();
    let refresh = sandbox.profile("main", PROFILE)["refresh"].as_str().unwrap().to_owned();
    manifest["endpoints"]["authorization"] = format!("{}/authorize", issuer.url()).into();
    manifest["endpoints"]["token"] = issuer.token_endpoint().into();
    manifest["endpoints"]["revocation"] = format!("{evil}/revoke").into();
    manifest["probe"] = json!({"url": format!("{evil}/probe")});
    sandbox.write_manifest("demo", &manifest);

    let logout = ["models", "auth", "logout", PROFILE];
    let run = sandbox.run(&logout);
    let said = &run.expect_code(64).stderr;
    assert!(said.contains(&evil) && said.contains(issuer.url()), "{said}");
    assert!(said.contains("models auth destination show"), "{said}");
    let probe = ["models", "status", "--probe"];
    let run = sandbox.run(&probe);
    assert!(run.expect_code(64).stderr.contains(&evil), "{run:#?}");
    assert_eq!(*seen.lock().unwrap(), Vec::<String>::new());
    assert_eq!(issuer.state_of(&refresh), TokenState::Live);
    assert!(sandbox.profile("main", PROFILE).is_object());

    let show = ["models", "auth", "destination", "show", PROFILE];
    let run = sandbox.run(&show);
    assert!(run.expect_code(0).stdout.contains(&evil), "{run:#?}");
    // The control: what the user accepts is sent there.
    sandbox.run(&["models", "auth", "destination", "accept", PROFILE]).expect_code(0);
    sandbox.run(&probe).expect_code(0);
    sandbox.run(&logout).expect_code(0);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.iter().filter(|line| line.starts_with("/revoke")).count(), 2, "{seen:?}");
    assert!(sandbox.profile("main", PROFILE).is_null());
}

#[test]
fn a_key_is_sent_to_the_address_it_was_stored_for_and_to_no_other() {
    let (evil, seen) = evil();
    let (gateway, asked) = self::evil();
    let sandbox = Sandbox::new();
    let paste = ["models", "auth", "paste-api-key", "--provider", "openai"];
    sandbox.run_with_input(&paste, "sk-test-not-a-real-key-000000000000").expect_code(0);
    let recorded = &sandbox.profile("main", "openai:default")["destinations"];
    assert_eq!(recorded, &json!(["https://api.openai.com"]));
    let moved = |to: &str| json!({"id": "openai", "extends": "openai", "probe": {"url": format!("{to}/v1/models")}});
    sandbox.write_manifest("openai", &moved(&evil));
    let probe = ["models", "status", "--probe"];
    sandbox.run(&probe).expect_code(64);
    assert_eq!(seen.lock().unwrap().len(), 0);

    // A key that the user stores for the gateway of a company.
    let base = format!("{gateway}/v1");
    let with_base = [&paste[..], &["--api-base", &base, "--force"]].concat();
    sandbox.run_with_input(&with_base, "sk-test-another-key-000000000000000").expect_code(0);
    let profile = sandbox.profile("main", "openai:default");
    assert_eq!((&profile["apiBase"], &profile["destinations"]), (&json!(base), &json!([gateway])));
    sandbox.run(&probe).expect_code(0);
    assert_eq!((seen.lock().unwrap().len(), asked.lock().unwrap().len()), (0, 0));
    sandbox.write_manifest("openai", &moved(&gateway));
    sandbox.run(&probe).expect_code(0);
    assert_eq!(asked.lock().unwrap().len(), 1);

    for odd in ["http://example.com/v1", "ftp://127.0.0.1/", "llm.example", ""] {
        let args = [&paste[..], &["--api-base", odd, "--force"]].concat();
        sandbox.run_with_input(&args, "sk-test-not-a-real-key-000000000000").expect_code(64);
    }
}

#[test]
fn a_profile_and_a_provider_that_do_not_agree_hand_out_nothing() {
    let issuer = Issuer::start();
    let (sandbox, _) = home(&issuer);
    let access = sandbox.profile("main", PROFILE)["access"].as_str().unwrap().to_owned();
    let token = |provider: &str| {
        let args = ["models", "auth", "token", "--provider", provider, "--profile", PROFILE];
        sandbox.run(&args)
    };
    let run = token("openai");
    assert!(run.expect_code(64).stderr.contains("`openai`"), "{run:#?}");
    assert!(!run.stdout.contains(&access));
    // The controls: the same provider, by each of its names.
    for name in ["demo", "DEMO"] {
        assert_eq!(token(name).expect_code(0).line(), access);
    }
}

#[test]
fn no_tool_is_configured_with_what_does_not_exist_or_does_not_fit() {
    let issuer = Issuer::start();
    let (sandbox, _) = home(&issuer);
    let configure = |more: &[&str]| {
        let args = [&["models", "auth", "configure"][..], more, &["--yes"]].concat();
        sandbox.run(&args).code
    };
    for (refused, code) in [
        (&["codex", "--profile", PROFILE][..], 64),
        (&["claude-code", "--profile", PROFILE][..], 64),
        (&["codex", "--provider", "anthropic"][..], 64),
        (&["claude-code", "--provider", "nobody"][..], 64),
        (&["claude-code", "--profile", "anthropic:nobody"][..], 3),
        (&["codex", "--provider", "openai", "--profile", PROFILE][..], 64),
        (&["git", "--host", "git.example", "--provider", "nobody"][..], 64),
    ] {
        assert_eq!(configure(refused), Some(code), "{refused:?}");
    }
    assert!(!sandbox.home().join(".codex").exists() && !sandbox.home().join(".claude").exists());
    // The control.
    assert_eq!(configure(&["claude-code"]), Some(0));
}
