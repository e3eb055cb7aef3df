//! Checks of file contents: their first lines, leftovers, and whether the documents agree with the
//! code.

use super::{CHECKS, Tree};
use std::path::Path;

/// Every Rust file begins with a description.
pub(super) fn module_docs(tree: &Tree) -> Vec<String> {
    tree.under("", ".rs")
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| format!("{path}: begin with a line `//! …`"))
        .collect()
}

/// Every test file is declared by a `mod`; otherwise it would never run.
pub(super) fn tests_listed(tree: &Tree) -> Vec<String> {
    let is_root = |path: &&str| {
        path.contains("tests/") && path.ends_with("/main.rs") && !path.ends_with("/src/main.rs")
    };
    let mut complaints = Vec::new();
    for main in tree.under("", "main.rs").map(|(path, _)| path).filter(is_root) {
        let folder = main.trim_end_matches("main.rs");
        for (path, _) in tree.under(folder, ".rs").filter(|(path, _)| *path != main) {
            let module = path.trim_end_matches(".rs").trim_end_matches("/mod");
            let (above, name) = module.rsplit_once('/').unwrap_or_default();
            let in_own_file = format!("{above}.rs");
            let in_folder = format!("{above}/mod.rs");
            let parents: &[&str] =
                if format!("{above}/") == folder { &[main] } else { &[&in_own_file, &in_folder] };
            let mut lines = parents.iter().filter_map(|path| tree.get(path)).flat_map(str::lines);
            let listed = format!("mod {name};");
            let (visible, renamed) = (format!(") {listed}"), format!("#[path = \"{name}.rs\"]"));
            if !lines.any(|line| line == listed || line == renamed || line.ends_with(&visible)) {
                complaints.push(format!("{path}: no `{listed}` in {}", parents.join(" or ")));
            }
        }
    }
    complaints
}

/// Nothing is unfinished or disabled.
pub(super) fn no_leftovers(tree: &Tree) -> Vec<String> {
    let words = [
        concat!("todo", "!("),
        concat!("dbg", "!("),
        concat!("unimplemented", "!("),
        concat!("#[", "ignore"),
    ];
    found(tree.under("", ".rs"), &words)
}

/// No path of a single machine and no registry host; cargo's own lock file names its index and is
/// exempt.
pub(super) fn no_machine_names(tree: &Tree) -> Vec<String> {
    let words = [
        concat!("/wo", "rk/main"),
        concat!("/wo", "rk/shared"),
        concat!("/ro", "ot/"),
        concat!("../", "shared"),
        concat!("registry", ".npmjs"),
        concat!("index.", "crates.io"),
        concat!("static.", "crates.io"),
        concat!("pypi", ".org"),
        concat!("deb.", "debian.org"),
    ];
    let cases = |path: &str| path == "Cargo.lock" || path.starts_with("tests/vectors/");
    found(tree.under("", "").filter(|(path, _)| !cases(path)), &words)
}

fn found<'a>(files: impl Iterator<Item = (&'a str, &'a str)>, words: &[&str]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in files {
        for (number, line) in text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                complaints.push(format!("{path}:{}: `{word}`", number + 1));
            }
        }
    }
    complaints
}

/// The documents exist, their links work, and the exit codes and the version are correct.
pub(super) fn documents_agree(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for path in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs/cli.md"] {
        if tree.get(path).is_none() {
            complaints.push(format!("{path} is missing"));
        }
    }
    let licences = ["LICENSE", "LICENSE-MIT", "LICENSE-APACHE"];
    if !licences.iter().any(|path| tree.get(path).is_some()) {
        complaints.push("LICENSE is missing".to_owned());
    }
    let codes = exit_codes(tree.get("crates/auth-cli/src/host/error.rs").unwrap_or_default());
    if codes.is_empty() {
        complaints
            .push("crates/auth-cli/src/host/error.rs: no `enum Exit` with its numbers".to_owned());
    }
    let page = tree.get("docs/cli.md").unwrap_or_default();
    for code in codes.iter().filter(|code| !page.contains(&format!("| {code} |"))) {
        complaints.push(format!("docs/cli.md: no row `| {code} |` for this exit code"));
    }
    let version = tree.get("Cargo.toml").and_then(|text| {
        text.lines().find_map(|line| line.strip_prefix("version = ")).map(|v| v.trim_matches('"'))
    });
    if let (Some(log), Some(version)) = (tree.get("CHANGELOG.md"), version)
        && !log.lines().any(|line| line.starts_with('#') && line.contains(version))
    {
        complaints.push(format!("CHANGELOG.md: no heading for {version}"));
    }
    for (path, text) in tree.under("", ".md") {
        let folder = Path::new(path).parent().unwrap_or(Path::new(""));
        for link in relative_links(text).filter(|link| !folder.join(link).exists()) {
            complaints.push(format!("{path}: the link to {link} leads nowhere"));
        }
    }
    complaints
}

/// The numbers of `enum Exit`: the exit codes of the command line.
fn exit_codes(source: &str) -> Vec<&str> {
    let body = source.split("enum Exit {").nth(1).unwrap_or_default();
    let body = body.split('}').next().unwrap_or_default();
    body.lines().filter_map(|line| line.split_once(" = ")?.1.strip_suffix(',')).collect()
}

/// The targets of `](…)` that are our own files, without their anchors.
fn relative_links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ', '#']).next())
        .filter(|link| !link.is_empty() && !link.contains(':'))
}

/// Every invariant of ARCHITECTURE.md names an existing check that fails when it is broken: `(tidy:
/// check)`, `(test: function)` or `(lint: name)`, several separated by commas.
pub(super) fn invariants_are_held(tree: &Tree) -> Vec<String> {
    let page = tree.get("ARCHITECTURE.md").unwrap_or_default();
    let Some(section) = page.split("\n## Invariants").nth(1) else {
        return vec!["ARCHITECTURE.md: no section `## Invariants`".to_owned()];
    };
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut complaints = Vec::new();
    for item in section.split("\n- ").skip(1) {
        let item = item.split("\n\n").next().unwrap_or_default();
        let first: String = item.chars().take(60).collect();
        let holders = holders(item);
        if holders.is_empty() {
            complaints.push(format!("ARCHITECTURE.md: nothing holds “{first}…”"));
        }
        for (kind, name) in holders {
            let exists = match kind {
                "tidy" => CHECKS.iter().any(|(check, _)| *check == name),
                "test" => {
                    let start = format!("fn {name}(");
                    tree.under("", ".rs").any(|(_, text)| text.contains(&start))
                }
                _ => {
                    let short = name.rsplit("::").next().unwrap_or(name);
                    ["Cargo.toml", "clippy.toml"]
                        .iter()
                        .any(|path| tree.get(path).is_some_and(|text| text.contains(short)))
                }
            };
            if !exists {
                complaints.push(format!("ARCHITECTURE.md: there is no {kind} `{name}`"));
            }
        }
    }
    complaints
}

/// The kinds and names in the parentheses of an invariant.
fn holders(item: &str) -> Vec<(&str, &str)> {
    let mut holders = Vec::new();
    for kind in ["tidy", "test", "lint"] {
        for part in item.split(&format!("({kind}: ")).skip(1) {
            let names = part.split(')').next().unwrap_or_default().split(',');
            holders.extend(names.map(|name| (kind, name.trim().trim_matches('`'))));
        }
    }
    holders
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;

    #[test]
    fn a_test_file_that_is_not_listed_is_found() {
        let files = [
            ("tests/it/main.rs", "mod login;\nmod agents;\n"),
            ("tests/it/login.rs", ""),
            ("tests/it/agents/mod.rs", "mod add;"),
            ("tests/it/agents/add.rs", ""),
        ];
        assert!(tests_listed(&tree(&files)).is_empty());
        for lost in ["tests/it/refresh.rs", "tests/it/agents/delete.rs", "tests/it/store/mod.rs"] {
            let with_lost = [&files[..], &[(lost, "")]].concat();
            assert_eq!(tests_listed(&tree(&with_lost)).len(), 1, "{lost}");
        }
    }

    #[test]
    fn an_invariant_needs_something_real_that_holds_it() {
        let page = "# A\n\n## Invariants\n\n- Pure (tidy: routing_is_pure).\n- Loose.\n- Tested\n  (test: gone, here).\n\n## B\n- x\n";
        let files = [("ARCHITECTURE.md", page), ("a.rs", "fn here() {}")];
        let complaints = invariants_are_held(&tree(&files));
        assert_eq!(complaints.len(), 2, "{complaints:?}");
        assert!(complaints[0].contains("Loose"));
        assert!(complaints[1].contains("`gone`"));
    }

    #[test]
    fn a_file_without_a_first_line_of_documentation_is_found() {
        assert_eq!(module_docs(&tree(&[("a.rs", "//! A.\n"), ("b.rs", "fn b() {}\n")])).len(), 1);
    }

    #[test]
    fn exit_codes_are_read_from_the_enum() {
        let source =
            "pub enum Exit {\n    /// Done.\n    Done = 0,\n    Usage = 64,\n}\nconst N: u8 = 9;";
        assert_eq!(exit_codes(source), ["0", "64"]);
    }

    #[test]
    fn links_to_the_web_and_to_anchors_are_not_files() {
        let text = "[a](docs/a.md#top) [b](https://b.example) [c](#here)";
        assert_eq!(relative_links(text).collect::<Vec<_>>(), ["docs/a.md"]);
    }
}
