//! Pasted responses: the browser's final address, or the code that a page showed.

use url::Url;

use crate::attempt::Attempt;
use crate::callback::{
    Callback, CallbackError, Code, MAX_CALLBACK_BYTES, ResponseRules, malformed,
};
use crate::redirect::is_loopback;

/// The rules for pasted text.
#[derive(Clone, Copy, Debug)]
pub struct PasteRules<'a> {
    /// The redirect URI of this login: a pasted address must have its host and path. Any spelling
    /// of the loopback host and any port are accepted, since the state binds the response.
    pub redirect_uri: &'a str,
    /// Whether to accept a code without state. Then only PKCE binds it to this login, so use this
    /// only for issuers whose page shows nothing else.
    pub bare_code: bool,
}

impl Callback {
    /// Reads pasted text: the whole address, its query, `code#state`, or, where the rules
    /// allow it, a bare code; the first way to read it that gives one of them.
    ///
    /// White space anywhere (wrapped lines), the markers of a bracketed paste, quotation marks, and
    /// words around the address do not matter. The message of the error never repeats the text.
    ///
    /// # Errors
    /// [`CallbackError::Malformed`] says what to paste instead; ask again.
    pub fn from_pasted(text: &str, rules: &PasteRules<'_>) -> Result<Self, CallbackError> {
        let mut readings = readings(text, rules)?;
        let is_whole = |it: &Result<Self, _>| it.as_ref().is_ok_and(Self::is_whole);
        let best = readings.iter().position(is_whole);
        let best = best.or_else(|| readings.iter().position(Result::is_ok)).unwrap_or_default();
        readings.swap_remove(best)
    }
}

impl Attempt {
    /// The code in pasted text. Several ways to read the text are tried, and the state tells which
    /// one is right: whether a line goes on in the next one, whether a full stop is part of it.
    ///
    /// # Errors
    /// [`CallbackError`]; of a paste, only the issuer's own error ends the login. All else is a
    /// mistake of the person who pasted.
    pub fn accept_pasted(
        &self,
        text: &str,
        bare_code: bool,
        rules: &ResponseRules,
    ) -> Result<Code, CallbackError> {
        let paste_rules = PasteRules { redirect_uri: self.redirect_uri(), bare_code };
        let mut first = None;
        for reading in readings(text, &paste_rules)? {
            let judged = reading.and_then(|callback| {
                let refused = |error| if_cut(error, &callback);
                self.accept(&callback, rules).map_err(refused)
            });
            match judged {
                Ok(code) => return Ok(code),
                Err(error) if error.ends_login() => return Err(error),
                Err(error) => {
                    first.get_or_insert(error);
                }
            }
        }
        Err(first.unwrap_or_else(|| malformed(NOTHING)))
    }
}

/// The error of a response that was pasted: what a shell or a selection cut off is named, and
/// nothing that is missing ends the login.
fn if_cut(error: CallbackError, callback: &Callback) -> CallbackError {
    match error {
        CallbackError::StateMismatch if callback.state.is_none() && !callback.is_bare => {
            malformed(CUT)
        }
        CallbackError::NoCode => malformed(CUT),
        CallbackError::IssuerMismatch if callback.issuer.is_none() => malformed(CUT),
        CallbackError::IssuerMismatch => malformed("it names another issuer than the one asked"),
        other => other,
    }
}

/// The ways to read pasted text, the most likely first. What several lines say is one word that was
/// wrapped, if each of them has one.
fn readings(
    text: &str,
    rules: &PasteRules<'_>,
) -> Result<Vec<Result<Callback, CallbackError>>, CallbackError> {
    let text = clean(text)?;
    let mut candidates = addresses(&text);
    let joined: String = text.split_whitespace().collect();
    let has_words = text.lines().any(|line| line.split_whitespace().nth(1).is_some());
    if candidates.is_empty() && has_words {
        // `Code: abc#state`.
        let words = text.split_whitespace().filter(|word| is_query(word) || word.contains('#'));
        candidates.extend(words.take(MOST_CANDIDATES).map(str::to_owned));
    }
    candidates.push(joined);
    let mut seen = Vec::new();
    for candidate in candidates.iter().map(|candidate| without_marks(candidate)) {
        if !seen.contains(&candidate) {
            seen.push(candidate);
        }
    }
    Ok(seen.into_iter().map(|candidate| read(candidate, rules)).collect())
}

/// Reads a text without white space.
fn read(text: &str, rules: &PasteRules<'_>) -> Result<Callback, CallbackError> {
    if text.is_empty() {
        return Err(malformed(NOTHING));
    }
    if let Some(address) = as_address(text) {
        return from_address(&address, rules.redirect_uri);
    }
    if is_query(text) {
        let query = text.split_once('#').map_or(text, |(query, _)| query);
        return Callback::from_query(query.trim_start_matches('?'));
    }
    match text.split_once('#') {
        Some((code, state)) if is_code(code) && is_code(state) => {
            Ok(Callback::from_parts(code, state))
        }
        None if is_code(text) && looks_random(text) => {
            if rules.bare_code {
                Ok(Callback::bare(text))
            } else {
                Err(malformed("paste the whole address, not only the code"))
            }
        }
        _ => Err(malformed("paste the whole address the browser ended on")),
    }
}

/// The text without what terminals, shells and editors add to it.
fn clean(text: &str) -> Result<String, CallbackError> {
    if text.len() > MAX_CALLBACK_BYTES {
        return Err(malformed("it is longer than 8 KiB"));
    }
    let text = text.replace("\u{1b}[200~", "").replace("\u{1b}[201~", "").replace("&amp;", "&");
    let is_invisible = |c: char| matches!(c, '\u{200b}' | '\u{feff}');
    let text: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return Err(malformed("it contains a control character"));
    }
    // Some shells put a backslash before them when an address is pasted into a command line.
    let is_escaped = ["\\?", "\\&", "\\="].iter().any(|escape| text.contains(escape));
    Ok(if is_escaped { text.replace('\\', "") } else { text })
}

/// The text without the marks that people copy with it.
fn without_marks(text: &str) -> &str {
    let text = text.trim_start_matches(|c| QUOTES.contains(&c) || "([{".contains(c));
    text.trim_end_matches(|c| QUOTES.contains(&c) || ".,;:)]}\u{2026}".contains(c))
}

/// The addresses in a text, each in the ways it may go on: over line breaks, which terminals add,
/// and to the end of its word.
fn addresses(text: &str) -> Vec<String> {
    let is_start = |at: &usize| {
        let before = text[..*at].chars().next_back();
        let goes_on = before.is_some_and(|c| c.is_alphanumeric() || "/@.".contains(c));
        !goes_on && begins_as_address(&text[*at..])
    };
    let starts = text.char_indices().map(|(at, _)| at).filter(is_start);
    let mut found = Vec::new();
    for start in starts.take(MOST_CANDIDATES) {
        let rest = text[start..].split(QUOTES).next().unwrap_or_default();
        for with_last_word in [false, true] {
            let mut wrapped = String::new();
            for (number, line) in rest.lines().enumerate() {
                let mut words = line.split_whitespace();
                let (word, has_more) = (words.next().unwrap_or_default(), words.next().is_some());
                if word.is_empty() {
                    break;
                }
                if number == 0 || with_last_word || !has_more {
                    wrapped.push_str(word);
                }
                if has_more {
                    break;
                }
            }
            found.push(wrapped);
        }
        found.extend(rest.split_whitespace().next().map(str::to_owned));
    }
    found
}

/// Whether a text begins with an address of the web, or with that of a loopback host, of which
/// browsers hide the `http://` and users do not copy it.
fn begins_as_address(text: &str) -> bool {
    let begins = |start: &&str| {
        text.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start))
    };
    ["http://", "https://"].iter().chain(&LOOPBACK_HOSTS).any(begins)
}

/// An address, also without its `http://`.
fn as_address(text: &str) -> Option<String> {
    if text
        .split_once("://")
        .is_some_and(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    {
        return Some(text.to_owned());
    }
    begins_as_address(text).then(|| format!("http://{text}"))
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

/// The characters that occur in real codes; a colon would also accept other kinds of addresses.
fn is_code(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/+=|%!*".contains(&byte))
}

/// Whether a text may be a code, which is random: a long one, or with a digit. `hello` is none.
fn looks_random(text: &str) -> bool {
    const LONG: usize = 24;
    text.len() >= LONG || text.bytes().any(|byte| byte.is_ascii_digit())
}

const QUOTES: [char; 11] =
    ['"', '\'', '`', '<', '>', '\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}', '\u{ab}', '\u{bb}'];
const LOOPBACK_HOSTS: [&str; 6] =
    ["localhost:", "localhost/", "127.0.0.1:", "127.0.0.1/", "[::1]:", "[::1]/"];

const NOTHING: &str = "nothing was pasted";
const CUT: &str = "a part of the address is missing; shells cut it at `&`: put it between quotes, or paste it \
     where the login asks for it";

/// Nobody pastes so many addresses.
const MOST_CANDIDATES: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOOPBACK: &str = "http://localhost:1455/auth/callback";

    fn read(text: &str, bare_code: bool) -> Result<Callback, CallbackError> {
        Callback::from_pasted(text, &PasteRules { redirect_uri: LOOPBACK, bare_code })
    }

    /// Expects the same result as for a request with these parameters at the listener.
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
    fn the_address_is_found_among_what_people_copy_with_it() {
        let address = "http://localhost:1455/auth/callback?code=c1&state=s";
        for text in [
            format!("URL: {address}"),
            format!("{address}."),
            format!("({address}), and then close the window"),
            format!("It says: {address}\n\nDone."),
            format!("[link]({address})"),
            format!("\u{201c}{address}\u{201d}"),
            format!("curl '{address}'"),
            format!("curl -v \"{address}\" -H 'accept: */*'"),
            format!("curl {}", address.replace('?', "\\?").replace('=', "\\=").replace('&', "\\&")),
            address.replace('&', "&amp;"),
            format!("Host: {}", &address["http://".len()..]),
            "the code is code=c1&state=s".to_owned(),
            "Code: c1#s".to_owned(),
            "your code\nc1#s.".to_owned(),
        ] {
            check(&text, "code=c1&state=s");
        }
    }

    #[test]
    fn the_state_tells_how_a_text_is_to_be_read_and_only_the_issuer_ends_a_login() {
        use crate::{Attempt, ResponseRules};
        let attempt = Attempt::new([5; 96], LOOPBACK.into());
        let issuer = || Some("https://issuer.example".to_owned());
        let rules = ResponseRules { issuer: issuer(), ..ResponseRules::default() };
        let accept = |text: &str| attempt.accept_pasted(text, true, &rules);
        let state = attempt.state().expose();
        let address = |query: &str| format!("{LOOPBACK}?{query}");
        for text in [
            address(&format!("code=c1&state={state}\nDone")),
            address(&format!("state={state}&code=c1.")),
            address(&format!("code=c1&sta\n te={state} and so on")),
            format!("c1#{state}\n"),
        ] {
            let code = accept(&text).unwrap();
            assert!(code.expose() == "c1" && !code.is_bare(), "{text}");
        }
        assert!(accept("code123").unwrap().is_bare());
        let cut = malformed(CUT);
        for text in ["code=c1", "state=", "code=c1&iss=https%3A%2F%2Fissuer.example"] {
            let text = if text == "state=" { format!("state={state}") } else { text.to_owned() };
            assert_eq!(accept(&address(&text)).unwrap_err(), cut, "{text}");
        }
        let required =
            ResponseRules { issuer: issuer(), issuer_required: true, ..ResponseRules::default() };
        let text = address(&format!("code=c1&state={state}"));
        assert_eq!(attempt.accept_pasted(&text, false, &required).unwrap_err(), cut);
        for text in [
            "hello",
            "done!",
            "http://localhost:1455/other?code=c&state=s",
            &address("error=access_denied&state=another"),
            &address("error=access_denied"),
            &address(&format!("code=c1&state={state}&iss=https%3A%2F%2Fissuer")),
            &address(&format!("code=c1&code=c2&state={state}")),
        ] {
            assert!(!accept(text).unwrap_err().ends_login(), "{text}");
        }
        let text = address(&format!("error=access_denied&state={state}"));
        assert!(accept(&format!("URL: {text}.")).unwrap_err().ends_login());
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
        use crate::{Attempt, ResponseRules};
        let (attempt, rules) = (Attempt::new([5; 96], LOOPBACK.into()), ResponseRules::default());
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
    fn text_that_is_no_response_is_refused() {
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
