//! The ids of providers and profiles.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A provider's canonical id: trimmed, lower case, aliases resolved (`z.ai` → `zai`).
///
/// Any text has a canonical form, so this never fails. Two providers are the same if their canonical
/// ids are equal.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(from = "String", into = "String")]
pub struct ProviderId(String);

impl ProviderId {
    /// The canonical id of `text`, as Clawdbot computes it: ECMAScript white space is trimmed,
    /// letters are lowercased, and three old names are replaced.
    pub fn new(text: &str) -> Self {
        let lowered = trim(text).to_lowercase();
        Self(match lowered.as_str() {
            "z.ai" | "z-ai" => "zai".to_owned(),
            "opencode-zen" => "opencode".to_owned(),
            "qwen" => "qwen-portal".to_owned(),
            _ => lowered,
        })
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for ProviderId {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<ProviderId> for String {
    fn from(id: ProviderId) -> Self {
        id.0
    }
}

/// For display: characters that could change a terminal are replaced. Programs use
/// [`as_str`](ProviderId::as_str).
impl fmt::Display for ProviderId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&crate::text::printable(&self.0))
    }
}

/// The id of a profile: by convention `provider:name`. Any text is accepted, because users edit the
/// file by hand.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct ProfileId(String);

impl ProfileId {
    /// The id `text`, unchanged.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// For display: characters that could change a terminal are replaced. Programs use
/// [`as_str`](ProfileId::as_str).
impl fmt::Display for ProfileId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&crate::text::printable(&self.0))
    }
}

impl From<&str> for ProfileId {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for ProfileId {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// `text` without leading and trailing [white space](is_white_space), as ECMAScript's
/// `String.prototype.trim` gives it.
pub fn trim(text: &str) -> &str {
    text.trim_matches(is_white_space)
}

/// White space as ECMAScript defines it: Rust's, but with U+FEFF and without U+0085.
pub fn is_white_space(c: char) -> bool {
    c == '\u{feff}' || (c != '\u{85}' && c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_and_case_are_one_provider() {
        for text in ["Z.AI", " z-ai ", "zai"] {
            assert_eq!(ProviderId::new(text).as_str(), "zai");
        }
        assert_eq!(ProviderId::new("\u{feff}Qwen\n").as_str(), "qwen-portal");
    }

    #[test]
    fn the_next_line_character_is_not_white_space() {
        assert_eq!(trim("\u{85}x\u{85}"), "\u{85}x\u{85}");
    }
}
