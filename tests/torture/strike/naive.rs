//! The unsafe variant: what a program does that nobody thought through. Every matrix must find it out.
//!
//! It reads the store, sends the refresh token, and writes the store in place: no lock, no record, no answer file, no
//! fsync, and it ends at the first signal.

use super::scene::ALICE;
use e2e::http::post_form;
use e2e::issuer::CLIENT;
use e2e::now_ms;
use serde_json::Value;
use std::fs;
use std::process::ExitCode;

/// The first argument that makes this program the unsafe variant.
pub(crate) const WORD: &str = "__naive";

/// Refreshes the way that loses logins. The arguments are the store and the token endpoint.
#[expect(clippy::disallowed_methods, reason = "writing in place is the point")]
pub(crate) fn run(args: &[String]) -> ExitCode {
    let [store, endpoint] = args else { return ExitCode::from(64) };
    let mut document: Value =
        serde_json::from_slice(&fs::read(store).expect("a store")).expect("a store that parses");
    let profile = &mut document["profiles"][ALICE];
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", profile["refresh"].as_str().unwrap_or_default()),
        ("client_id", CLIENT),
    ];
    let Ok(answer) = post_form(endpoint, &fields) else { return ExitCode::from(5) };
    let Ok(answer) = serde_json::from_slice::<Value>(&answer.body) else {
        return ExitCode::from(5);
    };
    if !answer["refresh_token"].is_string() {
        return ExitCode::from(4);
    }
    profile["access"] = answer["access_token"].clone();
    profile["refresh"] = answer["refresh_token"].clone();
    profile["expires"] = (now_ms() + 3_600_000).into();
    let text = serde_json::to_string_pretty(&document).expect("JSON");
    match fs::write(store, text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(74),
    }
}
