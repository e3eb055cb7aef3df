//! What a token endpoint answers, and what follows from it.

use std::time::Duration;

use auth_store::{OAuthCredential, Secret, Timestamp, unverified_claims};
use serde_json::{Map, Value};

use crate::http;
use crate::plugin;
use crate::provider::{IdentitySource, Provider};
use crate::text;

/// What an answer of a token endpoint means.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Tokens. Keep the answer until they are merged and saved.
    Tokens(Box<Tokens>),
    /// The token (or code) that was sent is refused: it is of no use any more, the person logs in
    /// again. The stored credential is kept.
    Rejected {
        /// The error code, as the issuer wrote it.
        code: String,
        /// The issuer's explanation, clipped and cleaned.
        description: Option<String>,
    },
    /// The client, not the token, is refused: the configuration is wrong. The token may be good.
    Misconfigured {
        /// The error code, as the issuer wrote it.
        code: String,
        /// The issuer's explanation, clipped and cleaned.
        description: Option<String>,
    },
    /// Nothing is proved: try again later.
    Unavailable {
        /// What came instead of an answer, clipped and cleaned.
        reason: String,
        /// When the server wants to be asked again: 1 s to 1 h from now.
        retry_after: Option<Duration>,
    },
}

/// The tokens of an answer, and who they belong to.
#[derive(Clone, Debug)]
pub struct Tokens {
    access: Option<Secret>,
    refresh: Secret,
    id_token: Option<Secret>,
    expiry: Option<Expiry>,
    /// The account id, where the provider says it in its tokens.
    pub account_id: Option<String>,
    /// The e-mail address, where the provider says it in its tokens.
    pub email: Option<String>,
    /// What the provider's entry wants kept in the profile.
    pub fields: Map<String, Value>,
    /// The scope that was granted, if it is said (RFC 6749 §5.1).
    pub scope: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum Expiry {
    In(Duration),
    At(Timestamp),
}

/// Why tokens cannot be put in the place of a login's old ones. The answer must be kept: a rotated
/// refresh token is in [`Tokens::refresh`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MergeError {
    /// They are another account's. Nothing may be saved.
    #[error("the answer is for another account")]
    OtherAccount,
    /// There is no access token that could be sent to anybody.
    #[error("the answer has no usable access token")]
    NoAccessToken,
}

impl Provider {
    /// Reads the answer of a token endpoint to a code or a refresh token, received at `now`.
    ///
    /// Refused is only what an explicit error code refuses; everything that proves nothing is
    /// [`Answer::Unavailable`]: 408, 425, 429, 5xx, redirects, pages of captive portals, empty
    /// errors, unknown codes. Its texts are without the client secret, should the issuer repeat
    /// it; what else was sent, [`Answer::without`] takes out.
    pub fn read_answer(
        &self,
        status: u16,
        headers: &[(String, String)],
        body: &[u8],
        now: Timestamp,
    ) -> Answer {
        let answer = self.judge_answer(status, headers, body, now);
        match &self.client_secret {
            Some(secret) => answer.without(secret),
            None => answer,
        }
    }

    fn judge_answer(
        &self,
        status: u16,
        headers: &[(String, String)],
        body: &[u8],
        now: Timestamp,
    ) -> Answer {
        if status == plugin::NO_STATUS {
            return plugin::read_answer(self, body, now);
        }
        let object = serde_json::from_slice::<Value>(body).ok();
        let object = object.as_ref().and_then(Value::as_object);
        let unavailable = |what: &str| {
            let retry_after =
                http::header(headers, "retry-after").and_then(|text| retry_after(text, now));
            Answer::Unavailable {
                reason: format!("the server answered {status}{what}"),
                retry_after,
            }
        };
        if matches!(status, 408 | 425 | 429 | 500..) {
            return unavailable("");
        }
        if (200..300).contains(&status)
            && let Some(tokens) = object.and_then(|object| self.tokens(object))
        {
            return Answer::Tokens(Box::new(tokens));
        }
        if !matches!(status, 200..300 | 400..500) {
            return unavailable("");
        }
        let refuses = self.rejected_statuses.contains(&status);
        let Some((code, description)) = object.and_then(error_of) else {
            if refuses && object.is_some() {
                return Answer::Rejected { code: format!("status {status}"), description: None };
            }
            return unavailable(if object.is_some() {
                ", with neither tokens nor an error code"
            } else {
                ", with something that is not an OAuth answer"
            });
        };
        let is = |codes: &[&str]| codes.contains(&code.as_str());
        if is(&REJECTED) || self.rejected_codes.contains(&code) {
            Answer::Rejected { code, description }
        } else if is(&MISCONFIGURED) {
            Answer::Misconfigured { code, description }
        } else if refuses && !is(&PASSING) {
            Answer::Rejected { code, description }
        } else {
            let explanation = description.map(|text| format!(": {text}")).unwrap_or_default();
            unavailable(&format!(" `{code}`{explanation}"))
        }
    }

    /// The tokens in `object`, if there is an access token or a refresh token in it.
    pub(crate) fn tokens(&self, object: &Map<String, Value>) -> Option<Tokens> {
        let secret = |name: &str| {
            let text = object.get(name)?.as_str()?;
            (!auth_store::trim(text).is_empty()).then(|| Secret::from(text))
        };
        // A refresh token goes back to the issuer as it came; others see no padding.
        let trimmed = |token: Secret| Secret::from(auth_store::trim(token.expose()));
        let is_bearer = object
            .get("token_type")
            .and_then(Value::as_str)
            .is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
        let access = secret("access_token").map(trimmed);
        let refresh = secret("refresh_token");
        if access.is_none() && refresh.is_none() {
            return None;
        }
        let mut tokens = Tokens {
            access: access.filter(|access| is_bearer && is_sendable(access.expose())),
            refresh: refresh.unwrap_or_default(),
            id_token: secret("id_token"),
            expiry: self.expiry(object),
            account_id: None,
            email: None,
            fields: Map::new(),
            scope: object.get("scope").and_then(Value::as_str).map(text::clean),
        };
        for (field, pointer) in &self.answer_fields {
            if let Some(value) = pointed(object, pointer) {
                tokens.fields.insert(field.clone(), value.clone());
            }
        }
        let source = match self.identity.source {
            Some(IdentitySource::IdToken) => tokens.id_token.as_ref(),
            Some(IdentitySource::AccessToken) => tokens.access.as_ref(),
            Some(IdentitySource::Userinfo) | None => None,
        };
        let claims = source.and_then(|token| unverified_claims(token.expose()));
        if let Some(Value::Object(claims)) = claims {
            tokens.identify(self, &claims);
        }
        Some(tokens)
    }

    fn expiry(&self, object: &Map<String, Value>) -> Option<Expiry> {
        let Some(field) = &self.expires_field else {
            return number(object.get("expires_in")?).map(in_seconds);
        };
        let number = number(object.get(field)?)?;
        if number < 1e9 {
            return Some(in_seconds(number));
        }
        let milliseconds = if number < 1e12 { number * 1000.0 } else { number };
        Some(Expiry::At(timestamp(milliseconds)))
    }
}

impl Answer {
    /// This answer with every occurrence of `secret` taken out of its texts: issuers are known to
    /// repeat what they were sent.
    #[must_use]
    pub fn without(self, secret: &Secret) -> Self {
        let code_of = |code: String| text::without(&code, secret);
        let described = |text: Option<String>| text.map(|text| text::without(&text, secret));
        match self {
            Self::Tokens(_) => self,
            Self::Rejected { code, description } => {
                Self::Rejected { code: code_of(code), description: described(description) }
            }
            Self::Misconfigured { code, description } => {
                Self::Misconfigured { code: code_of(code), description: described(description) }
            }
            Self::Unavailable { reason, retry_after } => {
                Self::Unavailable { reason: text::without(&reason, secret), retry_after }
            }
        }
    }

    /// This answer without the issuer's own words, for when the secret that they may repeat is
    /// not known any more.
    #[must_use]
    pub(crate) fn without_words(self) -> Self {
        match self {
            Self::Tokens(_) => self,
            Self::Rejected { code, .. } => Self::Rejected { code, description: None },
            Self::Misconfigured { code, .. } => Self::Misconfigured { code, description: None },
            Self::Unavailable { retry_after, .. } => {
                Self::Unavailable { reason: "the server could not answer".to_owned(), retry_after }
            }
        }
    }
}

impl Tokens {
    /// Whether the answer brought a refresh token, in whose favour the old one may be void.
    pub fn has_rotated(&self) -> bool {
        !self.refresh.is_blank()
    }

    /// The refresh token of the answer; blank if there is none.
    pub fn refresh(&self) -> &Secret {
        &self.refresh
    }

    /// The access token, if there is one that can be sent in a header field.
    pub fn access(&self) -> Option<&Secret> {
        self.access.as_ref()
    }

    /// The ID token, if there is one.
    pub fn id_token(&self) -> Option<&Secret> {
        self.id_token.as_ref()
    }

    /// The login `previous`, renewed with these tokens, which came at `received_at`.
    ///
    /// Without a new refresh token the old one stays. Account, client, endpoint and project are
    /// those of `previous`; an account it did not know is added.
    pub fn merge(
        &self,
        previous: &OAuthCredential,
        received_at: Timestamp,
    ) -> Result<OAuthCredential, MergeError> {
        if let (Some(old), Some(new)) = (&previous.account_id, &self.account_id)
            && old != new
        {
            return Err(MergeError::OtherAccount);
        }
        let access = self.access.clone().ok_or(MergeError::NoAccessToken)?;
        let refresh = if self.has_rotated() { &self.refresh } else { &previous.refresh };
        Ok(OAuthCredential {
            expires: Some(self.expires(&access, received_at)),
            obtained_at: Some(received_at),
            access,
            refresh: refresh.clone(),
            account_id: previous.account_id.clone().or_else(|| self.account_id.clone()),
            ..previous.clone()
        })
    }

    /// Reads the account's name from `claims`: those of a token, or the answer of the userinfo
    /// endpoint. What is not there stays as it was.
    pub(crate) fn identify(&mut self, provider: &Provider, claims: &Map<String, Value>) {
        let identity = &provider.identity;
        let text_at = |pointer: &Option<String>| {
            let value = pointed(claims, pointer.as_deref()?)?;
            let text = match value {
                Value::String(text) => text::clean(text),
                Value::Number(number) => number.to_string(),
                _ => return None,
            };
            (!text.is_empty()).then_some(text)
        };
        self.account_id = text_at(&identity.account).or(self.account_id.take());
        self.email = text_at(&identity.email).or(self.email.take());
        for (field, pointer) in &identity.fields {
            if let Some(value) = pointed(claims, pointer) {
                self.fields.insert(field.clone(), value.clone());
            }
        }
    }

    /// When the access token ends: by the answer, else by its own `exp`, else an hour from its
    /// receipt, since a login without an end would be refreshed for ever.
    fn expires(&self, access: &Secret, received_at: Timestamp) -> Timestamp {
        let end = match self.expiry {
            Some(Expiry::In(lifetime)) => Some(received_at.plus(lifetime)),
            Some(Expiry::At(end)) => Some(end),
            None => unverified_claims(access.expose())
                .and_then(|claims| number(claims.get("exp")?))
                .map(|seconds| timestamp(seconds * 1000.0)),
        };
        let end = end.unwrap_or_else(|| received_at.plus(ASSUMED_LIFETIME));
        end.min(received_at.plus(LONGEST_LIFETIME))
    }
}

/// `Retry-After` as a delay (RFC 9110 §10.2.3): seconds or a date; at least a second, at most an
/// hour.
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let delay = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Duration::MAX
        }
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            let date = date.duration_since(std::time::UNIX_EPOCH).ok()?;
            Timestamp(date.as_millis().try_into().ok()?).since(now)
        }
    };
    Some(delay.clamp(Duration::from_secs(1), Duration::from_hours(1)))
}

/// The error code and its description, in the shape of RFC 6749 §5.2, or in OpenAI's
/// (`{"error": {"code": …, "message": …}}`).
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
        code => Some((text(Some(code))?, text(object.get("error_description")))),
    }
}

pub(crate) fn pointed<'a>(object: &'a Map<String, Value>, pointer: &str) -> Option<&'a Value> {
    let (first, rest) = match pointer.strip_prefix('/')?.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (pointer.strip_prefix('/')?, None),
    };
    let value = object.get(&first.replace("~1", "/").replace("~0", "~"))?;
    match rest {
        Some(rest) => value.pointer(&format!("/{rest}")),
        None => Some(value),
    }
}

/// A number, or a string of one: both occur.
pub(crate) fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite() && *number > 0.0)
}

fn in_seconds(seconds: f64) -> Expiry {
    Expiry::In(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what we want")]
fn timestamp(milliseconds: f64) -> Timestamp {
    Timestamp(milliseconds as i64)
}

/// Whether `token` can stand in a header field (RFC 6750 §2.1): visible ASCII.
pub(crate) fn is_sendable(token: &str) -> bool {
    token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Codes that refuse the token that was sent, and nothing else.
const REJECTED: [&str; 10] = [
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
];

/// Codes that promise a better day (RFC 6749 §4.1.2.1).
const PASSING: [&str; 3] = ["temporarily_unavailable", "server_error", "slow_down"];

/// Codes that refuse the client (RFC 6749 §5.2).
const MISCONFIGURED: [&str; 3] =
    ["invalid_client", "unauthorized_client", "unsupported_grant_type"];

/// How long an access token is taken to live if nobody says it.
const ASSUMED_LIFETIME: Duration = Duration::from_hours(1);

/// Longer lifetimes are mistakes.
const LONGEST_LIFETIME: Duration = Duration::from_hours(400 * 24);

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;
    use crate::registry::Providers;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn provider(id: &str) -> Provider {
        Providers::load(None, &|_| None).find(&auth_store::ProviderId::new(id)).unwrap().clone()
    }

    fn read(status: u16, body: &str) -> Answer {
        provider("openai-codex").read_answer(status, &[], body.as_bytes(), NOW)
    }

    fn tokens(body: &str) -> Tokens {
        match read(200, body) {
            Answer::Tokens(tokens) => *tokens,
            other => panic!("{other:?}"),
        }
    }

    fn jwt(claims: &str) -> String {
        format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims))
    }

    fn previous() -> OAuthCredential {
        OAuthCredential {
            access: "old-access".into(),
            refresh: "old".into(),
            account_id: Some("me".to_owned()),
            token_endpoint: Some("https://issuer.example/token".to_owned()),
            project_id: Some("p".to_owned()),
            ..OAuthCredential::default()
        }
    }

    /// One word for each outcome, and the code.
    fn outcome(answer: &Answer) -> String {
        match answer {
            Answer::Tokens(_) => "tokens".to_owned(),
            Answer::Rejected { code, .. } => format!("rejected {code}"),
            Answer::Misconfigured { code, .. } => format!("misconfigured {code}"),
            Answer::Unavailable { .. } => "unavailable".to_owned(),
        }
    }

    #[test]
    fn every_answer_has_its_class() {
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
            (200, r#"{"access_token":"a"#, "unavailable"),
            (204, "", "unavailable"),
            (100, "", "unavailable"),
        ];
        for (status, body, wanted) in table {
            assert_eq!(outcome(&read(status, body)), wanted, "{status} {body}");
        }
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(outcome(&read(200, &deep)), "unavailable");
    }

    #[test]
    fn a_provider_may_have_codes_of_its_own() {
        let mut acme = provider("openai-codex");
        acme.rejected_codes = vec!["session_gone".to_owned()];
        let body = br#"{"error":"session_gone"}"#;
        assert_eq!(outcome(&acme.read_answer(400, &[], body, NOW)), "rejected session_gone");
    }

    #[test]
    fn texts_of_the_issuer_are_cleaned_and_hold_no_secret() {
        let body = format!(
            r#"{{"error":"invalid_grant","error_description":"token CANARY \u001b[31m {}"}}"#,
            "x".repeat(1000)
        );
        let answer = read(400, &body).without(&"CANARY".into());
        let Answer::Rejected { description: Some(text), .. } = answer else { panic!() };
        assert!(text.starts_with("token REDACTED [31m xxx"), "{text}");
        assert!(text.chars().count() <= 310);
        let answer = read(400, r#"{"error":"odd CANARY"}"#).without(&"CANARY".into());
        assert!(!format!("{answer:?}").contains("CANARY"));
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
        let answer = provider("openai-codex").read_answer(503, &headers, b"", NOW);
        let Answer::Unavailable { retry_after, .. } = answer else { panic!() };
        assert_eq!(retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn white_space_around_an_access_token_is_not_part_of_it() {
        let padded = tokens(r#"{"access_token":" a ","refresh_token":"\nr "}"#);
        let merged = padded.merge(&previous(), NOW).unwrap();
        assert_eq!((merged.access, merged.refresh), ("a".into(), "\nr ".into()));
    }

    #[test]
    fn a_merge_takes_what_is_new_and_keeps_the_rest() {
        let merged = tokens(r#"{"access_token":"a","refresh_token":"r","expires_in":3600}"#)
            .merge(&previous(), NOW)
            .unwrap();
        assert_eq!(merged.access, "a".into());
        assert_eq!(merged.refresh, "r".into());
        assert_eq!(merged.expires, Some(NOW.plus(Duration::from_hours(1))));
        assert_eq!(merged.obtained_at, Some(NOW));
        assert_eq!(merged.account_id.as_deref(), Some("me"));
        assert_eq!(merged.token_endpoint, previous().token_endpoint);
        assert_eq!(merged.project_id, previous().project_id);
    }

    #[test]
    fn an_absent_or_empty_refresh_token_keeps_the_old_one() {
        for body in [
            r#"{"access_token":"a"}"#,
            r#"{"access_token":"a","refresh_token":""}"#,
            r#"{"access_token":"a","refresh_token":" "}"#,
            r#"{"access_token":"a","refresh_token":null}"#,
        ] {
            let tokens = tokens(body);
            assert!(!tokens.has_rotated());
            assert_eq!(tokens.merge(&previous(), NOW).unwrap().refresh, "old".into());
        }
    }

    #[test]
    fn the_end_is_that_of_the_answer_or_of_the_token_or_an_hour_away() {
        let check = |body: &str, seconds: u64| {
            let expires = tokens(body).merge(&previous(), NOW).unwrap().expires;
            assert_eq!(expires, Some(NOW.plus(Duration::from_secs(seconds))), "{body}");
        };
        check(r#"{"access_token":"a","expires_in":60}"#, 60);
        check(r#"{"access_token":"a","expires_in":"60"}"#, 60);
        check(r#"{"access_token":"a"}"#, 3600);
        check(r#"{"access_token":"a","expires_in":0}"#, 3600);
        check(r#"{"access_token":"a","expires_in":-1}"#, 3600);
        check(r#"{"access_token":"a","expires_in":1e300}"#, 400 * 86_400);
        let claims = format!(r#"{{"exp":{}}}"#, NOW.0 / 1000 + 120);
        check(&format!(r#"{{"access_token":"{}"}}"#, jwt(&claims)), 120);
        check(&format!(r#"{{"access_token":"{}","expires_in":60}}"#, jwt(&claims)), 60);
    }

    #[test]
    fn an_end_in_another_unit_is_told_by_its_size() {
        let check = |number: &str, milliseconds: i64| {
            let body = format!(r#"{{"access_token":"a","expired_in":{number}}}"#);
            let answer = provider("minimax-portal").read_answer(200, &[], body.as_bytes(), NOW);
            let Answer::Tokens(tokens) = answer else { panic!("{answer:?}") };
            let expires = tokens.merge(&OAuthCredential::default(), NOW).unwrap().expires;
            assert_eq!(expires, Some(Timestamp(milliseconds)), "{number}");
        };
        check("3600", NOW.0 + 3_600_000);
        check("1800003600", NOW.0 + 3_600_000);
        check("1800003600000", NOW.0 + 3_600_000);
    }

    #[test]
    fn another_account_is_refused_and_its_refresh_token_stays_at_hand() {
        let claims = r#"{"https://api.openai.com/auth":{"chatgpt_account_id":"you","chatgpt_plan_type":"pro"},
            "https://api.openai.com/profile":{"email":"you@example.com"}}"#;
        let body = format!(r#"{{"access_token":"{}","refresh_token":"r"}}"#, jwt(claims));
        let tokens = tokens(&body);
        assert_eq!(tokens.account_id.as_deref(), Some("you"));
        assert_eq!(tokens.email.as_deref(), Some("you@example.com"));
        assert_eq!(tokens.fields["chatgptPlanType"], "pro");
        assert_eq!(tokens.merge(&previous(), NOW).unwrap_err(), MergeError::OtherAccount);
        assert_eq!(tokens.refresh(), &"r".into());
        let unknown = OAuthCredential { account_id: None, ..previous() };
        assert_eq!(tokens.merge(&unknown, NOW).unwrap().account_id.as_deref(), Some("you"));
    }

    #[test]
    fn an_answer_without_a_usable_access_token_keeps_its_refresh_token_at_hand() {
        for body in [
            r#"{"refresh_token":"r"}"#,
            r#"{"refresh_token":"r","access_token":" "}"#,
            r#"{"refresh_token":"r","access_token":"a\r\nx: y"}"#,
            r#"{"refresh_token":"r","access_token":"a","token_type":"mac"}"#,
        ] {
            let tokens = tokens(body);
            assert_eq!(tokens.merge(&previous(), NOW).unwrap_err(), MergeError::NoAccessToken);
            assert!(tokens.has_rotated());
            assert_eq!(tokens.refresh(), &"r".into(), "{body}");
        }
        assert!(tokens(r#"{"access_token":"a","token_type":"bearer"}"#).access().is_some());
    }

    #[test]
    fn pointers_reach_names_with_slashes() {
        let object = serde_json::json!({"a/b": {"c~d": [1]}});
        let object = object.as_object().unwrap();
        assert_eq!(pointed(object, "/a~1b/c~0d/0"), Some(&Value::from(1)));
        assert_eq!(pointed(object, "/a~1b/x"), None);
        assert_eq!(pointed(object, "a"), None);
    }

    /// Members as issuers send them, and as nobody should.
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

    fn answer_body() -> impl Strategy<Value = Vec<u8>> {
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
        fn after_any_answer_the_refresh_token_is_the_old_or_the_new_one(
            status in prop_oneof![3 => Just(200_u16), 1 => 100_u16..600],
            body in answer_body(),
        ) {
            let codex = provider_once();
            if let Answer::Tokens(tokens) = codex.read_answer(status, &[], &body, NOW) {
                prop_assert!((200..300).contains(&status));
                let sent: Value = serde_json::from_slice(&body).unwrap();
                if let Ok(merged) = tokens.merge(&previous(), NOW) {
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
