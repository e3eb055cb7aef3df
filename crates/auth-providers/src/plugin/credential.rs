//! Validates a plugin's results: the credential of a login, and the response to a refresh.

use std::time::Duration;

use auth_store::{Credential, OAuthCredential, Secret, Timestamp};
use serde_json::{Map, Value};

use crate::login::Login;
use crate::oauth::response::{self, retry_after};
use crate::oauth::tokens::{MergeError, Tokens, earlier_end, is_sendable};
use crate::plugin::message::{Failure, FailureKind};
use crate::plugin::protocol::{SCHEME, VERSIONS};
use crate::plugin::session::{Conversation, Event, Operation, PluginReply, Violation};
use crate::provider::Provider;
use crate::text;

/// The login of `provider` in a result that arrived at `now`.
pub(crate) fn login_of(
    provider: &Provider,
    reply: &PluginReply,
    now: Timestamp,
) -> Result<Login, Violation> {
    let object = &reply.credential;
    let account_id = name(object, "account_id")?;
    let email = name(object, "email")?;
    let mut fields = fields(object)?;
    let mut warnings = Vec::new();
    let credential = match object.get("type").and_then(Value::as_str) {
        Some("oauth") => {
            let mut tokens = provider.tokens(object).ok_or_else(|| bad("it has no tokens"))?;
            tokens.account_id.clone_from(&account_id);
            let nothing_yet = OAuthCredential {
                token_endpoint: Some(format!("{SCHEME}{}", provider.id)),
                destinations: Some(provider.destinations().origins()),
                ..OAuthCredential::default()
            };
            let login = tokens.merge(&nothing_yet, now).map_err(|error| match error {
                MergeError::NeedsProof(_) => bad(&error.to_string()),
                _ => bad("`access_token` is missing, or cannot be sent in a header"),
            })?;
            if login.refresh.is_blank() {
                warnings.push(
                    "the plugin gave no refresh token: the login ends with its access token"
                        .to_owned(),
                );
            }
            Credential::OAuth(login)
        }
        Some("token") => Credential::Token {
            expires: match expires_in(object)? {
                Some(lifetime) => Some(earlier_end(&secret(object, "token")?, now.plus(lifetime))),
                None => None,
            },
            token: secret(object, "token")?,
        },
        Some("api_key") => Credential::ApiKey(secret(object, "key")?),
        _ => return Err(bad("its `type` is none of `oauth`, `token`, `api_key`")),
    };
    if let Some(email) = &email {
        fields.insert("email".to_owned(), email.as_str().into());
    }
    if let (Some(account), false) = (&account_id, matches!(credential, Credential::OAuth(_))) {
        fields.insert("accountId".to_owned(), account.as_str().into());
    }
    Ok(Login { provider: provider.id.clone(), credential, account_id, email, fields, warnings })
}

/// The meaning of the stored line of a plugin that was asked to refresh.
pub(crate) fn read_response(
    provider: &Provider,
    line: &[u8],
    now: Timestamp,
) -> response::TokenResponse {
    let unavailable =
        |reason: String| response::TokenResponse::Unavailable { reason, retry_after: None };
    match last_event(provider, Operation::Refresh, line) {
        Ok(Event::Result(reply)) => match tokens(provider, &reply.credential) {
            Some(tokens) => response::TokenResponse::Tokens(Box::new(tokens)),
            None => unavailable("the plugin gave no tokens".to_owned()),
        },
        Ok(Event::Error(failure)) => refusal(&failure, now),
        Ok(_) => unavailable("the plugin gave no answer".to_owned()),
        Err(violation) => unavailable(violation.to_string()),
    }
}

/// Checks the last line of a conversation again, because it may come from a file.
pub(crate) fn last_event(
    provider: &Provider,
    operation: Operation,
    line: &[u8],
) -> Result<Event, Violation> {
    let mut conversation = Conversation::new(provider.id.as_str(), operation);
    let hello =
        serde_json::json!({ "type": "hello", "versions": VERSIONS, "id": provider.id.as_str() });
    conversation.accept(hello.to_string().as_bytes())?;
    conversation.accept(line)
}

fn tokens(provider: &Provider, object: &Map<String, Value>) -> Option<Tokens> {
    if object.get("type").and_then(Value::as_str) != Some("oauth") {
        return None;
    }
    let mut tokens = provider.tokens(object)?;
    tokens.account_id = name(object, "account_id").ok()?;
    tokens.email = name(object, "email").ok()?;
    Some(tokens)
}

fn refusal(failure: &Failure, now: Timestamp) -> response::TokenResponse {
    let code = match failure.code.as_str() {
        "" => failure.kind.to_string(),
        code => code.to_owned(),
    };
    let description = (!failure.message.is_empty()).then(|| failure.message.clone());
    match failure.kind {
        FailureKind::Rejected => response::TokenResponse::Rejected { code, description },
        FailureKind::Misconfigured
        | FailureKind::Canceled
        | FailureKind::Unsupported
        | FailureKind::UnsupportedVersion
        | FailureKind::InvalidRequest => {
            response::TokenResponse::Misconfigured { code, description }
        }
        FailureKind::Unavailable | FailureKind::Unknown => response::TokenResponse::Unavailable {
            reason: failure.words(),
            retry_after: failure
                .retry_after
                .and_then(|seconds| retry_after(&seconds.to_string(), now)),
        },
    }
}

/// A name of the account: one clean line.
fn name(object: &Map<String, Value>, member: &str) -> Result<Option<String>, Violation> {
    let Some(value) = object.get(member).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    match value.as_str() {
        Some("") => Ok(None),
        Some(name) if text::clean(name) == name => Ok(Some(name.to_owned())),
        _ => Err(bad(&format!("`{member}` is not a clean line of text"))),
    }
}

/// A secret that can be sent in a header field.
fn secret(object: &Map<String, Value>, member: &str) -> Result<Secret, Violation> {
    let secret = object.get(member).and_then(Value::as_str).map(auth_store::trim);
    match secret {
        Some(secret) if !secret.is_empty() && is_sendable(secret) => Ok(secret.into()),
        _ => Err(bad(&format!("`{member}` is missing, or cannot be sent in a header"))),
    }
}

fn expires_in(object: &Map<String, Value>) -> Result<Option<Duration>, Violation> {
    match object.get("expires_in") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().filter(|seconds| *seconds > 0) {
            Some(seconds) => Ok(Some(Duration::from_secs(seconds))),
            None => Err(bad("`expires_in` is not a number of seconds")),
        },
    }
}

/// The additional fields that the plugin stores in the profile, under names that are not used
/// otherwise.
fn fields(object: &Map<String, Value>) -> Result<Map<String, Value>, Violation> {
    let fields = match object.get("fields") {
        None | Some(Value::Null) => return Ok(Map::new()),
        Some(Value::Object(fields)) if fields.len() <= MOST_FIELDS => fields,
        Some(_) => return Err(bad("`fields` is no object, or has too many members")),
    };
    let is_taken = |name: &str| Credential::MEMBERS.contains(&name) || TAKEN.contains(&name);
    for (name, value) in fields {
        let is_name = name.len() <= LONGEST_FIELD
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let is_plain = match value {
            Value::Bool(_) | Value::Number(_) => true,
            Value::String(value) => text::clean(value) == *value,
            _ => false,
        };
        if !is_name || !is_plain || is_taken(name) {
            return Err(bad("`fields` has a member with a name or a value it must not have"));
        }
    }
    Ok(fields.clone())
}

fn bad(what: &str) -> Violation {
    Violation::Protocol(format!("`credential`: {what}"))
}

const MOST_FIELDS: usize = 16;
const LONGEST_FIELD: usize = 64;
/// Members of a profile that have a meaning and are not in [`Credential::MEMBERS`].
const TAKEN: [&str; 3] = ["enterpriseUrl", "keyRef", "scope"];

#[cfg(test)]
mod tests {
    use auth_store::ProviderId;

    use super::*;
    use crate::provider::registry::Providers;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn provider() -> Provider {
        let manifest = r#"{"id": "acme", "flows": ["plugin"], "command": "/acme"}"#;
        let files = vec![("/acme.json".into(), Ok(manifest.to_owned()))];
        let providers = Providers::from_manifests(files, &|_| None);
        assert_eq!(providers.errors(), []);
        providers.find(&ProviderId::new("acme")).unwrap().clone()
    }

    fn login(credential: &str) -> Result<Login, Violation> {
        let credential = serde_json::from_str(credential).unwrap();
        login_of(&provider(), &PluginReply { credential, line: Vec::new() }, NOW)
    }

    #[test]
    fn an_oauth_login_is_bound_to_its_plugin() {
        let login = login(
            r#"{"type": "oauth", "access_token": "a", "refresh_token": "r", "expires_in": 60,
                "account_id": "42", "email": "a@example.test", "fields": {"region": "eu"}}"#,
        )
        .unwrap();
        let Credential::OAuth(oauth) = &login.credential else { panic!("{login:?}") };
        assert_eq!(oauth.token_endpoint.as_deref(), Some("plugin:acme"));
        assert_eq!(oauth.expires, Some(NOW.plus(Duration::from_mins(1))));
        assert_eq!(
            (oauth.account_id.as_deref(), login.email.as_deref()),
            (Some("42"), Some("a@example.test"))
        );
        assert_eq!(login.fields["region"], "eu");
        assert_eq!(login.warnings, [""; 0]);
    }

    #[test]
    fn a_key_or_a_token_is_stored_as_what_it_is() {
        let key = login(r#"{"type": "api_key", "key": " k-1 ", "account_id": "7"}"#).unwrap();
        assert_eq!(key.credential.bearer().expose(), "k-1");
        assert_eq!(key.fields["accountId"], "7");
        let token = login(r#"{"type": "token", "token": "t", "expires_in": 9}"#).unwrap();
        assert_eq!(token.credential.expires(), Some(NOW.plus(Duration::from_secs(9))));
    }

    #[test]
    fn what_cannot_be_used_or_shown_is_refused_without_its_content() {
        for credential in [
            r#"{"key": "SECRET"}"#,
            r#"{"type": "oauth", "access_token": "SEC RET"}"#,
            r#"{"type": "oauth", "refresh_token": "SECRET"}"#,
            r#"{"type": "oauth", "token": "SECRET"}"#,
            r#"{"type": "api_key", "key": "SECRET\n"}"#.replace("\\n", "\\u0007").as_str(),
            r#"{"type": "token", "token": "SECRET", "expires_in": "soon"}"#,
            r#"{"type": "api_key", "key": "SECRET", "email": "\u001b[2J"}"#,
            r#"{"type": "api_key", "key": "SECRET", "account_id": 7}"#,
            r#"{"type": "api_key", "key": "SECRET", "fields": {"tokenEndpoint": "x"}}"#,
            r#"{"type": "api_key", "key": "SECRET", "fields": {"__proto__": "x"}}"#,
            r#"{"type": "api_key", "key": "SECRET", "fields": {"a": {}}}"#,
        ] {
            let violation = login(credential).unwrap_err();
            assert!(!violation.to_string().contains("SEC"), "{violation}");
        }
    }

    #[test]
    fn each_kind_of_failure_has_its_outcome() {
        let read = |line: &str| read_response(&provider(), line.as_bytes(), NOW);
        let failed = |kind: &str| {
            read(&format!(r#"{{"type":"error","kind":"{kind}","code":"c","retry_after":7}}"#))
        };
        assert!(
            matches!(failed("rejected"), response::TokenResponse::Rejected { code, .. } if code == "c")
        );
        for kind in ["misconfigured", "unsupported", "invalid_request"] {
            assert!(
                matches!(failed(kind), response::TokenResponse::Misconfigured { .. }),
                "{kind}"
            );
        }
        for kind in ["unavailable", "of a later version"] {
            let response::TokenResponse::Unavailable { retry_after, .. } = failed(kind) else {
                panic!("{kind}")
            };
            assert_eq!(retry_after, Some(Duration::from_secs(7)), "{kind}");
        }
        let oauth = r#"{"type":"result","credential":{"type":"oauth","access_token":"a"}}"#;
        assert!(matches!(read(oauth), response::TokenResponse::Tokens(_)));
        for line in [
            "",
            "{}",
            r#"{"type":"progress"}"#,
            r#"{"type":"result","credential":{"type":"api_key","key":"k"}}"#,
        ] {
            assert!(matches!(read(line), response::TokenResponse::Unavailable { .. }), "{line}");
        }
    }
}
