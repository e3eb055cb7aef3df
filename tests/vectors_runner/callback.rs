//! `callback`: pasted responses.

use auth_pkce::{Callback, PasteRules};
use auth_store::trim;
use serde_json::{Value, json};
use url::Url;

use crate::Case;
use crate::reference::On;
use crate::routing::text;

/// Our result. A callback does not show its code and state, so it is compared with those that
/// Clawdbot read, and those that we want; the redirect URI of the login is the pasted address.
pub(crate) fn run(case: &Case) -> Result<Value, String> {
    let (input, expected_state) = (text(&case.input["input"]), text(&case.input["expectedState"]));
    let address = trim(input).split(['?', '#']).next().filter(|address| address.contains("://"));
    let rules = PasteRules {
        redirect_uri: address.unwrap_or("http://localhost:1456/oauth-callback"),
        // Without a state, Clawdbot does not accept a bare code either.
        bare_code: !expected_state.is_empty(),
    };
    let Ok(callback) = Callback::from_pasted(input, &rules) else { return Ok(refused()) };
    if !callback.is_whole() {
        return Ok(refused());
    }
    for known in [case.expected.clone(), reference(&case.input, &|_| true)] {
        let (code, state) = (text(&known["code"]), text(&known["state"]));
        let is_bare = state == expected_state && callback == Callback::bare(code);
        if is_bare || callback == Callback::from_parts(code, state) {
            return Ok(known);
        }
    }
    Err("it read a code or a state that nobody expects".to_owned())
}

/// The recorded result. Each program words its refusals differently.
pub(crate) fn normalised(expected: &Value) -> Value {
    if expected["error"].is_string() { refused() } else { expected.clone() }
}

/// Clawdbot's result, with these of our differences.
pub(crate) fn reference(input: &Value, on: On<'_>) -> Value {
    let (pasted, expected_state) = (trim(text(&input["input"])), text(&input["expectedState"]));
    // What people copy with it.
    let pasted = if on("paste") {
        let pasted = pasted.trim_matches(['"', '\'', '`', '<', '>']);
        pasted.trim_end_matches(['.', ',', ';', ':', ')', ']', '}'])
    } else {
        pasted
    };
    let reply = |code: &str, state: &str| {
        if code.is_empty() || state.is_empty() {
            return refused();
        }
        json!({ "code": code, "state": state })
    };
    if let Ok(url) = Url::parse(pasted) {
        let is_web = matches!(url.scheme(), "http" | "https");
        let values = |name: &str| {
            let pairs = url.query_pairs().filter(|pair| pair.0 == name);
            pairs.map(|pair| pair.1.into_owned()).collect::<Vec<_>>()
        };
        let (codes, states) = (values("code"), values("state"));
        if on("paste") && !(is_web && codes.len() <= 1 && states.len() <= 1) {
            return refused();
        }
        let first = |values: &[String]| values.first().cloned().unwrap_or_default();
        return reply(&first(&codes), &first(&states));
    }
    if let (true, Some(query)) = (on("paste"), pasted.strip_prefix('?')) {
        return reference(&json!({ "input": format!("http://localhost/?{query}") }), on);
    }
    let looks_random = pasted.len() >= 24 || pasted.bytes().any(|byte| byte.is_ascii_digit());
    match pasted.split_once('#') {
        Some((code, state)) if on("paste") => reply(code, state),
        None if on("paste") && !looks_random => refused(),
        _ => reply(pasted, expected_state),
    }
}

fn refused() -> Value {
    json!({ "error": "refused" })
}
