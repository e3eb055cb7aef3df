//! Generated documents are up to date, and cover every command.

use e2e::{reference, transcript};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Commands that cannot both succeed and fail without a network or a user, and where they are
/// tested instead.
const ELSEWHERE: [(&str, &str); 8] = [
    ("models auth add", "it asks: it/program/terminal.rs, by way of the wizard"),
    ("models auth login", "it needs an issuer: it/login/browser.rs"),
    ("models auth login-github-copilot", "it needs an issuer: it/login/providers.rs"),
    ("models auth exec", "it becomes another program: it/token/plug_in.rs"),
    ("models auth configure claude-code", "it/token/plug_in.rs"),
    ("models auth configure codex", "it/token/plug_in.rs"),
    ("models auth configure git", "it/token/plug_in.rs"),
    ("plugins check", "it runs a plugin: it/plugins/mod.rs"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn transcripts() -> Vec<(String, String)> {
    let folder = root().join("tests/transcripts");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = files.filter(|path| path.extension().is_some_and(|it| it == "txt")).map(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(&path).unwrap())
    });
    texts.collect()
}

/// The first line that differs.
fn difference(before: &str, now: &str) -> String {
    let lines = before.lines().chain(["(end)"]).zip(now.lines().chain(["(end)"]));
    let differing = lines.enumerate().find(|(_, (before, now))| before != now);
    differing.map_or_else(String::new, |(number, (before, now))| {
        format!("line {}\n  is   {before}\n  want {now}", number + 1)
    })
}

#[test]
fn the_reference_of_the_commands_is_what_the_parser_says() {
    let page = fs::read_to_string(root().join(reference::PAGE)).unwrap();
    let renewed = reference::renewed(&page);
    assert!(page == renewed, "run: cargo xtask docs\n{}", difference(&page, &renewed));
}

#[test]
fn every_transcript_is_what_the_program_says() {
    for (name, text) in transcripts() {
        let (now, _) = transcript::replay(&text);
        assert!(
            text == now,
            "{name}: if that is meant, run: cargo xtask docs\n{}",
            difference(&text, &now)
        );
    }
}

/// The control of the test above.
#[test]
fn a_transcript_that_is_wrong_is_noticed() {
    let wrong = "$ clawdbot models status --plain\n| no/model\n";
    let (right, ran) = transcript::replay(wrong);
    assert_eq!(right, "$ clawdbot models status --plain\n| anthropic/claude-opus-4-5\n");
    assert_eq!((ran.len(), ran[0].exit), (1, 0));
}

#[test]
fn every_command_has_a_transcript_of_success_and_of_failure() {
    let mut seen: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    let commands: Vec<_> = reference::commands().into_iter().map(|(path, _)| path).collect();
    for (_, text) in transcripts() {
        for ran in transcript::replay(&text).1 {
            let line = format!("{} ", ran.words.join(" "));
            let Some(path) = commands.iter().find(|path| line.starts_with(&format!("{path} ")))
            else {
                continue;
            };
            let (succeeds, fails) = seen.entry(path.clone()).or_default();
            *succeeds |= ran.exit == 0;
            *fails |= ran.exit != 0;
        }
    }
    let missing = commands.iter().filter(|path| {
        seen.get(*path) != Some(&(true, true)) && !ELSEWHERE.iter().any(|(name, _)| name == path)
    });
    let missing: Vec<_> = missing.map(|path| (path, seen.get(path))).collect();
    assert!(missing.is_empty(), "(succeeds, fails): {missing:#?}");
    for (name, _) in ELSEWHERE {
        assert!(commands.iter().any(|path| path == name), "`{name}` is no command any more");
    }
}

/// The commands and options of Clawdbot, as it printed them; `tests/goldens/flags.json`.
#[test]
fn every_word_of_the_original_is_ours_or_handed_on() {
    let original: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(include_str!("../../goldens/flags.json")).unwrap();
    let words = |value: &serde_json::Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    let mut ours = reference::root();
    ours.build();
    let mut missing = Vec::new();
    for (path, described) in &original {
        let command =
            path.split(' ').try_fold(&ours, |command, word| command.find_subcommand(word));
        let Some(command) = command else {
            missing.push(path.clone());
            continue;
        };
        for word in words(&described["commands"]) {
            let path = format!("{path} {word}");
            if !HANDED_ON.contains(&path.as_str()) && command.find_subcommand(&word).is_none() {
                missing.push(path);
            }
        }
        for option in words(&described["options"]) {
            let name = option.split([' ', ',']).find(|it| it.starts_with("--"));
            let name = name.map_or("help", |name| name.trim_start_matches("--"));
            let is_there = |it: &&clap::Arg| it.get_long() == Some(name);
            if command.get_arguments().find(is_there).is_none() {
                missing.push(format!("{path} --{name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Subcommands of Clawdbot below our own commands that do not concern credentials: they are
/// forwarded to the next program on PATH.
const HANDED_ON: [&str; 3] = ["models list", "models scan", "agents set-identity"];

#[test]
fn what_is_handed_on_is_not_ours() {
    let commands: Vec<_> = reference::commands().into_iter().map(|(path, _)| path).collect();
    for path in HANDED_ON {
        assert!(!commands.iter().any(|ours| ours == path), "`{path}` is ours now");
    }
}

/// Commands that print a script, a page, a secret or variables, and not data.
const NO_DATA: [&str; 7] = [
    "completion",
    "man",
    "models auth token",
    "models auth env",
    "models auth git-credential",
    "models auth exec",
    "models status --plain",
];

#[test]
fn every_command_answers_in_json_when_asked_to() {
    let mut wrong = Vec::new();
    for (name, text) in transcripts() {
        let lines =
            text.lines().filter(|line| !line.starts_with("head ") && !line.contains("--plain"));
        let asked = lines.map(|line| match line.strip_prefix("$ clawdbot ") {
            Some(words) if words.contains("--json") => line.to_owned(),
            Some(words) => format!("$ clawdbot --json {words}"),
            None => line.to_owned(),
        });
        let (told, _) = transcript::replay(&asked.collect::<Vec<_>>().join("\n"));
        for reply in told.split("$ clawdbot ").skip(1) {
            let words = reply.lines().next().unwrap_or_default().replace("--json ", "");
            let data: String = reply.lines().filter_map(|line| line.strip_prefix('|')).collect();
            let is_failure = reply.lines().any(|line| line.starts_with("? "));
            let has_data = is_failure || !NO_DATA.iter().any(|it| words.starts_with(it));
            if has_data && serde_json::from_str::<serde_json::Value>(&data).is_err() {
                wrong.push(format!("{name}: {words}: {data}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
