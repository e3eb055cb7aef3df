//! Every printed next command can be pasted, whatever names are in it: a shell reads the same words
//! again, and does nothing else.

use std::path::Path;
use std::process::Command;

use e2e::issuer::Issuer;
use e2e::sandbox::Sandbox;
use serde_json::{Value, json};

/// Created by a shell that executes a name.
const CANARY: &str = "canary";
const PROVIDER: &str = "ac'me $(touch canary)&touch canary";
const OTHER: &str = "demo;touch canary";
const SESSION: &str = "agent:main:it's \"me\"`touch canary`";

fn ids() -> [String; 4] {
    ["-rf", "--all", "a b\"c$HOME", ">canary|touch canary"].map(|name| format!("{name}:x"))
}

/// The words of each command in a hint, as a shell reads them.
fn pasted(hint: &str, home: &Path) -> Vec<Vec<String>> {
    let ends = [
        "; to ask",
        "; end the rest: ",
        "; or ",
        "; unpin it: ",
        ", then ",
        ", or ",
        "; the ",
        "; see ",
    ];
    // Names of commands without arguments, and one command in the middle of a sentence.
    let mut text = hint.replace("`clawdbot plugins list`", "");
    if let Some(command) = text.strip_prefix("see `").and_then(|it| it.strip_suffix('`')) {
        text = command.to_owned();
    }
    for end in ends {
        text = text.replace(end, "\n");
    }
    let commands = text.lines().filter_map(|line| Some(&line[line.find("clawdbot ")?..]));
    commands
        .map(|line| {
            let script =
                format!("clawdbot() {{ for it; do printf '%s\\n' \"$it\"; done; }}\n{line}\n");
            let mut shell = Command::new("/bin/sh");
            let run = shell.args(["-c", &script]).current_dir(home).output().unwrap();
            assert!(run.status.success(), "{line}: {run:?}");
            String::from_utf8(run.stdout).unwrap().lines().map(str::to_owned).collect()
        })
        .collect()
}

/// All hints and commands in the `--json` output of a command.
fn hints(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match value.as_str() {
                Some(text) if ["hint", "command", "fix"].contains(&name.as_str()) => {
                    vec![text.to_owned()]
                }
                _ => hints(value),
            })
            .collect(),
        Value::Array(all) => all.iter().flat_map(hints).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_shell_finds_every_name_of_a_hint_again_and_runs_none() {
    let issuer = Issuer::start();
    let mut seen = 0;
    for id in ids() {
        let (sandbox, second) = (Sandbox::new(), format!("{id}2"));
        sandbox.write_manifest("demo", &issuer.manifest("demo"));
        let cooldowns = e2e::now_ms() + 60 * 86_400_000;
        sandbox.seed_store("main", &json!({
            "version": 1,
            "profiles": {
                &id: {"type": "token", "provider": PROVIDER, "token": "t-0123456789", "expires": 1_000},
                "rests": {"type": "api_key", "provider": PROVIDER, "key": "k-0123456789"},
            },
            "order": {PROVIDER: [&id, "nobody"]},
            "usageStats": {&id: {"cooldownUntil": cooldowns}, "rests": {"cooldownUntil": cooldowns}},
        }));
        sandbox.write_config(
            &json!({"auth": {"profiles": {
                &second: {"provider": PROVIDER, "mode": "oauth"},
            }}})
            .to_string(),
        );
        let sessions = sandbox.state().join("agents/main/sessions/sessions.json");
        let pinned =
            json!({SESSION: {"authProfileOverride": "gone", "authProfileOverrideSource": "user"}});
        e2e::sandbox::write(&sessions, pinned.to_string().as_bytes());
        let profile = format!("--profile={id}");
        let provider = format!("--provider={PROVIDER}");
        let runs: [&[&str]; 8] = [
            &["doctor", "--json"],
            &["models", "auth", "token", "--json", "--no-refresh", &profile],
            &["models", "auth", "token", "--json", &provider],
            &["models", "auth", "token", "--json", "--provider", OTHER],
            &["models", "auth", "explain", "--json", &provider],
            &["models", "auth", "report", "--json", "--from-response", "--", &id],
            &["models", "auth", "remove", "--json", "--", "$(touch canary)"],
            &["models", "auth", "token", "--json", "--session", SESSION],
        ];
        for args in runs {
            let run = sandbox.run(args);
            for hint in hints(&run.json()) {
                for words in pasted(&hint, &sandbox.home()) {
                    seen += 1;
                    let names = [id.as_str(), &second, PROVIDER, SESSION, OTHER];
                    let is_known = |word: &String| {
                        let value = word.split_once('=').filter(|_| word.starts_with("--"));
                        let value = value.map_or(word.as_str(), |(_, value)| value);
                        names.contains(&value) || !value.contains(['$', '\'', '"', '>', ';'])
                    };
                    assert!(words.iter().all(is_known), "{hint}: {words:?}");
                    let at = words.iter().position(|word| *word == id);
                    let is_last = |at: usize| words[at - 1] == "--" || !id.starts_with('-');
                    assert!(at.is_none_or(is_last), "{hint}: {words:?}");
                }
            }
        }
        assert!(!sandbox.home().join(CANARY).exists(), "{id}");
        // The control: without quotes, one of them would run.
        let _ = Command::new("/bin/sh")
            .args(["-c", &format!("true {}", ids()[3])])
            .current_dir(sandbox.home())
            .output();
        assert!(sandbox.home().join(CANARY).exists());
    }
    assert!(seen >= 4 * 8, "only {seen} commands");
}
