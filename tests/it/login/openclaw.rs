//! `models auth import --from openclaw`: its databases are read and nothing else, all of one or nothing.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use e2e::now_ms;
use e2e::sandbox::{Finished, Sandbox, write};
use serde_json::{Value, json};

const AGENT: u32 = 23;
const SHARED: u32 = 18;

/// Makes a database as OpenClaw has it; `more` may keep it open.
fn start(kind: &str, path: &Path, version: u32, content: &Value, more: &[&str]) -> Child {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/openclaw/database.py");
    let mut child = Command::new("python3")
        .arg(script)
        .args([kind, path.to_str().unwrap(), &version.to_string()])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "{content}").unwrap();
    child
}

fn database(kind: &str, path: &Path, version: u32, content: &Value) {
    let mut child = start(kind, path, version, content, &[]);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

fn shared(sandbox: &Sandbox) -> PathBuf {
    sandbox.home().join(".openclaw/state/openclaw.sqlite")
}

fn own(sandbox: &Sandbox, agent: &str) -> PathBuf {
    sandbox.home().join(format!(".openclaw/agents/{agent}/agent/openclaw-agent.sqlite"))
}

fn is_shared() -> Value {
    json!({"auth.sharedStore": {"location": "state-db"}})
}

/// What is below a directory: each file with its content.
/// A database that cannot be read: what the message says of it, and what makes it.
type Case<'a> = (&'static str, &'a dyn Fn(&Sandbox));

fn tree(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(tree(&path));
        } else {
            all.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

fn import(sandbox: &Sandbox, more: &[&str]) -> Finished {
    let before = tree(&sandbox.home().join(".openclaw"));
    let args = ["models", "auth", "import", "--from", "openclaw", "--json"];
    let run = sandbox.run(&[&args[..], more].concat());
    assert_eq!(tree(&sandbox.home().join(".openclaw")), before, "OpenClaw's files were touched");
    run
}

fn reason(run: &Finished, entry: &str) -> String {
    let left_out = run.json()["leftOut"].as_array().unwrap().clone();
    let found = left_out.iter().find(|it| it["entry"] == entry);
    found.unwrap_or_else(|| panic!("{entry}: {run:#?}"))["reason"].as_str().unwrap().to_owned()
}

/// A store as a January's becomes: keys, tokens, logins, fences, references.
fn full() -> Value {
    json!({"version": 1, "profiles": {
        "openai:default": {"type": "api_key", "provider": "openai", "key": "sk-test-openai-0001"},
        "anthropic:key": {"type": "api_key", "provider": "anthropic", "key": "sk-ant-test-key-0001", "email": "me@example.test"},
        "anthropic:manual": {"type": "token", "provider": "anthropic", "token": format!("sk-ant-oat01-{}", "0".repeat(80))},
        "openai:chatgpt": {"type": "oauth", "provider": "openai", "access": "at-codex", "refresh": "rt-codex", "accountId": "acct_1", "expires": now_ms() + 3_600_000},
        "github-copilot:default": {"type": "oauth", "provider": "github-copilot", "access": "ghu_x", "refresh": "ghu_x", "expires": 8_640_000_000_000_000_u64},
        "openai:failed": {"type": "oauth", "provider": "openai", "expires": 1,
            "access": "openclaw-oauth-refresh-fence:v1:98:failed:access:04", "refresh": "openclaw-oauth-refresh-fence:v1:98:failed:refresh:bd"},
        "openai:pending": {"type": "oauth", "provider": "openai", "expires": 1,
            "access": "openclaw-oauth-refresh-fence:v1:98:access:04", "refresh": "openclaw-oauth-refresh-fence:v1:98:refresh:bd"},
        "groq:env": {"type": "api_key", "provider": "groq", "keyRef": {"source": "env", "provider": "default", "id": "GROQ_WORK"}},
        "zai:ours": {"type": "api_key", "provider": "zai", "keyRef": {"source": "exec", "provider": "clawdbot", "id": "zai/default"}},
        "mistral:store": {"type": "api_key", "provider": "mistral", "keyRef": {"source": "store", "provider": "default", "id": "M"}},
        "odd:magic": {"type": "magic", "provider": "odd"},
        "xai:later": {"type": "oauth", "provider": "xai", "setup": {"replacement": true}},
    }})
}

fn state() -> Value {
    json!({"version": 1, "order": {"openai": ["openai:default"]}, "usageStats": {
        "openai:default": {"blockedUntil": now_ms() + 3_600_000, "blockedReason": "subscription_limit", "lastUsed": 5},
        "anthropic:key": {"cooldownUntil": now_ms() + 3_600_000, "cooldownReason": "rate_limit", "cooldownModel": "claude-opus-4-5"},
    }})
}

#[test]
fn what_all_agents_share_and_what_one_has_of_its_own_is_imported_with_its_cooldowns() {
    let sandbox = Sandbox::new();
    let content = json!({"store": full(), "state": state(), "rows": is_shared()});
    database("shared", &shared(&sandbox), SHARED, &content);
    let own_key = json!({"version": 1, "profiles": {
        "anthropic:key": {"type": "api_key", "provider": "anthropic", "key": "sk-ant-of-the-agent"}}});
    database("agent", &own(&sandbox, "main"), AGENT, &json!({"store": own_key}));
    write(&sandbox.home().join(".openclaw/openclaw.json"),
        br#"{"secrets":{"providers":{"clawdbot":{"source":"exec","command":"/home/me/bin/clawdbot"}}}}"#);

    let run = import(&sandbox, &["--take-over"]);
    run.expect_code(0);
    let profile = |id: &str| sandbox.profile("main", id);
    assert_eq!(profile("openai:default")["key"], "sk-test-openai-0001");
    assert_eq!(profile("anthropic:key")["key"], "sk-ant-of-the-agent", "the agent's own wins");
    assert_eq!(profile("openai-codex:chatgpt")["refresh"], "rt-codex");
    assert_eq!(profile("openai-codex:chatgpt")["provider"], "openai-codex");
    assert_eq!(profile("github-copilot:default")["type"], "token");
    assert_eq!(profile("github-copilot:default")["token"], "ghu_x");
    assert_eq!(profile("groq:env")["keyRef"], json!({"source": "env", "id": "GROQ_WORK"}));
    for (entry, part) in [
        ("openai:failed", "log in here"),
        ("openai:pending", "at this moment"),
        ("zai:ours", "one of ours already"),
        ("mistral:store", "own store of secrets"),
        ("odd:magic", "`magic` is not known"),
        ("xai:later", "not finished"),
    ] {
        assert!(reason(&run, entry).contains(part), "{entry}: {}", reason(&run, entry));
    }
    // Its block holds here too, and the control is without one.
    let token =
        |provider: &str| sandbox.run(&["models", "auth", "token", "--provider", provider]).code;
    assert_eq!((token("openai"), token("github-copilot")), (Some(6), Some(0)));
    sandbox.run(&["models", "auth", "report", "openai:default", "--ok"]).expect_code(0);
    assert_eq!(token("openai"), Some(0));
    let usage = &sandbox.read_store("main")["usageStats"]["openai:default"];
    assert_eq!((&usage["blockedUntil"], &usage["blockedReason"]), (&Value::Null, &Value::Null));
}

#[test]
fn what_stands_in_the_log_of_a_running_gateway_alone_is_read_and_nothing_is_created() {
    let sandbox = Sandbox::new();
    let content = json!({"store": full(), "rows": is_shared()});
    let mut gateway = start("shared", &shared(&sandbox), SHARED, &content, &["--open"]);
    let mut line = String::new();
    BufReader::new(gateway.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "READY\n");
    // The control: the file alone has no row yet.
    assert!(!fs::read(shared(&sandbox)).unwrap().windows(12).any(|it| it == b"sk-test-open"));
    import(&sandbox, &["--access-only"]).expect_code(0);
    assert_eq!(sandbox.profile("main", "openai:default")["key"], "sk-test-openai-0001");
    drop(gateway.stdin.take());
    gateway.wait().unwrap();
}

#[test]
fn before_there_was_a_shared_database_the_main_agents_was_the_base_of_all() {
    let sandbox = Sandbox::new();
    let store = json!({"version": 1, "profiles": {
        "openai:default": {"type": "api_key", "provider": "openai", "key": "sk-test-of-main"}}});
    database("agent", &own(&sandbox, "main"), 1, &json!({"store": store}));
    let store = json!({"version": 1, "profiles": {
        "groq:default": {"type": "api_key", "provider": "groq", "key": "gsk-test-of-work"}}});
    database("agent", &own(&sandbox, "work"), 1, &json!({"store": store}));
    sandbox.run(&["agents", "add", "work", "--workspace", "w", "--non-interactive"]);
    import(&sandbox, &["--agent", "work"]).expect_code(0);
    assert_eq!(sandbox.profile("work", "openai:default")["key"], "sk-test-of-main");
    assert_eq!(sandbox.profile("work", "groq:default")["key"], "gsk-test-of-work");
}

#[test]
fn a_database_that_cannot_be_read_is_named_and_nothing_is_stored() {
    let make = |sandbox: &Sandbox, version: u32| {
        let content = json!({"store": full(), "rows": is_shared()});
        database("shared", &shared(sandbox), version, &content);
    };
    let cut = |sandbox: &Sandbox| {
        make(sandbox, SHARED);
        let bytes = fs::read(shared(sandbox)).unwrap();
        write(&shared(sandbox), &bytes[..bytes.len() / 2]);
    };
    let garbled = |sandbox: &Sandbox| {
        make(sandbox, SHARED);
        let mut bytes = fs::read(shared(sandbox)).unwrap();
        bytes[100..].iter_mut().for_each(|byte| *byte ^= 0x55);
        write(&shared(sandbox), &bytes);
    };
    let newer = |sandbox: &Sandbox| make(sandbox, SHARED + 1);
    let half = |sandbox: &Sandbox| {
        make(sandbox, SHARED);
        write(&shared(sandbox).with_file_name("openclaw.sqlite-journal"), b"\xd9\xd5\x05\xf9");
    };
    let no_table = |sandbox: &Sandbox| {
        database("agent", &shared(sandbox), SHARED, &json!({"store": full()}));
    };
    let other = |sandbox: &Sandbox| write(&shared(sandbox), b"{\"version\": 1}");
    let broken = |sandbox: &Sandbox| {
        let content = json!({"store": "{\"version\":1,\"prof", "rows": is_shared()});
        database("shared", &shared(sandbox), SHARED, &content);
    };
    let later = |sandbox: &Sandbox| {
        let content = json!({"store": {"version": 2, "profiles": {}}, "rows": is_shared()});
        database("shared", &shared(sandbox), SHARED, &content);
    };
    let cases: [Case<'_>; 8] = [
        ("cut off", &cut),
        ("is damaged", &garbled),
        ("later OpenClaw (schema 19", &newer),
        ("in the midst of a change", &half),
        ("known here", &no_table),
        ("no SQLite database", &other),
        ("is damaged", &broken),
        ("later version (2)", &later),
    ];
    for (part, make) in cases {
        let sandbox = Sandbox::new();
        make(&sandbox);
        let run = import(&sandbox, &["--take-over"]);
        let error = run.expect_code(3).json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(error.contains(part) && error.contains("openclaw.sqlite"), "{part}: {error}");
        assert!(!sandbox.store_path("main").exists(), "{part}");
    }
}

#[test]
fn nothing_is_written_beside_what_is_openclaws() {
    for sign in [
        "agents/main/agent/openclaw-agent.sqlite",
        "agents/main/agent/auth-state.json",
        "agents/main/agent/auth-profiles.json.migrated-2026-11-29T05-49-02.331Z-23f2a2a2",
        "state/openclaw.sqlite",
        "openclaw.json",
    ] {
        let sandbox = Sandbox::new();
        sandbox.seed_store(
            "main",
            &json!({"version": 1, "profiles": {
            "groq:default": {"type": "api_key", "provider": "groq", "key": "gsk-test"}}}),
        );
        write(&sandbox.state().join(sign), b"");
        let before = fs::read(sandbox.store_path("main")).unwrap();
        let paste = ["models", "auth", "paste-api-key", "--provider", "openai"];
        let run = sandbox.run_with_input(&paste, "sk-test-0123456789");
        run.expect_code(8);
        assert!(run.stderr.contains("--from openclaw"), "{sign}: {run:#?}");
        assert_eq!(fs::read(sandbox.store_path("main")).unwrap(), before, "{sign}");
        let names = fs::read_dir(sandbox.agent_dir("main")).unwrap().flatten();
        let names: Vec<_> = names.map(|it| it.file_name().into_string().unwrap()).collect();
        assert!(
            names.iter().all(|it| it == "auth-profiles.json" || sign.ends_with(it)),
            "{names:?}"
        );
        // Reading goes on.
        let token = sandbox.run(&["models", "auth", "token", "--provider", "groq"]);
        assert_eq!(token.expect_code(0).line(), "gsk-test");
    }
}
