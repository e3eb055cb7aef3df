//! Every parser of untrusted bytes, as a function of bytes.
//!
//! A target reads the bytes and checks the result; it panics if a check fails. The same targets run
//! under three drivers: the replay of the corpora in the tests, the seeded mutator of `cargo xtask
//! fuzz`, and libFuzzer (`tests/fuzz/libfuzzer`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a target says by a panic what does not hold"
)]

mod issuers;
mod people;
mod stores;

/// The name of a parser, and the function that runs it.
pub type Target = (&'static str, fn(&[u8]));

/// All targets; each has a folder with seeds of the same name in `corpus`.
pub const TARGETS: [Target; 17] = [
    ("store", stores::store),
    ("legacy", stores::legacy),
    ("lock_file", stores::lock_file),
    ("sessions", stores::sessions),
    ("config_edit", stores::config_edit),
    ("callback_request", people::callback_request),
    ("callback_target", people::callback_target),
    ("pasted_answer", people::pasted_response),
    ("pasted_token", people::pasted_token),
    ("directive", people::directive),
    ("token_response", issuers::token_response),
    ("jwt", issuers::jwt),
    ("discovery", issuers::discovery),
    ("manifest", issuers::manifest),
    ("plugin", issuers::plugin),
    ("retry_after", issuers::retry_after),
    ("provider_response", issuers::provider_response),
];

/// The target with that name.
pub fn target(name: &str) -> Option<fn(&[u8])> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

/// Whether `text` contains nothing that a terminal could interpret.
fn is_harmless(text: &str) -> bool {
    !text
        .chars()
        .any(|c| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_seeds_and_every_folder_of_seeds_a_target() {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        let folders = std::fs::read_dir(&corpus).unwrap();
        let mut folders: Vec<_> =
            folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        folders.sort();
        let mut names: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        names.sort();
        assert_eq!(folders, names);
    }

    /// A target that accepts everything would find nothing.
    #[test]
    fn the_checks_of_a_target_can_fail() {
        let text = "a \u{1b}[31m b";
        assert!(!is_harmless(text) && is_harmless("plain"));
    }
}
