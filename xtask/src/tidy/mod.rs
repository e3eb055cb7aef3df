//! The invariants of ARCHITECTURE.md that neither the compiler nor a test checks: one function
//! each.
//!
//! Each returns a list of complaints that say what is wrong and where; an empty list is a success.

mod architecture;
mod circles;
mod layers;
mod modules;
mod names;
mod pages;
mod security;
mod sending;
mod source;
mod text;
mod words;

use crate::run::{Outcome, read};
use std::collections::BTreeSet;
use std::fs;

type Check = fn(&Tree) -> Vec<String>;

/// The checks, by the names in ARCHITECTURE.md: `(tidy: name)`.
pub(crate) const CHECKS: &[(&str, Check)] = &[
    ("crate_edges", architecture::crate_edges),
    ("foreign_edges", architecture::foreign_edges),
    ("routing_is_pure", architecture::routing_is_pure),
    ("store_knows_no_network", architecture::store_knows_no_network),
    ("files_behind_their_doors", architecture::files_behind_their_doors),
    ("directories_are_private", architecture::directories_are_private),
    ("programs_have_one_launcher", architecture::programs_have_one_launcher),
    ("pkce_touches_no_files", architecture::pkce_touches_no_files),
    ("names_have_one_home", names::names_have_one_home),
    ("folders_are_small", architecture::folders_are_small),
    ("no_circles", circles::no_circles),
    ("imports_go_down", layers::imports_go_down),
    ("commands_stand_alone", layers::commands_stand_alone),
    ("clap_stops_at_the_commands", layers::clap_stops_at_the_commands),
    ("lints_opted_in", architecture::lints_opted_in),
    ("crates_explain_themselves", architecture::crates_explain_themselves),
    ("dependencies_explained", architecture::dependencies_explained),
    ("module_docs", text::module_docs),
    ("tests_listed", text::tests_listed),
    ("no_leftovers", text::no_leftovers),
    ("no_machine_names", text::no_machine_names),
    ("documents_agree", text::documents_agree),
    ("invariants_are_held", text::invariants_are_held),
    ("examples_are_tried", pages::examples_are_tried),
    ("security_is_tested", security::security_is_tested),
    ("plain_words", words::plain_words),
    ("outside_is_tested", security::outside_is_tested),
    ("secrets_leave_by_one_door", sending::secrets_leave_by_one_door),
];

/// The project's files: path and text, without ignored ones.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: Vec<(String, String)>,
}

/// `cargo xtask tidy [NAME…]`: runs all checks on the current tree, or the named ones.
pub(crate) fn run(names: &[&str]) -> Outcome {
    if let Some(name) = names.iter().find(|name| !CHECKS.iter().any(|(known, _)| known == *name)) {
        return Err(format!("no check `{name}`"));
    }
    let tree = Tree::read()?;
    let mut wrong = 0;
    for (name, check) in CHECKS.iter().filter(|(name, _)| names.is_empty() || names.contains(name))
    {
        let complaints = check(&tree);
        println!("{name}: {}", if complaints.is_empty() { "ok" } else { "FAILED" });
        for complaint in &complaints {
            println!("  {complaint}");
        }
        wrong += complaints.len();
    }
    if wrong == 0 { Ok(()) } else { Err(format!("{wrong} things are out of order")) }
}

impl Tree {
    fn read() -> Outcome<Self> {
        let listed = read("git", &["ls-files", "-co", "--exclude-standard", "--deduplicate"])?;
        // A deleted, uncommitted file is listed too; no check needs binary files.
        let text = |path: &str| Some((path.to_owned(), fs::read_to_string(path).ok()?));
        Ok(Self { files: listed.lines().filter_map(text).collect() })
    }

    fn get(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|(name, _)| name == path).map(|(_, text)| text.as_str())
    }

    /// The files below a folder with this ending.
    fn under<'a>(
        &'a self,
        folder: &'a str,
        ending: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files
            .iter()
            .filter(move |(path, _)| path.starts_with(folder) && path.ends_with(ending))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

/// A file with a module that only tests use.
fn is_test_file(path: &str) -> bool {
    path.ends_with("_tests.rs") || path.ends_with("/tests.rs")
}

/// A complaint for every line of product code with one of the words, as a whole word; paths in the
/// braces of a `use` are expanded. Test files are exempt.
fn banned(path: &str, text: &str, words: &[&str]) -> Vec<String> {
    if is_test_file(path) {
        return Vec::new();
    }
    let (mut lines, mut paths) = (source::lines(text), modules::paths(text));
    lines.append(&mut paths);
    let mut complaints = BTreeSet::new();
    for (number, code) in &lines {
        complaints
            .extend(words.iter().filter(|word| has_word(code, word)).map(|word| (number, word)));
    }
    let told = |(number, word)| format!("{path}:{number}: `{word}` has no place here");
    complaints.into_iter().map(told).collect()
}

/// Whether the line has `word` as a whole name.
fn has_word(line: &str, word: &str) -> bool {
    let in_name = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let joined_left = in_name(before) && in_name(word.chars().next());
        let joined_right = in_name(after) && in_name(word.chars().next_back());
        !joined_left && !joined_right
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of these files, for testing a check.
    pub(super) fn tree(files: &[(&str, &str)]) -> Tree {
        let own = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        Tree { files: files.iter().map(own).collect() }
    }

    #[test]
    fn code_is_what_the_product_has_and_comments_do_not_count() {
        let text = "//! std::fs\nuse std::{fs, io};\n#[cfg(test)]\nmod tests { use std::fs; }\nstd::fs::f();";
        let expected = [2, 5].map(|line| format!("a.rs:{line}: `std::fs` has no place here"));
        assert_eq!(banned("a.rs", text, &["std::fs"]), expected);
        assert!(banned("a_tests.rs", text, &["std::fs"]).is_empty());
    }

    #[test]
    fn a_part_of_a_longer_name_is_another_word() {
        assert!(has_word("use auth_store::Secret;", "Secret"));
        assert!(has_word("use std::fs::File;", "std::fs"));
        assert!(!has_word("Self::NoSecret => 1", "Secret"));
        assert!(!has_word("let fs4x = 1;", "fs4"));
    }
}
