//! The big issuers, each as its metadata and its refusals are, made up: a manifest for it works, and a dead login is
//! known for one.

use std::sync::Mutex;

use auth_providers::{
    Flow, HttpRequest, HttpResponse, LoginError, Provider, Providers, TokenResponse, resolve,
};
use auth_store::ProviderId;
use serde_json::{Value, json};

use crate::support::{NOW, block_on};

fn issuers() -> Vec<Value> {
    serde_json::from_str(include_str!("issuers.json")).unwrap()
}

fn provider(issuer: &Value, change: impl Fn(&mut Value)) -> Provider {
    let mut manifest = issuer["manifest"].clone();
    manifest["id"] = issuer["name"].clone();
    manifest["flows"] = json!(["authorization_code"]);
    manifest["client_id"] = "acme-cli".into();
    change(&mut manifest);
    let name = issuer["name"].as_str().unwrap();
    let files = vec![(format!("{name}.json").into(), Ok(manifest.to_string()))];
    let providers = Providers::from_manifests(files, &|_| None);
    assert_eq!(providers.errors(), [], "{name}");
    providers.find(&ProviderId::new(name)).unwrap().clone()
}

/// The provider with its endpoints, and the addresses that were asked.
fn resolved(issuer: &Value, provider: &Provider) -> (Result<Provider, LoginError>, Vec<String>) {
    let asked = Mutex::new(Vec::new());
    let metadata = issuer["metadata"].clone();
    let http = |request: HttpRequest| {
        asked.lock().unwrap().push(request.url().to_owned());
        let is_known =
            request.url().contains("/.well-known/openid-configuration") && !metadata.is_null();
        let (status, body) =
            if is_known { (200, metadata.to_string()) } else { (404, "{}".into()) };
        Ok(HttpResponse { status, headers: Vec::new(), body: body.into_bytes() })
    };
    let outcome = block_on(resolve(provider, Flow::AuthorizationCode, &http));
    (outcome, asked.into_inner().unwrap())
}

#[test]
fn a_manifest_of_a_few_lines_is_enough_for_each() {
    let all = issuers();
    assert_eq!(all.len(), 10);
    for issuer in &all {
        let (found, asked) = resolved(issuer, &provider(issuer, |_| {}));
        let found = found.unwrap_or_else(|error| panic!("{}: {error}", issuer["name"]));
        assert_eq!(found.endpoints.token.as_deref(), issuer["token"].as_str());
        // Where the endpoints are elsewhere they are written, and nothing is asked.
        assert_eq!(asked.is_empty(), issuer["metadata"].is_null(), "{}", issuer["name"]);
    }
}

#[test]
fn an_issuer_that_does_not_promise_pkce_names_the_setting_that_helps() {
    for issuer in issuers().iter().filter(|it| it["needs_assume_pkce"] == true) {
        let without = provider(issuer, |manifest| manifest["assume_pkce"] = false.into());
        let text = resolved(issuer, &without).0.unwrap_err().to_string();
        assert!(text.contains("assume_pkce"), "{}: {text}", issuer["name"]);
    }
}

#[test]
fn each_of_their_refusals_is_what_it_means() {
    for issuer in issuers() {
        let provider = provider(&issuer, |_| {});
        for refusal in issuer["refusals"].as_array().unwrap() {
            let status = u16::try_from(refusal[0].as_u64().unwrap()).unwrap();
            let body = refusal[1].to_string();
            let word = match provider.read_response(status, &[], body.as_bytes(), NOW) {
                TokenResponse::Rejected { .. } => "rejected",
                TokenResponse::LoginRequired { .. } => "login required",
                TokenResponse::Misconfigured { .. } => "misconfigured",
                TokenResponse::Unavailable { .. } => "unavailable",
                other => panic!("{other:?}"),
            };
            assert_eq!(word, refusal[2], "{}: {body}", issuer["name"]);
        }
    }
}
