//! The ids of agents.

use auth_store::trim;

use crate::host::paths::MAIN_AGENT;

/// The canonical id of an agent: lower case letters, digits, `_` and `-`, at most 64 of them. A
/// text without any of these becomes `main`.
pub fn agent_id(text: &str) -> String {
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
    if id.is_empty() { MAIN_AGENT.to_owned() } else { id.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_ids_are_canonical() {
        assert_eq!(agent_id("Ops Team!"), "ops-team");
        assert_eq!(agent_id(" --a__b-- "), "a__b");
        assert_eq!(agent_id("日本"), "main");
    }
}
