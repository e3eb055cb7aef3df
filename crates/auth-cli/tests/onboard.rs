//! The wizard without a terminal: every question can be answered with an option.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::io::Cursor;
use std::path::Path;

use auth_cli::host::context::{Captured, Context};
use auth_store::{Timestamp, write_atomic};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp(1_769_644_800_000);
const STORE: &str = ".clawdbot/agents/main/agent/auth-profiles.json";

/// Runs `clawdbot onboard …`; returns the exit code, stdout and stderr.
fn onboard(
    home: &Path,
    words: &str,
    input: &str,
    env: &[(&str, &str)],
    is_terminal: bool,
) -> (u8, String, String) {
    let mut context = Context::sealed(home, NOW);
    let (stdout, stderr) = (Captured::default(), Captured::default());
    context.env = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
    context.set_stdin(Cursor::new(input.to_owned().into_bytes()));
    context.set_stdout(stdout.clone());
    context.set_stderr(stderr.clone());
    context.terminal.stdin = is_terminal;
    context.terminal.stderr = is_terminal;
    let words = words.split(' ').filter(|word| !word.is_empty());
    let exit = auth_cli::run(["clawdbot", "onboard"].into_iter().chain(words), &context);
    (exit, stdout.text(), stderr.text())
}

fn write(home: &Path, path: &str, text: &str) {
    let path = home.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    write_atomic(&path, text.as_bytes()).unwrap();
}

fn stored(home: &Path) -> Value {
    let bytes = std::fs::read(home.join(STORE)).unwrap_or_default();
    serde_json::from_slice::<Value>(&bytes).unwrap_or_default()["profiles"].clone()
}

#[test]
fn without_a_terminal_it_says_which_option_is_missing() {
    for (words, wanted) in [
        ("", "--auth-choice"),
        ("--auth-choice api-key", "--provider"),
        ("--auth-choice token", "--provider"),
        ("--auth-choice import", "--from"),
        ("--auth-choice login", "--provider"),
        ("--auth-choice env", "--provider"),
        ("--auth-choice nonsense", "unknown choice `nonsense`"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let (exit, stdout, stderr) = onboard(home.path(), words, "", &[], false);
        assert_eq!((exit, stdout.as_str()), (64, ""), "{words}: {stderr}");
        assert!(stderr.contains(wanted) && stderr.contains("hint: "), "{words}: {stderr}");
        assert!(!home.path().join(STORE).exists(), "{words}");
    }
}

#[test]
fn a_setup_token_is_stored_and_the_default_model_set() {
    let home = tempfile::tempdir().unwrap();
    let token = format!("sk-ant-oat01-{}", "x".repeat(80));
    let words = "--auth-choice setup-token --set-default";
    let (exit, stdout, stderr) = onboard(home.path(), words, &token, &[], false);
    assert_eq!(exit, 0, "{stderr}");
    assert_eq!(stored(home.path())["anthropic:manual"]["token"], token);
    assert!(stdout.contains("Ready: anthropic") && stdout.contains("Next:"), "{stdout}");
    assert!(stdout.contains("Default model: anthropic/claude-opus-4-5"), "{stdout}");
    assert_eq!(stdout.matches("  clawdbot ").count(), 3, "{stdout}");
    assert!(!stdout.contains(&token) && !stderr.contains(&token));
    let config = std::fs::read_to_string(home.path().join(".clawdbot/moltbot.json"))
        .or_else(|_| std::fs::read_to_string(home.path().join(".clawdbot/clawdbot.json")));
    assert!(config.unwrap().contains("anthropic/claude-opus-4-5"));
}

#[test]
fn a_key_of_any_provider_and_its_short_form() {
    for words in ["--auth-choice api-key --provider groq", "--auth-choice groq-api-key"] {
        let home = tempfile::tempdir().unwrap();
        let words = format!("{words} --json");
        let (exit, stdout, stderr) = onboard(home.path(), &words, "gsk_0123456789", &[], false);
        assert_eq!(exit, 0, "{stderr}");
        let told: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(
            (&told["provider"], &told["profileIds"], &told["usable"]),
            (&json!("groq"), &json!(["groq:default"]), &json!(true))
        );
        assert_eq!(stored(home.path())["groq:default"]["key"], "gsk_0123456789");
    }
}

#[test]
fn a_key_of_the_environment_stays_there() {
    let home = tempfile::tempdir().unwrap();
    let words = "--auth-choice env --provider openai";
    let key = [("OPENAI_API_KEY", "sk-0123456789")];
    let (exit, stdout, stderr) = onboard(home.path(), words, "", &key, false);
    assert_eq!(exit, 0, "{stderr}");
    assert!(stdout.contains("Ready: openai") && stdout.contains("$OPENAI_API_KEY"), "{stdout}");
    assert!(!home.path().join(STORE).exists());
    let control = onboard(home.path(), words, "", &[], false);
    assert_eq!(control.0, 3, "{}", control.2);
}

#[test]
fn what_other_tools_have_is_found_and_taken_only_as_said() {
    let home = tempfile::tempdir().unwrap();
    let login = json!({ "claudeAiOauth": {
        "accessToken": "sk-ant-oat01-access", "refreshToken": "r", "expiresAt": NOW.0 + 3_600_000 } });
    write(home.path(), ".claude/.credentials.json", &login.to_string());
    write(
        home.path(),
        ".openclaw/agents/main/agent/auth-profiles.json",
        r#"{"version":1,"profiles":{"groq:old":{"type":"api_key","provider":"groq","key":"k"}}}"#,
    );
    // A user looks at the menu, and quits.
    let env = [("OPENAI_API_KEY", "sk-0123456789")];
    let (exit, _, said) = onboard(home.path(), "", "", &env, true);
    assert_eq!(exit, 130, "{said}");
    for wanted in ["a login of Claude Code", ".openclaw/agents", "$OPENAI_API_KEY"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    assert!(!home.path().join(STORE).exists());

    let words = "--auth-choice import --from claude";
    assert_eq!(onboard(home.path(), words, "", &[], false).0, 64);
    let (exit, stdout, said) =
        onboard(home.path(), &format!("{words} --access-only"), "", &[], false);
    assert_eq!(exit, 0, "{said}");
    assert!(stdout.contains("Ready: anthropic"), "{stdout}");
    assert_eq!(stored(home.path())["anthropic:imported"]["type"], "token");
}

#[test]
fn what_is_stored_may_be_kept_and_nothing_is_written() {
    let home = tempfile::tempdir().unwrap();
    let store = r#"{"version":1,"profiles":{"groq:a":{"type":"api_key","provider":"groq","key":"k0123456789"}}}"#;
    write(home.path(), STORE, store);
    let (exit, stdout, said) = onboard(home.path(), "--auth-choice keep", "", &[], false);
    assert_eq!(exit, 0, "{said}");
    assert!(stdout.contains("Ready: groq") && stdout.contains("groq:a"), "{stdout}");
    assert_eq!(std::fs::read_to_string(home.path().join(STORE)).unwrap(), store);
}

#[test]
fn a_wrong_response_is_asked_again() {
    let home = tempfile::tempdir().unwrap();
    // An invalid choice first, then the menu; there is nothing else to ask about "nothing".
    let (exit, stdout, said) = onboard(home.path(), "", "99\nx\n6\n", &[], true);
    assert_eq!(exit, 0, "{said}");
    assert_eq!(said.matches("Type one of the numbers or names").count(), 2, "{said}");
    assert!(stdout.contains("No credential yet."), "{stdout}");
}
