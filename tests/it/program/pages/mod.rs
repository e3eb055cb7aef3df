//! The commands in the README and in `docs`: they are run as written, and must print the shown
//! output.
//!
//! The line before a block names its test environment: `<!-- run: WORLD -->`, and which lines are
//! skipped and why: `<!-- run: WORLD; not WORDS, WORDS: reason -->`. `cargo xtask tidy` finds a
//! block without such a line.

use std::fs;
use std::path::{Path, PathBuf};

mod worlds;

/// A block of commands on a page.
struct Block {
    /// Page and line.
    place: String,
    world: String,
    commands: Vec<Command>,
}

struct Command {
    line: String,
    /// The output that the page shows below it.
    shown: Vec<String>,
}

#[test]
fn every_command_on_the_pages_says_what_they_show() {
    let blocks: Vec<_> = pages().iter().flat_map(|page| blocks(page, &read(page))).collect();
    assert!(blocks.len() > 20, "{} blocks were found", blocks.len());
    let wrong: Vec<_> = blocks.iter().flat_map(complaints).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The control of the test above.
#[test]
fn a_page_that_is_wrong_is_noticed() {
    let complaints = |text: &str| -> usize {
        blocks(Path::new("page.md"), text).iter().map(|block| complaints(block).len()).sum()
    };
    let page = |command: &str, shown: &str| {
        format!(
            "<!-- run: new; not ssh: no host -->\n```console\n$ ssh host\n$ {command}\n{shown}```\n"
        )
    };
    let plain = "clawdbot models status --plain";
    assert_eq!(complaints(&page(plain, "anthropic/claude-opus-4-5\n")), 0);
    assert_eq!(complaints(&page(plain, "anthropic/…\n")), 0);
    assert_eq!(complaints(&page(plain, "no/model\n")), 1);
    assert_eq!(complaints(&page(plain, "anthropic/claude-opus-4-5\nmore\n")), 1);
    assert_eq!(complaints(&page("clawdbot models auth token --provider acme", "")), 1);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(page: &Path) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

/// The README and the pages in `docs`, relative to the project root.
fn pages() -> Vec<PathBuf> {
    let (mut pages, mut folders) = (vec![PathBuf::from("README.md")], vec![root().join("docs")]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "md") {
                pages.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    pages.sort();
    pages
}

/// The blocks of a page that are run.
fn blocks(page: &Path, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut marked = None;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(mark) = line.strip_prefix("<!-- run: ").and_then(|it| it.strip_suffix(" -->")) {
            marked = Some(mark);
            continue;
        }
        let (mark, fence) = (marked.take(), line.trim_start());
        if let (Some(mark), true) = (mark, fence.starts_with("```")) {
            let body: Vec<_> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            let (world, left_out) = mark.split_once("; not ").unwrap_or((mark, ""));
            let left_out = left_out.split_once(": ").map_or("", |(words, _)| words);
            blocks.push(Block {
                place: format!("{}:{}", page.display(), number + 1),
                world: world.to_owned(),
                commands: commands(&body, fence == "```sh", left_out),
            });
        }
    }
    blocks
}

/// The commands of a block with their output; in `sh`, every line is a command.
fn commands(body: &[&str], is_script: bool, left_out: &str) -> Vec<Command> {
    let mut commands = Vec::new();
    for line in body {
        let prompt = line.strip_prefix("$ ").or_else(|| is_script.then_some(*line));
        match (prompt, commands.last_mut()) {
            (Some(command), _) => {
                commands.push(Command { line: command.to_owned(), shown: Vec::new() });
            }
            (None, Some(Command { shown, .. })) => shown.push((*line).to_owned()),
            (None, None) => panic!("`{line}` is no command"),
        }
    }
    let is_left_out = |line: &str| {
        line.starts_with('#')
            || left_out.split(", ").any(|it| !it.is_empty() && line.starts_with(it))
    };
    commands.retain(|command| !is_left_out(&command.line));
    commands
}

/// Runs the commands of a block in one shell; returns the differences from the page.
fn complaints(block: &Block) -> Vec<String> {
    const END: &str = "\u{1}";
    let sandbox = worlds::world(&block.world);
    let line = |command: &Command| format!("{{ {}\n}} 2>&1\necho \"{END}$?{END}\"\n", command.line);
    let run = sandbox.shell(&block.commands.iter().map(line).collect::<String>());
    assert!(run.stderr.is_empty(), "{}: {run:#?}", block.place);
    let mut said = run.stdout.split(END);
    let mut complaints = Vec::new();
    for command in &block.commands {
        let text = said.next().unwrap_or_default().trim_start_matches('\n');
        let code = said.next().unwrap_or("none");
        let text = text.replace(sandbox.home().to_str().unwrap(), "/home/me");
        let is_right = if command.shown.is_empty() {
            code == "0"
        } else {
            let said: Vec<_> = text.lines().collect();
            said.len() == command.shown.len()
                && said.iter().zip(&command.shown).all(|(said, shown)| is_shown(said, shown))
        };
        if !is_right {
            let Block { place, world, .. } = block;
            complaints.push(format!("{place}, {world}: {}: exit {code}\n{text}", command.line));
        }
    }
    complaints
}

/// Whether the page shows this line; `…` matches anything, and a time matches any time.
fn is_shown(said: &str, shown: &str) -> bool {
    let (said, shown) = (timeless(said), timeless(shown));
    let mut parts = shown.split('…');
    let Some(mut rest) = said.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut is_whole = true;
    for part in parts {
        is_whole = part.is_empty();
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || (is_whole && shown.ends_with('…'))
}

/// Replaces the digits of dates, times and milliseconds with zeros.
fn timeless(line: &str) -> String {
    let is_time = |c: char| c.is_ascii_digit() || "-:Z".contains(c);
    let mut text = String::new();
    for part in line.split_inclusive(|c| !is_time(c)) {
        let length = part.trim_end_matches(|c| !is_time(c)).len();
        let digit = |c: char| if length >= 9 && c.is_ascii_digit() { '0' } else { c };
        text.extend(part.chars().map(digit));
    }
    text
}
