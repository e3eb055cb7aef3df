//! Hostile text in everything that comes from a file, a server or a plugin: no command outputs text
//! that could change a terminal, begin a line of its own, or be read as a field of a protocol.

use e2e::http::{self, Response};
use e2e::sandbox::{Finished, Sandbox, write};
use serde_json::json;

/// Clears the screen, renames the window, hides text, reverses its direction, and imitates a line
/// of ours.
const HOSTILE: &str =
    "x\u{1b}[2J\u{1b}]0;pwned\u{7}\u{9b}31m\u{202e}\u{2066}\u{200b}\r\nerror: forged\n\0y";

/// Characters that must not reach a terminal.
fn hostile_in(text: &str) -> Vec<char> {
    text.chars().filter(|c| *c != '\n' && auth_store::is_hostile(*c)).collect()
}

#[track_caller]
fn expect_harmless(run: &Finished) {
    for text in [&run.stdout, &run.stderr] {
        assert!(hostile_in(text).is_empty(), "{:?} in {run:#?}", hostile_in(text));
        assert!(!text.lines().any(|line| line.starts_with("error: forged")), "{run:#?}");
    }
    assert!(run.code.is_some_and(|code| code != 101), "{run:#?}");
}

/// A home in which every name is hostile.
fn home() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let id = format!("acme:{HOSTILE}");
    let provider = format!("acme{HOSTILE}");
    let failure = json!({"lastUsed": 5, "cooldownUntil": u32::MAX, "disabledReason": HOSTILE, "errorCount": 1,
        "failureCounts": {HOSTILE: 1}, "lastFailureReason": HOSTILE});
    let store = json!({
        "version": 1,
        "profiles": {
            &id: {"type": "api_key", "provider": "acme", "key": "key-1", "email": HOSTILE},
            "odd": {"type": "oauth", "provider": &provider, "access": "a", "refresh": "r", "expires": 5,
                "email": HOSTILE, "accountId": HOSTILE, "tokenEndpoint": HOSTILE},
            "bad": {"type": HOSTILE, "provider": "acme"},
            "kept": {"type": "api_key", "provider": "acme", "keyRef": {"source": "file", "id": HOSTILE}},
        },
        "order": {"acme": [&id, HOSTILE], HOSTILE: [HOSTILE]},
        "lastGood": {"acme": HOSTILE},
        "usageStats": {&id: failure, "odd": failure},
    });
    sandbox.seed_store("main", &store);
    let config = json!({
        "auth": {"profiles": {&id: {"provider": "acme", "mode": "api_key", "email": HOSTILE},
            HOSTILE: {"provider": HOSTILE, "mode": HOSTILE}}, "order": {"acme": [&id, HOSTILE]}},
        "agents": {"defaults": {"model": {"primary": format!("acme/{HOSTILE}"), "fallbacks": [HOSTILE]},
            "models": {format!("acme/{HOSTILE}"): {"alias": HOSTILE}}},
            "list": [{"id": "main", "name": HOSTILE, "identity": {"name": HOSTILE, "emoji": HOSTILE}}]},
        "models": {"providers": {HOSTILE: {"apiKey": "k", "baseUrl": HOSTILE}}},
        HOSTILE: HOSTILE,
    });
    sandbox.write_config(&config.to_string());
    let sessions = json!({HOSTILE: {"sessionId": HOSTILE, "authProfileOverride": HOSTILE, "updatedAt": 5,
        "authProfileOverrideSource": "user", "providerOverride": HOSTILE, "modelOverride": HOSTILE}});
    let path = sandbox.state().join("agents/main/sessions/sessions.json");
    write(&path, sessions.to_string().as_bytes());
    let manifest =
        json!({"id": "hostile", "label": HOSTILE, "flows": ["api_key"], HOSTILE: HOSTILE});
    sandbox.write_manifest("hostile", &manifest);
    (sandbox, id)
}

const COMMANDS: [&str; 22] = [
    "models status",
    "models status --plain",
    "models status --check",
    "models auth list",
    "models auth list --provider acme",
    "models auth explain",
    "models auth explain --provider acme",
    "models auth order get --provider acme",
    "models auth cooldown list",
    "models auth token --provider acme",
    "models auth token --provider nobody",
    "models auth token --profile odd",
    "models auth refresh odd",
    "models auth report odd --failed rate_limit",
    "models aliases list",
    "models fallbacks list",
    "channels list",
    "agents list",
    "sessions list",
    "plugins list",
    "doctor",
    "models auth remove odd",
];

#[test]
fn no_command_passes_on_what_could_change_a_terminal() {
    let (mut sandbox, id) = home();
    sandbox.set_env("CLAWDBOT_LOG", "trace");
    for more in [&[][..], &["--json"]] {
        for command in COMMANDS {
            let args: Vec<&str> = command.split(' ').chain(more.iter().copied()).collect();
            expect_harmless(&sandbox.run(&args));
        }
        for args in [
            &["models", "auth", "explain", "--profile", &id][..],
            &["models", "auth", "report", &id, "--failed", "auth"],
            &["models", "auth", "cooldown", "clear", &id],
            &["models", "auth", "logout", &id],
            &["sessions", "show", HOSTILE],
            &["models", "set", HOSTILE],
            &["agents", "list", HOSTILE],
            &[HOSTILE],
        ] {
            // No argument can contain a NUL.
            let args: Vec<String> = args.iter().map(|it| it.replace('\0', "")).collect();
            let args: Vec<&str> =
                args.iter().map(String::as_str).chain(more.iter().copied()).collect();
            expect_harmless(&sandbox.run(&args));
        }
    }
    // The control: the same check detects the output of a careless program.
    assert!(hostile_in(HOSTILE).len() > 5);
}

#[test]
fn json_has_hostile_text_whole_and_escaped() {
    let (sandbox, id) = home();
    let run = sandbox.run(&["models", "auth", "list", "--json"]);
    expect_harmless(&run);
    let list = run.json();
    let ids: Vec<_> = list["profiles"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert!(ids.contains(&&json!(id)), "{ids:?}");
}

#[test]
fn what_a_server_says_cannot_change_a_terminal() {
    for status in [400, 401, 403, 418, 429, 500, 503] {
        let body = json!({"error": "invalid_grant\u{1b}[2J", "error_description": HOSTILE});
        let nested = json!({"error": {"code": HOSTILE, "message": HOSTILE, "type": HOSTILE}});
        for body in [body, nested] {
            let url = http::serve(move |_| Response::json(status, &body));
            let sandbox = Sandbox::new();
            let manifest = json!({
                "id": "acme", "label": "Acme", "flows": ["authorization_code", "device_code"], "client_id": "c",
                "endpoints": {"authorization": format!("{url}/a"), "token": format!("{url}/t"),
                    "device_authorization": format!("{url}/d"), "revocation": format!("{url}/r"),
                    "userinfo": format!("{url}/u")},
                "redirect": {"host": "127.0.0.1", "ports": [], "path": "/callback"},
            });
            sandbox.write_manifest("acme", &manifest);
            let profile = json!({"type": "oauth", "provider": "acme", "access": "a", "refresh": "r-secret",
                "expires": 5, "clientId": "c", "tokenEndpoint": format!("{url}/t")});
            sandbox.seed_store("main", &json!({"version": 1, "profiles": {"acme:a": profile}}));
            for args in [
                &["models", "auth", "refresh", "acme:a", "--force"][..],
                &["models", "auth", "token", "--provider", "acme"],
                &["models", "auth", "login", "--provider", "acme", "--device-code"],
                &["models", "status", "--probe"],
                &["models", "auth", "list"],
                &["models", "auth", "logout", "acme:a"],
            ] {
                expect_harmless(&sandbox.run(args));
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn what_a_plugin_says_cannot_change_a_terminal() {
    let text = serde_json::to_string(HOSTILE).unwrap();
    let hello = r#"{"type":"hello","versions":[1],"id":"loud","operations":["login","refresh"]}"#;
    for message in [
        format!(r#"{{"type":"progress","text":{text}}}"#),
        format!(r#"{{"type":"open_url","url":"https://a.example/","text":{text}}}"#),
        format!(r#"{{"type":"open_url","url":{text}}}"#),
        format!(r#"{{"type":"device_code","url":"https://a.example/","code":{text}}}"#),
        format!(r#"{{"type":"prompt","id":"p","kind":"text","text":{text},"default":{text}}}"#),
        format!(r#"{{"type":"error","kind":"rejected","code":{text},"message":{text}}}"#),
        format!(r#"{{"type":{text}}}"#),
        HOSTILE.replace('\0', ""),
    ] {
        let mut sandbox = Sandbox::new();
        sandbox.allow_scripts();
        let said = format!("{hello}\n{message}\n");
        let said = said.replace('\'', "");
        let plugin = format!(
            "#!/bin/sh\nprintf '%s' '{hello}'; echo; read -r line; printf '%s\\n' '{message}' | tee /dev/stderr\n"
        );
        assert!(said.len() < plugin.len());
        sandbox.install_plugin("loud", plugin.as_bytes());
        sandbox.set_env("CLAWDBOT_LOG", "trace");
        let login = ["models", "auth", "login", "--provider", "loud"];
        expect_harmless(&sandbox.run_with_input(&login, "answer\n"));
        let path = sandbox.plugin_path("loud");
        let check = ["plugins", "check", path.to_str().unwrap(), "--timeout", "2s"];
        expect_harmless(&sandbox.run(&check));
    }
}

#[test]
fn no_helper_is_given_a_token_with_a_control_character() {
    let sandbox = Sandbox::new();
    for token in ["a\nb", "a\rhost=evil.example", "a\0b", "a\u{1b}[2Jb", "a\u{202e}b", "a\u{2028}b"]
    {
        let profile = json!({"type": "api_key", "provider": "acme", "key": token});
        sandbox.seed_store("main", &json!({"version": 1, "profiles": {"acme:a": profile}}));
        for format in ["raw", "header", "env", "git", "exec-credential", "bazel"] {
            let run =
                sandbox.run(&["models", "auth", "token", "--provider", "acme", "--format", format]);
            assert_eq!(run.expect_code(4).stdout, "", "{token:?} as {format}");
        }
        let whole = sandbox.run(&["models", "auth", "token", "--provider", "acme", "--json"]);
        assert_eq!(whole.expect_code(0).json()["token"], token);
        assert!(hostile_in(&whole.stdout).is_empty());
    }
}
