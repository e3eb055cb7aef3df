//! The key of a refresh token: a name that reveals nothing about it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::secret::Secret;

/// The key of a refresh token: a hash of the token, of the only endpoint that may receive it, and
/// of its client.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    /// The key of `refresh`.
    pub fn new(token_endpoint: &str, client_id: &str, refresh: &Secret) -> Self {
        let mut hash = Sha256::new();
        for part in [token_endpoint, "\0", client_id, "\0", refresh.expose()] {
            hash.update(part.as_bytes());
        }
        Self(hash.finalize().into())
    }
}

/// The key of a token endpoint and a client: what one of its tokens was told concerns the others.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EndpointKey(TokenKey);

impl EndpointKey {
    /// The key of this client at this endpoint.
    pub fn new(token_endpoint: &str, client_id: &str) -> Self {
        Self(TokenKey::new(token_endpoint, client_id, &Secret::default()))
    }
}

impl fmt::Display for EndpointKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for TokenKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TokenKey({self})")
    }
}

impl FromStr for TokenKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut key = [0; 32];
        hex::decode_to_slice(text, &mut key).map_err(|_| "a key has 64 hexadecimal digits")?;
        Ok(Self(key))
    }
}

impl Serialize for TokenKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> TokenKey {
        TokenKey::new("https://issuer.example/token", "client", &Secret::new("refresh"))
    }

    #[test]
    fn a_key_is_the_hash_of_its_parts_and_survives_printing() {
        assert_eq!(key().to_string().parse::<TokenKey>().unwrap(), key());
        assert_eq!(
            key().to_string(),
            "54a52274fa13855727ae81a3edc8118179aa5868d6ce09e201f7e13bcdfbe99b"
        );
        let refused = |text: &str| text.parse::<TokenKey>().is_err();
        let text = key().to_string();
        assert!(refused(&text[1..]) && refused(&format!("{text}0")) && refused(""));
        assert!(refused(&format!("{}é", &text[2..])) && refused(&text.replace('a', "x")));
        let other = TokenKey::new("https://issuer.example/token", "client", &Secret::new("other"));
        assert_ne!(key(), other);
    }
}
