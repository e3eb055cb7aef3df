//! An issuer that is silent or busy: nobody else waits for it, and it is left alone.

use std::fs::File;

use e2e::issuer::{Fault, Issuer};
use e2e::sandbox::{Running, Sandbox, expired};
use serde_json::json;

const SILENT: &str = "silent:alice";
const HEALTHY: &str = "healthy:bob";

/// Seconds that the other commands wait for a lock at most.
const SOON: &str = "1";

/// A home with a profile at each issuer, both expired, and an agent `work` with one at the healthy
/// one.
fn home(silent: &Issuer, healthy: &Issuer) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write_manifest("silent", &silent.manifest("silent"));
    sandbox.write_manifest("healthy", &healthy.manifest("healthy"));
    let alice = expired(silent, "silent", &silent.grant("alice"));
    let bob = expired(healthy, "healthy", &healthy.grant("bob"));
    let carol = expired(healthy, "healthy", &healthy.grant("carol"));
    sandbox.seed_store("main", &json!({"version": 1, "profiles": {SILENT: alice, HEALTHY: bob}}));
    sandbox.seed_store("work", &json!({"version": 1, "profiles": {"healthy:carol": carol}}));
    sandbox
}

/// The same two profiles of `main` in a store that nobody but us has written.
fn home_without_clawdbot(silent: &Issuer, healthy: &Issuer) -> Sandbox {
    let sandbox = Sandbox::new();
    for (id, issuer) in [("silent", silent), ("healthy", healthy)] {
        sandbox.write_manifest(id, &issuer.manifest(id));
        sandbox.log_in(id, &["--profile-id", &format!("{id}:me")]).expect_code(0);
        sandbox.log_in(id, &["--agent", "main"]).expect_code(0);
    }
    sandbox
}

/// Starts a refresh of this profile, whose issuer is silent from now on.
fn begin(sandbox: &Sandbox, issuer: &Issuer, profile: &str) -> Running {
    issuer.inject(Fault::HoldAnswer);
    let mut running = sandbox.start(&["models", "auth", "refresh", profile, "--force"]);
    running.close_input();
    issuer.wait_for_outcome("held");
    running
}

fn is_open(silent: &Issuer) -> bool {
    silent.outcomes("held") == 1 && silent.requests("refresh_token") == 1
}

#[test]
fn nobody_waits_for_an_issuer_that_is_silent() {
    let (silent, healthy) = (Issuer::start(), Issuer::start());
    let mut sandbox = home(&silent, &healthy);
    let running = begin(&sandbox, &silent, SILENT);
    sandbox.set_env("CLAWDBOT_LOCK_TIMEOUT", SOON);

    sandbox.run(&["models", "auth", "refresh", HEALTHY]).expect_code(0);
    let paste = ["models", "auth", "paste-api-key", "--provider", "acme"];
    sandbox.run_with_input(&paste, "key-0123456789abcdef\n").expect_code(0);
    sandbox.run(&["models", "auth", "report", HEALTHY, "--failed", "timeout"]).expect_code(0);
    sandbox.run(&["models", "auth", "refresh", "--agent", "work"]).expect_code(0);
    assert!(is_open(&silent), "the silent one was not waited for: {:#?}", silent.log());
    assert_eq!(healthy.outcomes("success"), 2);
    // Clawdbot's lock is held meanwhile: another program wrote this store.
    assert!(sandbox.store_path("main").with_extension("json.lock").exists());

    // The control: while the store is locked, they do not get through.
    let flock = sandbox.agent_dir("main").join(".auth-profiles.flock");
    let file = File::options().read(true).write(true).open(&flock).unwrap();
    assert!(auth_store::hold(&file, &flock));
    let refused = sandbox.run_with_input(&paste, "key-fedcba9876543210\n");
    assert_eq!(refused.code, Some(7), "{refused:#?}");
    drop(file);

    silent.release();
    running.finish().expect_code(0);
    let store = sandbox.read_store("main");
    assert_eq!(store["profiles"]["acme:default"]["key"], "key-0123456789abcdef");
    assert!(!sandbox.store_path("main").with_extension("json.lock").exists());
}

#[test]
fn where_no_clawdbot_was_seen_its_lock_is_not_held_during_a_request() {
    let (silent, healthy) = (Issuer::start(), Issuer::start());
    let sandbox = home_without_clawdbot(&silent, &healthy);
    let lock = sandbox.store_path("main").with_extension("json.lock");
    let running = begin(&sandbox, &silent, "silent:me");
    assert!(!lock.exists());
    sandbox.run(&["models", "auth", "refresh", "healthy:me", "--force"]).expect_code(0);
    silent.release();
    running.finish().expect_code(0);

    // The control: its stamp in the config is a week old at most.
    let stamp = |at: &str| {
        sandbox.write_config(&format!("{{meta: {{lastTouchedAt: '{at}'}}}}"));
        let running = begin(&sandbox, &silent, "silent:me");
        let is_held = lock.exists();
        silent.release();
        running.finish().expect_code(0);
        is_held
    };
    assert!(!stamp("2020-01-01T00:00:00.000Z"));
    assert!(stamp("2999-01-01T00:00:00.000Z"));
}

#[test]
fn a_refresh_of_many_goes_on_beside_a_silent_issuer() {
    let (silent, healthy) = (Issuer::start(), Issuer::start());
    let sandbox = home(&silent, &healthy);
    silent.inject(Fault::HoldAnswer);
    let mut running = sandbox.start(&["models", "auth", "refresh", "--all-agents"]);
    running.close_input();
    silent.wait_for_outcome("held");
    healthy.wait_until("two refreshes", |log| {
        log.iter().filter(|exchange| exchange.outcome == "success").count() == 2
    });
    assert!(is_open(&silent));
    silent.release();
    let done = running.finish();
    let lines: Vec<_> = done.expect_code(0).stdout.lines().map(str::to_owned).collect();
    // Each is told, in the order of the stores.
    let told = |line: &str, id: &str| line.starts_with(&format!("{id}: refreshed"));
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(told(&lines[0], SILENT) && told(&lines[1], HEALTHY), "{lines:?}");
    assert!(told(&lines[2], "healthy:carol"), "{lines:?}");
}

#[test]
fn of_many_due_profiles_of_a_busy_issuer_one_is_sent() {
    let issuer = Issuer::start();
    let sandbox = Sandbox::new();
    let names: Vec<_> = (0..200).map(|number| format!("user{number:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    sandbox.seed_expired(&issuer, "demo", &names);
    for _ in 0..10 {
        // The shortest time that it can ask for.
        let headers = vec![("retry-after".to_owned(), "1".to_owned())];
        issuer.inject(Fault::Status { status: 429, headers, body: "{}".to_owned() });
    }
    let done = sandbox.run(&["models", "auth", "refresh", "--json"]);
    let outcomes = done.expect_code(5).json();
    assert_eq!(issuer.requests("refresh_token"), 1);
    let profiles = outcomes["profiles"].as_array().unwrap();
    assert_eq!(profiles.len(), 200);
    assert!(profiles.iter().all(|it| it["error"]["code"] == "unavailable"), "{outcomes}");

    // Who insists asks, and an answer ends it.
    issuer.clear_faults();
    sandbox.run(&["models", "auth", "refresh", "demo:user007", "--force"]).expect_code(0);
    sandbox.run(&["models", "auth", "refresh", "demo:user008"]).expect_code(0);
    assert_eq!(issuer.requests("refresh_token"), 3);
}
