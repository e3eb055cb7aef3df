//! One truth: what `status`, `explain`, `list` and `--check` say is what `token` does, whatever state
//! the profiles are in.

use std::time::{Duration, Instant};

use auth_cli::host::context::{Captured, Context};
use auth_store::{Record, State, StateDirectory, Timestamp, TokenKey};
use e2e::issuer::{CLIENT, Issuer};
use e2e::now_ms;
use e2e::sandbox::{Sandbox, expired};
use serde_json::{Map, Value, json};

/// The states a profile can be in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum It {
    Fresh,
    Renewable,
    Refused,
    RefusedButValid,
    Waiting,
    InCooldown,
    Disabled,
    NoRefreshToken,
    EmptyKey,
    Key,
    VariableSet,
    VariableUnset,
    FileMissing,
    Token,
    TokenEnded,
}

const ALL: [It; 15] = [
    It::Fresh,
    It::Renewable,
    It::Refused,
    It::RefusedButValid,
    It::Waiting,
    It::InCooldown,
    It::Disabled,
    It::NoRefreshToken,
    It::EmptyKey,
    It::Key,
    It::VariableSet,
    It::VariableUnset,
    It::FileMissing,
    It::Token,
    It::TokenEnded,
];

/// A home whose agent has profiles `demo:0`, `demo:1`, … in these states, and an order of them.
struct Home {
    sandbox: Sandbox,
    profiles: Map<String, Value>,
    usage: Map<String, Value>,
}

impl Home {
    fn with(states: &[It], issuer: &Issuer) -> Self {
        let mut sandbox = Sandbox::new();
        sandbox.write_manifest("demo", &issuer.manifest("demo"));
        sandbox.write_config("{ agents: { defaults: { model: { primary: 'demo/m' } } } }");
        sandbox.set_env("SET_KEY", "key-0123456789abcdef");
        let mut home = Self { sandbox, profiles: Map::new(), usage: Map::new() };
        for (place, state) in states.iter().enumerate() {
            home.add(&format!("demo:{place}"), *state, issuer);
        }
        let order: Vec<_> = home.profiles.keys().cloned().collect();
        let mut store = json!({"version": 1, "profiles": home.profiles, "usageStats": home.usage});
        if !order.is_empty() {
            store["order"] = json!({ "demo": order });
        }
        home.sandbox.seed_store("main", &store);
        home
    }

    fn add(&mut self, id: &str, state: It, issuer: &Issuer) {
        let tokens = issuer.grant("alice");
        let mut login = expired(issuer, "demo", &tokens);
        let hour = now_ms() + 3_600_000;
        let key = |key: Value| json!({"type": "api_key", "provider": "demo", "key": key});
        let reference =
            |place: Value| json!({"type": "api_key", "provider": "demo", "keyRef": place});
        let record = |state| {
            let records = StateDirectory::at(self.sandbox.state()).records();
            let key =
                TokenKey::new(&issuer.token_endpoint(), CLIENT, &tokens.refresh.as_str().into());
            let now = i64::try_from(now_ms()).unwrap();
            let store = self.sandbox.store_path("main");
            let record = Record::new(state, &store, &id.into(), Timestamp(now));
            let lock = records.lock(key, Duration::from_secs(9)).unwrap();
            let retry_at = (state == State::Waiting).then_some(Timestamp(now + 600_000));
            lock.write(&Record { retry_at, code: Some("invalid_grant".to_owned()), ..record })
                .unwrap();
        };
        let profile = match state {
            It::Renewable => login,
            It::Refused => {
                record(State::Rejected);
                login
            }
            It::RefusedButValid => {
                record(State::Rejected);
                login["expires"] = hour.into();
                login
            }
            It::Waiting => {
                record(State::Waiting);
                login
            }
            It::NoRefreshToken => {
                login["refresh"] = "".into();
                login
            }
            It::Fresh | It::InCooldown | It::Disabled => {
                login["expires"] = hour.into();
                login
            }
            It::EmptyKey => key(" ".into()),
            It::Key => key("key-0123456789abcdef".into()),
            It::VariableSet => reference(json!({"source": "env", "id": "SET_KEY"})),
            It::VariableUnset => reference(json!({"source": "env", "id": "UNSET_KEY"})),
            It::FileMissing => reference(json!({"source": "file", "path": "/nowhere/key"})),
            It::Token | It::TokenEnded => {
                let expires = if state == It::Token { hour } else { 1_000 };
                json!({"type": "token", "provider": "demo", "token": "t-0123456789", "expires": expires})
            }
        };
        self.profiles.insert(id.to_owned(), profile);
        let later = now_ms() + 600_000;
        match state {
            It::InCooldown => {
                drop(self.usage.insert(id.to_owned(), json!({"cooldownUntil": later})));
            }
            It::Disabled => drop(self.usage.insert(
                id.to_owned(),
                json!({"disabledUntil": later + 9, "disabledReason": "billing"}),
            )),
            _ => {}
        }
    }

    fn json(&self, args: &[&str]) -> Value {
        self.sandbox.run(&[args, &["--json"]].concat()).json()
    }

    /// What `models status --json` says is next for `demo`.
    fn next(&self) -> Value {
        let status = self.json(&["models", "status"]);
        let providers = status["auth"]["providers"].as_array().unwrap();
        let demo = providers.iter().find(|it| it["provider"] == "demo").unwrap();
        assert!(!demo["nextReason"].as_str().unwrap().is_empty());
        demo["next"].clone()
    }

    fn check(&self, more: &[&str]) -> Option<i32> {
        self.sandbox.run(&[&["models", "status", "--check"], more].concat()).code
    }
}

#[test]
fn what_every_command_says_is_next_is_what_token_hands_out() {
    let issuer = Issuer::start();
    let pairs = ALL.iter().flat_map(|a| [(*a, It::Fresh), (*a, It::Refused), (*a, It::Disabled)]);
    let triple = [It::VariableUnset, It::Waiting, It::Renewable].to_vec();
    let worlds =
        pairs.map(|(a, b)| vec![a, b]).chain(ALL.iter().map(|it| vec![*it])).chain([triple]);
    let mut handed_out = 0;
    for states in worlds {
        let home = Home::with(&states, &issuer);
        let next = home.next();
        let explained = home.json(&["explain", "demo"]);
        assert_eq!(explained["next"], next, "{states:?} {explained:#}");
        let whoami = home.json(&["whoami"]);
        assert_eq!(whoami["providers"][0]["profileId"], next, "{states:?}");
        let list = home.json(&["models", "auth", "list", "demo"]);
        let is_eligible = |id: &Value| {
            let mut all = list["profiles"].as_array().unwrap().iter();
            all.any(|it| it["id"] == *id && it["eligible"] == true)
        };
        assert!(next.is_null() || is_eligible(&next), "{states:?} {list:#}");
        let check = home.check(&[]);
        assert_eq!(check == Some(1), next.is_null(), "{states:?}: {check:?}");
        let token = home.sandbox.run(&["token", "demo", "--json"]);
        let profile = token.json()["profileId"].clone();
        assert_eq!(profile, next, "{states:?}: {token:#?}");
        assert_eq!(token.code == Some(0), !next.is_null(), "{states:?}: {token:#?}");
        handed_out += usize::from(!next.is_null());
    }
    assert!(handed_out > 30, "{handed_out}");
}

#[test]
fn check_tells_whether_a_token_can_be_had_now_and_what_ends_soon() {
    let issuer = Issuer::start();
    let check = |states: &[It], more: &[&str]| Home::with(states, &issuer).check(more);
    // A login that renews itself is no reason to call anyone.
    assert_eq!(check(&[It::Fresh], &[]), Some(0));
    assert_eq!(check(&[It::Renewable], &[]), Some(0));
    assert_eq!(check(&[It::Token], &[]), Some(2));
    assert_eq!(check(&[It::Token], &["--within", "30m"]), Some(0));
    assert_eq!(check(&[It::Token], &["--within", "2h"]), Some(2));
    for state in [It::EmptyKey, It::VariableUnset, It::Refused, It::Disabled, It::TokenEnded] {
        assert_eq!(check(&[state], &[]), Some(1), "{state:?}");
    }
    assert_eq!(check(&[], &[]), Some(1));
    // An order that names no profile, of a provider that no model in use needs.
    let mut home = Home::with(&[It::Fresh], &issuer);
    home.sandbox.edit_store("main", |store| store["order"]["acme"] = json!(["acme:gone"]));
    assert_eq!(home.check(&[]), Some(1));
    // A key of the environment serves, where no profile is a candidate.
    home = Home::with(&[], &issuer);
    home.sandbox.write_config("{ agents: { defaults: { model: { primary: 'groq/m' } } } }");
    assert_eq!(home.check(&[]), Some(1));
    home.sandbox.set_env("GROQ_API_KEY", "gsk-0123456789abcdef");
    assert_eq!(home.check(&[]), Some(0));
}

/// Runs a command over a store of so many profiles of as many providers; the time it took.
fn time_over(count: usize, words: &[&str]) -> Duration {
    let home = tempfile::tempdir().unwrap();
    let profiles: Map<_, _> = (0..count)
        .map(|number| {
            let provider = format!("p{}", number / 2);
            let key = format!("key-{number:012}");
            (format!("p:{number}"), json!({"type": "api_key", "provider": provider, "key": key}))
        })
        .collect();
    let store = json!({"version": 1, "profiles": profiles}).to_string();
    let path = home.path().join(".clawdbot/agents/main/agent/auth-profiles.json");
    e2e::sandbox::write(&path, store.as_bytes());
    let best = (0..2).map(|_| {
        let mut context = Context::sealed(home.path(), Timestamp(0));
        let said = Captured::default();
        context.set_stdout(said.clone());
        let began = Instant::now();
        auth_cli::run([&["clawdbot"], words].concat(), &context);
        let took = began.elapsed();
        assert!(said.text().lines().count() > count / 2, "{words:?}");
        took
    });
    best.min().unwrap()
}

#[test]
fn the_texts_of_many_profiles_grow_with_their_number_and_no_faster() {
    for words in [&["models", "status"][..], &["models", "auth", "list"]] {
        let (few, many) = (time_over(1_000, words), time_over(10_000, words));
        let growth = many.as_secs_f64() / few.as_secs_f64();
        assert!(growth < 25.0, "{words:?}: {few:?}, ten times as many: {many:?}");
    }
}

#[test]
fn a_home_that_moves_takes_its_agents_along() {
    let (old, new) = (Sandbox::new(), Sandbox::new());
    old.run(&["agents", "add", "work", "--workspace", "~/work", "--non-interactive"])
        .expect_code(0);
    let key = ["models", "auth", "paste-api-key", "--provider", "acme", "--agent", "work"];
    old.run_with_input(&key, "key-0123456789abcdef\n").expect_code(0);
    let config = std::fs::read_to_string(old.state().join("moltbot.json"));
    let config =
        config.or_else(|_| std::fs::read_to_string(old.state().join("clawdbot.json"))).unwrap();
    assert!(!config.contains(old.home().to_str().unwrap()), "{config}");
    let copied =
        std::process::Command::new("cp").arg("-a").arg(old.state()).arg(new.home()).status();
    assert!(copied.unwrap().success());
    drop(old);
    let token = ["token", "acme", "--agent", "work"];
    assert_eq!(new.run(&token).expect_code(0).line(), "key-0123456789abcdef");
}
