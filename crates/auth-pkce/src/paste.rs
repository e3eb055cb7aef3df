//! Pasted responses: the address on which the browser ended, or the code that a page showed.

use url::Url;

use crate::callback::{Callback, CallbackError, MAX_CALLBACK_BYTES, malformed};
use crate::redirect::is_loopback;
use crate::secret::SecretText;

/// What pasted text is held against.
#[derive(Clone, Copy, Debug)]
pub struct PasteRules<'a> {
    /// The redirect URI of this login: a pasted address must have its host and path. Any way to
    /// write the loopback host and any port will do, since the state binds the response.
    pub redirect_uri: &'a str,
    /// Whether a code without state is taken. PKCE alone then binds it to this login, so only for
    /// issuers whose page shows nothing else.
    pub bare_code: bool,
}

impl Callback {
    /// Reads pasted text: the whole address, its query, `code#state`, or, where the rules
    /// allow it, a bare code.
    ///
    /// White space anywhere (wrapped lines), the markers of a bracketed paste, and quotation marks
    /// around the text do not matter. The message of the error never repeats the text.
    ///
    /// # Errors
    /// [`CallbackError::Malformed`] says what to paste instead; ask again.
    pub fn from_pasted(text: &str, rules: &PasteRules<'_>) -> Result<Self, CallbackError> {
        let text = clean(text)?;
        if let Some(address) = as_address(&text) {
            return from_address(&address, rules.redirect_uri);
        }
        if is_query(&text) {
            let query = text.split_once('#').map_or(text.as_str(), |(query, _)| query);
            return Self::from_query(query.trim_start_matches('?'));
        }
        match text.split_once('#') {
            Some((code, state)) if is_code(code) && is_code(state) => Ok(Self {
                code: Some(SecretText::new(code.to_owned())),
                state: Some(SecretText::new(state.to_owned())),
                ..Self::default()
            }),
            None if is_code(&text) && rules.bare_code => {
                Ok(Self { code: Some(SecretText::new(text)), is_bare: true, ..Self::default() })
            }
            None if is_code(&text) => Err(malformed("paste the whole address, not only the code")),
            _ => Err(malformed("paste the whole address the browser ended on")),
        }
    }
}

/// The text without what terminals and editors add to it.
fn clean(text: &str) -> Result<String, CallbackError> {
    if text.len() > MAX_CALLBACK_BYTES {
        return Err(malformed("it is longer than 8 KiB"));
    }
    let is_invisible = |c: char| c.is_whitespace() || matches!(c, '\u{200b}' | '\u{feff}');
    let text: String = text
        .replace("\u{1b}[200~", "")
        .replace("\u{1b}[201~", "")
        .chars()
        .filter(|c| !is_invisible(*c))
        .collect();
    let text = text.trim_matches(['"', '\'', '`', '<', '>']);
    if text.is_empty() {
        return Err(malformed("nothing was pasted"));
    }
    if text.contains(char::is_control) {
        return Err(malformed("it contains a control character"));
    }
    Ok(text.to_owned())
}

/// An address, also without its `http://`, which browsers hide and users do not copy.
fn as_address(text: &str) -> Option<String> {
    if text
        .split_once("://")
        .is_some_and(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    {
        return Some(text.to_owned());
    }
    let is_hidden_scheme =
        ["localhost:", "localhost/", "127.0.0.1:", "127.0.0.1/", "[::1]:", "[::1]/"]
            .iter()
            .any(|host| text.starts_with(host));
    is_hidden_scheme.then(|| format!("http://{text}"))
}

fn from_address(address: &str, redirect_uri: &str) -> Result<Callback, CallbackError> {
    let wrong = || malformed("the address is not the one this login returns to");
    let (given, wanted) =
        (Url::parse(address).map_err(|_| wrong())?, Url::parse(redirect_uri).map_err(|_| wrong())?);
    let (Some(given_host), Some(wanted_host)) = (given.host(), wanted.host()) else {
        return Err(wrong());
    };
    let is_same_host =
        given_host == wanted_host || is_loopback(&given_host) && is_loopback(&wanted_host);
    let is_web = matches!(given.scheme(), "http" | "https");
    let has_user = !given.username().is_empty() || given.password().is_some();
    if !is_web || has_user || !is_same_host || given.path() != wanted.path() {
        return Err(wrong());
    }
    Callback::from_query(given.query().unwrap_or_default())
}

/// A query, with or without its question mark. Codes may contain `=`, so a name must lead.
fn is_query(text: &str) -> bool {
    let names =
        ["code=", "state=", "error=", "error_description=", "iss=", "scope=", "session_state="];
    text.starts_with('?') || text.contains('&') || names.iter().any(|name| text.starts_with(name))
}

/// The characters codes are made of in practice; a colon would let other kinds of address through.
fn is_code(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/+=|%!*".contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOOPBACK: &str = "http://localhost:1455/auth/callback";

    fn read(text: &str, bare_code: bool) -> Result<Callback, CallbackError> {
        Callback::from_pasted(text, &PasteRules { redirect_uri: LOOPBACK, bare_code })
    }

    /// Expects what the same parameters yield when the listener gets them.
    fn check(text: &str, wanted: &str) {
        assert_eq!(read(text, false), Callback::from_target(&format!("/?{wanted}")), "{text:?}");
        assert_eq!(read(text, true), Callback::from_target(&format!("/?{wanted}")), "{text:?}");
    }

    fn check_refused(text: &str, reason: &'static str) {
        assert_eq!(read(text, false), Err(malformed(reason)), "{text:?}");
    }

    #[test]
    fn the_whole_address_is_read() {
        check("http://localhost:1455/auth/callback?code=c&state=s", "code=c&state=s");
        check("https://127.0.0.1/auth/callback?code=a%20b&state=s", "code=a%20b&state=s");
        check("HTTP://[::1]:9/auth/callback?state=s&code=c#", "code=c&state=s");
        check(
            "http://localhost:1457/auth/callback?error=access_denied&state=s",
            "error=access_denied&state=s",
        );
        check("localhost:1455/auth/callback?code=c&state=s", "code=c&state=s");
        check("http://localhost:1455/auth/callback?code=c&state=s#_=_", "code=c&state=s");
        check("http://localhost:1455/auth/callback", "");
    }

    #[test]
    fn a_query_is_read() {
        check("code=c&state=s", "code=c&state=s");
        check("?state=s&code=c", "code=c&state=s");
        check("error=access_denied&state=s", "error=access_denied&state=s");
        check("code=c", "code=c");
    }

    #[test]
    fn a_code_and_a_state_that_a_page_shows_are_read() {
        check("abc#s", "code=abc&state=s");
        check("4/0Ab-c==#s", "code=4/0Ab-c==&state=s");
    }

    #[test]
    fn a_bare_code_is_read_only_where_it_is_allowed() {
        check_refused("code123", "paste the whole address, not only the code");
        let callback = read("code123", true).unwrap();
        assert!(callback.is_bare && callback.state.is_none());
        assert_eq!(callback.code.unwrap().expose(), "code123");
        assert!(read(&"a".repeat(MAX_CALLBACK_BYTES), true).is_ok());
    }

    #[test]
    fn a_bare_code_yields_a_code_but_a_wrong_state_never_does() {
        use crate::{AnswerRules, Attempt};
        let (attempt, rules) = (Attempt::new([5; 96], LOOPBACK.into()), AnswerRules::default());
        let accept = |text: &str| attempt.accept(&read(text, true).unwrap(), &rules);
        assert_eq!(accept("code123").unwrap().expose(), "code123");
        for text in ["code123#other", "code=code123", "code=code123&state=other"] {
            assert_eq!(accept(text).unwrap_err(), CallbackError::StateMismatch, "{text}");
        }
    }

    #[test]
    fn what_terminals_add_does_not_matter() {
        for text in [
            "  http://localhost:1455/auth/callback?code=c&state=s\r\n",
            "http://localhost:1455/auth/call\n  back?code=c&st\r\nate=s",
            "\u{1b}[200~http://localhost:1455/auth/callback?code=c&state=s\u{1b}[201~\n",
            "\"http://localhost:1455/auth/callback?code=c&state=s\"",
            "<http://localhost:1455/auth/callback?code=c&state=s>",
            "\u{feff}code=c\u{a0}&\tstate=s",
        ] {
            check(text, "code=c&state=s");
        }
    }

    #[test]
    fn an_address_of_somewhere_else_is_refused() {
        for text in [
            "http://x/?code=c&state=s",
            "http://localhost.example/auth/callback?code=c&state=s",
            "http://localhost:1455/other?code=c&state=s",
            "http://localhost:1455/auth/callback/?code=c&state=s",
            "http://user@localhost:1455/auth/callback?code=c&state=s",
            "ftp://localhost:1455/auth/callback?code=c&state=s",
            "file:///auth/callback?code=c&state=s",
            "https://",
        ] {
            check_refused(text, "the address is not the one this login returns to");
        }
    }

    #[test]
    fn an_issuers_own_page_is_the_only_address_where_it_is_the_redirect() {
        let rules = PasteRules { redirect_uri: "https://acme.example/done", bare_code: false };
        let good = Callback::from_pasted("https://acme.example/done?code=c&state=s", &rules);
        assert_eq!(good, Callback::from_target("/?code=c&state=s"));
        assert!(
            Callback::from_pasted("http://localhost:1455/done?code=c&state=s", &rules).is_err()
        );
    }

    #[test]
    fn text_that_is_no_answer_is_refused() {
        for text in ["", " ", "\r\n\t", "\u{1b}[200~\u{1b}[201~", "\"\""] {
            check_refused(text, "nothing was pasted");
        }
        for text in ["x:y", "javascript:alert(1)", "code#", "#state", "a#b#c", "rm -rf / ;"] {
            check_refused(text, "paste the whole address the browser ended on");
        }
        check_refused("co\u{1b}[2Jde#s", "it contains a control character");
        check_refused("code\0#s", "it contains a control character");
        check_refused(&"a".repeat(MAX_CALLBACK_BYTES + 1), "it is longer than 8 KiB");
        check_refused(
            "http://localhost:1455/auth/callback?code=1&code=2&state=3",
            "a parameter is there twice",
        );
        check("javascript:alert(1)?code=1&state=2", "state=2&javascript:alert(1)?code=1");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String, bare_code: bool) {
            let _ = read(&text, bare_code);
        }

        #[test]
        fn wrapping_the_lines_changes_nothing(width in 1_usize..40) {
            let text = "http://localhost:1455/auth/callback?code=4%2F0Ab-c_d~e.f&state=0123456789";
            let wrapped: Vec<&str> =
                text.as_bytes().chunks(width).map(|chunk| std::str::from_utf8(chunk).unwrap()).collect();
            prop_assert_eq!(read(&wrapped.join("\r\n  "), false), read(text, false));
        }
    }
}
