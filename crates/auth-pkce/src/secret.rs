//! Text that does not print itself: the type of verifier, state, nonce and code.

use std::hint::black_box;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

/// A part of a stored login that this crate did not make: log in again from the start.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the {part} of this login is damaged")]
pub struct InvalidPart {
    /// Which part: `verifier`, `state`, `nonce` or `redirect URI`.
    pub part: &'static str,
}

/// Wiped on drop, and deliberately without `Debug` or `Display`.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct SecretText(Zeroizing<String>);

impl SecretText {
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// 32 bytes in base64url without padding: 43 characters, 256 bits.
    pub(crate) fn from_entropy(mut entropy: [u8; 32]) -> Self {
        let text = URL_SAFE_NO_PAD.encode(entropy);
        entropy.zeroize();
        Self::new(text)
    }

    /// Takes 43 to 128 unreserved characters, the format of a verifier in RFC 7636 §4.1.
    pub(crate) fn parse(text: &str, part: &'static str) -> Result<Self, InvalidPart> {
        let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if (43..=128).contains(&text.len()) && text.bytes().all(is_unreserved) {
            Ok(Self::new(text.to_owned()))
        } else {
            Err(InvalidPart { part })
        }
    }

    /// Compares digests, without an early exit, so that the duration reveals nothing about the
    /// text.
    pub(crate) fn is_same_as(&self, other: &str) -> bool {
        let (ours, theirs) = (Sha256::digest(self.0.as_bytes()), Sha256::digest(other.as_bytes()));
        let difference =
            ours.iter().zip(theirs.iter()).fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
        difference == 0
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}
