//! Revocation (RFC 7009).

use auth_providers::refresh::Revocation;
use auth_store::OAuthCredential;
use serde_json::json;

use crate::support::{Issuer, NOW, acme, block_on, provider};

fn login(endpoint: &str) -> OAuthCredential {
    OAuthCredential {
        access: "a".into(),
        refresh: "r".into(),
        token_endpoint: Some(endpoint.to_owned()),
        client_id: Some("acme-cli".to_owned()),
        ..OAuthCredential::default()
    }
}

const HOME: &str = "https://acme.example/token";

/// The result for a server that responds with `status` and `body`, and the bodies it received.
fn revoke(status: u16, body: &'static str) -> (Revocation, Vec<String>) {
    let issuer = Issuer::new(move |url, _| {
        assert_eq!(url, "https://acme.example/revoke");
        (status, body.to_owned())
    });
    let outcome = block_on(provider(&acme()).revoke(&login(HOME), &issuer, NOW));
    (outcome, issuer.asked().into_iter().map(|(_, body)| body).collect())
}

#[test]
fn both_tokens_are_revoked_the_refresh_token_first() {
    let (outcome, asked) = revoke(200, "");
    assert_eq!(outcome, Revocation::Done);
    assert_eq!(
        asked,
        [
            "token=r&token_type_hint=refresh_token&client_id=acme-cli",
            "token=a&token_type_hint=access_token&client_id=acme-cli",
        ]
    );
}

#[test]
fn a_failure_is_told_and_names_no_token() {
    for (status, body) in [(503, ""), (400, r#"{"error":"invalid_client"}"#), (302, ""), (0, "")] {
        let (outcome, asked) = revoke(status, body);
        assert!(matches!(outcome, Revocation::Failed(_)), "{status}: {outcome:?}");
        assert_eq!(asked.len(), 1);
    }
    let (outcome, _) = revoke(400, r#"{"error":"bad token r"}"#);
    let Revocation::Failed(reason) = outcome else { panic!() };
    assert!(reason.contains("REDACTED"), "{reason}");
}

#[test]
fn a_token_the_issuer_does_not_know_is_as_good_as_revoked() {
    assert_eq!(revoke(400, r#"{"error":"invalid_token"}"#).0, Revocation::Done);
    assert_eq!(revoke(400, r#"{"error":"unsupported_token_type"}"#).0, Revocation::NotOffered);
    assert_eq!(revoke(400, "error=invalid_token").0, Revocation::Done);
    assert_eq!(revoke(400, "{\"x\":NaN,\"error\":\"invalid_token\"}").0, Revocation::Done);
}

#[test]
fn a_token_of_another_endpoint_is_sent_to_nobody() {
    let nobody = Issuer::new(|_, _| panic!("nothing is sent"));
    let acme = provider(&acme());
    let outcome = block_on(acme.revoke(&login("https://old.example/token"), &nobody, NOW));
    assert_eq!(outcome, Revocation::NotOffered);
}

#[test]
fn the_endpoint_is_discovered_where_only_the_issuer_is_known() {
    let mut manifest = acme();
    manifest["endpoints"] = json!({});
    let issuer = Issuer::new(|url, _| match url {
        "https://acme.example/.well-known/openid-configuration" => {
            let document = json!({"issuer": "https://acme.example", "token_endpoint": HOME,
                "revocation_endpoint": "https://acme.example/gone"});
            (200, document.to_string())
        }
        "https://acme.example/gone" => (200, String::new()),
        other => panic!("{other}"),
    });
    let outcome = block_on(provider(&manifest).revoke(&login(HOME), &issuer, NOW));
    assert_eq!(outcome, Revocation::Done);
}
