//! A client: a program with a token, and its rights.

pub(crate) mod asked;
pub(crate) mod clients_file;
pub(crate) mod guests;
pub(crate) mod rate;

use std::fmt;

use auth_store::{ProfileId, ProviderId, Timestamp};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::accounts::Fingerprint;

/// A client as stored. The token itself is not stored.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// Its name.
    pub name: String,
    /// The SHA-256 of its token.
    pub token_sha256: TokenHash,
    /// The granted providers. Any other gets a 403.
    pub providers: Vec<ProviderId>,
    /// Its rights.
    pub may: Vec<Right>,
    /// The agent whose profiles it uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The only profile it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileId>,
    /// The session whose pin applies to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// When the grant ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The maximum number of requests per minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_minute: Option<u32>,
    /// Whether it may use a user's login, which some providers allow only in their own
    /// applications.
    #[serde(default)]
    pub subscription: bool,
}

/// A right of a client.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Use an account, and never see its credential.
    Proxy,
    /// Receive tokens.
    Token,
    /// Report the result of using a token.
    Report,
    /// See profiles, cooldowns and quota windows.
    Status,
    /// Log in.
    Login,
}

impl Right {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Token => "token",
            Self::Report => "report",
            Self::Status => "status",
            Self::Login => "login",
        }
    }

    /// The right with that name, if there is one.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_value(text.into()).ok()
    }
}

impl Client {
    /// A client with the right to proxy to `providers`, and its token, which is shown only once.
    pub fn new(name: &str, providers: &[ProviderId], entropy: [u8; 32]) -> (Self, ClientToken) {
        let token = ClientToken::from_entropy(entropy);
        let client = Self {
            name: name.to_owned(),
            token_sha256: token.hash(),
            providers: providers.to_vec(),
            may: vec![Right::Proxy],
            agent: None,
            profile: None,
            session: None,
            expires: None,
            max_per_minute: None,
            subscription: false,
        };
        (client, token)
    }

    /// Whether it has this right.
    pub fn may(&self, right: Right) -> bool {
        self.may.contains(&right)
    }

    /// Whether its grant has expired.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }
}

/// The client with this token. The token is compared with every client's, each in constant time.
pub(crate) fn find<'a, C: AsRef<Client>>(clients: &'a [C], token: &str) -> Option<&'a C> {
    let hash = Fingerprint::from_text(token).0;
    let mut found = None;
    for client in clients {
        let known = client.as_ref().token_sha256.0;
        if known.iter().zip(hash).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0 {
            found = Some(client);
        }
    }
    found
}

/// The token with which a client authenticates: `clawd_` and 256 random bits.
pub struct ClientToken(auth_store::Secret);

impl ClientToken {
    fn from_entropy(entropy: [u8; 32]) -> Self {
        let text = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(entropy));
        Self(text.into())
    }

    /// The token itself.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    fn hash(&self) -> TokenHash {
        TokenHash(Fingerprint::from_text(self.expose()).0)
    }
}

impl fmt::Debug for ClientToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("REDACTED")
    }
}

/// The SHA-256 of a client's token, written in hexadecimal.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash([u8; 32]);

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        Fingerprint(hash.0).to_hex()
    }
}

impl TryFrom<String> for TokenHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let wrong = "it is not the SHA-256 of a token in hexadecimal digits";
        Fingerprint::from_hex(&text).map(|hash| Self(hash.0)).ok_or(wrong)
    }
}

/// The prefix of every client's token.
pub(crate) const PREFIX: &str = "clawd_";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_token_finds_its_client_and_no_other() {
        let (one, token) = Client::new("one", &[], [1; 32]);
        let (two, other) = Client::new("two", &[], [2; 32]);
        let clients = [Arc::new(one), Arc::new(two)];
        assert_eq!(find(&clients, token.expose()).unwrap().name, "one");
        assert_eq!(find(&clients, other.expose()).unwrap().name, "two");
        assert!(find(&clients, "clawd_").is_none());
        assert!(find(&clients, &token.expose()[..20]).is_none());
    }

    #[test]
    fn what_is_kept_does_not_hold_the_token() {
        let (client, token) = Client::new("one", &[ProviderId::new("acme")], [7; 32]);
        let kept = serde_json::to_string(&client).unwrap();
        assert!(!kept.contains(&token.expose()[PREFIX.len()..]));
        assert!(!format!("{client:?}{token:?}").contains(token.expose()));
        assert_eq!(serde_json::from_str::<Client>(&kept).unwrap(), client);
        let damaged = kept.replace("\"tokenSha256\":\"", "\"tokenSha256\":\"zz");
        assert!(serde_json::from_str::<Client>(&damaged).is_err());
    }
}
