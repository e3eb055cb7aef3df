//! The command line in process: a temporary home, a fixed clock, captured output.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::path::PathBuf;

use auth_cli::host::context::{Captured, Context};
use auth_store::{Timestamp, write_atomic};
use serde_json::{Value, json};

const NOW: i64 = 1_769_644_800_000;
const MINUTE: i64 = 60_000;

struct Home {
    root: tempfile::TempDir,
    now: i64,
}

struct Run {
    exit: u8,
    stdout: String,
    stderr: String,
}

impl Home {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), now: NOW }
    }

    fn with(profiles: &Value) -> Self {
        let home = Self::new();
        home.write(STORE, &json!({ "version": 1, "profiles": profiles }).to_string());
        home
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(".clawdbot").join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_atomic(&path, text.as_bytes()).unwrap();
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap()
    }

    fn run(&self, words: &str) -> Run {
        self.run_words(&words.split(' ').collect::<Vec<_>>())
    }

    fn run_words(&self, words: &[&str]) -> Run {
        let mut context = Context::sealed(self.root.path(), Timestamp(self.now));
        let (stdout, stderr) = (Captured::default(), Captured::default());
        context.env.insert("CLAWDBOT_LOCK_TIMEOUT".into(), "0".into());
        context.set_stdout(stdout.clone());
        context.set_stderr(stderr.clone());
        let exit = auth_cli::run([&["clawdbot"], words].concat(), &context);
        Run { exit, stdout: stdout.text(), stderr: stderr.text() }
    }
}

impl Run {
    #[track_caller]
    fn code(self, exit: u8) -> Self {
        assert_eq!(self.exit, exit, "{}{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

fn key(provider: &str) -> Value {
    json!({ "type": "api_key", "provider": provider, "key": "SECRET-key-0123456789-SECRET" })
}

fn login(minutes: i64) -> Value {
    json!({
        "type": "oauth", "provider": "openai-codex", "access": "SECRET-access", "refresh": "SECRET-refresh",
        "obtainedAt": NOW - 60 * MINUTE, "expires": NOW + minutes * MINUTE, "email": "a.person.with.a.long.name@an-organisation.example",
    })
}

const STORE: &str = "agents/main/agent/auth-profiles.json";

#[test]
fn no_command_shows_a_secret_or_a_line_longer_than_80_columns() {
    let home = Home::with(&json!({
        "openai-codex:work": login(90),
        "openai-codex:a.person.with.a.long.name@an-organisation.example": login(-5),
        "acme:a": key("acme"), "acme:b": { "type": "api_key", "provider": "acme", "key": "SECRET" },
        "acme:c": { "type": "token", "provider": "acme", "token": "SECRETSECRETSECRETSECRET" },
    }));
    home.run("models auth report acme:a --failed billing").code(0);
    home.run("models auth report acme:c --failed rate_limit").code(0);
    for words in [
        "models status",
        "models auth list",
        "models auth explain --provider acme",
        "agents list",
        "models auth explain --provider openai-codex",
        "models auth cooldown list",
        "channels list",
        "models auth order get --provider acme",
        "plugins list",
    ] {
        let run = home.run(words).code(0);
        let json = home.run(&format!("{words} --json")).code(0);
        json.json();
        for text in [&run.stdout, &run.stderr, &json.stdout, &json.stderr] {
            assert!(!text.contains("SECRET-access") && !text.contains("SECRET-refresh"), "{text}");
            assert!(!text.contains("\"SECRET\"") && !text.contains("=SECRET\""), "{text}");
            assert!(!text.contains("SECRETSECRETSECRETSECRET"), "{text}");
            assert!(!text.contains("SECRET-key-0123456789-SECRET"), "{text}");
        }
        for line in run.stdout.lines() {
            assert!(line.chars().count() <= 80, "{words}: {line}");
        }
    }
}

#[test]
fn list_tells_what_can_be_done_with_each_profile() {
    let home = Home::with(&json!({
        "openai-codex:fresh": login(600), "openai-codex:soon": login(1), "openai-codex:gone": login(-1),
        "acme:a": key("acme"),
    }));
    let list = home.run("models auth list --json").code(0).json();
    let told: Vec<_> = list["profiles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            format!("{} {} {}", it["id"].as_str().unwrap(), it["access"], it["refresh"])
                .replace('"', "")
        })
        .collect();
    assert_eq!(
        told,
        [
            "openai-codex:fresh valid yes",
            "openai-codex:soon expiring yes",
            "openai-codex:gone expired yes",
            "acme:a static no",
        ]
    );
    let one = home.run("models auth list --json --provider acme").json();
    assert_eq!(one["profiles"].as_array().unwrap().len(), 1);
    assert_eq!(one["provider"], "acme");
}

#[test]
fn a_report_makes_a_profile_rest_and_clearing_ends_it() {
    let mut home = Home::with(&json!({ "acme:a": key("acme"), "acme:b": key("acme") }));
    let first = |home: &Home| {
        let plan = home.run("models auth explain --provider acme --json").code(0).json();
        plan["candidates"][0]["id"].as_str().unwrap().to_owned()
    };
    assert_eq!(first(&home), "acme:a");
    let report = home.run("models auth report acme:a --failed rate_limit --retry-after 90s --json");
    assert_eq!(report.code(0).json()["restsUntil"], NOW + 90_000);
    assert_eq!(first(&home), "acme:b");
    home.now += 91_000;
    assert_eq!(first(&home), "acme:a");
    home.run("models auth report acme:a --failed billing").code(0);
    assert_eq!(first(&home), "acme:b");
    let cleared = home.run("models auth cooldown clear acme:a --json").code(0).json();
    assert_eq!(cleared["cleared"], json!(["acme:a"]));
    assert_eq!(first(&home), "acme:a");
    home.run("models auth report acme:a --ok").code(0);
    let store: Value = serde_json::from_str(&home.read(STORE)).unwrap();
    assert_eq!(store["lastGood"]["acme"], "acme:a");
    assert_eq!(store["usageStats"]["acme:a"]["lastUsed"], home.now);
}

#[test]
fn an_unknown_profile_is_exit_3_and_an_unknown_agent_64() {
    let home = Home::with(&json!({ "acme:a": key("acme") }));
    let before = home.read(STORE);
    for words in [
        "models auth report acme:x --ok",
        "models auth remove acme:x",
        "models auth cooldown clear acme:x",
    ] {
        let error = home.run(&format!("{words} --json")).code(3).json();
        assert_eq!(error["error"]["code"], "unknown_profile", "{words}");
    }
    home.run("models auth list --agent nobody").code(64);
    assert_eq!(home.read(STORE), before);
}

#[test]
fn removing_a_profile_leaves_the_others_and_their_comments_alone() {
    let home = Home::with(&json!({ "acme:a": key("acme"), "acme:b": key("acme") }));
    home.write("clawdbot.json", "{ auth: { order: { acme: ['acme:a', 'acme:b'] } } } // mine");
    home.run("models auth remove acme:a").code(0);
    let store: Value = serde_json::from_str(&home.read(STORE)).unwrap();
    assert_eq!(store["profiles"], json!({ "acme:b": key("acme") }));
    let config = home.read("clawdbot.json");
    assert!(!config.contains("acme:a") && config.contains("// mine"), "{config}");
}

#[test]
fn an_order_that_yields_nothing_is_warned_about() {
    let home = Home::with(&json!({ "acme:a": key("acme") }));
    home.write("clawdbot.json", "{ auth: { order: { acme: ['acme:x'] } } }");
    for words in ["models status", "models auth list", "models auth explain --provider acme"] {
        let run = home.run(words).code(0);
        assert!(run.stderr.contains("warning: acme: "), "{words}: {}", run.stderr);
    }
    home.write("clawdbot.json", "{}");
    let control = home.run("models status").code(0);
    assert!(!control.stderr.contains("warning"), "{}", control.stderr);
}

#[test]
fn a_lock_of_somebody_else_is_exit_7_and_nothing_is_written() {
    let home = Home::with(&json!({ "acme:a": key("acme") }));
    let before = home.read(STORE);
    let lock = home.path(&format!("{STORE}.lock"));
    std::fs::create_dir(&lock).unwrap();
    for words in ["models auth order set --provider acme acme:a", "models auth report acme:a --ok"]
    {
        let error = home.run(&format!("{words} --json")).code(7).json();
        assert_eq!(error["error"]["code"], "locked", "{words}");
    }
    assert_eq!(home.read(STORE), before);
    std::fs::remove_dir(&lock).unwrap();
    home.run("models auth order set --provider acme acme:a").code(0);
}

#[test]
fn a_damaged_config_is_named_with_its_line() {
    let home = Home::new();
    home.write("clawdbot.json", "{\n  auth: {,}\n}");
    let error = home.run("models status --json").code(64).json();
    assert_eq!(error["error"]["code"], "config");
    assert!(error["error"]["message"].as_str().unwrap().contains("line 2"), "{error}");
    assert!(error["error"]["path"].as_str().unwrap().ends_with("clawdbot.json"), "{error}");
}

#[test]
fn a_pin_is_a_users_and_unknown_members_stay() {
    let home = Home::with(
        &json!({ "anthropic:a": key("anthropic"), "anthropic:b+1@x.y": key("anthropic") }),
    );
    let sessions = "agents/main/sessions/sessions.json";
    home.write(
        sessions,
        "{ 'agent:main:main': { sessionId: 's', other: { deep: 1.5 } }, k: { x: 1 } }",
    );
    let model =
        ["sessions", "model", "agent:main:main", "/model opus-4.5@anthropic:b+1@x.y", "--json"];
    let told = home.run_words(&model).code(0).json();
    assert_eq!(
        (&told["model"], &told["profileId"]),
        (&json!("anthropic/claude-opus-4-5"), &json!("anthropic:b+1@x.y"))
    );
    let stored: Value = serde_json::from_str(&home.read(sessions)).unwrap();
    let entry = &stored["agent:main:main"];
    assert_eq!(entry["authProfileOverrideSource"], "user");
    assert_eq!((&entry["other"], &entry["updatedAt"]), (&json!({ "deep": 1.5 }), &json!(NOW)));
    assert_eq!(stored["k"], json!({ "x": 1 }));
    assert!(!home.path("agents/main/sessions/sessions.json.lock").exists());

    let explain = home.run("models auth explain --session agent:main:main --json").code(0).json();
    assert_eq!(explain["pin"], "anthropic:b+1@x.y");
    assert_eq!(explain["candidates"].as_array().unwrap().len(), 1);
    home.run_words(&["sessions", "model", "agent:main:main", "default"]).code(0);
    assert_eq!(home.run("sessions show agent:main:main --json").json()["profileId"], Value::Null);
}

#[test]
fn sessions_that_do_not_parse_are_refused_and_kept() {
    let home = Home::with(&json!({ "anthropic:a": key("anthropic") }));
    let sessions = "agents/main/sessions/sessions.json";
    home.write(sessions, "{ 'agent:main");
    home.run_words(&["sessions", "model", "k", "/model opus@anthropic:a"]).code(74);
    assert_eq!(home.read(sessions), "{ 'agent:main");
}

#[test]
fn nonsense_is_exit_64_with_a_way_out() {
    let home = Home::new();
    let typo = home.run("models auth lgoin").code(64);
    assert!(
        typo.stderr.contains("did you mean this? clawdbot models auth login"),
        "{}",
        typo.stderr
    );
    let missing = home.run("models auth order get --json").code(64).json();
    assert!(missing["error"]["message"].as_str().unwrap().contains("--provider"), "{missing}");
    for words in
        ["models status --nonsense", "models auth order", "models status --json --plain", "gateway"]
    {
        let run = home.run(words).code(64);
        let is_help = run.stderr.contains("Usage: ");
        let is_told = run.stderr.starts_with("error: ") || run.stdout.contains("\"error\"");
        assert!(is_told || is_help, "{words}");
    }
    assert!(home.run("--help").code(0).stdout.contains("Examples:"));
    home.run("--version").code(0);
}
