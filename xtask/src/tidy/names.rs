//! Each file name is spelled in one module only; other code asks that module for the path.

use super::source::{Kind, Token, product_tokens};
use super::{Tree, is_test_file};

/// The module for names inside agent directories, locks and logins.
const STORE_PATHS: &str = "crates/auth-store/src/paths.rs";
/// The module for the config, sessions, and everything else in the state directory.
const HOST_PATHS: &str = "crates/auth-cli/src/host/paths.rs";

/// Names that must not occur in the last part of a path text without white space, and the files
/// that may spell them.
const FILES: [(&str, &[&str]); 17] = [
    // OpenClaw calls the kinds of its references so.
    ("auth-profiles", &[STORE_PATHS, "crates/auth-cli/src/commands/configure/openclaw.rs"]),
    (".auth-models", &[STORE_PATHS]),
    (".auth-share", &[STORE_PATHS]),
    (".auth-refresh.", &[STORE_PATHS]),
    ("oauth.json", &[STORE_PATHS]),
    ("audit.jsonl", &[STORE_PATHS]),
    ("sink.json", &[HOST_PATHS]),
    ("openclaw-agent.sqlite", &[STORE_PATHS]),
    // Codex uses this name for its own file.
    ("auth.json", &[STORE_PATHS, "crates/auth-cli/src/host/other_tools/mod.rs"]),
    ("clawdbot.json", &[HOST_PATHS]),
    ("moltbot.json", &[HOST_PATHS]),
    ("sessions.json", &[HOST_PATHS]),
    // Suffixes of locks and backups.
    (".lock", &[STORE_PATHS, HOST_PATHS]),
    (".flock", &[STORE_PATHS]),
    (".bak", &[STORE_PATHS]),
    (".answer", &[STORE_PATHS]),
    (".room", &[STORE_PATHS]),
];

/// Folder names, if a text is exactly one of them and becomes part of a path.
const FOLDERS: [(&str, &str); 12] = [
    ("agents", STORE_PATHS),
    ("agent", STORE_PATHS),
    ("locks", STORE_PATHS),
    ("refresh", STORE_PATHS),
    ("credentials", HOST_PATHS),
    ("sessions", HOST_PATHS),
    ("logins", STORE_PATHS),
    ("providers", HOST_PATHS),
    ("deleted", HOST_PATHS),
    (".clawdbot", HOST_PATHS),
    (".moltbot", HOST_PATHS),
    (".openclaw", HOST_PATHS),
];

/// The calls that make a path from a text, or check one in a path.
const CALLS: [&str; 4] = ["join", "push", "with_file_name", "ends_with"];

/// No product code except the name's own module spells it. A sentence for the user may: it has
/// white space.
pub(super) fn names_have_one_home(tree: &Tree) -> Vec<String> {
    let is_product = |path: &str| path.contains("/src/") && !is_test_file(path);
    let files = tree.under("crates/", ".rs").filter(|(path, _)| is_product(path));
    files.flat_map(|(path, text)| spelled(path, text)).collect()
}

fn spelled(path: &str, text: &str) -> Vec<String> {
    let tokens = product_tokens(text);
    let mut complaints = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let Kind::Text(inside) = token.kind else { continue };
        if let Some(home) = home(path, inside, is_argument(&tokens[..at])) {
            let line = token.line;
            complaints
                .push(format!("{path}:{line}: `{inside}` is spelled in {home} and nowhere else"));
        }
    }
    complaints
}

/// The module for the name in `text`, if there is one and it is not this file.
fn home(path: &str, text: &str, is_argument: bool) -> Option<&'static str> {
    if text.contains(char::is_whitespace) || text.contains("://") {
        return None;
    }
    let last = text.rsplit('/').next().unwrap_or(text);
    if let Some((_, homes)) = FILES.iter().find(|(name, _)| is_in(last, name)) {
        return (!homes.contains(&path)).then_some(homes[0]);
    }
    let is_part = is_argument || text.contains('/') || text.starts_with('.');
    let folder = FOLDERS.iter().find(|(name, home)| is_part && last == *name && *home != path);
    folder.map(|(_, home)| *home)
}

/// Whether the last part of a path is this file or belongs to it: `.auth.json.new` belongs to
/// `auth.json`. A suffix counts at the end only.
fn is_in(last: &str, name: &str) -> bool {
    let is_suffix = matches!(name, ".lock" | ".flock" | ".bak" | ".answer");
    if is_suffix {
        last.ends_with(name)
    } else {
        last.trim_start_matches('.').starts_with(name.trim_start_matches('.'))
    }
}

/// Whether these tokens precede the only argument of a call that makes a path.
fn is_argument(before: &[Token<'_>]) -> bool {
    let [.., dot, call, open] = before else { return false };
    dot.is(".") && open.is("(") && call.word().is_some_and(|word| CALLS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;

    fn complaints(path: &str, code: &str) -> usize {
        names_have_one_home(&tree(&[(path, code)])).len()
    }

    #[test]
    fn a_name_that_is_spelled_outside_its_home_is_found() {
        let elsewhere = "crates/auth-cli/src/commands/agents/delete.rs";
        for spelled in [
            "directory.join(\"auth-profiles.json\")",
            "[\"auth.json\", \"other\"]",
            "sibling(&file, \".bak\")",
            "format!(\".auth-refresh.{key}.answer\")",
            "\"agents/main/agent/.auth-profiles.json.bak\"",
            "name == \".auth.json.new\"",
            "state.join(\"agents\")",
            "state.join(\"locks/refresh\")",
            "[\".clawdbot\"].map(f)",
        ] {
            assert_eq!(complaints(elsewhere, spelled), 1, "{spelled}");
        }
        assert_eq!(complaints(STORE_PATHS, "directory.join(\"auth-profiles.json\")"), 0);
        assert_eq!(complaints(HOST_PATHS, "directory.join(\"auth-profiles.json\")"), 1);
        assert_eq!(complaints(HOST_PATHS, "directory.join(\"clawdbot.json\")"), 0);
    }

    #[test]
    fn sentences_keys_and_tests_may_have_a_name_in_them() {
        for fine in [
            "fail(\"move auth-profiles.json away\")",
            "config[\"agents\"][\"list\"]",
            "// auth-profiles.json",
            "object.insert(\"refresh\", 1)",
            "#[cfg(test)]\nmod tests { fn f() { \"auth.json\" } }",
            "list.join(\", \")",
            "state.join(\"elsewhere\")",
            "\"https://acme.example/refresh\"",
        ] {
            assert_eq!(complaints("crates/auth-cli/src/agent/mod.rs", fine), 0, "{fine}");
        }
    }
}
