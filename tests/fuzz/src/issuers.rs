//! Targets for input from issuers, providers, manifests and plugins.

use std::path::PathBuf;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use auth_providers::plugin::{Conversation, Event, Operation};
use auth_providers::refresh::read_response;
use auth_providers::{
    HttpError, HttpRequest, HttpResponse, Metadata, Providers, TokenResponse, discover,
    retry_after as read_retry,
};
use auth_routing::cooldown::response::Response;
use auth_store::{
    OAuthCredential, ProviderId, Secret, StoredResponse, Timestamp, unverified_claims,
};
use serde_json::Value;

use crate::is_harmless;

const NOW: Timestamp = Timestamp(1_769_644_800_000);

fn catalogue() -> Providers {
    Providers::from_manifests(Vec::new(), &|_| None)
}

thread_local! {
    static CATALOGUE: Providers = catalogue();
}

/// The status in the first byte, the rest is the body.
pub(crate) fn token_response(bytes: &[u8]) {
    const STATUSES: [u16; 8] = [200, 400, 401, 403, 408, 429, 500, 302];
    let (first, body) = bytes.split_first().unwrap_or((&0, &[]));
    let status = STATUSES[usize::from(*first) % STATUSES.len()];
    let headers = [("content-type".to_owned(), "application/json".to_owned())];
    let old = OAuthCredential {
        access: Secret::new("old-access"),
        refresh: Secret::new("old-refresh"),
        account_id: Some("account".to_owned()),
        ..OAuthCredential::default()
    };
    CATALOGUE.with(|providers| {
        for name in ["openai-codex", "qwen-portal", "github-copilot"] {
            let Some(provider) = providers.find(&ProviderId::new(name)) else { continue };
            let came = StoredResponse {
                status,
                received_at: NOW,
                headers: headers.to_vec(),
                body: body.to_vec(),
            };
            match read_response(&came, Some(&old.refresh), provider) {
                TokenResponse::Tokens(tokens) => {
                    assert!((200..300).contains(&status), "tokens in an answer of {status}");
                    if let Some(access) = tokens.access() {
                        assert!(!access.expose().chars().any(char::is_control));
                    }
                    if let Ok(new) = tokens.merge(&old, NOW) {
                        assert!(!new.refresh.is_blank(), "a refresh token was lost");
                        assert!(!new.access.is_blank(), "merged without an access token");
                    }
                }
                TokenResponse::Rejected { code, description }
                | TokenResponse::LoginRequired { code, description }
                | TokenResponse::Misconfigured { code, description } => {
                    assert!(is_harmless(&code) && is_harmless(&description.unwrap_or_default()));
                }
                TokenResponse::Unread { reason } => assert!(is_harmless(&reason)),
                TokenResponse::Unavailable { reason, retry_after } => {
                    assert!(is_harmless(&reason));
                    assert!(!has_refresh_token(body), "an answer with a refresh token was dropped");
                    assert!(retry_after.is_none_or(|wait| wait <= Duration::from_hours(1)));
                }
            }
        }
    });
}

/// Whether there is a member `refresh_token` with exactly a token in it.
fn has_refresh_token(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let mut values = text.match_indices("\"refresh_token\":\"").filter_map(|(at, name)| {
        let rest = &text[at + name.len()..];
        let value = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric())?];
        (value.len() >= 8 && rest[value.len()..].starts_with('"')).then_some(value)
    });
    values.any(|value| value != "undefined")
}

/// The unverified claims of a token.
pub(crate) fn jwt(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(claims) = unverified_claims(&text) {
        assert!(claims.is_object());
    }
}

/// A metadata document: no endpoint of another origin is accepted.
pub(crate) fn discovery(bytes: &[u8]) {
    let body = bytes.to_vec();
    let client = move |_: HttpRequest| -> Result<HttpResponse, HttpError> {
        Ok(HttpResponse { status: 200, headers: Vec::new(), body: body.clone() })
    };
    let found =
        ready(discover("https://issuer.example", &|_| true, &client, Duration::from_secs(1)));
    match found {
        Ok(metadata) => {
            // The methods are words, not addresses.
            let text = format!("{:?}", Metadata { code_challenge_methods: None, ..metadata });
            // `Debug` escapes invisible characters, which are not part of a host name.
            let shown = |word: &&str| word.starts_with("http") && !word.contains("\\u{");
            for word in text.split('"').filter(shown) {
                let host =
                    url::Url::parse(word).ok().and_then(|url| url.host_str().map(str::to_owned));
                assert_eq!(host.as_deref(), Some("issuer.example"), "{word}");
            }
        }
        Err(error) => assert!(is_harmless(&error.to_string())),
    }
}

/// A future that is always ready.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing is waited for here"),
    }
}

/// A provider manifest: it never affects other providers.
pub(crate) fn manifest(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let path = PathBuf::from("providers/fuzz.json");
    let providers = Providers::from_manifests(vec![(path, Ok(text))], &|_| None);
    assert!(providers.find(&ProviderId::new("openai-codex")).is_some());
    for error in providers.errors() {
        assert!(is_harmless(&error.to_string()), "{error}");
    }
}

/// The lines of a plugin, until one is refused.
pub(crate) fn plugin(bytes: &[u8]) {
    for operation in [Operation::Login, Operation::Refresh, Operation::Revoke] {
        let mut conversation = Conversation::new("fuzz", operation);
        for line in bytes.split(|byte| *byte == b'\n') {
            match conversation.accept(line) {
                Ok(Event::Open { url, text }) => {
                    assert!(is_harmless(&url) && is_harmless(&text));
                    assert!(url.starts_with("https://") || url.starts_with("http://"));
                }
                Ok(Event::Progress(text)) => assert!(is_harmless(&text)),
                Ok(_) => conversation.received(),
                Err(violation) => {
                    assert!(is_harmless(&violation.to_string()));
                    break;
                }
            }
        }
    }
}

/// `Retry-After`: between a second and an hour, or nothing.
pub(crate) fn retry_after(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(wait) = read_retry(&text, NOW) {
        assert!((Duration::from_secs(1)..=Duration::from_hours(1)).contains(&wait));
    }
}

/// A provider's response that a caller reports.
pub(crate) fn provider_response(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(response) = Response::parse(&text) {
        let verdict = format!("{:?}", response.verdict(NOW));
        let _: Option<Value> = serde_json::from_str(&verdict).ok();
    }
}
