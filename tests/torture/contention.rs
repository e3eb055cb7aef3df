//! Counts requests: no matter how many processes refresh, in however many agents, a refresh token
//! is sent once.

use crate::Settings;
use crate::live::{Home, PROFILE, TOKEN, Watch, expect, judge};
use crate::report::Report;
use e2e::issuer::{Fault, Issuer, TokenState};
use e2e::sandbox::{Sandbox, expired};
use serde_json::json;
use std::thread;
use std::time::Instant;

/// Runs the stage.
pub(crate) fn run(settings: &Settings) -> Report {
    let mut report = Report::default();
    rounds(&mut report, if settings.full { 100 } else { 8 });
    herd(&mut report);
    failing_herd(&mut report, &Fault::status(503, "{}"), 2);
    failing_herd(&mut report, &Fault::DropAfterRead, 24);
    copies(&mut report);
    crosswise(&mut report, if settings.full { 1000 } else { 60 });
    let found_out = homes_apart();
    report.control("16 agents whose records know nothing of each other", found_out);
    report
}

/// 64 processes, one expired token, repeatedly.
fn rounds(report: &mut Report, rounds: usize) {
    let home = Home::new(1);
    let watch = Watch::start(&home.store("main"));
    for round in 0..rounds {
        home.expire("main", PROFILE);
        let runs = home.sandbox.run_many(64, &TOKEN);
        for run in &runs {
            expect(report, &format!("round {round}"), run, 0);
            if run.line() != runs[0].line() {
                report.fail(format!("round {round}: two processes got different tokens"));
            }
        }
        report.injections += 64;
    }
    let seen = watch.end();
    seen.judge(report, "64 processes");
    if seen.torn > 0 {
        report.fail(format!("{} of {} reads of the store were torn", seen.torn, seen.reads));
    }
    let requests = home.issuer.requests("refresh_token");
    report.requests += requests as u64;
    if requests != rounds {
        report.fail(format!("64 processes, {rounds} rounds: {requests} requests"));
    }
    home.check(report, "64 processes");
    report.note(format!(
        "64 processes x {rounds} rounds: {requests} requests, 0 of {} reads torn",
        seen.reads
    ));
}

/// 256 processes at once.
fn herd(report: &mut Report) {
    let home = Home::new(1);
    let start = Instant::now();
    for run in home.sandbox.run_many(256, &TOKEN) {
        expect(report, "256 processes", &run, 0);
    }
    let requests = home.issuer.requests("refresh_token");
    report.injections += 256;
    report.requests += requests as u64;
    if requests != 1 {
        report.fail(format!("256 processes on one expired token sent {requests} requests"));
    }
    home.check(report, "256 processes");
    report.note(format!(
        "256 processes on one expired token: {requests} request, {:.1?} in all",
        start.elapsed()
    ));
}

/// 256 processes at once, and an issuer that fails.
fn failing_herd(report: &mut Report, fault: &Fault, most: usize) {
    let home = Home::new(1);
    for _ in 0..1024 {
        home.issuer.inject(fault.clone());
    }
    let what = format!("256 processes on an issuer that does {fault:?}");
    for run in home.sandbox.run_many(256, &TOKEN) {
        expect(report, &what, &run, 5);
    }
    let requests = home.issuer.requests("refresh_token");
    report.injections += 256;
    report.requests += requests as u64;
    if requests > most {
        report.fail(format!("{what}: {requests} requests"));
    }
    home.issuer.clear_faults();
    let next = home.run(report, &[&TOKEN[..], &["--force-refresh"]].concat());
    expect(report, &format!("after {what}"), &next, 0);
    home.check(report, &what);
    report.note(format!("{what}: {requests} requests, and the next call works"));
}

/// 16 agents with copies of one token, all at once.
fn copies(report: &mut Report) {
    let home = Home::new(16);
    let runs: Vec<_> = thread::scope(|scope| {
        let ask = |agent: &String| {
            let (args, sandbox) = ([&TOKEN[..], &["--agent", agent]].concat(), &home.sandbox);
            let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
            scope.spawn(move || sandbox.run(&args.iter().map(String::as_str).collect::<Vec<_>>()))
        };
        let threads: Vec<_> = home.agents().iter().map(ask).collect();
        threads.into_iter().map(|thread| thread.join().expect("a run")).collect()
    });
    for run in &runs {
        expect(report, "16 agents", run, 0);
    }
    let requests = home.issuer.requests("refresh_token");
    let holders = home
        .agents()
        .iter()
        .filter(|agent| {
            home.issuer.state_of(&home.refresh_token(agent, PROFILE)) == TokenState::Live
        })
        .count();
    report.injections += 16;
    report.requests += requests as u64;
    if (requests, holders) != (1, 16) {
        report.fail(format!("16 agents: {requests} requests, {holders} successors"));
    }
    home.check(report, "16 agents");
    report.note(format!(
        "16 agents holding copies of one refresh token: {requests} request, {holders} successors"
    ));
}

/// Two logins, each in two agents; all four are refreshed by 16 processes at once until `wanted`
/// refreshes are done.
fn crosswise(report: &mut Report, wanted: usize) {
    let home = Home::new(2);
    home.give("demo:bob", "bob");
    let watches: Vec<_> = home.agents().iter().map(|it| Watch::start(&home.store(it))).collect();
    let parts: Vec<Report> = thread::scope(|scope| {
        let work = |number: usize| {
            let home = &home;
            scope.spawn(move || {
                let agent = home.agents()[number % 2].as_str();
                let profile = [PROFILE, "demo:bob"][number / 2 % 2];
                let args = ["models", "auth", "token", "--agent", agent, "--profile", profile];
                let args = [&args[..], &["--force-refresh"]].concat();
                let mut part = Report::default();
                while home.issuer.outcomes("success") < wanted && part.failures.is_empty() {
                    expect(&mut part, "crosswise", &home.sandbox.run(&args), 0);
                    part.injections += 1;
                }
                part
            })
        };
        let threads: Vec<_> = (0..16).map(work).collect();
        threads.into_iter().map(|thread| thread.join().expect("a part")).collect()
    });
    for part in parts {
        report.absorb(part);
    }
    for watch in watches {
        watch.end().judge(report, "crosswise");
    }
    let (done, reused) = (home.issuer.outcomes("success"), home.issuer.outcomes("reuse"));
    report.requests += home.issuer.requests("refresh_token") as u64;
    if reused > 0 {
        report.fail(format!("crosswise: {reused} used-up tokens were sent"));
    }
    home.check(report, "crosswise");
    report.note(format!(
        "two logins cloned in two agents, refreshed crosswise by 16 processes: {done} refreshes, {reused} used-up tokens sent"
    ));
}

/// The control for all of these: the same 16 copies, each in its own home. The check must fail.
fn homes_apart() -> bool {
    let issuer = Issuer::start();
    let tokens = issuer.grant("alice");
    let homes: Vec<_> = (0..16)
        .map(|_| {
            let sandbox = Sandbox::new();
            sandbox.write_manifest("demo", &issuer.manifest("demo"));
            let profile = expired(&issuer, "demo", &tokens);
            sandbox.seed_store("main", &json!({"version": 1, "profiles": {PROFILE: profile}}));
            sandbox
        })
        .collect();
    let mut ignored = Report::default();
    for home in &homes {
        judge(&mut ignored, &home.run(&TOKEN));
    }
    issuer.outcomes("reuse") > 0 && issuer.requests("refresh_token") > 1
}
