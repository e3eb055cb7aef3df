//! Tests of the test tools: the issuer and the user against each other and against the certified
//! server.

use e2e::issuer::{Fault, Issuer, TokenState};
use e2e::peer::Peer;
use e2e::user::User;
use e2e::{html, http};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REDIRECT: &str = "http://127.0.0.1:1/auth/callback";

fn authorization_url(endpoint: &str, client: &str) -> String {
    let fields = [
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", REDIRECT),
        ("scope", "openid email offline_access"),
        ("state", "s"),
        ("prompt", "consent"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    format!("{endpoint}?{}", http::encode(&fields))
}

fn code_of(redirect: &str) -> String {
    let query = http::decode(redirect.split_once('?').unwrap().1);
    http::find(&query, "code").unwrap().to_owned()
}

fn exchange(endpoint: &str, client: &str, code: &str, verifier: &str) -> http::Response {
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", client),
        ("code", code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", verifier),
    ];
    http::post_form(endpoint, &fields).unwrap()
}

fn refresh(issuer: &Issuer, token: &str) -> std::io::Result<http::Response> {
    let fields =
        [("grant_type", "refresh_token"), ("client_id", "demo-client"), ("refresh_token", token)];
    http::post_form(&issuer.token_endpoint(), &fields)
}

#[test]
fn our_issuer_exchanges_a_code_once_and_only_for_its_verifier() {
    let issuer = Issuer::start();
    let url = authorization_url(&format!("{}/authorize", issuer.url()), "demo-client");
    let code = code_of(&User::named("alice").walk(&url).unwrap());
    let wrong = exchange(&issuer.token_endpoint(), "demo-client", &code, "another verifier");
    let right = exchange(&issuer.token_endpoint(), "demo-client", &code, VERIFIER);
    let again = exchange(&issuer.token_endpoint(), "demo-client", &code, VERIFIER);
    assert_eq!([wrong.status, right.status, again.status], [400, 200, 400]);
}

#[test]
fn our_issuer_plays_each_fault_once() {
    let issuer = Issuer::start();
    let token = issuer.grant("alice").refresh;
    issuer.inject(Fault::DropBeforeRead);
    issuer.inject(Fault::DropAfterRead);
    issuer.inject(Fault::status(503, "{}"));
    assert!(refresh(&issuer, &token).is_err());
    assert!(refresh(&issuer, &token).is_err());
    assert_eq!(refresh(&issuer, &token).unwrap().status, 503);
    assert_eq!(issuer.state_of(&token), TokenState::Live);

    issuer.inject(Fault::HalfBody);
    assert!(refresh(&issuer, &token).is_err());
    assert!(matches!(issuer.state_of(&token), TokenState::Spent { .. }));
    assert_eq!(refresh(&issuer, &token).unwrap().status, 400);
    assert_eq!(issuer.state_of(&token), TokenState::Revoked);
    assert_eq!(issuer.outcomes("reuse"), 1);
}

#[test]
fn a_held_response_waits_for_its_release() {
    let issuer = Issuer::start();
    let token = issuer.grant("alice").refresh;
    issuer.inject(Fault::HoldAnswer);
    std::thread::scope(|scope| {
        let reply = scope.spawn(|| refresh(&issuer, &token).unwrap().status);
        issuer.wait_for_outcome("held");
        assert!(matches!(issuer.state_of(&token), TokenState::Spent { .. }));
        issuer.release();
        assert_eq!(reply.join().unwrap(), 200);
    });
}

#[test]
fn a_user_logs_in_and_consents_at_the_certified_server() {
    let server = Peer::oidc_provider(&[]);
    let url = authorization_url(&format!("{}/auth", server.url()), "tokensink");
    let redirect = User::named("alice").walk(&url).unwrap();
    let reply =
        exchange(&format!("{}/token", server.url()), "tokensink", &code_of(&redirect), VERIFIER);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let tokens: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert!(tokens["refresh_token"].is_string(), "{tokens}");
    let whose = server.userinfo(tokens["access_token"].as_str().unwrap()).unwrap();
    assert_eq!(whose["email"], "alice@example.test");
    assert_eq!(server.counters()["success"]["authorization_code"], 1);
}

#[test]
fn a_user_refuses_at_the_certified_server() {
    let server = Peer::oidc_provider(&[]);
    let url = authorization_url(&format!("{}/auth", server.url()), "tokensink");
    let redirect = User::named("alice").who_refuses().walk(&url).unwrap();
    assert!(redirect.contains("error=access_denied"), "{redirect}");
}

#[test]
fn a_page_without_forms_has_nothing_to_press() {
    assert!(html::read("<p>nothing here</p>").0.is_empty());
}
