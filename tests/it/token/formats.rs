//! The forms in which a token becomes a variable, read back by what reads them: real shells, the readers of `.env` files
//! that Node and Python programs use, and the format of GitHub's runner.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::sandbox::Sandbox;
use serde_json::json;

/// Values that some shell or reader takes for something else, where they are not quoted.
const HOSTILE: [&str; 34] = [
    "a'b",
    "'",
    "''",
    "a\"b",
    "\"",
    "`id`",
    "a`b",
    "$(id)",
    "$HOME",
    "${HOME}",
    "$$",
    "a\\",
    "\\",
    "\\\\",
    "\\n",
    "\\'",
    "a b",
    "#x",
    "a #b",
    "!x",
    "a!b",
    "=ls",
    "a:=ls",
    "~",
    "~root",
    "*",
    "?",
    "[a]",
    "{a,b}",
    "a;id",
    "a&b|c>d<e",
    "%PATH%",
    "\u{2018}a\u{2019}\u{201a}\u{201b}",
    "CLAWDBOT_END",
];
const ALPHABET: &[char] = &[
    'a', 'Z', '0', '\'', '"', '`', '$', '(', ')', '{', '}', '[', ']', '\\', ' ', '#', '!', '%',
    '^', '&', '*', ';', '|', '<', '>', '?', '~', '=', ':', ',', '.', '@', '+', '-', '_', '/', 'é',
    '\u{2019}', '日',
];

/// Hostile values, and many that chance makes of hostile characters; the same ones in every run.
fn values() -> Vec<String> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap()
    };
    let mut all: Vec<String> = HOSTILE.iter().map(|it| (*it).to_owned()).collect();
    while all.len() < 300 {
        let length = next() % 16 + 1;
        let text: String = (0..length).map(|_| ALPHABET[next() % ALPHABET.len()]).collect();
        let text = text.trim().to_owned();
        if !text.is_empty() {
            all.push(text);
        }
    }
    all
}

/// A home with a key for each of the values, and the variable of each.
fn home(values: &[String]) -> (Sandbox, BTreeMap<String, String>) {
    let sandbox = Sandbox::new();
    let (mut profiles, mut variables) = (serde_json::Map::new(), BTreeMap::new());
    for (number, value) in values.iter().enumerate() {
        let provider = format!("v{number}");
        let profile = json!({"type": "api_key", "provider": provider, "key": value});
        profiles.insert(format!("{provider}:default"), profile);
        variables.insert(format!("V{number}_API_KEY"), value.clone());
    }
    sandbox.seed_store("main", &json!({"version": 1, "profiles": profiles}));
    (sandbox, variables)
}

/// What `models auth env` prints for all of them.
fn printed(sandbox: &Sandbox, count: usize, shell: &str) -> String {
    let names: Vec<String> = (0..count).map(|number| format!("--provider=v{number}")).collect();
    let mut args = vec!["models", "auth", "env", "--shell", shell];
    args.extend(names.iter().map(String::as_str));
    sandbox.run(&args).expect_code(0).stdout.clone()
}

fn piped(program: &Path, args: &[&str], directory: &Path, input: &str) -> String {
    let mut command = Command::new(program);
    command.args(args).current_dir(directory).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child =
        command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}: {output:?}", program.display());
    String::from_utf8(output.stdout).unwrap()
}

/// The variables as a shell has them: each is printed with a line after it that no value is.
fn of_shell(
    shell: &str,
    script: &str,
    variables: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut script = script.to_owned();
    for name in variables.keys() {
        script.extend(["\nprintf '%s\\0' \"$", name, "\""]);
    }
    let directory = tempfile::tempdir().unwrap();
    let output = piped(Path::new(shell), &[], directory.path(), &script);
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert!(left.is_empty(), "{shell} ran something: {left:?}");
    let read = output.split_terminator('\0').map(str::to_owned);
    variables.keys().cloned().zip(read).collect()
}

#[test]
fn every_shell_reads_back_what_was_printed() {
    let values = values();
    let (sandbox, variables) = home(&values);
    let sh = printed(&sandbox, values.len(), "sh");
    for shell in ["sh", "bash", "zsh"] {
        assert_eq!(of_shell(shell, &sh, &variables), variables, "{shell}");
    }
    let fish = printed(&sandbox, values.len(), "fish");
    assert_eq!(of_shell("fish", &fish, &variables), variables);
    // The same lines are for `models auth token --format env`.
    for (number, value) in values.iter().enumerate().take(HOSTILE.len()) {
        let provider = format!("v{number}");
        let args = ["models", "auth", "token", "--format", "env", "--provider", &provider];
        let line = sandbox.run(&args).expect_code(0).stdout.clone();
        let one = [(format!("V{number}_API_KEY"), value.clone())].into();
        for shell in ["sh", "bash", "zsh"] {
            assert_eq!(of_shell(shell, &line, &one), one, "{shell}");
        }
    }
    // The control: without quotes they are something else.
    let naive: String = variables
        .iter()
        .flat_map(|(name, value)| ["export ", name, "=", value, " 2>/dev/null\n"])
        .collect();
    let output = Command::new("sh").args(["-c", &naive]).stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success() || !output.stderr.is_empty(), "the values are not hostile");
}

#[test]
fn powershell_reads_back_what_was_printed() {
    if Command::new("pwsh").arg("-Version").output().is_err() {
        println!("NOT RUN: there is no PowerShell on this machine");
        return;
    }
    let values = values();
    let (sandbox, variables) = home(&values);
    let mut script = printed(&sandbox, values.len(), "powershell");
    for name in variables.keys() {
        script.extend(["\n[Console]::Out.Write(\"$($env:", name, ")`0\")"]);
    }
    let directory = tempfile::tempdir().unwrap();
    let args = ["-NoProfile", "-NonInteractive", "-Command", "-"];
    let output = piped(Path::new("pwsh"), &args, directory.path(), &script);
    let read = output.split_terminator('\0').map(str::to_owned);
    let read: BTreeMap<_, _> = variables.keys().cloned().zip(read).collect();
    assert_eq!(read, variables);
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/dotenv")
}

#[test]
fn readers_of_env_files_read_back_what_was_printed_and_what_they_read_differently_is_refused() {
    let is_plain = |value: &String| !value.contains(['\'', '\\', '$']);
    let (plain, others): (Vec<_>, Vec<_>) = values().into_iter().partition(is_plain);
    let (sandbox, variables) = home(&plain);
    let file = printed(&sandbox, plain.len(), "dotenv");
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/dotenv/bin/python");
    for (program, script) in [(Path::new("node"), "read.mjs"), (&python, "read.py")] {
        let read = piped(program, &[script], &peers(), &file);
        let read: BTreeMap<String, String> = serde_json::from_str(&read).unwrap();
        assert_eq!(read, variables, "{}", program.display());
    }
    assert_eq!(of_shell("sh", &format!("set -a\n{file}"), &variables), variables);

    let (sandbox, _) = home(&others);
    for number in 0..HOSTILE.iter().filter(|it| it.contains(['\'', '\\', '$'])).count() {
        let provider = format!("v{number}");
        let args = ["models", "auth", "env", "--shell", "dotenv", "--provider", &provider];
        let run = sandbox.run(&args);
        assert_eq!(run.expect_code(64).stdout, "", "{run:#?}");
        assert!(run.stderr.contains("--shell sh"), "{run:#?}");
    }
    // The control: with them in single quotes the readers do not agree.
    let naive = others
        .iter()
        .enumerate()
        .fold(String::new(), |all, (number, value)| format!("{all}V{number}='{value}'\n"));
    let node = piped(Path::new("node"), &["read.mjs"], &peers(), &naive);
    assert_ne!(node, piped(&python, &["read.py"], &peers(), &naive));
}

/// The runner's own way to read the file, of its `FileCommandManager`: `NAME=value`, or `NAME<<END` to a line `END`.
fn of_runner(file: &str) -> Result<BTreeMap<String, String>, String> {
    let (mut variables, mut lines) = (BTreeMap::new(), file.lines());
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        match (line.find('='), line.find("<<")) {
            (Some(equals), heredoc) if heredoc.is_none_or(|it| equals < it) => {
                variables.insert(line[..equals].to_owned(), line[equals + 1..].to_owned());
            }
            (_, Some(heredoc)) => {
                let (name, end) = (&line[..heredoc], &line[heredoc + 2..]);
                let mut value = Vec::new();
                loop {
                    match lines.next() {
                        Some(line) if line == end => break,
                        Some(line) => value.push(line),
                        None => return Err(format!("no line `{end}`")),
                    }
                }
                variables.insert(name.to_owned(), value.join("\n"));
            }
            _ => return Err(format!("an odd line: {line}")),
        }
    }
    Ok(variables)
}

#[test]
fn the_runner_of_github_reads_back_what_was_printed() {
    let values = values();
    let (sandbox, variables) = home(&values);
    let file = printed(&sandbox, values.len(), "github-actions");
    assert_eq!(of_runner(&file).unwrap(), variables);
    // The control: a value that is the last line ends itself.
    assert!(of_runner("X<<CLAWDBOT_END\nCLAWDBOT_END\nCLAWDBOT_END\n").is_err());
}

#[test]
fn a_name_that_decides_what_is_run_is_refused_wherever_it_comes_from() {
    let sandbox = Sandbox::new();
    let profile = json!({"type": "api_key", "provider": "acme", "key": "key-0123456789"});
    sandbox.seed_store("main", &json!({"version": 1, "profiles": {"acme:default": profile}}));
    for name in ["PATH", "LD_PRELOAD", "BASH_ENV", "X; id; Y", "path", "NODE_OPTIONS", ""] {
        let option = format!("--name={name}");
        sandbox.run(&["models", "auth", "env", "--provider", "acme", &option]).expect_code(64);
        sandbox
            .run(&["models", "auth", "exec", "--provider", "acme", &option, "--", "/bin/true"])
            .expect_code(64);
        let from = format!("--from-env={name}");
        sandbox
            .run(&["models", "auth", "paste-api-key", "--provider", "other", &from])
            .expect_code(64);
        sandbox.write_manifest("acme", &json!({"id": "acme", "flows": ["api_key"], "env": [name]}));
        let env = sandbox.run(&["models", "auth", "env", "--provider", "acme"]);
        assert_eq!(env.expect_code(0).line(), "export ACME_API_KEY=key-0123456789", "{name}");
    }
    // The control.
    sandbox.write_manifest("acme", &json!({"id": "acme", "flows": ["api_key"], "env": ["MY_KEY"]}));
    let env = sandbox.run(&["models", "auth", "env", "--provider", "acme"]);
    assert_eq!(env.expect_code(0).line(), "export MY_KEY=key-0123456789");
}
