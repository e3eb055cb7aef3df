//! Transcripts: commands and their output, in files that people read and the tests replay.
//!
//! The start of a line gives its type:
//!
//! - `#` a comment; an empty line;
//! - `file PATH` a file in the home directory, its text on the next lines, indented by four spaces;
//! - `env NAME=VALUE`, `terminal COLUMNS`, `pipe`: for the commands after it;
//! - `wait MINUTES` advances the clock, which stands still otherwise;
//! - `head LINES` shows only the first lines of the next command's output;
//! - `$ clawdbot …` a command, words in single quotes kept together; `< ` its input;
//! - `| ` its standard output, `! ` its standard error, `? ` its exit code if that is not 0.
//!
//! [`replay`] runs the commands in process, in a home of their own, and rewrites the last three.

use auth_cli::host::context::{Captured, Context};
use auth_store::Timestamp;
use std::fmt::Write as _;
use std::io::Cursor;
use std::path::Path;

/// The time at which every transcript begins.
pub const NOW: i64 = 1_769_644_800_000;

/// A command of a transcript, and its result.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The words after `clawdbot`.
    pub words: Vec<String>,
    /// The exit code.
    pub exit: u8,
}

/// Runs the commands of a transcript. Returns the expected transcript, and the commands.
pub fn replay(text: &str) -> (String, Vec<Ran>) {
    let home = tempfile::tempdir().expect("a temporary directory");
    // The canonical path; on some systems the temporary directory is behind a link.
    let home = std::fs::canonicalize(home.path()).map(|path| (home, path)).expect("a path");
    let mut world = World { home: home.1, now: NOW, env: Vec::new(), width: None, head: None };
    let (mut told, mut all) = (String::new(), Vec::new());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        if matches!(mark, "|" | "!" | "?") {
            continue;
        }
        let _ = writeln!(told, "{line}");
        match mark {
            "" | "#" => {}
            "file" => {
                let mut file = String::new();
                while let Some(line) = lines.next_if(|line| line.starts_with("    ")) {
                    let _ = writeln!(told, "{line}");
                    let _ = writeln!(file, "{}", &line[4..]);
                }
                crate::sandbox::write(&world.home.join(rest), file.as_bytes());
            }
            "env" => {
                let (name, value) = rest.split_once('=').expect("env NAME=VALUE");
                world.env.push((name.to_owned(), value.to_owned()));
            }
            "terminal" => world.width = rest.parse().ok(),
            "pipe" => world.width = None,
            "wait" => world.now += rest.parse::<i64>().expect("minutes") * 60_000,
            "head" => world.head = rest.parse().ok(),
            "$" => {
                let mut input = String::new();
                while let Some(line) = lines.next_if(|line| line.starts_with("< ")) {
                    let _ = writeln!(told, "{line}");
                    let _ = writeln!(input, "{}", &line[2..]);
                }
                let words = split(rest.strip_prefix("clawdbot").expect("our own command"));
                let exit = world.run(&words, input, &mut told);
                all.push(Ran { words, exit });
            }
            other => panic!("`{other}` means nothing in a transcript"),
        }
    }
    (told, all)
}

struct World {
    home: std::path::PathBuf,
    now: i64,
    env: Vec<(String, String)>,
    width: Option<usize>,
    head: Option<usize>,
}

impl World {
    fn run(&mut self, words: &[String], input: String, told: &mut String) -> u8 {
        let mut context = Context::sealed(&self.home, Timestamp(self.now));
        let (stdout, stderr) = (Captured::default(), Captured::default());
        context.env = self.env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        context.env.insert("CLAWDBOT_LOCK_TIMEOUT".into(), "10".into());
        context.terminal.stdout = self.width.is_some();
        context.terminal.width = self.width;
        context.program = Some("/usr/local/bin/clawdbot".into());
        context.set_stdin(Cursor::new(input.into_bytes()));
        context.set_stdout(stdout.clone());
        context.set_stderr(stderr.clone());
        let words = words.iter().map(String::as_str);
        let exit = auth_cli::run(["clawdbot"].into_iter().chain(words), &context);
        let head = self.head.take().unwrap_or(usize::MAX);
        for (mark, text) in [("|", stdout.text()), ("!", stderr.text())] {
            let text = self.tidy(&text);
            for line in text.lines().take(head) {
                let _ = writeln!(told, "{}", format!("{mark} {line}").trim_end());
            }
            if text.lines().count() > head {
                let _ = writeln!(told, "{mark} …");
            }
        }
        if exit != 0 {
            let _ = writeln!(told, "? {exit}");
        }
        exit
    }

    fn tidy(&self, text: &str) -> String {
        let home = Path::new(&self.home).display().to_string();
        text.replace(&home, "$HOME").replace('\u{1b}', "\\e")
    }
}

fn split(text: &str) -> Vec<String> {
    let (mut words, mut is_quoted) = (Vec::new(), false);
    let mut word: Option<String> = None;
    for character in text.chars() {
        match character {
            '\'' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            ' ' if !is_quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}
