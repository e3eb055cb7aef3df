//! The main scenario, with no account and no internet: `cargo xtask demo`.
//!
//! The real binary in a temporary home, against an issuer in this process. Every number is measured
//! or counted.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a demonstration"
)]

mod stage;

use e2e::http::{decode, find};
use e2e::issuer::{Fault, Issuer, TokenState};
use e2e::sandbox::{Sandbox, children_of, kill};
use e2e::user::User;
use serde_json::json;
use stage::Stage;
use std::net::TcpListener;
use std::time::{Duration, Instant};

const ALICE: &str = "demo:alice@example.test";
const BOB: &str = "demo:bob@example.test";
const PORTS: [u16; 2] = [1455, 1457];
const CROWD: usize = 64;

fn main() {
    let start = Instant::now();
    let issuer = Issuer::start();
    let home = Sandbox::new();
    let mut manifest = issuer.manifest("demo");
    manifest["redirect"]["ports"] = json!(PORTS);
    home.write_manifest("demo", &manifest);
    let mut stage = Stage::new();
    stage.say(&format!("issuer  {} (in this process)", issuer.url()));
    stage.say(&format!("state   {} (removed at the end)", home.state().display()));

    log_in_twice(&mut stage, &home, &issuer);
    show_status(&mut stage, &home);
    let spent = expire(&mut stage, &home);
    crowd(&mut stage, &home, &issuer, &spent);
    rate_limit(&mut stage, &home, &issuer);
    kill_the_foreground(&mut stage, &home, &issuer);
    kill_everything(&mut stage, &home, &issuer);

    stage.step("The issuer's own count");
    stage.measure("token requests", issuer.log().iter().filter(|e| e.grant.is_some()).count());
    stage.measure("reused refresh tokens", issuer.outcomes("reuse"));
    stage.check(issuer.outcomes("reuse") == 0, "no refresh token was spent twice");
    for id in [ALICE, BOB] {
        let refresh = home.profile("main", id)["refresh"].as_str().unwrap().to_owned();
        stage.check(
            issuer.state_of(&refresh) == TokenState::Live,
            &format!("{id} is still logged in"),
        );
    }
    println!("\ndone in {:.1} s", start.elapsed().as_secs_f64());
}

fn log_in_twice(stage: &mut Stage, home: &Sandbox, issuer: &Issuer) {
    stage.step("Log in two accounts, through the loopback listener");
    // Short-lived on purpose: the next steps wait until these tokens expire.
    issuer.set(|policy| policy.expires_in = Some(4));
    log_in(stage, home, issuer, "alice");
    // The second login finds its port taken: by us, unless another program has it.
    let taken = TcpListener::bind(("127.0.0.1", PORTS[0]));
    let by = if taken.is_ok() { "this program" } else { "somebody else" };
    stage.say(&format!("port {} is now taken by {by}", PORTS[0]));
    log_in(stage, home, issuer, "bob");
    issuer.set(|policy| policy.expires_in = Some(3600));
    let order = ["models", "auth", "order", "set", "--provider", "demo", ALICE, BOB];
    stage.run(home, &order);
}

fn log_in(stage: &mut Stage, home: &Sandbox, issuer: &Issuer, account: &str) {
    issuer.set(|policy| account.clone_into(&mut policy.account));
    let free = PORTS.iter().any(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let args = ["models", "auth", "login", "--provider", "demo", "--no-browser"];
    stage.command(&args);
    let start = Instant::now();
    let mut login = home.start(&args);
    let url = login.authorization_url();
    let fields = decode(url.split_once('?').unwrap().1);
    let redirect = find(&fields, "redirect_uri").unwrap();
    stage.say(&format!("{}?… redirect_uri={redirect}", url.split('?').next().unwrap()));
    let mut user = User::named(account);
    if free {
        let page = user.visit(&url).expect("the listener answers");
        stage.say(&format!(
            "a scripted browser followed it; the listener's answer: {}",
            page.status
        ));
    } else {
        stage.say("both ports are taken: the person pastes the address the browser ended on");
        let ends_on = user.walk(&url).expect("the issuer redirects");
        login.type_in(&format!("{ends_on}\n"));
    }
    let finished = login.finish();
    stage.expect(&finished, 0);
    let talk = finished.stderr.lines().filter(|line| !line.contains("response_type=code"));
    stage.show(&talk.collect::<Vec<_>>().join("\n"));
    let profile = home.profile("main", &format!("demo:{account}@example.test"));
    stage.check(profile["accountId"] == account, &format!("{account} is stored"));
    stage.took("logged in after", start.elapsed());
}

fn show_status(stage: &mut Stage, home: &Sandbox) {
    stage.step("What is there");
    let status = stage.run(home, &["models", "status"]);
    stage.show(&status.stdout);
}

/// Waits until alice's access token expires, as reported by the binary. Returns her refresh token.
fn expire(stage: &mut Stage, home: &Sandbox) -> String {
    stage.step("Let the access tokens expire");
    let args = ["models", "auth", "list", "--provider", "demo", "--json"];
    stage.command(&args);
    let start = Instant::now();
    let expired = |profile: &serde_json::Value| profile["access"] == "expired";
    while !home.run(&args).json()["profiles"].as_array().unwrap().iter().all(expired) {
        assert!(start.elapsed() < e2e::TIMEOUT, "the tokens do not expire");
        std::thread::sleep(Duration::from_millis(50));
    }
    stage.took("both were expired after", start.elapsed());
    home.profile("main", ALICE)["refresh"].as_str().unwrap().to_owned()
}

fn crowd(stage: &mut Stage, home: &Sandbox, issuer: &Issuer, spent: &str) {
    stage.step(&format!("{CROWD} processes ask at once for the expired token"));
    let before = issuer.requests("refresh_token");
    let args = ["models", "auth", "token", "--provider", "demo"];
    stage.command(&args);
    let start = Instant::now();
    let runs = home.run_many(CROWD, &args);
    let taken = start.elapsed();
    for run in &runs {
        stage.expect(run, 0);
    }
    let requests = issuer.requests("refresh_token") - before;
    stage.measure("answers", runs.len());
    stage.measure("refresh requests at the issuer", requests);
    stage.check(requests == 1, "one request, however many asked");
    stage.check(runs.iter().all(|run| run.line() == runs[0].line()), "all answers are equal");
    let rotated = matches!(issuer.state_of(spent), TokenState::Spent { .. });
    stage.check(rotated, "the refresh token was rotated, and its successor stored");
    stage.took("all of them after", taken);
}

fn rate_limit(stage: &mut Stage, home: &Sandbox, issuer: &Issuer) {
    stage.step("The provider limits alice: routing moves to bob");
    let token = ["models", "auth", "token", "--provider", "demo", "--format", "json"];
    let first = stage.run(home, &token).json()["profileId"].clone();
    stage.say(&format!("routed to {first}"));
    let report =
        ["models", "auth", "report", ALICE, "--failed", "rate_limit", "--retry-after", "90s"];
    stage.run(home, &report);
    let explain = stage.run(home, &["models", "auth", "explain", "--provider", "demo"]);
    stage.show(&explain.stdout);
    let before = issuer.requests("refresh_token");
    let second = stage.run(home, &token).json()["profileId"].clone();
    stage.say(&format!("routed to {second}"));
    stage.check(first == ALICE && second == BOB, "alice rests, bob answers");
    stage.measure("refresh requests for bob", issuer.requests("refresh_token") - before);
    stage.run(home, &["models", "auth", "report", ALICE, "--ok"]);
}

fn kill_the_foreground(stage: &mut Stage, home: &Sandbox, issuer: &Issuer) {
    stage.step("Kill the process that asked, in the middle of its refresh");
    let before = issuer.requests("refresh_token");
    let (run, _) = begin_refresh(stage, home, issuer);
    run.kill_only();
    stage.say("SIGKILL to the foreground; the issuer has rotated and still holds the answer");
    issuer.release();
    let token = stage.run(home, &["models", "auth", "token", "--profile", ALICE]);
    let stored = home.profile("main", ALICE)["access"].clone();
    stage.check(stored == token.line(), "its child finished: the successor is stored");
    let requests = issuer.requests("refresh_token") - before;
    stage.measure("refresh requests", requests);
    stage.check(requests == 1, "nothing was sent twice");
}

fn kill_everything(stage: &mut Stage, home: &Sandbox, issuer: &Issuer) {
    stage.step("Kill everything in the middle of a refresh, the answer lost");
    stage.say("this issuer gives grace: a client that lost the answer may ask again (RFC 9700 §4.14.2 allows it)");
    issuer.set(|policy| policy.grace = true);
    let before = issuer.requests("refresh_token");
    let (run, children) = begin_refresh(stage, home, issuer);
    children.into_iter().for_each(kill);
    run.kill_only();
    stage.say(
        "SIGKILL to the child and to the foreground; what is left is the record of the intent",
    );
    issuer.release();
    let start = Instant::now();
    let token = stage.run(home, &["models", "auth", "token", "--profile", ALICE]);
    stage.took("recovered after", start.elapsed());
    let stored = home.profile("main", ALICE)["access"].clone();
    stage.check(stored == token.line(), "the next process asked again and stored the successor");
    stage.measure("refresh requests", issuer.requests("refresh_token") - before);
    stage.measure("answered out of grace", issuer.outcomes("grace"));
    issuer.set(|policy| policy.grace = false);
}

/// Makes alice's token expired, starts its refresh and stops when the issuer has carried it out and
/// holds the response.
fn begin_refresh(
    stage: &mut Stage,
    home: &Sandbox,
    issuer: &Issuer,
) -> (e2e::sandbox::Running, Vec<u32>) {
    let held = issuer.outcomes("held");
    issuer.inject(Fault::HoldAnswer);
    home.expire("main", ALICE);
    stage.say("alice's token is made to expire (its `expires` in the store is set back)");
    let args = ["models", "auth", "token", "--profile", ALICE];
    stage.command(&args);
    let run = home.start(&args);
    issuer.wait_until("the refresh", |log| {
        log.iter().filter(|exchange| exchange.outcome == "held").count() > held
    });
    let children = children_of(run.id());
    (run, children)
}
