//! What an ID token must say before it names the account (`OpenID` Connect Core §3.1.3.7).
//!
//! It only names: the access token came over TLS from the endpoint that was asked, whatever the ID
//! token says. So only one with another login's nonce refuses the login; all other doubts cost the
//! name.

use std::time::Duration;

use auth_store::Timestamp;
use serde_json::{Map, Value};

use crate::oauth::tokens::{number, timestamp};

/// Why an ID token is not believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Doubt {
    /// A nonce was sent, and none came back.
    NoNonce,
    /// `iss` is another name than the issuer's.
    Issuer,
    /// `aud` does not name this client.
    Audience,
    /// `azp` names another client.
    Party,
    /// `exp` is past.
    Ended,
}

impl Doubt {
    /// What is wrong with it, and what helps, as people read it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::NoNonce => "it has no `nonce`",
            Self::Issuer => "its `iss` is not the provider's `issuer` to the letter",
            Self::Audience => "its `aud` does not name this client",
            Self::Party => "its `azp` names another client",
            Self::Ended => "its `exp` is past (is the clock of this machine right?)",
        }
    }
}

/// Why the ID token with these `claims` does not name the account of a login as `client` at
/// `issuer`; nothing, if it does. What the provider's entry does not know is not compared.
pub(crate) fn doubts(
    claims: &Map<String, Value>,
    issuer: Option<&str>,
    client: Option<&str>,
    now: Timestamp,
) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    if issuer.is_some_and(|issuer| claims.get("iss").and_then(Value::as_str) != Some(issuer)) {
        doubts.push(Doubt::Issuer);
    }
    if let Some(client) = client {
        let is_for_us = match claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.iter().any(|it| it.as_str() == Some(client)),
            Some(audience) => audience.as_str() == Some(client),
            None => false,
        };
        if !is_for_us {
            doubts.push(Doubt::Audience);
        }
        let party = claims.get("azp").filter(|party| !party.is_null());
        if party.is_some_and(|party| party.as_str() != Some(client)) {
            doubts.push(Doubt::Party);
        }
    }
    let end = claims.get("exp").and_then(number).map(|seconds| timestamp(seconds * 1000.0));
    if end.is_some_and(|end| end.plus(CLOCK_SKEW) < now) {
        doubts.push(Doubt::Ended);
    }
    doubts
}

/// How far the clocks of issuer and machine may be apart.
const CLOCK_SKEW: Duration = Duration::from_mins(10);
