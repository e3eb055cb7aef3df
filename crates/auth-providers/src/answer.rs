//! What a token endpoint answers, and what follows from it.

use std::time::Duration;

use auth_store::{OAuthCredential, Secret, Timestamp, unverified_claims};
use serde_json::{Map, Value};

use crate::http;
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
    /// errors, unknown codes.
    pub fn read_answer(
        &self,
        status: u16,
        headers: &[(String, String)],
        body: &[u8],
        now: Timestamp,
    ) -> Answer {
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
        let Some((code, description)) = object.and_then(error_of) else {
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
        } else {
            let explanation = description.map(|text| format!(": {text}")).unwrap_or_default();
            unavailable(&format!(" `{code}`{explanation}"))
        }
    }

    /// The tokens in `object`, if there is an access token or a refresh token in it.
    fn tokens(&self, object: &Map<String, Value>) -> Option<Tokens> {
        let secret = |name: &str| {
            let text = object.get(name)?.as_str()?;
            (!auth_store::trim(text).is_empty()).then(|| Secret::from(text))
        };
        let is_bearer = object
            .get("token_type")
            .and_then(Value::as_str)
            .is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
        let access = secret("access_token");
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
            return number(object.get("expires_in")?).and_then(|seconds| in_seconds(seconds));
        };
        let number = number(object.get(field)?)?;
        if number < 1e9 {
            return in_seconds(number);
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
fn error_of(object: &Map<String, Value>) -> Option<(String, Option<String>)> {
    let text = |value: Option<&Value>| {
        value.and_then(Value::as_str).map(text::clean).filter(|text| !text.is_empty())
    };
    match object.get("error")? {
        Value::Object(error) => {
            let code = text(error.get("code")).or_else(|| text(error.get("type")))?;
            Some((code, text(error.get("message"))))
        }
        code => Some((text(Some(code))?, text(object.get("error_description")))),
    }
}

fn pointed<'a>(object: &'a Map<String, Value>, pointer: &str) -> Option<&'a Value> {
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
fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite() && *number > 0.0)
}

fn in_seconds(seconds: f64) -> Option<Expiry> {
    Some(Expiry::In(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)))
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what we want")]
fn timestamp(milliseconds: f64) -> Timestamp {
    Timestamp(milliseconds as i64)
}

/// Whether `token` can stand in a header field (RFC 6750 §2.1): visible ASCII.
fn is_sendable(token: &str) -> bool {
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

/// Codes that refuse the client (RFC 6749 §5.2).
const MISCONFIGURED: [&str; 3] =
    ["invalid_client", "unauthorized_client", "unsupported_grant_type"];

/// How long an access token is taken to live if nobody says it.
const ASSUMED_LIFETIME: Duration = Duration::from_hours(1);

/// Longer lifetimes are mistakes.
const LONGEST_LIFETIME: Duration = Duration::from_hours(400 * 24);
