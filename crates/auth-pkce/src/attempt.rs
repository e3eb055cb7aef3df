//! One login attempt, from before the browser opens until the response arrives.

use std::fmt;

use url::Url;
use zeroize::Zeroize as _;

use crate::pkce::Verifier;
use crate::secret::{InvalidPart, SecretText};

/// The value that binds a response to this login (RFC 6749 §10.12): 256 random bits.
#[derive(Clone)]
pub struct State(SecretText);

impl State {
    /// Makes the state from 32 bytes of the system's random generator.
    pub fn new(entropy: [u8; 32]) -> Self {
        Self(SecretText::from_entropy(entropy))
    }

    /// Takes a state that was stored.
    ///
    /// # Errors
    /// [`InvalidPart`] if it is not 43 to 128 unreserved characters; the login has to begin again.
    pub fn parse(text: &str) -> Result<Self, InvalidPart> {
        SecretText::parse(text, "state").map(Self)
    }

    /// Whether `answered` is this state. The comparison takes constant time.
    pub fn matches(&self, answered: &str) -> bool {
        self.0.is_same_as(answered)
    }

    /// The text itself, for the authorization URL and for the record of a pending login.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State(REDACTED)")
    }
}

/// The value that an ID token must repeat (`OpenID` Connect Core §3.1.2.1): 256 random bits.
#[derive(Clone)]
pub struct Nonce(SecretText);

impl Nonce {
    /// Makes the nonce from 32 bytes of the system's random generator.
    pub fn new(entropy: [u8; 32]) -> Self {
        Self(SecretText::from_entropy(entropy))
    }

    /// Takes a nonce that was stored.
    ///
    /// # Errors
    /// [`InvalidPart`] if it is not 43 to 128 unreserved characters; the login has to begin again.
    pub fn parse(text: &str) -> Result<Self, InvalidPart> {
        SecretText::parse(text, "nonce").map(Self)
    }

    /// Whether the `nonce` claim of an ID token is this one (`OpenID` Connect Core §3.1.3.7).
    pub fn matches(&self, claim: &str) -> bool {
        self.0.is_same_as(claim)
    }

    /// The text itself, for the authorization URL and for the record of a pending login.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(REDACTED)")
    }
}

/// One login attempt: verifier, state, nonce, and the redirect URI.
///
/// It is used for one response. A login that begins in one process and ends in another stores the
/// four parts (in a file that only its owner can read) and restores them with
/// [`Attempt::from_parts`].
#[derive(Clone, Debug)]
pub struct Attempt {
    verifier: Verifier,
    state: State,
    nonce: Nonce,
    redirect_uri: String,
}

impl Attempt {
    /// Begins a login attempt from 96 bytes of the system's random generator.
    ///
    /// Verifier, state and nonce get 32 bytes each, so that none reveals anything about another.
    /// `redirect_uri` is [`Loopback::redirect_uri`](crate::Loopback::redirect_uri) if a listener is
    /// open. The token request must repeat it to the byte (RFC 6749 §4.1.3).
    pub fn new(mut entropy: [u8; 96], redirect_uri: String) -> Self {
        let (mut verifier, mut state, mut nonce) = ([0; 32], [0; 32], [0; 32]);
        verifier.copy_from_slice(&entropy[..32]);
        state.copy_from_slice(&entropy[32..64]);
        nonce.copy_from_slice(&entropy[64..]);
        let attempt = Self {
            verifier: Verifier::new(verifier),
            state: State::new(state),
            nonce: Nonce::new(nonce),
            redirect_uri,
        };
        for part in [&mut verifier, &mut state, &mut nonce] {
            part.zeroize();
        }
        entropy.zeroize();
        attempt
    }

    /// Restores a login attempt that another process began.
    ///
    /// # Errors
    /// [`InvalidPart`] names the part that is damaged; the login has to begin again.
    pub fn from_parts(
        verifier: &str,
        state: &str,
        nonce: &str,
        redirect_uri: String,
    ) -> Result<Self, InvalidPart> {
        if Url::parse(&redirect_uri).is_err() {
            return Err(InvalidPart { part: "redirect URI" });
        }
        Ok(Self {
            verifier: Verifier::parse(verifier)?,
            state: State::parse(state)?,
            nonce: Nonce::parse(nonce)?,
            redirect_uri,
        })
    }

    /// The secret of the token request.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The state that the response must repeat.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The nonce that an ID token must repeat, if the request asked for one.
    pub fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// The `redirect_uri` of both requests.
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REDIRECT: &str = "http://localhost:1455/auth/callback";

    fn entropy() -> [u8; 96] {
        std::array::from_fn(|index| u8::try_from(index).unwrap())
    }

    #[test]
    fn verifier_state_and_nonce_come_from_bytes_of_their_own() {
        let base = Attempt::new(entropy(), REDIRECT.into());
        for (byte, changed) in
            [(0, [true, false, false]), (40, [false, true, false]), (95, [false, false, true])]
        {
            let mut other = entropy();
            other[byte] ^= 1;
            let other = Attempt::new(other, REDIRECT.into());
            let differs = [
                base.verifier().expose() != other.verifier().expose(),
                base.state().expose() != other.state().expose(),
                base.nonce().expose() != other.nonce().expose(),
            ];
            assert_eq!(differs, changed, "byte {byte}");
        }
    }

    #[test]
    fn a_login_survives_the_way_through_a_file() {
        let begun = Attempt::new(entropy(), REDIRECT.into());
        let (verifier, state, nonce) =
            (begun.verifier().expose(), begun.state().expose(), begun.nonce().expose());
        let resumed =
            Attempt::from_parts(verifier, state, nonce, begun.redirect_uri().to_owned()).unwrap();
        assert_eq!(resumed.verifier().expose(), verifier);
        assert!(resumed.state().matches(state));
        assert!(resumed.nonce().matches(nonce));
        assert_eq!(resumed.redirect_uri(), REDIRECT);
    }

    #[test]
    fn a_damaged_part_is_named() {
        let good = "a".repeat(43);
        let check =
            |verifier: &str, state: &str, nonce: &str, redirect: &str, part: &'static str| {
                let error =
                    Attempt::from_parts(verifier, state, nonce, redirect.into()).unwrap_err();
                assert_eq!(error, InvalidPart { part });
            };
        check("", &good, &good, REDIRECT, "verifier");
        check(&good, "s", &good, REDIRECT, "state");
        check(&good, &good, "n n", REDIRECT, "nonce");
        check(&good, &good, &good, "not an address", "redirect URI");
    }

    #[test]
    fn nothing_secret_is_printed() {
        let attempt = Attempt::new(entropy(), REDIRECT.into());
        let printed = format!("{attempt:?}");
        for secret in
            [attempt.verifier().expose(), attempt.state().expose(), attempt.nonce().expose()]
        {
            assert!(!printed.contains(secret));
        }
    }

    #[test]
    fn a_state_matches_itself_and_nothing_near_it() {
        let state = State::new([1; 32]);
        let text = state.expose().to_owned();
        assert!(state.matches(&text));
        for other in
            ["", &text[1..], &format!("{text}a"), &text.to_lowercase(), &text.replacen('A', "B", 1)]
        {
            assert!(!state.matches(other), "{other}");
            assert!(!Nonce::new([1; 32]).matches(other), "{other}");
        }
        // No other text matches either, even if the differences of its digest would cancel out.
        for number in 0..10_000 {
            assert!(!state.matches(&number.to_string()), "{number}");
        }
    }
}
