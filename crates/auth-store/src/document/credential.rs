//! Credentials, and the profiles that they belong to.

use std::time::Duration;

use crate::document::json::{self, Object};
use crate::document::reference::KeyReference;
use crate::document::usage::Usage;
use crate::id::{ProfileId, ProviderId};
use crate::jwt;
use crate::secret::Secret;
use crate::time::Timestamp;

/// A credential with its secrets, as stored.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A key that does not expire.
    ApiKey(Secret),
    /// A key outside the store, which is read when it is needed. Its [`bearer`](Self::bearer) is blank
    /// until then.
    Reference(KeyReference),
    /// A token that cannot be refreshed.
    Token {
        /// The token.
        token: Secret,
        /// When it expires, if that is known.
        expires: Option<Timestamp>,
    },
    /// An access token and the refresh token that renews it.
    OAuth(OAuthCredential),
}

/// An OAuth login.
#[derive(Clone, Debug, Default)]
pub struct OAuthCredential {
    /// The access token. It may be blank in a file written by another program.
    pub access: Secret,
    /// The refresh token. It is blank if the issuer gave none.
    pub refresh: Secret,
    /// When the access token expires.
    pub expires: Option<Timestamp>,
    /// When the access token was received. With `expires` it gives the lifetime.
    pub obtained_at: Option<Timestamp>,
    /// The account at the issuer: the identity of the login.
    pub account_id: Option<String>,
    /// The client of the refresh token, if it is not the provider's own.
    pub client_id: Option<String>,
    /// The only address that may ever receive the refresh token. `None`: the provider's built-in
    /// one.
    pub token_endpoint: Option<String>,
    /// The issuer, if it is known.
    pub issuer: Option<String>,
    /// The project, for providers that need one in each request.
    pub project_id: Option<String>,
    /// The origins that its secrets may be sent to, as they were when it was made.
    pub destinations: Option<Vec<String>>,
}

/// The kind of a credential: the `type` in the file.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// `oauth`
    OAuth,
    /// `token`
    Token,
    /// `api_key`
    ApiKey,
}

impl Kind {
    /// The `type` in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OAuth => "oauth",
            Self::Token => "token",
            Self::ApiKey => "api_key",
        }
    }

    /// The kind with this `type` in the file, if it is known.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::OAuth, Self::Token, Self::ApiKey].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A profile without its secrets, for routing and status.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its id.
    pub id: ProfileId,
    /// The provider's canonical id.
    pub provider: ProviderId,
    /// The provider as written in the file.
    pub provider_text: String,
    /// The kind of credential.
    pub kind: Kind,
    /// Whether it has any secret: a key, a token, or one of access and refresh token.
    pub has_secret: bool,
    /// Whether it has a refresh token.
    pub has_refresh: bool,
    /// When the credential expires, if it does.
    pub expires: Option<Timestamp>,
    /// The e-mail address, a label.
    pub email: Option<String>,
    /// The account at the issuer: the identity.
    pub account_id: Option<String>,
    /// Its usage.
    pub usage: Usage,
}

impl Credential {
    /// The members of a stored profile that belong to us: those of the credential, and those of its
    /// account. All others belong to other programs.
    pub const MEMBERS: [&str; 15] = [
        "type",
        "provider",
        "key",
        "token",
        "access",
        "refresh",
        "expires",
        "obtainedAt",
        "email",
        "accountId",
        "clientId",
        "tokenEndpoint",
        "issuer",
        "projectId",
        Self::DESTINATIONS,
    ];

    /// The member with the origins that the secrets of a profile may be sent to.
    pub const DESTINATIONS: &str = "destinations";

    /// The kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::ApiKey(_) | Self::Reference(_) => Kind::ApiKey,
            Self::Token { .. } => Kind::Token,
            Self::OAuth(_) => Kind::OAuth,
        }
    }

    /// The secret that is sent to the provider's API: the key, the token, or the access token. Blank
    /// for a [`Reference`](Self::Reference).
    pub fn bearer(&self) -> &Secret {
        match self {
            Self::Reference(_) => Secret::BLANK,
            Self::ApiKey(key) => key,
            Self::Token { token, .. } => token,
            Self::OAuth(login) => &login.access,
        }
    }

    /// When it expires, if it does. Zero and negative times mean "unknown", as in Clawdbot.
    pub fn expires(&self) -> Option<Timestamp> {
        match self {
            Self::ApiKey(_) | Self::Reference(_) => None,
            Self::Token { expires, .. } => expires.filter(|expires| expires.0 > 0),
            Self::OAuth(login) => login.expires,
        }
    }

    /// Whether [`bearer`](Self::bearer) can be used at `now`. A login with a refresh token and an
    /// unknown expiry is not valid, because a refresh reveals its expiry. A key outside the store
    /// is valid.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        if let Self::Reference(_) = self {
            return true;
        }
        let ends = self.expires();
        !self.bearer().is_blank()
            && match self {
                Self::OAuth(login) if !login.refresh.is_blank() => {
                    ends.is_some_and(|end| now < end)
                }
                _ => ends.is_none_or(|end| now < end),
            }
    }

    /// Whether it can be used at `now` and for a margin after it, so that it needs no refresh. The
    /// margin is 10 % of the lifetime and at most 5 minutes, or `at_least` if that is more. A
    /// credential without a refresh token has no margin. A credential that was obtained in the
    /// future is not fresh: a clock was wrong, so its expiry is unknown.
    pub fn is_fresh(&self, now: Timestamp, at_least: Duration) -> bool {
        let margin = match self {
            Self::OAuth(login) if !login.refresh.is_blank() => {
                if login.obtained_at.is_some_and(|at| at.since(now) > WRONG_CLOCK) {
                    return false;
                }
                login.margin().max(at_least)
            }
            _ => at_least,
        };
        self.is_valid(now.plus(margin))
    }
}

impl OAuthCredential {
    /// How long before its expiry the access token is refreshed.
    fn margin(&self) -> Duration {
        let stored = match (self.obtained_at, self.expires) {
            (Some(obtained), Some(expires)) => Some(expires.since(obtained)),
            _ => None,
        };
        let lifetime = stored.or_else(|| jwt::lifetime(self.access.expose()));
        (lifetime.unwrap_or(LONGEST_MARGIN) / 10).min(LONGEST_MARGIN)
    }
}

const LONGEST_MARGIN: Duration = Duration::from_mins(5);
/// Clocks that differ by more are wrong, not inexact.
const WRONG_CLOCK: Duration = Duration::from_hours(1);

/// The provider and the kind of the entry `raw`, or what is wrong with it.
pub(crate) fn head(entry: &Object<'_>) -> Result<(String, Kind), &'static str> {
    let kind = json::string(entry.get("type")).ok_or("it has no `type`")?;
    let kind = Kind::parse(&kind).ok_or("its `type` is none of `api_key`, `oauth`, `token`")?;
    let provider = json::string(entry.get("provider")).ok_or("it has no `provider`")?;
    if provider.is_empty() { Err("its `provider` is empty") } else { Ok((provider, kind)) }
}

/// The view of the entry without its secrets.
pub(crate) fn profile(id: &str, entry: &Object<'_>, usage: Usage) -> Option<Profile> {
    let (provider_text, kind) = head(entry).ok()?;
    // Checks without copying the secrets.
    let has = |name| !json::is_blank(entry.get(name));
    let has_refresh = kind == Kind::OAuth && has("refresh");
    let has_secret = match kind {
        Kind::ApiKey => has("key") || entry.get("keyRef").and_then(KeyReference::read).is_some(),
        Kind::Token => has("token"),
        Kind::OAuth => has("access") || has_refresh,
    };
    let expires = match kind {
        Kind::ApiKey => None,
        Kind::Token => json::time(end(entry)).filter(|end| end.0 > 0),
        Kind::OAuth => json::time(end(entry)),
    };
    Some(Profile {
        id: ProfileId::new(id),
        provider: ProviderId::new(&provider_text),
        provider_text,
        kind,
        has_secret,
        has_refresh,
        expires,
        email: json::string(entry.get("email")),
        account_id: json::string(entry.get("accountId")),
        usage,
    })
}

/// The credential in the entry.
pub(crate) fn credential(entry: &Object<'_>) -> Option<Credential> {
    let (_provider, kind) = head(entry).ok()?;
    let secret = |name| Secret::new(json::string(entry.get(name)).unwrap_or_default());
    let time = |name| json::time(entry.get(name));
    let expires = || json::time(end(entry));
    let text = |name| json::string(entry.get(name)).filter(|text| !text.is_empty());
    Some(match kind {
        Kind::ApiKey => {
            let key = secret("key");
            // If another program wrote a key, the key takes precedence.
            let reference = entry.get("keyRef").filter(|_| key.is_blank());
            match reference.and_then(KeyReference::read) {
                Some(reference) => Credential::Reference(reference),
                None => Credential::ApiKey(key),
            }
        }
        Kind::Token => Credential::Token { token: secret("token"), expires: expires() },
        Kind::OAuth => Credential::OAuth(OAuthCredential {
            access: secret("access"),
            refresh: secret("refresh"),
            expires: expires(),
            obtained_at: time("obtainedAt"),
            account_id: text("accountId"),
            client_id: text("clientId"),
            token_endpoint: text("tokenEndpoint"),
            issuer: text("issuer"),
            project_id: text("projectId"),
            destinations: destinations(entry),
        }),
    })
}

/// The origins that the secrets of the entry may be sent to. What cannot be read names none: then
/// nothing may be sent.
pub(crate) fn destinations(entry: &Object<'_>) -> Option<Vec<String>> {
    let raw = entry.get(Credential::DESTINATIONS).filter(|raw| *raw != b"null")?;
    let origins = json::elements(raw).unwrap_or_default();
    Some(origins.into_iter().filter_map(|origin| json::string(Some(origin))).collect())
}

/// The member with the expiry of a credential.
pub(crate) fn end<'e>(entry: &'e Object<'_>) -> Option<&'e [u8]> {
    TIMES[..2].iter().find_map(|name| entry.get(name).filter(|raw| *raw != b"null"))
}

/// Writes the credential's fields into `entry`. Unknown members and equal values keep their text.
pub(crate) fn write_over(entry: &mut Object<'_>, credential: &Credential) {
    write_text(entry, "type", credential.kind().as_str());
    match credential {
        Credential::ApiKey(key) => {
            write_secret(entry, "key", key);
            if !key.is_blank() {
                entry.remove("keyRef");
            }
        }
        Credential::Reference(reference) => {
            entry.remove("key");
            entry.set("keyRef", reference);
        }
        Credential::Token { token, expires } => {
            write_secret(entry, "token", token);
            write_end(entry, *expires);
        }
        Credential::OAuth(login) => {
            write_secret(entry, "access", &login.access);
            write_secret(entry, "refresh", &login.refresh);
            write_end(entry, login.expires);
            if json::time(entry.get("obtainedAt")) != login.obtained_at {
                entry.set_or_remove("obtainedAt", login.obtained_at);
            }
            for (name, value) in [
                ("accountId", &login.account_id),
                ("clientId", &login.client_id),
                ("tokenEndpoint", &login.token_endpoint),
                ("issuer", &login.issuer),
                ("projectId", &login.project_id),
            ] {
                if let Some(value) = value {
                    write_text(entry, name, value);
                }
            }
            if login.destinations.is_some() && login.destinations != destinations(entry) {
                entry.set_or_remove(Credential::DESTINATIONS, login.destinations.as_ref());
            }
        }
    }
}

fn write_text(entry: &mut Object<'_>, name: &str, text: &str) {
    if json::string(entry.get(name)).as_deref() != Some(text) {
        entry.set(name, text);
    }
}

/// Writes a secret. An empty one adds no member.
fn write_secret(entry: &mut Object<'_>, name: &str, secret: &Secret) {
    if !secret.expose().is_empty() || entry.get(name).is_some() {
        write_text(entry, name, secret.expose());
    }
}

fn write_end(entry: &mut Object<'_>, expires: Option<Timestamp>) {
    if json::time(end(entry)) != expires {
        entry.set_or_remove(TIMES[0], expires);
        entry.remove(TIMES[1]);
    }
}

/// The members that are times; either of the first two is the expiry of a credential.
pub(crate) const TIMES: [&str; 3] = ["expires", "expiresAt", "obtainedAt"];

#[cfg(test)]
mod tests {
    use super::*;

    fn login(obtained: i64, expires: i64) -> Credential {
        Credential::OAuth(OAuthCredential {
            access: "a".into(),
            refresh: "r".into(),
            expires: Some(Timestamp(expires)),
            obtained_at: Some(Timestamp(obtained)),
            ..OAuthCredential::default()
        })
    }

    #[test]
    fn the_margin_is_a_tenth_of_the_lifetime_and_at_most_five_minutes() {
        let minute = 60_000;
        let hour = login(0, 60 * minute);
        assert!(hour.is_fresh(Timestamp(55 * minute - 1), Duration::ZERO));
        assert!(!hour.is_fresh(Timestamp(55 * minute), Duration::ZERO));
        let short = login(0, minute);
        assert!(short.is_fresh(Timestamp(53_999), Duration::ZERO));
        assert!(!short.is_fresh(Timestamp(54_000), Duration::ZERO));
    }

    #[test]
    fn a_credential_that_nobody_can_refresh_is_fresh_to_its_last_millisecond() {
        let token = Credential::Token { token: "t".into(), expires: Some(Timestamp(1_000)) };
        assert!(token.is_fresh(Timestamp(999), Duration::ZERO));
        assert!(!token.is_fresh(Timestamp(1_000), Duration::ZERO));
    }

    #[test]
    fn what_a_login_writes_is_listed() {
        let text = || Some("x".to_owned());
        let login = OAuthCredential {
            access: "a".into(),
            refresh: "r".into(),
            expires: Some(Timestamp(2)),
            obtained_at: Some(Timestamp(1)),
            account_id: text(),
            client_id: text(),
            token_endpoint: text(),
            issuer: text(),
            project_id: text(),
            destinations: Some(vec!["https://a.example".to_owned()]),
        };
        let mut document = crate::Document::empty();
        document.put(&"a".into(), "acme", &Credential::OAuth(login), &serde_json::Map::new());
        let written: serde_json::Value = serde_json::from_slice(&document.to_bytes()).unwrap();
        let names: Vec<_> = written["profiles"]["a"].as_object().unwrap().keys().collect();
        assert_eq!(names.len(), 12);
        assert!(names.iter().all(|name| Credential::MEMBERS.contains(&name.as_str())), "{names:?}");
    }

    #[test]
    fn a_blank_access_token_is_never_valid() {
        let blank = Credential::OAuth(OAuthCredential {
            access: " \n".into(),
            ..OAuthCredential::default()
        });
        assert!(!blank.is_valid(Timestamp(0)));
    }
}
