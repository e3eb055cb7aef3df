//! The unsafe variant: a naive program without any protection. Every matrix must detect it.
//!
//! It reads the store, sends the refresh token, and writes the store: no lock, no record, no
//! response file, no fsync, and the first signal ends it.

use crate::live::PROFILE;
use e2e::http::post_form;
use e2e::issuer::CLIENT;
use e2e::now_ms;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// The first argument that makes this program the unsafe variant.
pub(crate) const WORD: &str = "__naive";

/// The first argument that makes it the unsafe variant of an import.
pub(crate) const IMPORT_WORD: &str = "__naive_import";

/// How it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Overwrites the file.
    InPlace,
    /// Writes another file, and renames it.
    Rename,
}

impl Way {
    /// As an argument.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::InPlace => "in-place",
            Self::Rename => "rename",
        }
    }
}

/// Imports in a way that loses credentials. The arguments are the old file and the store.
pub(crate) fn import(args: &[String]) -> ExitCode {
    let [auth, store] = args else { return ExitCode::from(64) };
    let bytes = fs::read(auth).expect("an old file");
    let old: Value = serde_json::from_slice(&bytes).expect("an old file that parses");
    let profiles = old.as_object().into_iter().flatten();
    let profiles = profiles.map(|(name, entry)| (format!("{name}:default"), entry.clone()));
    let new =
        serde_json::json!({"version": 1, "profiles": profiles.collect::<serde_json::Map<_, _>>()});
    match fs::remove_file(auth).and_then(|()| save(Path::new(store), &new.to_string(), false)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(74),
    }
}

/// Refreshes in a way that loses logins. The arguments are the store, the token endpoint and the
/// way to write.
pub(crate) fn run(args: &[String]) -> ExitCode {
    let [store, endpoint, way] = args else { return ExitCode::from(64) };
    let store = Path::new(store);
    let mut document: Value =
        serde_json::from_slice(&fs::read(store).expect("a store")).expect("a store that parses");
    let profile = &mut document["profiles"][PROFILE];
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", profile["refresh"].as_str().unwrap_or_default()),
        ("client_id", CLIENT),
    ];
    let Ok(reply) = post_form(endpoint, &fields) else { return ExitCode::from(5) };
    let Ok(reply) = serde_json::from_slice::<Value>(&reply.body) else {
        return ExitCode::from(5);
    };
    if !reply["refresh_token"].is_string() {
        return ExitCode::from(4);
    }
    profile["access"] = reply["access_token"].clone();
    profile["refresh"] = reply["refresh_token"].clone();
    profile["expires"] = (now_ms() + 3_600_000).into();
    let text = serde_json::to_string_pretty(&document).expect("JSON");
    match save(store, &text, way == Way::Rename.word()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(74),
    }
}

#[expect(clippy::disallowed_methods, reason = "writing carelessly is the point")]
fn save(store: &Path, text: &str, renames: bool) -> std::io::Result<()> {
    if !renames {
        return fs::write(store, text);
    }
    let next = store.with_extension("next");
    fs::write(&next, text).and_then(|()| fs::rename(&next, store)).inspect_err(|_| {
        let _ = fs::remove_file(&next);
    })
}
