//! A dead login says so, whatever its issuer calls that: each server's own refusal, beside what only looks like one.

use e2e::issuer::{Fault, Issuer, TokenState};
use e2e::sandbox::{Sandbox, expired};
use serde_json::{Value, json};

/// A refused refresh as a server answers it: the provider, status, header fields and body.
type Answer = (&'static str, u16, &'static [(&'static str, &'static str)], &'static str);

const JSON: &[(&str, &str)] = &[];
const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];
const HTML: &[(&str, &str)] = &[("content-type", "text/html; charset=utf-8")];
const MITIGATED: &[(&str, &str)] = &[("cf-mitigated", "challenge")];

/// Each ends the login.
const DEAD: &[Answer] = &[
    (
        "openai-codex",
        401,
        JSON,
        r#"{"error":{"message":"Could not validate your token.","type":"invalid_request_error","code":"token_expired"}}"#,
    ),
    ("openai-codex", 401, JSON, r#"{"error":{"code":"app_session_terminated"}}"#),
    (
        "openai-codex",
        401,
        JSON,
        r#"{"error":{"code":"refresh_token_reused","message":"Your refresh token has already been used."}}"#,
    ),
    ("openai-codex", 401, JSON, r#"{"code":"refresh_token_invalidated","message":"gone"}"#),
    ("openai-codex", 401, JSON, r#"{"error":"a_code_of_tomorrow"}"#),
    ("openai-codex", 401, JSON, r#"{"detail":"Unauthorized"}"#),
    ("openai-codex", 401, JSON, ""),
    ("openai-codex", 400, JSON, r#"{"error":{"code":"app_session_terminated"}}"#),
    (
        "minimax-portal",
        200,
        JSON,
        r#"{"status":"error","base_resp":{"status_code":1004,"status_msg":"login fail"}}"#,
    ),
    (
        "minimax-portal",
        200,
        JSON,
        r#"{"status":"fail","base_resp":{"status_code":0,"status_msg":""}}"#,
    ),
    (
        "minimax-portal",
        400,
        JSON,
        r#"{"base_resp":{"status_code":2049,"status_msg":"invalid refresh token"}}"#,
    ),
    ("minimax-portal", 403, JSON, "{}"),
    ("minimax-portal-cn", 401, JSON, r#"{"status":"error","base_resp":{"status_code":1004}}"#),
    ("kimi-code", 401, JSON, r#"{"error":"unauthorized"}"#),
    ("kimi-code", 403, JSON, "{}"),
    ("xai", 400, JSON, r#"{"error":"invalid_grant"}"#),
    (
        "acme",
        400,
        JSON,
        r#"{"error":"invalid_request","error_description":"Refresh token is invalid or has already been claimed by another client."}"#,
    ),
    (
        "acme",
        400,
        JSON,
        r#"{"error":"invalid_request","error_description":"Refresh token expired."}"#,
    ),
    (
        "acme",
        401,
        JSON,
        r#"{"error":"invalid_token","error_description":"The access token is invalid"}"#,
    ),
    (
        "acme",
        401,
        JSON,
        r#"{"error":"token_inactive","error_description":"Token is inactive because it is malformed, expired or otherwise invalid."}"#,
    ),
    (
        "acme",
        400,
        FORM,
        "error=bad_refresh_token&error_description=The+refresh+token+passed+is+incorrect+or+expired.",
    ),
    ("acme", 400, JSON, r#"{"error":{"code":"invalid_grant","message":"m"}}"#),
    ("acme", 400, JSON, r#"{"code":"invalid_grant"}"#),
    // OpenID Connect Core §3.1.2.6: the user must come to the browser; the token is not dead.
    (
        "acme",
        400,
        JSON,
        r#"{"error":"interaction_required","error_description":"AADSTS50076: you must use multi-factor authentication","suberror":"basic_action"}"#,
    ),
    ("acme", 400, JSON, r#"{"error":"login_required"}"#),
    ("acme", 400, JSON, r#"{"error":"consent_required"}"#),
    ("acme", 400, JSON, r#"{"error":"account_selection_required"}"#),
    (
        "acme",
        403,
        JSON,
        r#"{"error":"mfa_required","error_description":"Multifactor authentication required","mfa_token":"Fe26.2"}"#,
    ),
];

/// None says anything about the login.
const PASSING: &[Answer] = &[
    ("openai-codex", 403, HTML, "<html><title>Just a moment...</title></html>"),
    ("openai-codex", 401, HTML, "<html>Sign in to this proxy</html>"),
    ("openai-codex", 401, MITIGATED, ""),
    ("openai-codex", 403, JSON, r#"{"error":{"code":"unsupported_country_region_territory"}}"#),
    ("openai-codex", 429, JSON, r#"{"error":{"code":"rate_limit_exceeded"}}"#),
    ("openai-codex", 500, JSON, r#"{"error":{"code":"token_expired"}}"#),
    (
        "minimax-portal",
        200,
        JSON,
        r#"{"status":"error","base_resp":{"status_code":1002,"status_msg":"rate limit"}}"#,
    ),
    (
        "minimax-portal",
        200,
        JSON,
        r#"{"status":"error","base_resp":{"status_code":1000,"status_msg":"unknown error"}}"#,
    ),
    ("minimax-portal", 400, JSON, r#"{"base_resp":{"status_code":1013,"status_msg":"internal"}}"#),
    ("minimax-portal", 429, JSON, r#"{"base_resp":{"status_code":1004}}"#),
    ("minimax-portal", 408, JSON, "{}"),
    ("minimax-portal", 200, JSON, "{}"),
    ("minimax-portal", 404, HTML, "<html>no such page</html>"),
    ("kimi-code", 403, HTML, "<html>blocked</html>"),
    ("kimi-code", 400, JSON, "{}"),
    ("acme", 401, JSON, "{}"),
    (
        "acme",
        400,
        JSON,
        r#"{"error":"invalid_request","error_description":"refresh_token is missing"}"#,
    ),
    ("acme", 503, JSON, r#"{"error":"interaction_required"}"#),
    ("acme", 407, HTML, "<html>proxy</html>"),
];

/// A home in which alice has an expired login of the provider, whose issuer is ours.
fn home(issuer: &Issuer, provider: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let mut manifest = issuer.manifest(provider);
    if provider != "acme" {
        let endpoints = json!({"token": issuer.token_endpoint()});
        manifest = json!({"id": provider, "extends": provider, "endpoints": endpoints});
    }
    sandbox.write_manifest(provider, &manifest);
    let tokens = issuer.grant("alice");
    let profile = expired(issuer, provider, &tokens);
    let id = format!("{provider}:alice");
    sandbox.seed_store("main", &json!({"version": 1, "profiles": {id: profile}}));
    (sandbox, tokens.refresh)
}

/// What `models auth token` says three times, where each refresh is answered so.
fn three_times((provider, status, headers, body): Answer) -> (Vec<(i32, Value)>, usize, bool) {
    let issuer = Issuer::start();
    let (sandbox, refresh) = home(&issuer, provider);
    for _ in 0..3 {
        issuer.inject(Fault::Status {
            status,
            headers: headers.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
            body: body.to_owned(),
        });
    }
    let token = ["models", "auth", "token", "--provider", provider, "--json"];
    let runs = (0..3).map(|_| sandbox.run(&token));
    let said = runs.map(|run| (run.code.unwrap_or(-1), run.json()["error"].clone())).collect();
    let is_kept = sandbox.profile("main", &format!("{provider}:alice"))["refresh"] == refresh;
    assert_eq!(issuer.state_of(&refresh), TokenState::Live, "nothing was carried out");
    (said, issuer.requests("refresh_token"), is_kept)
}

#[test]
fn a_dead_login_says_so_and_is_not_asked_about_again() {
    for answer in DEAD {
        let (said, requests, is_kept) = three_times(*answer);
        for (code, error) in said {
            assert_eq!(code, 4, "{answer:?}: {error}");
            let hint = error["hint"].as_str().unwrap();
            let wanted = format!("--provider {0} --profile-id {0}:alice", answer.0);
            assert!(hint.contains("clawdbot models auth login"), "{answer:?}: {hint}");
            assert!(hint.contains(&wanted), "{answer:?}: {hint}");
        }
        assert_eq!(requests, 1, "{answer:?}");
        assert!(is_kept, "{answer:?}");
    }
}

#[test]
fn what_stands_before_an_issuer_or_ails_it_ends_no_login() {
    for answer in PASSING {
        let (said, _, is_kept) = three_times(*answer);
        for (code, error) in said {
            assert_eq!(code, 5, "{answer:?}: {error}");
        }
        assert!(is_kept, "{answer:?}");
    }
}

#[test]
fn a_provider_that_was_discontinued_says_since_when_and_what_to_use() {
    let issuer = Issuer::start();
    let (sandbox, _) = home(&issuer, "qwen-portal");
    issuer.inject(Fault::status(400, r#"{"error":"invalid_request"}"#));
    let run = sandbox.run(&["models", "auth", "token", "--provider", "qwen-portal", "--json"]);
    let hint = run.expect_code(4).json()["error"]["hint"].clone();
    assert!(hint.as_str().unwrap().contains("discontinued on 2026-04-15: use "), "{hint}");
    let list = sandbox.run(&["plugins", "list"]).expect_code(0).stdout.clone();
    assert!(
        list.lines().any(|it| it.starts_with("qwen-portal") && it.contains("2026-04-15")),
        "{list}"
    );
}

#[test]
fn an_issuer_that_wants_the_user_back_is_asked_again_by_force_and_may_have_changed_its_mind() {
    let issuer = Issuer::start();
    let (sandbox, _) = home(&issuer, "acme");
    issuer.inject(Fault::status(400, r#"{"error":"interaction_required"}"#));
    let token = ["models", "auth", "token", "--provider", "acme"];
    sandbox.run(&token).expect_code(4);
    sandbox.run(&[&token[..], &["--force-refresh"]].concat()).expect_code(0);
    // The control: a refused token is not sent again so.
    sandbox.expire("main", "acme:alice");
    issuer.inject(Fault::status(400, r#"{"error":"invalid_grant"}"#));
    sandbox.run(&token).expect_code(4);
    sandbox.run(&[&token[..], &["--force-refresh"]].concat()).expect_code(4);
}
