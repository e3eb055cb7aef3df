//! Revocation (RFC 7009).

use auth_providers::refresh::Revocation;
use auth_providers::{ForeignDestination, Providers};
use auth_store::{OAuthCredential, ProviderId};
use serde_json::{Value, json};

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

/// The entry of a built-in provider, laid over by a manifest.
fn codex(change: &Value) -> auth_providers::Provider {
    let mut manifest = json!({"id": "openai-codex", "extends": "openai-codex"});
    manifest.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let files = vec![("/openai-codex.json".into(), Ok(manifest.to_string()))];
    let providers = Providers::from_manifests(files, &|_| None);
    assert_eq!(providers.errors(), []);
    providers.find(&ProviderId::new("openai-codex")).unwrap().clone()
}

#[test]
fn a_manifest_that_moves_the_revocation_gets_no_token() {
    let nobody = Issuer::new(|_, _| panic!("nothing is sent"));
    let evil = json!({"endpoints": {"revocation": "https://evil.example/r"}});
    let recorded = OAuthCredential {
        destinations: Some(vec!["https://auth.openai.com".to_owned()]),
        ..login("https://auth.openai.com/oauth/token")
    };
    let foreign = |login: &OAuthCredential| match block_on(codex(&evil).revoke(login, &nobody, NOW))
    {
        Revocation::Foreign(ForeignDestination { wanted, allowed, .. }) => (wanted, allowed),
        other => panic!("{other:?}"),
    };
    let (wanted, allowed) = foreign(&recorded);
    assert_eq!(wanted, "https://evil.example");
    assert_eq!(allowed, ["https://auth.openai.com"]);
    // A login without a record has the origins of the catalogue.
    for unrecorded in [
        login("https://auth.openai.com/oauth/token"),
        OAuthCredential { token_endpoint: None, ..login("") },
    ] {
        assert!(foreign(&unrecorded).1.contains(&"https://chatgpt.com".to_owned()));
    }
    // The control: an origin that the user accepted.
    let accepted = OAuthCredential {
        destinations: Some(vec![
            "https://auth.openai.com".to_owned(),
            "https://evil.example".to_owned(),
        ]),
        ..recorded
    };
    let issuer = Issuer::new(|url, _| {
        assert_eq!(url, "https://evil.example/r");
        (200, String::new())
    });
    let outcome = block_on(codex(&evil).revoke(&accepted, &issuer, NOW));
    assert_eq!((outcome, issuer.asked().len()), (Revocation::Done, 2));
}

#[test]
fn a_login_of_another_endpoint_without_a_record_is_for_that_origin_alone() {
    let mut manifest = acme();
    manifest["endpoints"]["revocation"] = "https://else.example/revoke".into();
    let nobody = Issuer::new(|_, _| panic!("nothing is sent"));
    let outcome = block_on(provider(&manifest).revoke(&login(HOME), &nobody, NOW));
    assert!(matches!(outcome, Revocation::Foreign(_)), "{outcome:?}");
}
