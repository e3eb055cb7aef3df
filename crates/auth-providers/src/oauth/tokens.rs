//! The tokens of a response: their account, their expiry, and how they renew a login.

use std::time::Duration;

use auth_store::{OAuthCredential, Secret, Timestamp, unverified_claims};
use serde_json::{Map, Value};

use crate::http;
use crate::oauth::id_token;
use crate::oauth::numbers::{number, timestamp};
use crate::provider::{IdentitySource, Provider};
use crate::text;

/// The tokens of a response, and their account.
#[derive(Clone, Debug)]
pub struct Tokens {
    access: Option<Secret>,
    refresh: Secret,
    id_token: Option<Secret>,
    is_named_by_id_token: bool,
    proof: Option<&'static str>,
    expiry: Option<Expiry>,
    /// The server's time, if its clock differs from ours.
    server_time: Option<Timestamp>,
    /// The account id, if the provider includes it in its tokens.
    pub account_id: Option<String>,
    /// The e-mail address, if the provider includes it in its tokens.
    pub email: Option<String>,
    /// The fields that the provider's entry stores in the profile.
    pub fields: Map<String, Value>,
    /// The granted scope, if the response names it (RFC 6749 §5.1).
    pub scope: Option<String>,
}

/// An expiry as issuers write it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expiry {
    In(Duration),
    At(Timestamp),
}

impl Expiry {
    fn in_seconds(seconds: f64) -> Self {
        Self::In(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    /// Seconds from now, or a timestamp in seconds or milliseconds: the size of the number tells.
    pub(crate) fn by_size(number: f64) -> Self {
        if number < 1e9 {
            return Self::in_seconds(number);
        }
        let milliseconds = if number < 1e12 { number * 1000.0 } else { number };
        Self::At(timestamp(milliseconds))
    }
}

/// Why tokens cannot replace those of a login. The response must be kept: a rotated refresh token
/// is in [`Tokens::refresh`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MergeError {
    /// They belong to another account. Nothing may be saved.
    #[error("the answer is for another account")]
    OtherAccount,
    /// There is no access token that can be sent.
    #[error("the answer has no usable access token")]
    NoAccessToken,
    /// Tokens of this type require a proof of possession with each request.
    #[error(
        "its tokens are of the type `{0}`: every request needs a proof, which is not supported"
    )]
    NeedsProof(&'static str),
}

impl Provider {
    /// The tokens in `object`, if it has an access token or a refresh token.
    pub(crate) fn tokens(&self, object: &Map<String, Value>) -> Option<Tokens> {
        let secret = |name: &str| {
            let text = object.get(name)?.as_str()?;
            (!auth_store::trim(text).is_empty()).then(|| Secret::from(text))
        };
        // A refresh token goes back to the issuer unchanged; all other tokens are trimmed.
        let trimmed = |token: Secret| Secret::from(auth_store::trim(token.expose()));
        let access = secret("access_token").map(trimmed);
        let refresh = secret("refresh_token");
        if access.is_none() && refresh.is_none() || is_spoilt(object.get("refresh_token")) {
            return None;
        }
        let mut tokens = Tokens {
            access: access.filter(|access| is_sendable(access.expose())),
            refresh: refresh.unwrap_or_default(),
            id_token: secret("id_token"),
            is_named_by_id_token: self.identity.source == Some(IdentitySource::IdToken),
            proof: proof_of(object.get("token_type")),
            expiry: self.expiry(object),
            server_time: None,
            account_id: None,
            email: None,
            fields: Map::new(),
            scope: object.get("scope").and_then(Value::as_str).map(text::clean),
        };
        for (field, pointer) in &self.response_fields {
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
            return number(object.get("expires_in")?).map(Expiry::in_seconds);
        };
        let number = number(object.get(field)?)?;
        Some(Expiry::by_size(number))
    }
}

impl Tokens {
    /// Whether the response has a refresh token. If so, the old one may be void.
    pub fn has_rotated(&self) -> bool {
        !self.refresh.is_blank()
    }

    /// The refresh token of the response; blank if there is none.
    pub fn refresh(&self) -> &Secret {
        &self.refresh
    }

    /// The access token, if it can be sent in a header field and requires no proof of possession.
    pub fn access(&self) -> Option<&Secret> {
        self.access.as_ref().filter(|_| self.proof.is_none())
    }

    /// The type of the tokens, if it requires a proof of possession with each request. Such tokens
    /// cannot be used here.
    pub fn proof(&self) -> Option<&'static str> {
        self.proof
    }

    /// These tokens, which came with `headers` at `now`. The expiry inside a token refers to the
    /// server's clock, which may differ from ours.
    #[must_use]
    pub(crate) fn by_clock(self, headers: &[(String, String)], now: Timestamp) -> Self {
        let date = http::header(headers, "date").and_then(http::date);
        let is_other = |date: &Timestamp| date.since(now).max(now.since(*date)) > SAME_CLOCK;
        Self { server_time: date.filter(is_other), ..self }
    }

    /// The ID token, if there is one.
    pub fn id_token(&self) -> Option<&Secret> {
        self.id_token.as_ref()
    }

    /// The login `previous`, renewed with these tokens, which were received at `received_at`.
    ///
    /// Without a new refresh token the old one stays. Account, client, endpoint and project are
    /// those of `previous`; the account is added if it was unknown.
    pub fn merge(
        &self,
        previous: &OAuthCredential,
        received_at: Timestamp,
    ) -> Result<OAuthCredential, MergeError> {
        let account_id =
            self.account_id.clone().filter(|_| self.is_named_for(previous, received_at));
        if let (Some(old), Some(new)) = (&previous.account_id, &account_id)
            && old != new
        {
            return Err(MergeError::OtherAccount);
        }
        if let Some(kind) = self.proof {
            return Err(MergeError::NeedsProof(kind));
        }
        let access = self.access.clone().ok_or(MergeError::NoAccessToken)?;
        let refresh = if self.has_rotated() { &self.refresh } else { &previous.refresh };
        Ok(OAuthCredential {
            expires: Some(self.expires(&access, received_at)),
            obtained_at: Some(received_at),
            access,
            refresh: refresh.clone(),
            account_id: previous.account_id.clone().or(account_id),
            ..previous.clone()
        })
    }

    /// Whether the name that these tokens have for the account counts for `previous`: that of an ID
    /// token only if it is for this client, from this issuer, and has not ended.
    fn is_named_for(&self, previous: &OAuthCredential, received_at: Timestamp) -> bool {
        let claims = self.id_token.as_ref().filter(|_| self.is_named_by_id_token);
        let claims = claims.and_then(|token| unverified_claims(token.expose()));
        let Some(Value::Object(claims)) = claims else { return true };
        let (issuer, client) = (previous.issuer.as_deref(), previous.client_id.as_deref());
        id_token::doubts(&claims, issuer, client, received_at).is_empty()
    }

    /// Takes away the name of the account, which came from an ID token that is not believed.
    pub(crate) fn forget_identity(&mut self, provider: &Provider) {
        self.is_named_by_id_token = false;
        (self.account_id, self.email) = (None, None);
        self.fields.retain(|field, _| !provider.identity.fields.contains_key(field));
    }

    /// Reads the account from `claims`: those of a token, or the response of the userinfo endpoint.
    /// Values that are missing there stay unchanged.
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

    /// When the access token expires: according to the response or to the token itself, whichever
    /// is earlier. If neither has an expiry, one hour after its receipt, since a login without an
    /// expiry would be refreshed for ever.
    fn expires(&self, access: &Secret, received_at: Timestamp) -> Timestamp {
        let said = self.expiry.map(|expiry| match expiry {
            Expiry::In(lifetime) => received_at.plus(lifetime),
            Expiry::At(end) => end,
        });
        let own = own_end(access).map(|(end, issued)| match (self.server_time, issued) {
            (Some(server_time), _) => received_at.plus(end.since(server_time)),
            // No issuer issues an expired token, so our clock is wrong.
            (None, Some(issued)) if end <= received_at => received_at.plus(end.since(issued)),
            _ => end,
        });
        let end = said.into_iter().chain(own).min();
        let end = end.unwrap_or_else(|| received_at.plus(ASSUMED_LIFETIME));
        end.min(received_at.plus(LONGEST_LIFETIME))
    }
}

/// The expiry of a token whose response says that it expires at `said`: the expiry in the token
/// itself, if that is earlier.
pub fn earlier_end(token: &Secret, said: Timestamp) -> Timestamp {
    own_end(token).map_or(said, |(own, _)| own.min(said))
}

/// The expiry and the issue time in the token, if it is a JWT (RFC 7519 §4.1).
fn own_end(token: &Secret) -> Option<(Timestamp, Option<Timestamp>)> {
    let claims = unverified_claims(token.expose())?;
    let time = |name: &str| {
        let seconds = number(claims.get(name)?)?;
        Some(timestamp(seconds * 1000.0))
    };
    Some((time("exp")?, time("iat")))
}

/// Whether there is a refresh token that is damaged: not a string, or with characters that could
/// not be read.
fn is_spoilt(refresh: Option<&Value>) -> bool {
    match refresh {
        None | Some(Value::Null | Value::Bool(_)) => false,
        Some(Value::String(text)) => text.contains(char::REPLACEMENT_CHARACTER),
        Some(_) => true,
    }
}

/// The token type, if it requires a proof of possession. All other tokens are sent as they are:
/// servers spell "Bearer" in many ways, or write another type in its place (RFC 6749 §7.1).
fn proof_of(token_type: Option<&Value>) -> Option<&'static str> {
    let kind = token_type?.as_str().map(auth_store::trim)?;
    PROOFS.into_iter().find(|proof| kind.eq_ignore_ascii_case(proof))
}

/// The value that a JSON pointer (RFC 6901) refers to.
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

/// Whether `token` can be sent in a header field (RFC 6750 §2.1): visible ASCII.
pub(crate) fn is_sendable(token: &str) -> bool {
    token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Token types that require a proof of possession: RFC 9449, and two drafts that some servers still
/// follow.
const PROOFS: [&str; 3] = ["dpop", "mac", "pop"];

/// Clocks that differ by less count as equal: the field has whole seconds, and the response took
/// time to arrive.
const SAME_CLOCK: Duration = Duration::from_mins(1);

/// The assumed lifetime of an access token without an expiry.
const ASSUMED_LIFETIME: Duration = Duration::from_hours(1);

/// Longer lifetimes are treated as mistakes.
const LONGEST_LIFETIME: Duration = Duration::from_hours(400 * 24);

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::provider::registry::Providers;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    /// What a provider of the catalogue reads from a response.
    fn read(provider: &str, body: &str) -> Tokens {
        let providers = Providers::load(None, &|_| None);
        let provider = providers.find(&auth_store::ProviderId::new(provider)).unwrap();
        provider.tokens(&serde_json::from_str(body).unwrap()).unwrap()
    }

    fn tokens(body: &str) -> Tokens {
        read("openai-codex", body)
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
    fn a_refresh_believes_an_id_token_only_if_it_is_for_this_client() {
        let manifest = r#"{"id":"acme","flows":["authorization_code"],"issuer":"https://a.example",
            "client_id":"cli","scopes":["openid"]}"#;
        let files = vec![("acme.json".into(), Ok(manifest.to_owned()))];
        let providers = Providers::from_manifests(files, &|_| None);
        let acme = providers.find(&auth_store::ProviderId::new("acme")).unwrap();
        let merged = |claims: &str, account: Option<&str>| {
            let body = serde_json::json!({"access_token": "a", "refresh_token": "r", "id_token": jwt(claims)});
            let tokens = acme.tokens(body.as_object().unwrap()).unwrap();
            let previous = OAuthCredential {
                account_id: account.map(str::to_owned),
                client_id: Some("cli".to_owned()),
                issuer: Some("https://a.example".to_owned()),
                ..OAuthCredential::default()
            };
            tokens.merge(&previous, NOW).map(|merged| merged.account_id)
        };
        let good = r#"{"iss":"https://a.example","aud":"cli","sub":"u2"}"#;
        assert_eq!(merged(good, None), Ok(Some("u2".to_owned())));
        assert_eq!(merged(good, Some("u1")), Err(MergeError::OtherAccount));
        for doubtful in
            [r#"{"iss":"https://a.example","aud":[],"sub":"u2"}"#, r#"{"aud":"cli","sub":"u2"}"#]
        {
            assert_eq!(merged(doubtful, None), Ok(None));
            assert_eq!(merged(doubtful, Some("u1")), Ok(Some("u1".to_owned())));
        }
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
    fn the_end_is_that_of_the_response_or_of_the_token_or_an_hour_away() {
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
        check(&format!(r#"{{"access_token":"{}","expires_in":86400}}"#, jwt(&claims)), 120);
        // A value that is not a time is ignored.
        let odd = jwt(r#"{"exp":"soon"}"#);
        check(&format!(r#"{{"access_token":"{odd}","expires_in":86400}}"#), 86_400);
    }

    #[test]
    fn the_end_in_a_token_is_by_the_clock_of_its_server() {
        let hour = Duration::from_hours(1);
        let claims = format!(r#"{{"exp":{}}}"#, NOW.plus(hour).0 / 1000);
        let body = format!(r#"{{"access_token":"{}","expires_in":86400}}"#, jwt(&claims));
        let end = |date: &str, received_at: Timestamp| {
            let headers = [("Date".to_owned(), date.to_owned())];
            let tokens = tokens(&body).by_clock(&headers, received_at);
            tokens.merge(&previous(), received_at).unwrap().expires.unwrap()
        };
        // The server's clock shows `NOW`; ours is two hours ahead, or behind.
        let date = "Fri, 15 Jan 2027 08:00:00 GMT";
        for ours in [NOW.plus(2 * hour), Timestamp(NOW.0 - 7_200_000)] {
            assert_eq!(end(date, ours), ours.plus(hour));
        }
        // The controls: without a date, and with one that equals ours except for the travel time.
        let ours = Timestamp(NOW.0 + 30_000);
        for date in ["", date] {
            assert_eq!(end(date, ours), NOW.plus(hour), "{date}");
        }
    }

    #[test]
    fn a_token_that_has_ended_when_it_comes_lives_as_long_as_it_was_issued_for() {
        let end = |claims: &str, received_at: Timestamp| {
            let body = format!(r#"{{"access_token":"{}","expires_in":7200}}"#, jwt(claims));
            tokens(&body).merge(&previous(), received_at).unwrap().expires.unwrap()
        };
        let (at, hour) = (NOW.0 / 1000, Duration::from_hours(1));
        let issued = format!(r#"{{"iat":{at},"exp":{}}}"#, at + 3600);
        // Our clock is a day ahead.
        let ours = NOW.plus(24 * hour);
        assert_eq!(end(&issued, ours), ours.plus(hour));
        // The controls: the token has not expired, or has no issue time.
        let ours = NOW.plus(hour / 2);
        assert_eq!(end(&issued, ours), NOW.plus(hour));
        assert_eq!(end(&format!(r#"{{"exp":{at}}}"#), ours), NOW);
    }

    #[test]
    fn the_end_somebody_knows_is_not_later_than_the_tokens_own() {
        let token = Secret::from(jwt(&format!(r#"{{"exp":{}}}"#, NOW.0 / 1000)));
        let later = NOW.plus(Duration::from_hours(1));
        let earlier = Timestamp(NOW.0 - 1);
        assert_eq!(earlier_end(&token, later), NOW);
        assert_eq!(earlier_end(&token, earlier), earlier);
        assert_eq!(earlier_end(&"opaque".into(), later), later);
    }

    #[test]
    fn only_a_type_that_needs_a_proof_is_refused() {
        let merged = |kind: &str| {
            let body = format!(r#"{{"access_token":"a","refresh_token":"r","token_type":{kind}}}"#);
            tokens(&body).merge(&previous(), NOW).map(|merged| merged.access)
        };
        for kind in [
            r#""Bearer""#,
            r#"" bearer\n""#,
            r#""BEARER""#,
            r#""bearer_token""#,
            r#""Bearer, Bearer""#,
            r#""""#,
            r#""  ""#,
            "null",
            "7",
            r#""urn:ietf:params:oauth:token-type:access_token""#,
            r#""token""#,
            r#""N_A""#,
        ] {
            assert_eq!(merged(kind), Ok("a".into()), "{kind}");
        }
        for (kind, proof) in [(r#""DPoP""#, "dpop"), (r#"" mac ""#, "mac"), (r#""PoP""#, "pop")] {
            assert_eq!(merged(kind), Err(MergeError::NeedsProof(proof)), "{kind}");
        }
    }

    #[test]
    fn an_end_in_another_unit_is_told_by_its_size() {
        let check = |number: &str, milliseconds: i64| {
            let body = format!(r#"{{"access_token":"a","expired_in":{number}}}"#);
            let expires = read("minimax-portal", &body)
                .merge(&OAuthCredential::default(), NOW)
                .unwrap()
                .expires;
            assert_eq!(expires, Some(Timestamp(milliseconds)), "{number}");
        };
        check("3600", NOW.0 + 3_600_000);
        check("1800003600", NOW.0 + 3_600_000);
        check("1800003600000", NOW.0 + 3_600_000);
        // Ten digits are seconds since the epoch, thirteen are milliseconds.
        check("999999999", NOW.0 + 400 * 86_400_000);
        check("1000000000", 1_000_000_000_000);
        check("999999999999", NOW.0 + 400 * 86_400_000);
        check("1000000000000", 1_000_000_000_000);
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
    fn an_account_may_be_a_number() {
        let account = |account: &str| {
            let claims = r#"{"https://api.openai.com/auth":{"chatgpt_account_id":ACCOUNT}}"#;
            let token = jwt(&claims.replace("ACCOUNT", account));
            tokens(&format!(r#"{{"access_token":"{token}"}}"#)).account_id
        };
        assert_eq!(account("42").as_deref(), Some("42"));
        assert_eq!(account("[42]"), None);
        assert_eq!(account("\"\""), None);
    }

    #[test]
    fn a_response_without_a_usable_access_token_keeps_its_refresh_token_at_hand() {
        for body in [
            r#"{"refresh_token":"r"}"#,
            r#"{"refresh_token":"r","access_token":" "}"#,
            r#"{"refresh_token":"r","access_token":"a\r\nx: y"}"#,
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
}
