//! The response of a token endpoint, and what follows from it.

use std::time::Duration;

use auth_store::{Secret, Timestamp};
use serde_json::{Map, Value};

use crate::http;
use crate::http::body::Body;
use crate::oauth::tokens::{Tokens, pointed};
use crate::provider::{ErrorPlace, Provider};
use crate::text;

/// The meaning of a token endpoint's response.
#[derive(Clone, Debug)]
pub enum TokenResponse {
    /// Tokens. Keep the response until they are merged and saved.
    Tokens(Box<Tokens>),
    /// The refresh token (or code) that was sent is refused and has no further use: the user logs
    /// in again. The stored credential is kept.
    Rejected {
        /// The error code, as the issuer wrote it.
        code: String,
        /// The issuer's explanation, shortened and cleaned.
        description: Option<String>,
    },
    /// The issuer wants the user to log in again before it renews anything (`OpenID` Connect Core
    /// §3.1.2.6). The token itself may be good.
    LoginRequired {
        /// The error code, as the issuer wrote it.
        code: String,
        /// The issuer's explanation, shortened and cleaned.
        description: Option<String>,
    },
    /// The issuer refused the client, not the token: the configuration is wrong. The token may
    /// still be valid.
    Misconfigured {
        /// The error code, as the issuer wrote it.
        code: String,
        /// The issuer's explanation, clipped and cleaned.
        description: Option<String>,
    },
    /// Nothing is proved: try again later.
    Unavailable {
        /// What came instead of a response, shortened and cleaned.
        reason: String,
        /// The delay that the server asks for: 1 s to 1 h.
        retry_after: Option<Duration>,
    },
    /// The response was not understood, and may hold tokens that exist nowhere else: keep its
    /// bytes, and do not send the old token again automatically.
    Unread {
        /// What came instead of a response.
        reason: String,
    },
}

impl Provider {
    /// Reads the token response to a code or a refresh token, received at `now`. The texts never
    /// contain the client secret.
    pub(crate) fn read_token_response(
        &self,
        status: u16,
        headers: &[(String, String)],
        body: &[u8],
        now: Timestamp,
    ) -> TokenResponse {
        self.without_client_secret(self.judge_response(status, headers, body, now))
    }

    /// `response` without the client secret, in case the issuer repeats it.
    pub(crate) fn without_client_secret(&self, response: TokenResponse) -> TokenResponse {
        match &self.client_secret {
            Some(secret) => response.without(secret),
            None => response,
        }
    }

    fn judge_response(
        &self,
        status: u16,
        headers: &[(String, String)],
        body: &[u8],
        now: Timestamp,
    ) -> TokenResponse {
        let body = Body::read(headers, body);
        let object = body.object();
        let object = object.as_ref();
        // What stands before the issuer may answer in its place.
        let is_wall = body.is_page() || http::header(headers, "cf-mitigated").is_some();
        let unavailable = |what: &str| {
            // A date is by the server's clock, as is the one at which it answered.
            let answered = http::header(headers, "date").and_then(http::date).unwrap_or(now);
            let retry_after =
                http::header(headers, "retry-after").and_then(|text| retry_after(text, answered));
            let page = http::page(status, headers, &body);
            let reason = page.unwrap_or_else(|| format!("the server answered {status}{what}"));
            TokenResponse::Unavailable { reason, retry_after }
        };
        if http::is_passing(status) {
            return unavailable("");
        }
        if (200..300).contains(&status)
            && let Some(tokens) = object.and_then(|object| self.tokens(object))
        {
            return TokenResponse::Tokens(Box::new(tokens.by_clock(headers, now)));
        }
        if !matches!(status, 200..300 | 400..500) {
            return unavailable("");
        }
        let refuses = self.rejected_statuses.iter().any(|statuses| statuses.contain(status));
        let Some((code, description)) = object.and_then(|object| self.error_in(object, status))
        else {
            if refuses && status >= 400 && !is_wall {
                return TokenResponse::Rejected {
                    code: format!("status {status}"),
                    description: None,
                };
            }
            return unavailable(if object.is_some() {
                ", with neither tokens nor an error code"
            } else {
                ", with something that is not an OAuth answer"
            });
        };
        let is = |codes: &[&str]| codes.contains(&code.as_str());
        if self.transient_codes.contains(&code) {
            let explanation = description.map(|text| format!(": {text}")).unwrap_or_default();
            unavailable(&format!(" `{code}`{explanation}"))
        } else if is(&REJECTED) || self.rejected_codes.contains(&code) {
            TokenResponse::Rejected { code, description }
        } else if is(&LOGIN_REQUIRED) {
            TokenResponse::LoginRequired { code, description }
        } else if is(&MISCONFIGURED) {
            TokenResponse::Misconfigured { code, description }
        } else if refuses && !is(&PASSING)
            || code == "invalid_request" && speaks_of_a_dead_token(description.as_deref())
        {
            TokenResponse::Rejected { code, description }
        } else {
            let explanation = description.map(|text| format!(": {text}")).unwrap_or_default();
            unavailable(&format!(" `{code}`{explanation}"))
        }
    }

    /// The error in a response: where the provider has it, else where everybody has.
    fn error_in(
        &self,
        object: &Map<String, Value>,
        status: u16,
    ) -> Option<(String, Option<String>)> {
        let own = self.error_at.as_ref().and_then(|place| place.read(object));
        own.or_else(|| error_of(object)).or_else(|| {
            // OpenAI's is at the top too.
            let code = object.get("code").and_then(Value::as_str).map(text::clean);
            let code = code.filter(|code| status >= 400 && !code.is_empty())?;
            Some((code, description_of(object)))
        })
    }
}

impl ErrorPlace {
    /// The error that `object` has there. A code of zero is none, but where the response says that
    /// it is one.
    fn read(&self, object: &Map<String, Value>) -> Option<(String, Option<String>)> {
        let outcome = self.success.as_ref().map(|(at, is)| {
            pointed(object, at).and_then(Value::as_str).map(|outcome| outcome == is)
        });
        let code = match pointed(object, &self.code)? {
            Value::String(code) => text::clean(code),
            Value::Number(code) => code.to_string(),
            _ => return None,
        };
        let is_failure = match outcome {
            Some(Some(is_success)) => !is_success,
            _ => !["", "0"].contains(&code.as_str()),
        };
        let description = self.description.as_ref().and_then(|at| pointed(object, at)?.as_str());
        let description = description.map(text::clean).filter(|text| !text.is_empty());
        is_failure.then_some((code, description))
    }
}

/// Dex and old fosite say `invalid_request` of a refresh token that is of no use any more.
fn speaks_of_a_dead_token(description: Option<&str>) -> bool {
    let Some(text) = description.map(str::to_ascii_lowercase) else { return false };
    let is_about_it = text.contains("refresh token") || text.contains("refresh_token");
    let is_malformed = ["missing", "required", "must be", "not provided", "not specified"];
    is_about_it
        && DEAD.iter().any(|word| text.contains(word))
        && !is_malformed.iter().any(|word| text.contains(word))
}

impl TokenResponse {
    /// This response with every occurrence of `secret` removed from its texts: some issuers repeat
    /// what they were sent.
    #[must_use]
    pub fn without(self, secret: &Secret) -> Self {
        let code_of = |code: String| text::without(&code, secret);
        let described = |text: Option<String>| text.map(|text| text::without(&text, secret));
        match self {
            Self::Tokens(_) => self,
            Self::Rejected { code, description } => {
                Self::Rejected { code: code_of(code), description: described(description) }
            }
            Self::LoginRequired { code, description } => {
                Self::LoginRequired { code: code_of(code), description: described(description) }
            }
            Self::Misconfigured { code, description } => {
                Self::Misconfigured { code: code_of(code), description: described(description) }
            }
            Self::Unavailable { reason, retry_after } => {
                Self::Unavailable { reason: text::without(&reason, secret), retry_after }
            }
            Self::Unread { reason } => Self::Unread { reason: text::without(&reason, secret) },
        }
    }

    /// This response without the issuer's own words, for use when the secret that they may repeat
    /// is no longer known.
    #[must_use]
    pub(crate) fn without_words(self) -> Self {
        match self {
            // The reason is in our own words.
            Self::Tokens(_) | Self::Unread { .. } => self,
            Self::Rejected { code, .. } => Self::Rejected { code, description: None },
            Self::LoginRequired { code, .. } => Self::LoginRequired { code, description: None },
            Self::Misconfigured { code, .. } => Self::Misconfigured { code, description: None },
            Self::Unavailable { retry_after, .. } => {
                Self::Unavailable { reason: "the server could not answer".to_owned(), retry_after }
            }
        }
    }
}

/// `Retry-After` as a delay (RFC 9110 §10.2.3): seconds, or a date, which is by the clock that says
/// `now`; at least a second, at most an hour.
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let delay = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Duration::MAX
        }
        Err(_) => http::date(text)?.since(now),
    };
    Some(delay.clamp(Duration::from_secs(1), Duration::from_hours(1)))
}

/// The error code and its description, in the format of RFC 6749 §5.2, or in OpenAI's (`{"error":
/// {"code": …, "message": …}}`).
pub(crate) fn error_of(object: &Map<String, Value>) -> Option<(String, Option<String>)> {
    let text = |value: Option<&Value>| {
        value.and_then(Value::as_str).map(text::clean).filter(|text| !text.is_empty())
    };
    match object.get("error")? {
        Value::Object(error) => {
            // OpenRouter's codes are numbers.
            let number = error.get("code").and_then(Value::as_u64).map(|code| code.to_string());
            let code = text(error.get("code")).or_else(|| text(error.get("type"))).or(number)?;
            Some((code, text(error.get("message"))))
        }
        code => Some((text(Some(code))?, description_of(object))),
    }
}

fn description_of(object: &Map<String, Value>) -> Option<String> {
    let texts =
        ["error_description", "message"].iter().filter_map(|name| object.get(*name)?.as_str());
    texts.map(text::clean).find(|text| !text.is_empty())
}

/// Whether this is a code for which the user has to log in again, whatever becomes of the token.
pub(crate) fn requires_login(code: &str) -> bool {
    LOGIN_REQUIRED.contains(&code)
}

/// Codes that refuse the token, and nothing else.
const REJECTED: [&str; 13] = [
    "invalid_grant",
    "refresh_token_expired",
    "refresh_token_reused",
    "refresh_token_invalidated",
    "refresh_token_revoked",
    "invalid_refresh_token",
    "bad_refresh_token",
    "token_invalidated",
    "token_revoked",
    "revoked",
    "token_expired",
    "token_inactive",
    // RFC 6750 §3.1.
    "invalid_token",
];

/// Codes that want the user at the browser once more (`OpenID` Connect Core §3.1.2.6; the last three
/// are Auth0's, RFC 9470's and Google's).
const LOGIN_REQUIRED: [&str; 7] = [
    "interaction_required",
    "login_required",
    "consent_required",
    "account_selection_required",
    "mfa_required",
    "insufficient_user_authentication",
    "reauth_required",
];

/// What is said of a refresh token that is of no use any more.
const DEAD: [&str; 10] = [
    "invalid",
    "claimed",
    "expired",
    "revoked",
    "inactive",
    "not found",
    "unknown",
    "already been used",
    "already used",
    "does not exist",
];

/// Codes for a temporary error (RFC 6749 §4.1.2.1).
const PASSING: [&str; 3] = ["temporarily_unavailable", "server_error", "slow_down"];

/// Codes that refuse the client (RFC 6749 §5.2).
const MISCONFIGURED: [&str; 3] =
    ["invalid_client", "unauthorized_client", "unsupported_grant_type"];

#[cfg(test)]
mod tests {
    use auth_store::OAuthCredential;
    use proptest::prelude::*;

    use super::*;
    use crate::provider::registry::Providers;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn provider(id: &str) -> Provider {
        Providers::load(None, &|_| None).find(&auth_store::ProviderId::new(id)).unwrap().clone()
    }

    fn read(status: u16, body: &str) -> TokenResponse {
        provider("openai-codex").read_response(status, &[], body.as_bytes(), NOW)
    }

    /// One word for each outcome, and the code.
    fn outcome(response: &TokenResponse) -> String {
        match response {
            TokenResponse::Tokens(_) => "tokens".to_owned(),
            TokenResponse::Rejected { code, .. } => format!("rejected {code}"),
            TokenResponse::LoginRequired { code, .. } => format!("login required {code}"),
            TokenResponse::Misconfigured { code, .. } => format!("misconfigured {code}"),
            TokenResponse::Unavailable { .. } => "unavailable".to_owned(),
            TokenResponse::Unread { .. } => "unread".to_owned(),
        }
    }

    #[test]
    fn every_response_has_its_class() {
        let table = [
            (200, r#"{"access_token":"a"}"#, "tokens"),
            (201, r#"{"refresh_token":"r"}"#, "tokens"),
            (200, r#"{"access_token":"a","error":""}"#, "tokens"),
            (400, r#"{"error":"invalid_grant"}"#, "rejected invalid_grant"),
            (401, r#"{"error":{"code":"refresh_token_reused"}}"#, "rejected refresh_token_reused"),
            (401, r#"{"error":"refresh_token_expired"}"#, "rejected refresh_token_expired"),
            (
                400,
                r#"{"error":{"code":"refresh_token_invalidated","message":"m"}}"#,
                "rejected refresh_token_invalidated",
            ),
            (403, r#"{"error":"invalid_grant"}"#, "rejected invalid_grant"),
            (200, r#"{"error":"bad_refresh_token"}"#, "rejected bad_refresh_token"),
            (400, r#"{"error":{"type":"invalid_grant"}}"#, "rejected invalid_grant"),
            (401, r#"{"error":"invalid_client"}"#, "misconfigured invalid_client"),
            (400, r#"{"error":"unauthorized_client"}"#, "misconfigured unauthorized_client"),
            (
                400,
                r#"{"error":{"code":"unsupported_grant_type"}}"#,
                "misconfigured unsupported_grant_type",
            ),
            (400, "", "unavailable"),
            (400, "{}", "unavailable"),
            (400, r#"{"error":"invalid_request"}"#, "unavailable"),
            (400, r#"{"error":"temporarily_unavailable"}"#, "unavailable"),
            (400, r#"{"error":"server_error"}"#, "unavailable"),
            (400, r#"{"error":7}"#, "unavailable"),
            (400, r#"["invalid_grant"]"#, "unavailable"),
            (400, "invalid_grant", "unavailable"),
            (403, "<html>blocked</html>", "unavailable"),
            (404, "", "unavailable"),
            (408, r#"{"error":"invalid_grant"}"#, "unavailable"),
            (425, r#"{"error":"invalid_grant"}"#, "unavailable"),
            (429, r#"{"error":"invalid_grant"}"#, "unavailable"),
            (500, r#"{"error":"invalid_grant"}"#, "unavailable"),
            (503, "", "unavailable"),
            (301, r#"{"access_token":"a"}"#, "unavailable"),
            (302, r#"{"error":"invalid_grant"}"#, "unavailable"),
            (200, "<html>sign in to this network</html>", "unavailable"),
            (200, "", "unavailable"),
            (200, "{}", "unavailable"),
            (200, r#"{"access_token":""}"#, "unavailable"),
            (200, r#"{"access_token":7}"#, "unavailable"),
            (200, r#"{"access_token":"a","refresh_token":7}"#, "unavailable"),
            (200, r#"{"access_token":"a","refresh_token":"r\ud83d"}"#, "unavailable"),
            (200, r#"{"access_token":"a","refresh_token":false}"#, "tokens"),
            (206, r#"{"access_token":"a","name":"Team \ud83d","n":1e999,"x":NaN}"#, "tokens"),
            (200, r#"{"access_token":"a","refresh_token":"r","account":{"na"#, "tokens"),
            (200, "access_token=a&refresh_token=r&expires_in=3600", "tokens"),
            (200, "error=bad_refresh_token&error_description=x", "rejected bad_refresh_token"),
            (400, "error=invalid_grant", "rejected invalid_grant"),
            (200, r#"{"access_token":"a"#, "unavailable"),
            (204, "", "unavailable"),
            (200, "\u{feff}{\"access_token\":\"a\"}", "tokens"),
            (400, "\u{feff}{\"error\":\"invalid_grant\"}", "rejected invalid_grant"),
            (200, ")]}'\n{\"access_token\":\"a\"}", "tokens"),
            (200, ")]}',\n{\"access_token\":\"a\"}", "tokens"),
            (200, "\n {\"access_token\":\"a\"}\n<!-- from your proxy -->", "tokens"),
            (200, "<p>{\"access_token\":\"a\"}", "unavailable"),
            (100, "", "unavailable"),
        ];
        for (status, body, wanted) in table {
            assert_eq!(outcome(&read(status, body)), wanted, "{status} {body}");
        }
        let latin_1 = b"{\"access_token\":\"a\",\"name\":\"Jos\xe9\"}";
        assert_eq!(
            outcome(&provider("openai-codex").read_response(200, &[], latin_1, NOW)),
            "tokens"
        );
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(outcome(&read(200, &deep)), "unavailable");
        assert_eq!(outcome(&read(200, &format!(r#"{{"x":{deep},"access_token":"a"}}"#))), "tokens");
    }

    #[test]
    fn a_page_is_called_one() {
        for (status, body) in
            [(200, "<html>sign in</html>"), (403, "<!DOCTYPE html>"), (503, "<html>")]
        {
            let TokenResponse::Unavailable { reason, .. } = read(status, body) else {
                panic!("{body}")
            };
            assert_eq!(reason, format!("the server answered with a web page (status {status})"));
        }
        let TokenResponse::Unavailable { reason, .. } = read(503, "out of order") else { panic!() };
        assert_eq!(reason, "the server answered 503");
    }

    #[test]
    fn a_dead_token_is_known_by_what_servers_say_of_it() {
        let generic = |status: u16, body: &str| {
            let mut acme = provider("openai-codex");
            (acme.rejected_statuses, acme.rejected_codes) = (Vec::new(), Vec::new());
            outcome(&acme.read_response(status, &[], body.as_bytes(), NOW))
        };
        let dex =
            |said: &str| format!(r#"{{"error":"invalid_request","error_description":"{said}"}}"#);
        for said in [
            "Refresh token is invalid or has already been claimed by another client.",
            "Refresh token expired.",
            "The refresh_token has been revoked",
        ] {
            assert_eq!(generic(400, &dex(said)), "rejected invalid_request", "{said}");
        }
        // The controls: a request that we made badly.
        for said in ["Required param: refresh_token.", "refresh_token is missing", "invalid scope"]
        {
            assert_eq!(generic(400, &dex(said)), "unavailable", "{said}");
        }
        for (status, body, wanted) in [
            (401, r#"{"error":"invalid_token"}"#, "rejected invalid_token"),
            (401, r#"{"error":"token_inactive"}"#, "rejected token_inactive"),
            (400, "error=token_inactive&error_description=x", "rejected token_inactive"),
            (401, r#"{"code":"refresh_token_expired"}"#, "rejected refresh_token_expired"),
            (401, r#"{"code":"new"}"#, "unavailable"),
            (200, r#"{"code":"invalid_grant"}"#, "unavailable"),
            (401, "{}", "unavailable"),
            (400, r#"{"error":"interaction_required"}"#, "login required interaction_required"),
            (400, r#"{"error":"login_required"}"#, "login required login_required"),
            (400, r#"{"error":"consent_required"}"#, "login required consent_required"),
            (403, r#"{"error":"mfa_required"}"#, "login required mfa_required"),
            (
                400,
                r#"{"error":"account_selection_required"}"#,
                "login required account_selection_required",
            ),
            (503, r#"{"error":"interaction_required"}"#, "unavailable"),
        ] {
            assert_eq!(generic(status, body), wanted, "{status} {body}");
        }
    }

    #[test]
    fn a_provider_may_have_codes_of_its_own() {
        let mut acme = provider("openai-codex");
        acme.rejected_codes = vec!["session_gone".to_owned()];
        let body = br#"{"error":"session_gone"}"#;
        assert_eq!(outcome(&acme.read_response(400, &[], body, NOW)), "rejected session_gone");
    }

    #[test]
    fn texts_of_the_issuer_are_cleaned_and_hold_no_secret() {
        let body = format!(
            r#"{{"error":"invalid_grant","error_description":"token CANARY \u001b[31m {}"}}"#,
            "x".repeat(1000)
        );
        let response = read(400, &body).without(&"CANARY".into());
        let TokenResponse::Rejected { description: Some(text), .. } = response else { panic!() };
        assert!(text.starts_with("token REDACTED [31m xxx"), "{text}");
        assert!(text.chars().count() <= 310);
        let response = read(400, r#"{"error":"odd CANARY"}"#).without(&"CANARY".into());
        assert!(!format!("{response:?}").contains("CANARY"));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_within_limits() {
        let check = |text: &str, wanted: Option<u64>| {
            assert_eq!(retry_after(text, NOW), wanted.map(Duration::from_secs), "{text}");
        };
        check("90", Some(90));
        check(" 0 ", Some(1));
        check("86400", Some(3600));
        check("99999999999999999999999", Some(3600));
        check("Fri, 15 Jan 2027 08:01:30 GMT", Some(90));
        check("Thu, 01 Jan 1970 00:00:00 GMT", Some(1));
        check("soon", None);
        check("", None);
        let headers = [("Retry-After".to_owned(), "7".to_owned())];
        let response = provider("openai-codex").read_response(503, &headers, b"", NOW);
        let TokenResponse::Unavailable { retry_after, .. } = response else { panic!() };
        assert_eq!(retry_after, Some(Duration::from_secs(7)));
    }

    /// Members as issuers send them, and malformed ones.
    fn member() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            Just(Value::from("")),
            "[a-z.]{1,8}".prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ]
    }

    fn response_body() -> impl Strategy<Value = Vec<u8>> {
        let names: &'static [&'static str] = &[
            "access_token",
            "refresh_token",
            "expires_in",
            "token_type",
            "id_token",
            "error",
            "scope",
        ];
        let object = proptest::collection::vec((proptest::sample::select(names), member()), 0..7);
        prop_oneof![
            8 => object.prop_map(|members| {
                let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
                Value::Object(members.collect()).to_string().into_bytes()
            }),
            1 => proptest::collection::vec(any::<u8>(), 0..64),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn after_any_response_the_refresh_token_is_the_old_or_the_new_one(
            status in prop_oneof![3 => Just(200_u16), 1 => 100_u16..600],
            body in response_body(),
        ) {
            let codex = provider_once();
            let previous = OAuthCredential { refresh: "old".into(), ..OAuthCredential::default() };
            if let TokenResponse::Tokens(tokens) = codex.read_response(status, &[], &body, NOW) {
                prop_assert!((200..300).contains(&status));
                let sent: Value = serde_json::from_slice(&body).unwrap();
                prop_assert!(matches!(sent["refresh_token"], Value::Null | Value::Bool(_) | Value::String(_)));
                if let Ok(merged) = tokens.merge(&previous, NOW) {
                    prop_assert!(!merged.access.is_blank());
                    let new = sent["refresh_token"].as_str().unwrap_or_default();
                    let wanted = if tokens.has_rotated() { new } else { "old" };
                    prop_assert_eq!(merged.refresh.expose(), wanted);
                    prop_assert!(merged.expires.unwrap() > NOW);
                } else if tokens.has_rotated() {
                    prop_assert_eq!(Some(tokens.refresh().expose()), sent["refresh_token"].as_str());
                }
            }
        }
    }

    fn provider_once() -> &'static Provider {
        static CODEX: std::sync::LazyLock<Provider> =
            std::sync::LazyLock::new(|| provider("openai-codex"));
        &CODEX
    }
}
