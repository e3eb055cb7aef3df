//! Completion scripts and manual pages.

use e2e::sandbox::Sandbox;

#[test]
fn every_shell_gets_a_script() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let run = sandbox.run(&["completion", shell]);
        assert!(run.expect_code(0).stdout.contains("clawdbot"), "{shell}");
    }
    sandbox.run(&["completion", "tcsh"]).expect_code(64);
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
