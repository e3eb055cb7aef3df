//! Verifier and challenge of RFC 7636, with the only safe method: `S256`.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::secret::{InvalidPart, SecretText};

/// The secret that binds the token request to the authorization request (RFC 7636 §4.1).
///
/// It is sent in the body of the token request as `code_verifier`, and nowhere else.
#[derive(Clone)]
pub struct Verifier(SecretText);

impl Verifier {
    /// Makes the verifier of 43 characters from 32 bytes of the system's random generator.
    pub fn new(entropy: [u8; 32]) -> Self {
        Self(SecretText::from_entropy(entropy))
    }

    /// Takes a verifier that was stored, or one made by an issuer: 43 to 128 unreserved characters.
    ///
    /// # Errors
    /// [`InvalidPart`] for anything else; the login has to begin again.
    pub fn parse(text: &str) -> Result<Self, InvalidPart> {
        SecretText::parse(text, "verifier").map(Self)
    }

    /// The challenge for the authorization URL (RFC 7636 §4.2).
    pub fn challenge(&self) -> Challenge {
        Challenge(URL_SAFE_NO_PAD.encode(Sha256::digest(self.expose().as_bytes())))
    }

    /// The text itself, for the token request and for the record of a pending login.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(REDACTED)")
    }
}

/// BASE64URL(SHA256(verifier)): public, since it passes through the browser (RFC 7636 §4.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Challenge(String);

impl Challenge {
    /// The `code_challenge_method`; there is no other (RFC 7636 §7.2, RFC 9700 §2.1.1).
    pub const METHOD: &'static str = "S256";

    /// The value of `code_challenge`: 43 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_challenge_is_that_of_rfc_7636_appendix_b() {
        let verifier = Verifier::parse("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").unwrap();
        assert_eq!(verifier.challenge().as_str(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn the_verifier_of_appendix_b_comes_from_its_octets() {
        let octets = [
            116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212,
            37, 77, 105, 214, 191, 240, 91, 88, 5, 88, 83, 132, 141, 121,
        ];
        assert_eq!(Verifier::new(octets).expose(), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn a_verifier_does_not_print_itself() {
        let verifier = Verifier::new([7; 32]);
        assert!(!format!("{verifier:?}").contains(verifier.expose()));
    }

    #[test]
    fn a_verifier_outside_the_rfc_is_refused() {
        for text in
            ["", "short", &"a".repeat(42), &"a".repeat(129), &format!("{}+", "a".repeat(43))]
        {
            assert_eq!(Verifier::parse(text).unwrap_err(), InvalidPart { part: "verifier" });
        }
    }

    proptest! {
        #[test]
        fn a_verifier_has_43_unreserved_characters_and_one_source(a: [u8; 32], b: [u8; 32]) {
            let (first, second) = (Verifier::new(a), Verifier::new(b));
            prop_assert_eq!(first.expose().len(), 43);
            prop_assert!(first.expose().bytes().all(|c| c.is_ascii_alphanumeric() || b"-._~".contains(&c)));
            prop_assert_eq!(first.expose() == second.expose(), a == b);
            prop_assert!(Verifier::parse(first.expose()).is_ok());
        }
    }
}
