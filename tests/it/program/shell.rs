//! Completion scripts and manual pages.

use std::process::{Command, Stdio};

use e2e::sandbox::{Sandbox, write};

#[test]
fn every_shell_gets_a_script_that_knows_our_words() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let run = sandbox.run(&["completion", shell]);
        let script = run.expect_code(0).stdout.clone();
        assert!(script.contains("setup-token") && script.contains("cooldown"), "{shell}");
        // fish completes words down to the second level, and no options of deeper commands.
        assert!(shell == "fish" || script.contains("--force-refresh"), "{shell}");
    }
    sandbox.run(&["completion", "tcsh"]).expect_code(64);
}

#[test]
fn bash_completes_a_word() {
    let sandbox = Sandbox::new();
    let script = sandbox.home().join("completion.bash");
    write(&script, sandbox.run(&["completion", "bash"]).stdout.as_bytes());
    let ask = "COMP_WORDS=(clawdbot models auth ord); COMP_CWORD=3; _clawdbot clawdbot ord auth; echo \"${COMPREPLY[*]}\"";
    let output = Command::new("bash")
        .args(["--norc", "-c", &format!("source {}; {ask}", script.display())])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "order");
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let sandbox = Sandbox::new();
    let page = sandbox.run(&["man"]);
    assert!(page.expect_code(0).stdout.contains(".TH clawdbot"), "{page:#?}");
    let folder = sandbox.home().join("man1");
    sandbox.run(&["man", "--dir", folder.to_str().unwrap()]).expect_code(0);
    for name in ["clawdbot.1", "clawdbot-models-auth-token.1", "clawdbot-doctor.1"] {
        assert!(folder.join(name).is_file(), "{name}");
    }
}
