//! Completion in the shells themselves, and the manual as `man` shows it.

use std::process::Command;

use e2e::sandbox::{Sandbox, binary};
use e2e::tmux::Terminal;
use serde_json::json;

/// A home with a few names to complete, and the program on PATH.
fn home() -> Sandbox {
    let mut sandbox = Sandbox::new();
    std::os::unix::fs::symlink(binary(), sandbox.bin().join("clawdbot")).unwrap();
    sandbox.set_env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", sandbox.bin().display()));
    let key = |provider: &str| json!({"type": "api_key", "provider": provider, "key": "key-0123456789abcdef"});
    let profiles = json!({
        "acme:work": key("acme"),
        "acme:home": key("acme"),
        "odd:$(touch canary) x": key("odd"),
    });
    sandbox.seed_store("main", &json!({"version": 1, "profiles": profiles}));
    sandbox.write_config("{ agents: { list: [{ id: 'main' }, { id: 'workbench' }] } }");
    sandbox
}

/// What a shell makes of a script.
fn said(sandbox: &Sandbox, shell: &str, script: &str) -> String {
    let mut command = Command::new(shell);
    let home = sandbox.command(&[]);
    command.env_clear().envs(home.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.args(["-c", script]).current_dir(sandbox.home()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn bash_completes_the_real_names() {
    let sandbox = home();
    let complete = |line: &str| {
        let script = format!(
            "source <(clawdbot completion bash)\nCOMP_WORDBREAKS=$' \\t\\n\"\\'><=;|&(:'\n\
             COMP_LINE={line:?}; COMP_POINT=${{#COMP_LINE}}\n_clawdbot clawdbot\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        said(&sandbox, "bash", &script)
    };
    // From the colon on, as bash wants it.
    assert_eq!(complete("clawdbot use acme:"), "work\nhome\n");
    assert_eq!(complete("clawdbot use acme:w"), "work\n");
    assert!(complete("clawdbot token --provider ac").contains("acme\n"));
    assert_eq!(complete("clawdbot token --agent work"), "workbench\n");
    assert!(complete("clawdbot models auth order set --provider acme ").contains("acme:home\n"));
    let commands = complete("clawdbot models auth ");
    assert!(commands.contains("login") && !commands.contains("git-credential"), "{commands}");
    // A name that a shell would run is quoted.
    assert!(complete("clawdbot use odd:").contains("'$(touch canary) x'"));
    assert!(!sandbox.home().join("canary").exists());
}

#[test]
fn fish_completes_the_real_names() {
    let sandbox = home();
    let complete = |line: &str| {
        let script = format!("clawdbot completion fish | source; complete -C {line:?}");
        said(&sandbox, "fish", &script)
    };
    let profiles = complete("clawdbot use acme:");
    assert!(profiles.contains("acme:work") && profiles.contains("acme:home"), "{profiles}");
    assert!(complete("clawdbot token --provider ac").contains("acme"));
    assert!(complete("clawdbot token --agent work").contains("workbench"));
}

#[test]
fn zsh_completes_the_real_names() {
    let sandbox = home();
    let rc =
        "autoload -Uz compinit; compinit -u\nsource <(clawdbot completion zsh)\nPS1='ready> '\n";
    e2e::sandbox::write(&sandbox.home().join(".zshrc"), rc.as_bytes());
    let mut zsh = Command::new("zsh");
    let home = sandbox.command(&[]);
    zsh.arg("-i").env_clear();
    zsh.envs(home.get_envs().filter_map(|(name, value)| Some((name, value?))));
    zsh.env("TERM", "screen").env("ZDOTDIR", sandbox.home());
    let terminal = Terminal::for_command(&zsh, &sandbox, 100, 30);
    for (typed, completed) in [
        ("clawdbot use acme:w", "clawdbot use acme:work"),
        ("clawdbot token --provider acm", "clawdbot token --provider acme"),
        ("clawdbot token --agent workb", "clawdbot token --agent workbench"),
    ] {
        terminal.wait_for("ready>");
        terminal.type_in(typed);
        terminal.press("Tab");
        terminal.wait_for(completed);
        terminal.press("C-u");
    }
}

#[test]
fn a_script_is_installed_where_the_shell_looks_and_removed_again() {
    let sandbox = home();
    for (shell, path) in [
        ("bash", ".local/share/bash-completion/completions/clawdbot"),
        ("zsh", ".local/share/zsh/site-functions/_clawdbot"),
        ("fish", ".config/fish/completions/clawdbot.fish"),
    ] {
        let path = sandbox.home().join(path);
        sandbox.run(&["completion", shell, "--install"]).expect_code(0);
        assert!(path.exists(), "{shell}");
        sandbox.run(&["completion", shell, "--undo"]).expect_code(0);
        assert!(!path.exists(), "{shell}");
        // What is not ours stays.
        e2e::sandbox::write(&path, b"# mine");
        sandbox.run(&["completion", shell, "--install"]).expect_code(64);
        assert_eq!(std::fs::read(&path).unwrap(), b"# mine");
    }
}

#[test]
fn the_manual_has_its_sections_and_breaks_no_command_line() {
    let sandbox = home();
    sandbox.run(&["man", "--dir", "pages"]).expect_code(0);
    for name in ["clawdbot", "clawdbot-models-auth-token"] {
        let page = format!("pages/{name}.1");
        let text = said(&sandbox, "sh", &format!("MANWIDTH=80 man -l {page} | cat"));
        for section in ["EXIT STATUS", "ENVIRONMENT", "FILES"] {
            assert!(text.contains(section), "{name}: {text}");
        }
        assert!(!text.contains("\u{2010}\n"), "a hyphenated line: {text}");
    }
}
