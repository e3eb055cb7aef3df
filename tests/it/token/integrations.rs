//! Other programs that get their token from us: shells, Git, and their settings.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use e2e::sandbox::{Sandbox, binary, write};
use serde_json::{Value, json};

const KEY: &str = "key-0123456789abcdef";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let args = ["models", "auth", "paste-api-key", "--provider", "acme"];
    sandbox.run_with_input(&args, &format!("{KEY}\n")).expect_code(0);
    sandbox
}

/// Runs a real program in the sandbox's home, with this machine's PATH.
fn program(sandbox: &Sandbox, name: &str, args: &[&str], input: &str) -> (Option<i32>, String) {
    let mut child = Command::new(name)
        .args(args)
        .current_dir(sandbox.home())
        .env("HOME", sandbox.home())
        .env("XDG_CONFIG_HOME", sandbox.home().join(".config"))
        .env("CLAWDBOT_STATE_DIR", sandbox.state())
        .env("CLAWDBOT_PROGRAM", binary())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_program_gets_the_token_in_its_environment_and_takes_our_place() {
    let sandbox = sandbox();
    let words = ["models", "auth", "exec", "--provider", "acme", "--", "/bin/sh", "-c"];
    let run = sandbox.run(&[&words[..], &["printf %s \"$ACME_API_KEY\"; exit 7"]].concat());
    assert_eq!((run.code, run.stdout.as_str()), (Some(7), KEY), "{run:#?}");

    let named =
        ["--provider", "acme", "--name", "MY_KEY", "--", "/bin/sh", "-c", "printf %s $MY_KEY"];
    let run = sandbox.run(&[&["models", "auth", "exec"][..], &named].concat());
    assert_eq!(run.expect_code(0).stdout, KEY);

    let missing = ["models", "auth", "exec", "--provider", "acme", "--", "/no/such/program"];
    let run = sandbox.run(&missing);
    assert!(run.expect_code(127).stderr.contains("/no/such/program"), "{run:#?}");
    let not_executable = ["models", "auth", "exec", "--provider", "acme", "--", "/etc/passwd"];
    sandbox.run(&not_executable).expect_code(126);
    assert!(!run.stderr.contains(KEY));
}

#[test]
fn a_program_is_not_run_without_its_token() {
    let sandbox = sandbox();
    let words =
        ["models", "auth", "exec", "--provider", "nobody", "--", "/bin/sh", "-c", "echo ran"];
    let run = sandbox.run(&words);
    assert_eq!(run.expect_code(3).stdout, "");
}

#[test]
fn two_tokens_never_share_a_variable() {
    let sandbox = sandbox();
    let words = ["models", "auth", "env", "--provider", "acme", "--profile", "acme:default"];
    assert!(sandbox.run(&words).expect_code(64).stderr.contains("ACME_API_KEY"));
}

#[test]
fn a_shell_reads_the_lines_of_env() {
    let sandbox = sandbox();
    let script = "eval \"$(\"$CLAWDBOT_PROGRAM\" models auth env --provider acme)\"; printf %s \"$ACME_API_KEY\"";
    assert_eq!(program(&sandbox, "sh", &["-c", script], ""), (Some(0), KEY.to_owned()));
    let object = sandbox.run(&["models", "auth", "env", "--provider", "acme", "--json"]);
    assert_eq!(object.expect_code(0).json(), json!({"ACME_API_KEY": KEY}));
}

#[test]
fn a_workflow_masks_the_token_before_it_has_it() {
    let sandbox = sandbox();
    let words = ["models", "auth", "env", "--provider", "acme", "--shell", "github-actions"];
    let run = sandbox.run(&words);
    assert_eq!(run.expect_code(0).stderr, format!("::add-mask::{KEY}\n"));
    assert!(run.stdout.starts_with("ACME_API_KEY<<"), "{run:#?}");
}

#[test]
fn the_real_git_gets_its_credential_from_us_and_only_for_that_host() {
    let sandbox = sandbox();
    let git = |args: &[&str], input: &str| program(&sandbox, "git", args, input);
    let words = [
        "models",
        "auth",
        "configure",
        "git",
        "--provider",
        "acme",
        "--host",
        "git.acme.example",
        "--yes",
    ];
    let configured = |more: &[&str]| {
        let args = [&words[..], more].concat();
        let command = binary();
        let args: Vec<&str> = args.clone();
        let (code, _) = program(&sandbox, command.to_str().unwrap(), &args, "");
        assert_eq!(code, Some(0));
    };
    configured(&[]);
    // Running it twice has the same result.
    configured(&[]);
    let helpers = git(&["config", "--global", "--get-regexp", "credential"], "").1;
    // An empty one, by which git forgets those of the system for this host, and ours.
    assert_eq!(helpers.lines().count(), 2, "{helpers}");

    let question = "protocol=https\nhost=git.acme.example\n\n";
    let (code, reply) = git(&["credential", "fill"], question);
    assert_eq!(code, Some(0), "{reply}");
    assert!(reply.contains(&format!("password={KEY}\n")), "{reply}");
    let bearer = format!("capability[]=authtype\n{question}");
    let (_, reply) = git(&["credential", "fill"], &bearer);
    assert!(reply.contains(&format!("credential={KEY}\n")) || reply.contains(KEY), "{reply}");

    let (code, reply) = git(&["credential", "fill"], "protocol=https\nhost=evil.example\n\n");
    assert!(code != Some(0) && !reply.contains(KEY), "{reply}");

    configured(&["--undo"]);
    assert_eq!(git(&["config", "--global", "--get-regexp", "credential"], "").1, "");
}

#[test]
fn a_setting_is_written_after_it_was_shown_and_taken_out_again() {
    let sandbox = sandbox();
    for (tool, path, before) in [
        ("claude-code", ".claude/settings.json", "{\n  \"model\": \"opus\"\n}\n"),
        ("codex", ".codex/config.toml", "# mine\nmodel = \"gpt-5\"\n"),
    ] {
        let file = sandbox.home().join(path);
        write(&file, before.as_bytes());
        let words = ["models", "auth", "configure", tool];
        // There is no user to ask: nothing is written.
        let asked = sandbox.run(&words);
        assert!(asked.expect_code(64).stderr.contains("+ "), "{asked:#?}");
        assert_eq!(text(&file), before);

        sandbox.run(&[&words[..], &["--yes"]].concat()).expect_code(0);
        assert!(text(&file).contains("models"), "{}", text(&file));
        assert!(text(&file).contains(binary().to_str().unwrap()), "{}", text(&file));
        sandbox.run(&[&words[..], &["--undo", "--yes"]].concat()).expect_code(0);
        assert_eq!(text(&file), before);
    }
}

#[test]
fn the_line_that_claude_code_runs_prints_the_token() {
    let sandbox = sandbox();
    let key = "sk-ant-api03-0123456789abcdefghijklmnopqrstuvwxyz";
    let paste = ["models", "auth", "paste-api-key", "--provider", "anthropic"];
    sandbox.run_with_input(&paste, &format!("{key}\n")).expect_code(0);
    sandbox.run(&["models", "auth", "configure", "claude-code", "--yes"]).expect_code(0);
    let settings = text(&sandbox.home().join(".claude/settings.json"));
    let settings: Value = serde_json::from_str(&settings).unwrap();
    let line = settings["apiKeyHelper"].as_str().unwrap();
    assert_eq!(program(&sandbox, "sh", &["-c", line], ""), (Some(0), format!("{key}\n")));
}

#[test]
fn a_token_of_two_lines_reaches_no_helper() {
    let sandbox = Sandbox::new();
    let entry = json!({"type": "api_key", "provider": "acme", "key": "a\nhost=evil.example"});
    let store = json!({"version": 1, "profiles": {"acme:default": entry}});
    write(&sandbox.store_path("main"), store.to_string().as_bytes());
    for format in ["raw", "header", "env", "git", "exec-credential", "bazel"] {
        let run =
            sandbox.run(&["models", "auth", "token", "--provider", "acme", "--format", format]);
        assert_eq!(run.expect_code(4).stdout, "", "{format}");
    }
    let git =
        ["models", "auth", "git-credential", "--provider", "acme", "--host", "a.example", "get"];
    let run = sandbox.run_with_input(&git, "protocol=https\nhost=a.example\n\n");
    assert_eq!(run.expect_code(4).stdout, "");
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
