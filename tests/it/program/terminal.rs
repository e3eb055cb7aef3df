//! In a real terminal: the wizard, Ctrl-C at each of its prompts, and the race of a paste.

use e2e::http;
use e2e::issuer::Issuer;
use e2e::peer::Peer;
use e2e::sandbox::Sandbox;
use e2e::tmux::Terminal;
use e2e::user::User;

const ONBOARD: [&str; 1] = ["onboard"];
const LOGIN: [&str; 6] = ["models", "auth", "login", "--provider", "demo", "--no-browser"];
const PROFILE: &str = "demo:alice@example.test";

/// A home with the test issuer as the provider `demo`.
fn home(issuer: &Issuer) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write_manifest("demo", &issuer.manifest("demo"));
    sandbox
}

/// The authorization URL on the screen.
fn address(screen: &str) -> String {
    let line = screen.lines().map(str::trim).find(|line| line.contains("/authorize?"));
    line.unwrap_or_else(|| panic!("no address:\n{screen}")).to_owned()
}

#[test]
fn the_wizard_stores_a_key_that_nobody_sees() {
    let sandbox = Sandbox::new();
    let terminal = Terminal::start(&sandbox, 80, 40, &ONBOARD);
    let menu = terminal.wait_for("sign in? Number");
    assert!(menu.contains("4  An API key of any provider"), "{menu}");
    terminal.enter("4");
    terminal.wait_for("Which provider?");
    terminal.enter("groq");
    terminal.wait_for("It is not shown.");
    terminal.enter("gsk_SECRET_0123456789_SECRET");
    terminal.enter("");
    let end = terminal.wait_for("echo on");
    assert!(end.contains("Ready: groq") && end.contains("exit 0"), "{end}");
    assert!(end.contains("clawdbot models auth token --provider groq"), "{end}");
    assert!(!end.contains("SECRET_0123456789"), "{end}");
    assert_eq!(sandbox.profile("main", "groq:default")["key"], "gsk_SECRET_0123456789_SECRET");
}

#[test]
fn the_wizard_logs_in_with_a_browser_and_checks_the_result() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer);
    let terminal = Terminal::start(&sandbox, 80, 60, &["onboard", "--no-browser"]);
    terminal.wait_for("sign in? Number");
    terminal.enter("3");
    terminal.wait_for("which provider? Number");
    terminal.enter("demo");
    let screen = terminal.wait_for("ssh -L");
    User::named("alice").visit(&address(&screen)).unwrap();
    let end = terminal.wait_for("echo on");
    assert!(end.contains("Ready: demo") && end.contains("exit 0"), "{end}");
    assert!(end.contains(PROFILE), "{end}");
    assert!(sandbox.profile("main", PROFILE).is_object());
}

#[test]
fn the_wizard_moves_a_login_of_another_tool_only_if_told_so() {
    let sandbox = Sandbox::new();
    let login = serde_json::json!({ "claudeAiOauth": {
        "accessToken": "sk-ant-oat01-access", "refreshToken": "r", "expiresAt": 4_000_000_000_000_i64 } });
    let path = sandbox.home().join(".claude/.credentials.json");
    e2e::sandbox::write(&path, login.to_string().as_bytes());
    let terminal = Terminal::start(&sandbox, 80, 60, &ONBOARD);
    let menu = terminal.wait_for("sign in? Number");
    assert!(menu.contains("1  Use the login of Claude Code (anthropic)"), "{menu}");
    terminal.enter("1");
    terminal.wait_for("default model?");
    terminal.enter("n");
    terminal.wait_for("Which one? [1]");
    terminal.enter("2");
    let end = terminal.wait_for("echo on");
    assert!(end.contains("Ready: anthropic") && end.contains("exit 0"), "{end}");
    assert_eq!(sandbox.profile("main", "anthropic:imported")["type"], "token");
    assert_eq!(std::fs::read(&path).unwrap(), login.to_string().as_bytes());
}

#[test]
fn ctrl_c_at_each_prompt_leaves_everything_as_it_was() {
    let issuer = Issuer::start();
    // The input before each prompt, typed when the text before it appears, and the last prompt.
    let prompts: [(&[(&str, &str)], &str); 7] = [
        (&[], "sign in? Number"),
        (&[("sign in? Number", "3")], "which provider? Number"),
        (
            &[("sign in? Number", "3"), ("which provider? Number", "openai-codex")],
            "log in to OpenAI",
        ),
        (&[("sign in? Number", "2")], "default model?"),
        (&[("sign in? Number", "2"), ("default model?", "y")], "It is not shown."),
        (&[("sign in? Number", "4")], "Which provider?"),
        (&[("sign in? Number", "3"), ("which provider? Number", "demo")], "ssh -L"),
    ];
    for (typed, prompt) in prompts {
        let sandbox = home(&issuer);
        let terminal = Terminal::start(&sandbox, 80, 60, &["onboard", "--no-browser"]);
        for (before, text) in typed {
            terminal.wait_for(before);
            terminal.enter(text);
        }
        terminal.wait_for(prompt);
        terminal.press("C-c");
        let end = terminal.wait_for("echo ");
        assert!(end.contains("exit 130") && end.contains("echo on"), "{prompt}: {end}");
        assert!(end.contains("nothing was stored"), "{prompt}: {end}");
        assert!(!sandbox.store_path("main").exists(), "{prompt}");
        assert!(!sandbox.state().join("clawdbot.json").exists(), "{prompt}");
    }
    assert_eq!(issuer.requests("authorization_code"), 0);
}

#[test]
fn a_menu_takes_arrow_keys_a_number_and_a_name() {
    for keys in [&["Down", "Down", "Down"][..], &["4"], &["An API"]] {
        let mut sandbox = Sandbox::new();
        sandbox.set_env("TERM", "screen");
        let terminal = Terminal::start(&sandbox, 80, 40, &ONBOARD);
        terminal.wait_for("How do you want to sign in?");
        for key in keys {
            if *key == "Down" { terminal.press(key) } else { terminal.type_in(key) }
        }
        terminal.press("Enter");
        terminal.wait_for("Which provider?");
        terminal.press("C-c");
        let end = terminal.wait_for("echo on");
        assert!(end.contains("exit 130"), "{end}");
    }
    let mut sandbox = Sandbox::new();
    sandbox.set_env("TERM", "screen");
    let terminal = Terminal::start(&sandbox, 60, 40, &ONBOARD);
    terminal.wait_for("How do you want to sign in?");
    terminal.press("C-c");
    let end = terminal.wait_for("echo on");
    assert!(end.contains("exit 130") && end.contains("nothing was stored"), "{end}");
}

const PASTE: [&str; 5] = ["models", "auth", "paste-api-key", "--provider", "acme"];

/// A token of ten thousand bytes without repeated parts.
fn long_token() -> String {
    let parts = (0..1_250).map(|number| format!("{number:04x}-AbZ"));
    format!("sk-{}", parts.collect::<String>())
}

#[test]
fn a_token_of_ten_thousand_bytes_is_stored_whole() {
    let token = long_token();
    assert!(token.len() > 10_000);
    for (before, after) in [("", ""), ("\u{1b}[200~", "\u{1b}[201~")] {
        let sandbox = Sandbox::new();
        let terminal = Terminal::start(&sandbox, 80, 40, &PASTE);
        terminal.wait_for("It is not shown.");
        terminal.enter(&format!("{before}{token}{after}"));
        terminal.enter("");
        let end = terminal.wait_for("echo on");
        assert!(end.contains("exit 0") && !end.contains("AbZ"), "{end}");
        assert_eq!(sandbox.profile("main", "acme:default")["key"], token);
    }
    // The control: a program that leaves line editing to the terminal gets 4095 bytes of it.
    if cfg!(target_os = "linux") {
        let sandbox = Sandbox::new();
        let mut read = std::process::Command::new("/bin/sh");
        read.args(["-c", "echo ready; read -r line; echo \"length ${#line}\""]);
        let terminal = Terminal::for_command(&read, &sandbox, 80, 200);
        terminal.wait_for("ready");
        terminal.enter(&token);
        let end = terminal.wait_for("length ");
        assert!(end.contains("length 4095"), "{end}");
    }
}

#[test]
fn a_secret_can_be_corrected_and_ended_as_people_expect() {
    let sandbox = Sandbox::new();
    let terminal = Terminal::start(&sandbox, 80, 40, &PASTE);
    terminal.wait_for("It is not shown.");
    terminal.type_in("wrong-key-0123456789");
    terminal.press("C-u");
    terminal.type_in("key-0123456789abcdefX");
    terminal.press("BSpace");
    terminal.press("C-d");
    let end = terminal.wait_for("echo on");
    assert!(end.contains("exit 0") && !end.contains("0123456789"), "{end}");
    assert_eq!(sandbox.profile("main", "acme:default")["key"], "key-0123456789abcdef");

    drop(terminal);
    let terminal = Terminal::start(&sandbox, 80, 40, &PASTE);
    terminal.wait_for("It is not shown.");
    terminal.type_in("key-of-nobody-0123456789");
    terminal.press("C-c");
    let end = terminal.wait_for("echo on");
    assert!(end.contains("exit 130") && end.contains("nothing was stored"), "{end}");
    assert_eq!(sandbox.read_store("main")["profiles"].as_object().unwrap().len(), 1);
}

#[test]
fn a_second_key_is_asked_about() {
    for (reply, ids) in [("1", 2), ("2", 1)] {
        let sandbox = Sandbox::new();
        sandbox.run_with_input(&PASTE, "key-one-0123456789").expect_code(0);
        let terminal = Terminal::start(&sandbox, 80, 40, &PASTE);
        terminal.wait_for("It is not shown.");
        terminal.enter("key-two-0123456789");
        terminal.enter("");
        let screen = terminal.wait_for("Which one?");
        assert!(screen.contains("`acme:default` holds another key."), "{screen}");
        terminal.enter(reply);
        let end = terminal.wait_for("echo on");
        assert!(end.contains("exit 0"), "{end}");
        let profiles = sandbox.read_store("main")["profiles"].clone();
        assert_eq!(profiles.as_object().unwrap().len(), ids, "{profiles}");
        let second = if ids == 2 { "acme:default-2" } else { "acme:default" };
        assert_eq!(profiles[second]["key"], "key-two-0123456789");
    }
}

#[test]
fn a_new_agent_is_logged_in_at_the_terminal_that_asked_for_it() {
    let sandbox = Sandbox::new();
    let terminal = Terminal::start(&sandbox, 80, 40, &["agents", "add"]);
    terminal.wait_for("The agent's name:");
    terminal.enter("work");
    terminal.wait_for("Its workspace");
    terminal.enter("");
    terminal.wait_for("Log in now?");
    terminal.enter("groq");
    terminal.wait_for("It is not shown.");
    terminal.enter("gsk-0123456789abcdef");
    terminal.enter("");
    let end = terminal.wait_for("echo on");
    assert!(end.contains("exit 0"), "{end}");
    assert_eq!(sandbox.profile("work", "groq:default")["key"], "gsk-0123456789abcdef");
}

#[test]
fn a_pasted_address_may_be_longer_than_a_line_of_the_terminal_and_is_shown() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer);
    let terminal = Terminal::start(&sandbox, 80, 200, &LOGIN);
    let url = address(&terminal.wait_for("nowhere else:"));
    let redirect = User::named("alice").walk(&url).unwrap();
    let long = redirect.replacen('?', &format!("?session={}&", "s".repeat(5_000)), 1);
    terminal.type_in("oops");
    terminal.press("C-u");
    terminal.enter(&long);
    let end = terminal.wait_for("echo on");
    assert!(end.contains("exit 0") && end.contains("session=sss"), "{end}");
    assert!(sandbox.profile("main", PROFILE).is_object());
}

#[test]
fn a_pasted_address_wins_against_a_callback_that_never_comes() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer);
    let terminal = Terminal::start(&sandbox, 80, 60, &LOGIN);
    let url = address(&terminal.wait_for("nowhere else:"));
    terminal.enter("http://127.0.0.1/callback?code=wrong&state=wrong");
    terminal.wait_for("Still waiting for the login.");
    let redirect = User::named("alice").walk(&url).unwrap();
    terminal.enter(&redirect);
    let end = terminal.wait_for("echo on");
    assert!(end.contains("exit 0"), "{end}");
    assert!(sandbox.profile("main", PROFILE).is_object());
}

#[test]
fn a_callback_wins_against_a_paste_that_is_half_typed() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer);
    let terminal = Terminal::start(&sandbox, 80, 60, &LOGIN);
    let url = address(&terminal.wait_for("nowhere else:"));
    let redirect = User::named("alice").walk(&url).unwrap();
    terminal.type_in(&redirect[..redirect.len() / 2]);
    assert_eq!(http::get(&redirect).unwrap().status, 200);
    let end = terminal.wait_for("echo on");
    assert!(end.contains("exit 0"), "{end}");
    assert_eq!(issuer.requests("authorization_code"), 1);
}

#[test]
fn both_responses_at_once_are_exchanged_once() {
    let issuer = Issuer::start();
    let sandbox = home(&issuer);
    let terminal = Terminal::start(&sandbox, 80, 60, &LOGIN);
    let url = address(&terminal.wait_for("nowhere else:"));
    let redirect = User::named("alice").walk(&url).unwrap();
    let callback = {
        let redirect = redirect.clone();
        std::thread::spawn(move || http::get(&redirect))
    };
    terminal.enter(&redirect);
    let end = terminal.wait_for("echo on");
    // The later request may find the listener closed, which is fine too.
    let _page = callback.join().unwrap();
    assert!(end.contains("exit 0"), "{end}");
    assert_eq!(issuer.requests("authorization_code"), 1);
}

#[test]
fn a_device_code_is_drawn_and_waited_for_and_ctrl_c_stops_it() {
    let server = Peer::oidc_provider(&[]);
    for (locale, is_drawn) in [("C.UTF-8", true), ("C", false)] {
        let mut sandbox = server.home();
        sandbox.set_env("LANG", locale);
        let login = ["models", "auth", "login", "--provider", "peer", "--device-code"];
        let terminal = Terminal::start(&sandbox, 80, 60, &[&login[..], &["--no-browser"]].concat());
        let screen = terminal.wait_for("Waiting until you enter the code");
        assert_eq!(
            screen.contains("\u{2588}\u{2588} \u{2584}\u{2584}\u{2584}"),
            is_drawn,
            "{screen}"
        );
        assert!(terminal.lines().iter().all(|line| line.chars().count() <= 80));
        terminal.press("C-c");
        let end = terminal.wait_for("echo on");
        assert!(end.contains("exit 130"), "{end}");
        assert!(!end.contains("Waiting until"), "the line stays: {end}");
        assert!(!sandbox.store_path("main").exists());
    }
}
