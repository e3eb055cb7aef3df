//! The authorization response (RFC 6749 §4.1.2), and the check that it belongs to this login.

use std::collections::BTreeSet;
use std::fmt;

use url::Url;

use crate::attempt::Attempt;
use crate::secret::SecretText;

/// The largest response, as a request target or as pasted text: 8 KiB.
pub const MAX_CALLBACK_BYTES: usize = 8 * 1024;

/// A response that has been read and not yet checked: see [`Attempt::accept`].
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Callback {
    pub(crate) code: Option<SecretText>,
    pub(crate) state: Option<SecretText>,
    pub(crate) error: Option<String>,
    pub(crate) error_description: Option<String>,
    pub(crate) issuer: Option<String>,
    /// A code that was pasted without its state, if the caller allows that.
    pub(crate) is_bare: bool,
}

/// The checks of the response in addition to its state: the issuer's name, according to RFC 9207.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ResponseRules {
    /// The issuer of the request. A response that names another one is refused.
    pub issuer: Option<String>,
    /// The address that the browser was sent to. Where the issuer is not known, a response that names
    /// one of another origin is refused.
    pub authorization_endpoint: Option<String>,
    /// Whether the response must name the issuer: its metadata says
    /// `authorization_response_iss_parameter_supported`, or the provider is known to (RFC 9207 §2.4).
    pub issuer_required: bool,
}

/// The authorization code: exchange it once, with the verifier of the same attempt.
pub struct Code {
    text: SecretText,
    is_bare: bool,
}

/// Why a response yields no code.
///
/// [`CallbackError::ends_login`] distinguishes the two kinds: noise, after which the login
/// continues, and the issuer's own response, after which it is over.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CallbackError {
    /// Not a response at all. Ask for the paste again; a listener continues to wait.
    #[error("this is not the answer of a login: {reason}")]
    Malformed {
        /// What is wrong, without any of the text.
        reason: &'static str,
    },
    /// A response to another login, or to none. Ask for the paste again; a listener continues to
    /// wait.
    #[error("this answer belongs to another login")]
    StateMismatch,
    /// The issuer or the user refused. The login is over.
    #[error("the provider refused the login: {error}{}", describe(.description.as_ref()))]
    Denied {
        /// The `error` code of RFC 6749 §4.1.2.1, made printable.
        error: String,
        /// The `error_description`, made printable and cut at 300 characters.
        description: Option<String>,
    },
    /// The response comes from an issuer other than the requested one (RFC 9207). The login is
    /// over.
    #[error("the answer names another issuer than the one that was asked")]
    IssuerMismatch,
    /// The issuer's response has neither a code nor an error. The login is over.
    #[error("the provider's answer has neither a code nor an error")]
    NoCode,
}

impl Callback {
    /// A response with this code and this state, for comparison with one that was read.
    pub fn from_parts(code: &str, state: &str) -> Self {
        let state = Some(SecretText::new(state.to_owned()));
        Self { state, is_bare: false, ..Self::bare(code) }
    }

    /// A code pasted without its state, for comparison with one that was read.
    pub fn bare(code: &str) -> Self {
        let code = Some(SecretText::new(code.to_owned()));
        Self { code, is_bare: true, ..Self::default() }
    }

    /// Whether it can yield a code: it has one, and a state, or needs none. [`Attempt::accept`]
    /// checks the state.
    pub fn is_whole(&self) -> bool {
        self.code.is_some() && (self.state.is_some() || self.is_bare)
    }

    /// Reads the target of a request: `/auth/callback?code=…&state=…`. The path is not checked.
    ///
    /// # Errors
    /// [`CallbackError::Malformed`]: longer than 8 KiB, a repeated parameter (RFC 6749 §3.1), both
    /// `code` and `error`, or incorrectly encoded bytes.
    pub fn from_target(target: &str) -> Result<Self, CallbackError> {
        if target.len() > MAX_CALLBACK_BYTES {
            return Err(malformed("it is longer than 8 KiB"));
        }
        let query = target.split_once('?').map_or("", |(_, query)| query);
        Self::from_query(query)
    }

    /// Reads `application/x-www-form-urlencoded` parameters. An empty one counts as absent (RFC
    /// 6749 §3.1), but must not be repeated.
    pub(crate) fn from_query(query: &str) -> Result<Self, CallbackError> {
        let mut callback = Self::default();
        let mut seen = BTreeSet::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if seen.contains(&name) {
                return Err(malformed("a parameter is there twice"));
            }
            if !value.is_empty() {
                match name.as_str() {
                    "code" => callback.code = Some(SecretText::new(plain(value)?)),
                    "state" => callback.state = Some(SecretText::new(plain(value)?)),
                    "iss" => callback.issuer = Some(plain(value)?),
                    "error" => callback.error = Some(printable(&value)),
                    "error_description" => callback.error_description = Some(printable(&value)),
                    _ => {}
                }
            }
            seen.insert(name);
        }
        if callback.code.is_some() && callback.error.is_some() {
            return Err(malformed("it has both a code and an error"));
        }
        Ok(callback)
    }
}

impl Attempt {
    /// Checks a response: first whether it belongs to this login at all, then whether it comes from
    /// the right issuer, then whether it is an error; only then it yields the code.
    ///
    /// # Errors
    /// [`CallbackError`]; [`CallbackError::ends_login`] says whether to continue waiting.
    pub fn accept(
        &self,
        callback: &Callback,
        rules: &ResponseRules,
    ) -> Result<Code, CallbackError> {
        match &callback.state {
            Some(state) if self.state().matches(state.expose()) => {}
            None if callback.is_bare => {}
            _ => return Err(CallbackError::StateMismatch),
        }

        match (&callback.issuer, &rules.issuer) {
            (Some(answered), Some(asked)) if answered != asked => {
                return Err(CallbackError::IssuerMismatch);
            }
            // Some servers promise the issuer's name but omit it from errors. Such an error ends
            // the login anyway, and its reason is more useful than a missing name.
            (None, _) if callback.error.is_some() => {}
            (None, _) | (_, None) if rules.issuer_required => {
                return Err(CallbackError::IssuerMismatch);
            }
            (Some(answered), None) if !rules.may_be_issuer(answered) => {
                return Err(CallbackError::IssuerMismatch);
            }
            _ => {}
        }

        if let Some(error) = &callback.error {
            let description = callback.error_description.clone();
            return Err(CallbackError::Denied { error: error.clone(), description });
        }
        let is_bare = callback.is_bare;
        callback.code.clone().map(|text| Code { text, is_bare }).ok_or(CallbackError::NoCode)
    }
}

impl ResponseRules {
    /// Whether `issuer` is of the origin that the browser was sent to, as far as that is known.
    fn may_be_issuer(&self, issuer: &str) -> bool {
        let origin = |text: &str| Url::parse(text).ok().map(|url| url.origin());
        let Some(asked) = self.authorization_endpoint.as_deref().and_then(origin) else {
            return true;
        };
        origin(issuer).is_some_and(|named| named == asked)
    }
}

impl CallbackError {
    /// Whether the login is over. If not, the response was noise and the right one may still
    /// arrive.
    pub fn ends_login(&self) -> bool {
        match self {
            Self::Malformed { .. } | Self::StateMismatch => false,
            Self::Denied { .. } | Self::IssuerMismatch | Self::NoCode => true,
        }
    }
}

impl Code {
    /// The text itself, for the token request.
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// Whether it was pasted without a state: then nothing but the issuer tells if it is one.
    pub fn is_bare(&self) -> bool {
        self.is_bare
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(REDACTED)")
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback")
            .field("has_code", &self.code.is_some())
            .field("has_state", &self.state.is_some())
            .field("has_error", &self.error.is_some())
            .finish_non_exhaustive()
    }
}

pub(crate) fn malformed(reason: &'static str) -> CallbackError {
    CallbackError::Malformed { reason }
}

/// Strict percent-decoding: ambiguous input is refused.
fn decode(text: &str) -> Result<String, CallbackError> {
    let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (high, low) = (bytes.next().and_then(hex), bytes.next().and_then(hex));
                let (Some(high), Some(low)) = (high, low) else {
                    return Err(malformed(
                        "a percent sign is not followed by two hexadecimal digits",
                    ));
                };
                high << 4 | low
            }
            0x21..=0x7e => byte,
            _ => return Err(malformed("a character is not allowed in an address")),
        });
    }
    if decoded.contains(&0) {
        return Err(malformed("a value contains NUL"));
    }
    String::from_utf8(decoded).map_err(|_| malformed("a value is not UTF-8"))
}

/// Codes, states and issuers consist of visible characters and spaces (RFC 6749 appendix A).
fn plain(value: String) -> Result<String, CallbackError> {
    if value.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) {
        Ok(value)
    } else {
        Err(malformed("a value contains a character that does not belong there"))
    }
}

/// The issuer's words without characters that move the cursor, hide text or reverse its direction.
fn printable(text: &str) -> String {
    let is_harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    text.chars().filter(|c| !is_harmful(*c)).take(MAX_ERROR_CHARS).collect()
}

fn describe(description: Option<&String>) -> String {
    description.map(|text| format!(" ({text})")).unwrap_or_default()
}

/// The most characters of an issuer's words that reach a terminal.
const MAX_ERROR_CHARS: usize = 300;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ISSUER: &str = "https://login.acme.example";

    fn attempt() -> Attempt {
        Attempt::new([3; 96], "http://localhost:1455/auth/callback".into())
    }

    /// `STATE` in the query is replaced with the state of the attempt.
    fn check_with(rules: &ResponseRules, query: &str, wanted: Result<&str, CallbackError>) {
        let attempt = attempt();
        let target = format!("/auth/callback?{}", query.replace("STATE", attempt.state().expose()));
        let got =
            Callback::from_target(&target).and_then(|callback| attempt.accept(&callback, rules));
        assert_eq!(got.map(|code| code.expose().to_owned()), wanted.map(str::to_owned), "{query}");
    }

    fn check(query: &str, wanted: Result<&str, CallbackError>) {
        check_with(&ResponseRules::default(), query, wanted);
    }

    fn denied(error: &str, description: Option<&str>) -> CallbackError {
        CallbackError::Denied { error: error.into(), description: description.map(str::to_owned) }
    }

    #[test]
    fn the_code_of_this_login_is_accepted() {
        check("code=abc&state=STATE", Ok("abc"));
        check("state=STATE&scope=openid%20email&code=4%2F0Ab-c_d~e.f", Ok("4/0Ab-c_d~e.f"));
        check("code=a+b%20c&state=STATE&&session_state=", Ok("a b c"));
        check("code=abc&state=STATE&error=", Ok("abc"));
    }

    #[test]
    fn a_response_is_whole_with_a_code_and_a_state() {
        let read = |query: &str| Callback::from_target(&format!("/?{query}")).unwrap();
        assert_eq!(read("code=c&state=s"), Callback::from_parts("c", "s"));
        assert_ne!(read("code=c&state=s"), Callback::from_parts("c", "t"));
        assert!(Callback::from_parts("c", "s").is_whole() && Callback::bare("c").is_whole());
        assert!(!read("code=c").is_whole() && !read("state=s").is_whole());
    }

    #[test]
    fn state_is_judged_before_anything_else() {
        for query in [
            "",
            "code=abc",
            "code=abc&state=",
            "code=abc&state=STATEx",
            "code=abc&state=wrong",
            "error=access_denied",
            "error=access_denied&state=wrong",
            "code=abc&state=wrong&iss=https://other.example",
        ] {
            let rules = ResponseRules {
                issuer: Some(ISSUER.into()),
                issuer_required: true,
                ..ResponseRules::default()
            };
            check_with(&rules, query, Err(CallbackError::StateMismatch));
        }
        assert!(!CallbackError::StateMismatch.ends_login());
    }

    #[test]
    fn the_error_of_the_issuer_ends_the_login() {
        check("error=access_denied&state=STATE", Err(denied("access_denied", None)));
        check(
            "error=x&error_description=try+later&state=STATE",
            Err(denied("x", Some("try later"))),
        );
        check("state=STATE", Err(CallbackError::NoCode));
        check("code=&state=STATE", Err(CallbackError::NoCode));
        for error in [denied("x", None), CallbackError::NoCode, CallbackError::IssuerMismatch] {
            assert!(error.ends_login());
        }
    }

    #[test]
    fn the_words_of_the_issuer_cannot_touch_the_terminal() {
        let query = "error=%1B%5B2J&error_description=a%1B%5D0;x%07%C2%9B%E2%80%AE%E2%81%A6%0Ab%7F&state=STATE";
        check(query, Err(denied("[2J", Some("a]0;xb"))));
        let long = format!("error=x&error_description={}&state=STATE", "%C3%A9".repeat(900));
        check(&long, Err(denied("x", Some(&"é".repeat(300)))));
        assert_eq!(denied("x", Some("why")).to_string(), "the provider refused the login: x (why)");
    }

    #[test]
    fn an_issuer_is_compared_by_rfc_9207() {
        let rules = |issuer: Option<&str>, issuer_required| ResponseRules {
            issuer: issuer.map(str::to_owned),
            issuer_required,
            ..ResponseRules::default()
        };
        let right = "code=abc&state=STATE&iss=https%3A%2F%2Flogin.acme.example";
        let wrong = "code=abc&state=STATE&iss=https%3A%2F%2Flogin.acme.example%2F";
        let missing = "code=abc&state=STATE";
        let mismatch = || Err(CallbackError::IssuerMismatch);

        check_with(&rules(Some(ISSUER), true), right, Ok("abc"));
        check_with(&rules(Some(ISSUER), true), wrong, mismatch());
        check_with(&rules(Some(ISSUER), true), missing, mismatch());
        check_with(&rules(Some(ISSUER), false), right, Ok("abc"));
        check_with(&rules(Some(ISSUER), false), wrong, mismatch());
        check_with(&rules(Some(ISSUER), false), missing, Ok("abc"));
        check_with(&rules(None, false), wrong, Ok("abc"));
        check_with(&rules(None, true), right, mismatch());
        let error = "error=access_denied&state=STATE";
        check_with(&rules(Some(ISSUER), true), error, Err(denied("access_denied", None)));
        let error = "error=access_denied&state=STATE&iss=https%3A%2F%2Fother.example";
        check_with(&rules(Some(ISSUER), true), error, mismatch());
    }

    #[test]
    fn an_issuer_that_is_not_known_must_be_where_the_browser_was_sent() {
        let rules = |endpoint: &str| ResponseRules {
            authorization_endpoint: Some(endpoint.into()),
            ..ResponseRules::default()
        };
        let named = |issuer: &str| format!("code=abc&state=STATE&iss={issuer}");
        let mismatch = || Err(CallbackError::IssuerMismatch);
        let acme = rules("https://login.acme.example/oauth/authorize");
        check_with(&acme, &named("https://login.acme.example"), Ok("abc"));
        check_with(&acme, &named("https://login.acme.example/tenant"), Ok("abc"));
        check_with(&acme, "code=abc&state=STATE", Ok("abc"));
        for other in [
            "https://evil.example",
            "http://login.acme.example",
            "https://login.acme.example:444",
            "https://acme.example",
            "login.acme.example",
            "x",
        ] {
            check_with(&acme, &named(other), mismatch());
        }
    }

    #[test]
    fn a_parameter_that_is_there_twice_is_refused() {
        let twice = || Err(malformed("a parameter is there twice"));
        check("code=a&code=b&state=STATE", twice());
        check("code=a&code=a&state=STATE", twice());
        check("code=a&code=&state=STATE", twice());
        check("code=a&state=STATE&state=STATE", twice());
        check("code=a&c%6fde=b&state=STATE", twice());
        check("x&code=a&state=STATE&x", twice());
        check("code=a&error=b&state=STATE", Err(malformed("it has both a code and an error")));
    }

    #[test]
    fn bytes_that_are_not_encoded_correctly_are_refused() {
        let percent = || Err(malformed("a percent sign is not followed by two hexadecimal digits"));
        for query in ["code=%", "code=a%2", "code=%zz", "code=%+1", "%g0=1", "other=%"] {
            check(query, percent());
        }
        check("code=a%00&state=STATE", Err(malformed("a value contains NUL")));
        check("other=%00&state=STATE", Err(malformed("a value contains NUL")));
        check("code=%ff&state=STATE", Err(malformed("a value is not UTF-8")));
        check("code=é&state=STATE", Err(malformed("a character is not allowed in an address")));
        check("code=a b&state=STATE", Err(malformed("a character is not allowed in an address")));
        for query in ["code=a%0a&state=STATE", "code=%C3%A9&state=STATE", "iss=%1b&state=STATE"] {
            check(query, Err(malformed("a value contains a character that does not belong there")));
        }
    }

    #[test]
    fn a_response_of_more_than_8_kib_is_refused() {
        let target = |len: usize| format!("/?code={}", "a".repeat(len - "/?code=".len()));
        assert!(Callback::from_target(&target(MAX_CALLBACK_BYTES)).is_ok());
        let error = Callback::from_target(&target(MAX_CALLBACK_BYTES + 1)).unwrap_err();
        assert_eq!(error, malformed("it is longer than 8 KiB"));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let attempt = attempt();
        let target = format!("/?code=CANARY&state={}", attempt.state().expose());
        let callback = Callback::from_target(&target).unwrap();
        let code = attempt.accept(&callback, &ResponseRules::default()).unwrap();
        let printed = format!("{callback:?} {code:?}");
        assert!(
            !printed.contains("CANARY") && !printed.contains(attempt.state().expose()),
            "{printed}"
        );
    }

    proptest! {
        #[test]
        fn no_target_makes_it_panic(target: String) {
            let _ = Callback::from_target(&target);
        }

        #[test]
        fn nothing_but_this_state_yields_a_code(query in "(code|state|error|iss|%[0-9a-f]{2}|[=&+#?]|[a-z]){0,40}") {
            let judged = Callback::from_query(&query).and_then(|read| attempt().accept(&read, &ResponseRules::default()));
            prop_assert!(judged.is_err_and(|error| !error.ends_login()));
        }

        #[test]
        fn what_is_printed_is_short_and_harmless(text: String) {
            let printed = printable(&text);
            prop_assert!(printed.chars().count() <= MAX_ERROR_CHARS);
            prop_assert!(!printed.chars().any(char::is_control));
        }
    }
}
