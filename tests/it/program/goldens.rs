//! The recorded outputs of Clawdbot: ours give the same to programs that read them.
//!
//! In process, through the library of the command line, with the clock of the recording.

use auth_cli::host::context::{Captured, Context};
use auth_store::Timestamp;
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

const CASES: &str = include_str!("../../goldens/cases.jsonl");
const SEED: &str = include_str!("../../goldens/seed.json");

/// A home as in the recordings.
struct Home {
    root: TempDir,
    now: i64,
}

/// The result of our run.
struct Ours {
    exit: u8,
    stdout: String,
}

impl Home {
    fn empty() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("home")).unwrap();
        Self { root, now: seed()["now"].as_i64().unwrap() }
    }

    /// A home with this store, and with the seed's config if requested.
    fn with(store: &Value, config: bool) -> Self {
        let home = Self::empty();
        home.write("agents/main/agent/auth-profiles.json", store);
        if config {
            home.write("clawdbot.json", &seed()["config"]);
        }
        home
    }

    fn seeded() -> Self {
        Self::with(&seed()["store"], true)
    }

    fn write(&self, path: &str, value: &Value) {
        let path = self.root.path().join("home/.clawdbot").join(path);
        let text = serde_json::to_string_pretty(value).unwrap() + "\n";
        e2e::sandbox::write(&path, text.as_bytes());
    }

    fn run(&self, argv: &[&str]) -> Ours {
        let mut context = Context::sealed(&self.root.path().join("home"), Timestamp(self.now));
        let stdout = Captured::default();
        context.set_stdout(stdout.clone());
        let exit = auth_cli::run([&["clawdbot"], argv].concat(), &context);
        let base = self.root.path().to_str().unwrap();
        Ours { exit, stdout: stdout.text().replace(base, "$BASE") }
    }

    /// Runs a recorded case and compares exit code and JSON.
    #[track_caller]
    fn same(&self, name: &str) {
        let case = case(name);
        let ours = self.run(&argv(&case));
        assert_eq!(u64::from(ours.exit), case["exit"], "{name}: {}", ours.stdout);
        covers(name, &ours.json(), &recorded_json(&case));
    }
}

impl Ours {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }
}

fn seed() -> Value {
    serde_json::from_str(SEED).unwrap()
}

fn case(name: &str) -> Value {
    let cases = CASES.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    cases.into_iter().find(|case| case["name"] == name).unwrap_or_else(|| panic!("no case {name}"))
}

fn argv(case: &Value) -> Vec<&str> {
    case["argv"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

/// The JSON of a recorded output. Clawdbot's log lines may precede it, and its config file had been
/// moved to `.moltbot` at startup; ours stays in place. A key of 16 characters was shown
/// completely; ours never is.
fn recorded_json(case: &Value) -> Value {
    let text = case["stdout"].as_str().unwrap();
    let start = text.lines().position(|line| line == "{" || line == "[").expect("JSON");
    let text = text.lines().skip(start).collect::<Vec<_>>().join("\n");
    let text = text.replace(".moltbot/moltbot.json", ".clawdbot/clawdbot.json");
    let text = text.replace("openrouter:short=short-key-16char", "openrouter:short=****");
    serde_json::from_str(&text).unwrap()
}

/// Every key and value of `recorded` is in `ours`; additional keys are allowed.
#[track_caller]
fn covers(at: &str, ours: &Value, recorded: &Value) {
    match (ours, recorded) {
        (Value::Object(ours), Value::Object(recorded)) => {
            for (key, value) in recorded {
                let mine = ours.get(key).unwrap_or_else(|| panic!("{at}.{key} is missing"));
                covers(&format!("{at}.{key}"), mine, value);
            }
        }
        (Value::Array(ours), Value::Array(recorded)) => {
            assert_eq!(ours.len(), recorded.len(), "{at}: {ours:?} instead of {recorded:?}");
            for (index, (mine, value)) in ours.iter().zip(recorded).enumerate() {
                covers(&format!("{at}[{index}]"), mine, value);
            }
        }
        _ => assert_eq!(ours, recorded, "{at}"),
    }
}

#[test]
fn models_status_json_is_that_of_the_original() {
    Home::seeded().same("status_json");
    Home::seeded().same("status_check_json");
    Home::empty().same("empty_status_json");
}

#[test]
fn models_status_plain_is_that_of_the_original() {
    let ours = Home::seeded().run(&argv(&case("status_plain")));
    assert_eq!(
        (ours.exit, ours.stdout.as_str()),
        (0, case("status_plain")["stdout"].as_str().unwrap())
    );
}

#[test]
fn models_status_check_ends_as_the_original_does() {
    let hour = 3_600_000;
    let now = seed()["now"].as_i64().unwrap();
    for (name, left) in
        [("check_expired", -hour), ("check_expiring", hour / 2), ("check_ok", 30 * hour)]
    {
        let profile = json!({"type": "oauth", "provider": "anthropic", "access": "at-0123456789",
            "refresh": "rt-0123456789", "expires": now + left});
        let store = json!({"version": 1, "profiles": {"anthropic:default": profile}});
        let ours = Home::with(&store, false).run(&argv(&case(name)));
        assert_eq!(u64::from(ours.exit), case(name)["exit"], "{name}: {}", ours.stdout);
    }
    for (name, home) in [("status_check", Home::seeded()), ("empty_status_check", Home::empty())] {
        assert_eq!(u64::from(home.run(&argv(&case(name))).exit), case(name)["exit"], "{name}");
    }
}

#[test]
fn channels_list_json_is_that_of_the_original() {
    Home::seeded().same("channels_list_json_nousage");
}

#[test]
fn agents_list_json_is_that_of_the_original() {
    Home::seeded().same("agents_list_json");
}

#[test]
fn order_get_json_is_that_of_the_original() {
    let home = Home::seeded();
    for provider in ["anthropic", "openai", "zai", "z_ai", "nosuch"] {
        home.same(&format!("order_get_{provider}"));
    }
    Home::empty().same("empty_order_get");
}

#[test]
fn an_order_is_set_and_cleared_as_in_the_original() {
    let home = Home::seeded();
    assert_eq!(home.run(&argv(&case("order_set"))).exit, 0);
    home.same("order_get_after_set");
    assert_eq!(home.run(&argv(&case("order_set_zai_alias"))).exit, 0);
    assert_eq!(home.run(&argv(&case("order_clear"))).exit, 0);
    home.same("order_get_after_clear");
}

#[test]
fn an_order_of_unknown_profiles_is_refused_and_nothing_is_written() {
    let home = Home::seeded();
    for name in ["order_set_unknown_profile", "order_set_wrong_provider", "order_set_empty"] {
        let ours = home.run(&argv(&case(name)));
        assert_ne!(ours.exit, 0, "{name}");
    }
    home.same("order_get_anthropic");
}

/// Deliberately unlike Clawdbot, where an agent reads and copies the main agent's profiles.
#[test]
fn another_agent_has_its_own_order_only() {
    let home = Home::seeded();
    let own = json!({"type": "token", "provider": "anthropic", "token": "sk-ant-oat01-own"});
    let store = json!({"version": 1, "profiles": {"anthropic:manual": own}});
    home.write("agents/work/agent/auth-profiles.json", &store);
    let get =
        ["models", "auth", "order", "get", "--provider", "anthropic", "--agent", "work", "--json"];
    assert_eq!(home.run(&get).json()["order"], Value::Null);
    let set = ["models", "auth", "order", "set", "--provider", "anthropic", "--agent", "work"];
    assert_eq!(home.run(&[&set[..], &["anthropic:manual"]].concat()).exit, 0);
    home.same("order_get_agent_work_after");
}

/// Deliberately unlike Clawdbot, which shows a damaged store as an empty one.
#[test]
fn a_damaged_store_is_an_error_in_status_too() {
    let home = Home::seeded();
    let path = home.root.path().join("home/.clawdbot/agents/main/agent/auth-profiles.json");
    let torn = &std::fs::read(&path).unwrap()[..200];
    e2e::sandbox::write(Path::new(&path), torn);
    let ours = home.run(&["models", "status", "--json"]);
    assert_eq!(ours.exit, 8, "{}", ours.stdout);
    assert!(ours.json()["error"]["path"].as_str().unwrap().ends_with("auth-profiles.json"));
    assert_eq!(std::fs::read(&path).unwrap(), torn);
}
