//! Where files are looked for and written: what cannot be resolved is an error, and no file is made
//! anywhere else.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use e2e::sandbox::{Finished, Sandbox, set_mode, write};

const PASTE: [&str; 5] = ["models", "auth", "paste-api-key", "--provider", "acme"];

fn paste(sandbox: &Sandbox, more: &[&str]) -> Finished {
    sandbox.run_with_input(&[&PASTE[..], more].concat(), "key-0123456789")
}

/// All that is below the sandbox's home, but for the state directory itself.
fn found(sandbox: &Sandbox) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![sandbox.home()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            found.push(entry.path().display().to_string());
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_variable_in_a_path_that_nobody_replaced_is_an_error_and_nothing_is_written() {
    for name in [
        "CLAWDBOT_STATE_DIR",
        "MOLTBOT_STATE_DIR",
        "CLAWDBOT_AGENT_DIR",
        "CLAWDBOT_CONFIG_PATH",
        "CLAWDBOT_OAUTH_DIR",
    ] {
        for value in ["$HOME/x", "${XDG_STATE_HOME}/x", "/a/$(id -un)/x", "~nobody/x"] {
            let mut sandbox = Sandbox::new();
            sandbox.set_env(name, value);
            let before = found(&sandbox);
            for words in [
                &["models", "auth", "list"][..],
                &["models", "auth", "token", "--provider", "acme"],
                &["doctor", "--offline"],
                &["agents", "list"],
            ] {
                let run = sandbox.run(words);
                run.expect_code(64);
                assert!(run.stderr.contains(name), "{words:?}: {}", run.stderr);
            }
            paste(&sandbox, &[]).expect_code(64);
            assert_eq!(found(&sandbox), before, "{name}={value}");
        }
    }
    // The control: a path with such a letter that is no variable.
    let mut sandbox = Sandbox::new();
    sandbox.set_env("CLAWDBOT_STATE_DIR", sandbox.home().join("a$/b"));
    paste(&sandbox, &[]).expect_code(0);
    assert!(sandbox.home().join("a$/b/agents/main/agent/auth-profiles.json").exists());
}

#[test]
fn a_variable_in_the_config_that_nobody_replaced_concerns_that_agent_only() {
    for directory in ["${NOT_SET}/work", "$NOT_SET/work", "~nobody/work"] {
        let sandbox = Sandbox::new();
        sandbox.write_config(&format!(
            "{{ agents: {{ list: [{{ id: 'main' }}, {{ id: 'work', agentDir: '{directory}' }}] }} }}"
        ));
        let before = found(&sandbox);
        let run = paste(&sandbox, &["--agent", "work"]);
        run.expect_code(64);
        assert!(run.stderr.contains("agentDir") && run.stderr.contains("`work`"), "{}", run.stderr);
        assert_eq!(found(&sandbox), before, "{directory}");
        paste(&sandbox, &[]).expect_code(0);
        sandbox.run(&[&PASTE[..2], &["token", "--provider", "acme"]].concat()).expect_code(0);
        sandbox.run(&["agents", "list", "--json"]).expect_code(0);
        let list = sandbox.run(&["models", "auth", "list"]);
        assert!(list.stderr.contains("agents.list[1].agentDir"), "{}", list.stderr);
    }
    let sandbox = Sandbox::new();
    for words in [&["--workspace", "$X/w"][..], &["--workspace", "~/w", "--agent-dir", "${X}/a"]] {
        sandbox.run(&[&["agents", "add", "work"], words].concat()).expect_code(64);
    }
    assert!(!found(&sandbox).iter().any(|path| path.contains('$')), "{:?}", found(&sandbox));
}

#[test]
fn without_a_home_nothing_is_written_below_the_working_directory() {
    for home in ["", "relative"] {
        let sandbox = Sandbox::new();
        let place = sandbox.home().join("here");
        fs::create_dir(&place).unwrap();
        let mut command = sandbox.command(&["models", "auth", "list"]);
        command.env_remove("CLAWDBOT_STATE_DIR").env("HOME", home).current_dir(&place);
        let run = command.output().unwrap();
        // An empty HOME is none: then the system's list of users tells, if it knows us.
        if home.is_empty() && run.status.code() == Some(0) {
            continue;
        }
        assert_eq!(run.status.code(), Some(64), "{run:?}");
        assert!(String::from_utf8_lossy(&run.stderr).contains("HOME"), "{run:?}");
        assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
    }
}

#[test]
fn a_link_to_nothing_is_not_taken_for_nothing() {
    // The config.
    let sandbox = Sandbox::new();
    let config = sandbox.state().join("clawdbot.json");
    symlink("unplugged/clawdbot.json", &config).unwrap();
    let before = found(&sandbox);
    for words in [
        &["models", "auth", "list"][..],
        &["models", "status"],
        &["models", "set", "a/b"],
        &["agents", "add", "work", "--workspace", "~/w"],
    ] {
        let run = sandbox.run(words);
        run.expect_code(64);
        assert!(run.stderr.contains("is a link to `unplugged/clawdbot.json`"), "{}", run.stderr);
    }
    assert_eq!(found(&sandbox), before);

    // The state directory, and what is in it.
    let sandbox = Sandbox::new();
    fs::remove_dir(sandbox.state()).unwrap();
    symlink("unplugged", sandbox.state()).unwrap();
    for words in [&["models", "auth", "list"][..], &["models", "auth", "token", "--provider", "x"]]
    {
        let run = sandbox.run(words);
        run.expect_code(74);
        assert!(run.stderr.contains("is a link to `unplugged`"), "{}", run.stderr);
    }
    let agent = Sandbox::new();
    fs::create_dir_all(agent.state().join("agents/main")).unwrap();
    symlink("unplugged", agent.agent_dir("main")).unwrap();
    let store = Sandbox::new();
    fs::create_dir_all(store.agent_dir("main")).unwrap();
    symlink("unplugged", store.store_path("main")).unwrap();
    for sandbox in [agent, store] {
        let run = sandbox.run(&["models", "auth", "list"]);
        run.expect_code(74);
        assert!(run.stderr.contains("link that leads nowhere"), "{}", run.stderr);
        paste(&sandbox, &[]).expect_code(74);
    }
}

#[test]
fn an_edit_keeps_owner_group_and_mode_of_the_config() {
    let sandbox = Sandbox::new();
    let config = sandbox.state().join("clawdbot.json");
    for mode in [0o600, 0o640, 0o644, 0o400] {
        write(&config, b"{ /* mine */ }");
        set_mode(&config, mode);
        // Only the administrator can give it to a group that is not their own.
        let gives = std::os::unix::fs::chown(&config, None, Some(54321)).is_ok();
        let before = fs::metadata(&config).unwrap();
        sandbox.run(&["models", "set", "a/b"]).expect_code(0);
        let after = fs::metadata(&config).unwrap();
        assert!(fs::read_to_string(&config).unwrap().contains("a/b"));
        let kept = |it: &fs::Metadata| (it.uid(), it.gid(), it.mode());
        assert_eq!(kept(&after), kept(&before), "{mode:o} {gives}");
    }
}

#[test]
fn a_name_of_which_nothing_is_left_names_no_agent() {
    let sandbox = Sandbox::new();
    paste(&sandbox, &[]).expect_code(0);
    let store = fs::read(sandbox.store_path("main")).unwrap();
    for name in ["", " ", "日本", "!", "///"] {
        for words in [
            &["models", "auth", "list"][..],
            &["models", "auth", "token", "--provider", "acme"],
            &["models", "auth", "remove", "acme:default"],
            &["models", "status"],
            &["sessions", "list"],
        ] {
            sandbox.run(&[words, &["--agent", name]].concat()).expect_code(64);
        }
        paste(&sandbox, &["--agent", name]).expect_code(64);
        sandbox.run(&["agents", "add", name, "--workspace", "~/w"]).expect_code(64);
        sandbox.run(&["agents", "delete", name, "--force"]).expect_code(64);
        sandbox.run(&["agents", "share", name, "--from", "main"]).expect_code(64);
    }
    assert_eq!(fs::read(sandbox.store_path("main")).unwrap(), store);
    sandbox.run(&["models", "auth", "list", "--agent", " Main "]).expect_code(0);
}

#[test]
fn an_agent_that_cannot_be_added_leaves_nothing() {
    let sandbox = Sandbox::new();
    write(&sandbox.home().join("file"), b"mine");
    let config = sandbox.state().join("clawdbot.json");
    let add = |words: &[&str]| sandbox.run(&[&["agents", "add", "work"], words].concat());
    // A place that cannot be made; a rule that is none.
    let before = found(&sandbox);
    add(&["--workspace", "~/file/space"]).expect_code(74);
    add(&["--workspace", "~/a/b", "--agent-dir", "~/file/agent"]).expect_code(74);
    add(&["--workspace", "~/a/b", "--bind", "bad:::x"]).expect_code(64);
    assert_eq!(found(&sandbox), before);
    // A config that cannot be edited.
    write(&config, b"{ agents: { list: 'no list' } }");
    let before = found(&sandbox);
    let failed = add(&["--workspace", "~/a/b"]);
    assert_ne!(failed.code, Some(0), "{}", failed.stderr);
    assert_eq!(found(&sandbox), before);
    // The control: what was there before stays, and all is made where it can be.
    write(&config, b"{}");
    fs::create_dir(sandbox.home().join("a")).unwrap();
    add(&["--workspace", "~/a/b"]).expect_code(0);
    assert!(sandbox.home().join("a/b").is_dir() && sandbox.agent_dir("work").is_dir());
}
