//! Words that do not come back: what users read is plain English with the terms of the field.

use super::{Tree, source};

/// Phrases of an older, private vocabulary, and what stands in their place.
const GONE: [(&str, &str); 22] = [
    ("nobody", "no process, no profile, not known"),
    ("somebody", "another process, another user"),
    ("whoever", "the first process to …, or the user"),
    ("the person", "the user"),
    ("passed over", "ignored"),
    (" rests", "is in cooldown"),
    (" resting", "in cooldown"),
    (" mend", "fix"),
    ("is not said", "is required"),
    ("a word is missing", "missing subcommand"),
    ("nobody to ask", "… is required when stdin is not a terminal"),
    ("How shall", "How do you want to"),
    ("The answer is there", "Received. Finishing login…"),
    ("not compiled in", "provider plugins and manifests"),
    ("looks it over", "checks it"),
    ("renewed by itself", "refreshes automatically"),
    ("costs by the use", "is billed by usage"),
    ("is no word of", "unknown command"),
    ("not a word of", "unknown command"),
    ("hand out a credential", "issue a credential"),
    ("no model of", "not a model of"),
    ("was begun", "was started"),
];

/// No string of the product that users read has one of the words.
pub(super) fn plain_words(tree: &Tree) -> Vec<String> {
    let is_ours = |path: &str| {
        path.contains("/src/")
            && !super::is_test_file(path)
            && !path.starts_with("crates/auth-gateway")
    };
    let mut complaints = Vec::new();
    for (path, text) in tree.under("crates/", ".rs").filter(|(path, _)| is_ours(path)) {
        let strings =
            source::product_tokens(text).into_iter().filter_map(|token| match token.kind {
                source::Kind::Text(string) => Some((token.line, string)),
                _ => None,
            });
        // The comments of arguments are their help.
        let is_help = path.ends_with("args.rs") || path.ends_with("/cli.rs");
        let help = text.lines().enumerate().filter(|(_, line)| is_help && line.contains("///"));
        for (number, string) in strings.chain(help.map(|(at, line)| (at + 1, line))) {
            for (word, instead) in GONE.iter().filter(|(word, _)| string.contains(word)) {
                complaints.push(format!("{path}:{number}: `{word}`: say `{instead}`"));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;

    #[test]
    fn a_word_that_came_back_is_found_and_comments_and_tests_do_not_count() {
        let text = "//! Nobody.\nfn f() { say(\"the person waits\"); }\n#[cfg(test)]\nmod tests { const A: &str = \"nobody\"; }\n";
        let complaints = plain_words(&tree(&[("crates/a/src/lib.rs", text)]));
        assert_eq!(complaints, ["crates/a/src/lib.rs:2: `the person`: say `the user`"]);
        assert!(
            plain_words(&tree(&[("crates/a/src/lib.rs", "say(\"the user waits\")")])).is_empty()
        );
    }
}
