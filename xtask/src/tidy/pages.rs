//! Code and commands in the README and the pages in `docs` are tested, or the page says why not.

use super::Tree;

/// The file in which the Rust examples are compiled.
const COMPILED: &str = "tests/support/pages.rs";

/// Languages of blocks that are run in `tests/it/program/pages`, and languages that could hide such
/// a block.
const COMMANDS: [&str; 5] = ["sh", "bash", "shell", "console", "text"];

/// A Rust example is compiled, and a block of commands is run. Any other block has a marker in the
/// line before it: `<!-- run: WORLD -->`, `<!-- run: WORLD; not WORDS: reason -->` or `<!-- not
/// run: reason -->`.
pub(super) fn examples_are_tried(tree: &Tree) -> Vec<String> {
    let is_page = |path: &str| path == "README.md" || path.starts_with("docs/");
    let compiled = tree.get(COMPILED).unwrap_or_default();
    let mut complaints = Vec::new();
    for (path, text) in tree.under("", ".md").filter(|(path, _)| is_page(path)) {
        let is_compiled = compiled.contains(&format!("include_str!(\"../../{path}\")"));
        for (line, before, info) in fences(text) {
            if let Some(wrong) = wrong(before, info, is_compiled) {
                complaints.push(format!("{path}:{line}: {wrong}"));
            }
        }
    }
    complaints
}

/// What is wrong with a block, given the line before it and the text after its first fence.
fn wrong(before: &str, info: &str, is_compiled: bool) -> Option<String> {
    let language = info.split([',', ' ']).next().unwrap_or_default();
    let reason = comment(before, "not run: ");
    let is_ignored = info.contains("ignore");
    match language {
        "" => Some("a block without a language: is it `text`?".to_owned()),
        "rust" if is_ignored && reason.is_none() => {
            Some("an ignored example: say why in the line before, `<!-- not run: … -->`".to_owned())
        }
        "rust" if !is_ignored && !is_compiled => {
            Some(format!("the Rust examples of this page are not in {COMPILED}"))
        }
        language if COMMANDS.contains(&language) && reason.is_none() && !is_run(before) => Some(
            format!("`{language}`: neither `<!-- run: … -->` nor `<!-- not run: … -->` before it"),
        ),
        _ => None,
    }
}

/// Whether the line names the world in which the block is run, and the reason for any skipped
/// lines.
fn is_run(line: &str) -> bool {
    comment(line, "run: ").is_some_and(|world| {
        let left_out = world.split_once("; not ").map(|(_, left_out)| left_out);
        left_out.is_none_or(|it| it.split_once(": ").is_some_and(|(_, why)| !why.is_empty()))
    })
}

/// The text of a comment after its first words.
fn comment<'a>(line: &'a str, first: &str) -> Option<&'a str> {
    let text = line.strip_prefix("<!-- ")?.strip_suffix(" -->")?.strip_prefix(first)?.trim();
    (!text.is_empty()).then_some(text)
}

/// The fences that begin a block: their lines, the lines before them, and the text after them.
fn fences(text: &str) -> Vec<(usize, &str, &str)> {
    let (mut fences, mut before, mut is_inside) = (Vec::new(), "", false);
    for (number, line) in text.lines().enumerate() {
        if let Some(info) = line.trim_start().strip_prefix("```") {
            if !is_inside {
                fences.push((number + 1, before, info.trim()));
            }
            is_inside = !is_inside;
        }
        before = line;
    }
    fences
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;

    fn complaints(page: &str) -> Vec<String> {
        let compiled = "#[doc = include_str!(\"../../docs/b.md\")]\nmod b {}";
        let rust = "```rust\nfn main() {}\n```\n";
        examples_are_tried(&tree(&[("docs/a.md", page), ("docs/b.md", rust), (COMPILED, compiled)]))
    }

    #[test]
    fn a_block_that_nobody_tries_is_found() {
        for block in [
            "```sh\nls\n```",
            "\n\n```console\n$ ls\n```",
            "<!-- not run: -->\n```sh\nls\n```",
            "<!-- run: world; not ls -->\n```sh\nls\n```",
            "<!-- run: world -->\n\n```sh\nls\n```",
            "```rust\nfn f() {}\n```",
            "```rust,ignore\nfn f() {}\n```",
            "```text\nfn f() {}\n```",
            "```\nfn f() {}\n```",
        ] {
            assert_eq!(complaints(block).len(), 1, "{block}");
        }
    }

    #[test]
    fn a_block_that_is_tried_or_says_why_not_is_none() {
        for block in [
            "<!-- run: world -->\n```sh\nls\n```",
            "<!-- run: world; not ssh, scp: no host -->\n```console\n$ ls\n```",
            "<!-- not run: no host -->\n```console\n$ ssh host\n```",
            "<!-- not run: a part of a file -->\n```rust,ignore\nfn f() {\n```",
            "```json\n{}\n```",
        ] {
            assert_eq!(complaints(block), [""; 0], "{block}");
        }
    }
}
