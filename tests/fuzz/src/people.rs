//! Targets for input from browsers and for pasted text.

use auth_pkce::{Attempt, Callback, CallbackError, PasteRules, ResponseRules, is_wanted};
use auth_providers::{Looks, pasted};
use auth_routing::session::selector::{ModelRef, Selector, directive as find};
use auth_store::ProviderId;

use crate::is_harmless;

const REDIRECT: &str = "http://localhost:1455/auth/callback";

/// The first lines of a request: `METHOD target`, then headers.
pub(crate) fn callback_request(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let (method, target) = first.split_once(' ').unwrap_or(("GET", first));
    let target = target.strip_suffix(" HTTP/1.1").unwrap_or(target);
    let mut request = hyper::Request::builder().method(method).uri(target);
    let mut hosts = 0;
    for line in lines.take(64) {
        let Some((name, value)) = line.split_once(':') else { continue };
        hosts += usize::from(name.eq_ignore_ascii_case("host"));
        request = request.header(name, value.trim());
    }
    let Ok(request) = request.body(()) else { return };
    if is_wanted(&request, "/auth/callback", 1455) {
        assert_eq!(hosts, 1, "one host, and it is ours");
        assert_eq!(request.method(), "GET");
        assert!(!request.headers().contains_key("origin"));
        assert!(request.uri().path().starts_with("/auth/callback"));
    }
}

/// The target of a callback, checked.
pub(crate) fn callback_target(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(callback) = Callback::from_target(&text) {
        judged(&callback);
    }
}

/// A pasted response.
pub(crate) fn pasted_response(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let read =
        |bare_code| Callback::from_pasted(&text, &PasteRules { redirect_uri: REDIRECT, bare_code });
    match read(false) {
        Ok(callback) => judged(&callback),
        Err(error) => assert!(is_harmless(&error.to_string())),
    }
    let attempt = Attempt::new([7; 96], REDIRECT.to_owned());
    match attempt.accept_pasted(&text, false, &ResponseRules::default()) {
        Ok(_) => panic!("an answer without our state was let in"),
        Err(error) => assert!(!error.ends_login(), "a paste without our state ended the login"),
    }
    // PKCE alone binds a code without a state, and only if the provider's entry allows it: a single
    // word.
    if let (Err(_), Ok(_)) = (read(false), read(true)) {
        assert!(!text.contains(['&', '#']), "more than a code");
    }
}

/// No bytes except the state itself make a response accepted.
fn judged(callback: &Callback) {
    let attempt = Attempt::new([7; 96], REDIRECT.to_owned());
    match attempt.accept(callback, &ResponseRules::default()) {
        Ok(_) | Err(CallbackError::Denied { .. } | CallbackError::NoCode) => {
            panic!("an answer without our state was let in");
        }
        Err(error) => assert!(is_harmless(&error.to_string())),
    }
}

/// A pasted token or key.
pub(crate) fn pasted_token(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(pasted) = pasted(&text, &ProviderId::new("fuzz"), &Looks::default()) {
        let secret = pasted.secret.expose();
        assert!(!secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(pasted.warnings.iter().all(|warning| is_harmless(warning)));
    }
}

/// A message with `/model` somewhere in it.
pub(crate) fn directive(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(found) = find(&text, &["opus"]) {
        assert!(text.get(found.range.clone()).is_some(), "a range of the message");
    }
    let selector = Selector::parse(&text);
    assert!(selector.profile.is_none_or(|id| !id.is_empty()), "a profile without a name");
    let _ = ModelRef::parse(&text, &ProviderId::new("anthropic"));
}
