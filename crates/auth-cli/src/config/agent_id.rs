//! The ids of agents.

use auth_store::trim;

use crate::host::error::CliError;
use crate::host::paths::MAIN_AGENT;

/// The id of an agent in its canonical form: lower case letters, digits, `_` and `-`, at most 64
/// of them. Nothing usable is `main`, as in the original: for what is in files. What a user types is
/// for [`explicit_agent_id`].
pub fn agent_id(text: &str) -> String {
    usable(text).unwrap_or_else(|| MAIN_AGENT.to_owned())
}

/// The id of the agent that a user names.
///
/// # Errors
/// Nothing of the name can be part of an id: that is not `main`.
pub fn explicit_agent_id(text: &str) -> Result<String, CliError> {
    usable(text).ok_or_else(|| {
        CliError::usage(format!("`{text}` cannot name an agent"))
            .hint("an id has letters of the English alphabet, digits, `_` and `-`; see: clawdbot agents list")
    })
}

fn usable(text: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut id = String::new();
    for c in trim(text).chars() {
        match c {
            c if is_plain(c) => id.push(c.to_ascii_lowercase()),
            _ if id.ends_with('-') => {}
            _ => id.push('-'),
        }
    }
    let id: String = id.trim_start_matches('-').chars().take(64).collect();
    let id = id.trim_end_matches('-');
    (!id.is_empty()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_ids_are_canonical() {
        assert_eq!(agent_id("Ops Team!"), "ops-team");
        assert_eq!(agent_id(" --a__b-- "), "a__b");
        assert_eq!(agent_id("日本"), "main");
        assert_eq!(explicit_agent_id(" Ops ").unwrap(), "ops");
        for text in ["", " ", "日本", "--", "!"] {
            assert!(explicit_agent_id(text).is_err(), "{text}");
        }
    }
}
