//! Abnormal time: clocks set back and ahead, and processes stopped in the middle of a refresh while
//! Clawdbot judges their lock stale and takes it.

use crate::Settings;
use crate::live::{Home, PROFILE, TOKEN, backdate, counts, expect, lock_of, under_strace};
use crate::report::Report;
use e2e::clawdbot::Clawdbot;
use e2e::issuer::Fault;
use e2e::sandbox::{Finished, children_of, kill_with};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// Runs the stage.
pub(crate) fn run(settings: &Settings) -> Report {
    let mut report = Report::default();
    if has_faketime() {
        for shift in ["-1d", "+3650d"] {
            jump(&mut report, shift);
        }
        failure_in_the_future(&mut report);
        unknown_age(&mut report);
    } else {
        report.not_run("clocks", "faketime cannot be used here");
    }
    if crate::live::has_strace() {
        stopped(&mut report, settings.full);
    } else {
        report.not_run("stopped processes", "strace cannot be used here");
    }
    blind_writer(&mut report);
    report
}

fn has_faketime() -> bool {
    let year =
        std::process::Command::new("faketime").args(["-f", "+3650d", "date", "+%Y"]).output();
    year.is_ok_and(|output| output.status.success() && output.stdout > b"2035".to_vec())
}

/// Runs the binary with a wrong clock; its monotonic clock is unaffected.
fn at(home: &Home, shift: &str, args: &[&str]) -> Finished {
    let wrapped = home.sandbox.command(args);
    let mut command = std::process::Command::new("/usr/bin/env");
    command.env_clear().envs(wrapped.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1");
    command.env("PATH", "/usr/bin:/bin");
    command.args(["faketime", "-f", shift]).arg(wrapped.get_program()).args(wrapped.get_args());
    let output = command.stdin(Stdio::null()).output().expect("faketime starts");
    Finished {
        args: args.iter().map(|arg| format!("{arg} at {shift}")).collect(),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The clock jumps, and later back: one refresh for each jump, and no more.
fn jump(report: &mut Report, shift: &str) {
    let home = Home::new(1);
    let requests = || home.issuer.requests("refresh_token");
    for (when, wanted) in [(shift, 1), (shift, 1), ("+0", 2), ("+0", 2), (shift, 3), ("+0", 4)] {
        let what = format!("a clock at {when}, {wanted}");
        expect(report, &what, &at(&home, when, &TOKEN), 0);
        if requests() != wanted {
            report.fail(format!("{what}: {} requests", requests()));
        }
        home.check(report, &what);
        report.injections += 1;
    }
    report.requests += requests() as u64;
    report.note(format!("a clock at {shift} and back, twice: 4 refreshes, no loop"));
}

/// A failure recorded with the clock years ahead must not cause a wait of years.
fn failure_in_the_future(report: &mut Report) {
    let home = Home::new(1);
    home.issuer.inject(Fault::status(503, "{}"));
    expect(report, "a failure ten years ahead", &at(&home, "+3650d", &TOKEN), 5);
    expect(report, "the same, today", &home.sandbox.run(&TOKEN), 0);
    home.check(report, "a failure ten years ahead");
    report.injections += 1;
    report.requests += home.issuer.requests("refresh_token") as u64;
}

/// The control: without the time at which it was obtained, a token from the future would be trusted
/// for ten years.
fn unknown_age(report: &mut Report) {
    let home = Home::new(1);
    at(&home, "+3650d", &TOKEN);
    home.edit("main", |store| {
        if let Some(profile) = store["profiles"][PROFILE].as_object_mut() {
            profile.remove("obtainedAt");
        }
    });
    let before = home.issuer.requests("refresh_token");
    home.sandbox.run(&TOKEN);
    let is_believed = home.issuer.requests("refresh_token") == before;
    report.control("a token from the future of unknown age", is_believed);
}

/// Every system call of a refresh after which it is stopped: the name of the call, and its number.
fn phases(home: &Home, full: bool) -> Vec<(String, usize)> {
    let file = home.sandbox.home().join("trace");
    let path = file.to_string_lossy().into_owned();
    let mut command = under_strace(home, &["-f", "-qq", "-o", &path], &TOKEN);
    let traced = command.stdout(Stdio::null()).status();
    assert!(traced.is_ok_and(|status| status.success()), "a refresh under strace");
    let trace = fs::read_to_string(&file).unwrap_or_default();
    // The child that sends begins with a session of its own; its other threads are not counted.
    let child = trace.lines().find(|line| line.contains("setsid()"));
    let child = child.and_then(|line| line.split_whitespace().next()).unwrap_or_default();
    let mut calls = BTreeMap::<&str, usize>::new();
    let mut is_sending = false;
    for line in trace.lines() {
        let Some((process, rest)) = line.split_once(' ') else { continue };
        let Some((name, _)) = rest.trim_start().split_once('(') else { continue };
        if process == child && !name.starts_with('<') {
            is_sending |= name == "setsid";
            *calls.entry(name).or_default() += 1;
        }
    }
    assert!(is_sending, "a child sends");
    let wanted: &[&str] = if full { &EVERY } else { &TELLING };
    let known = calls.into_iter().filter(|(name, _)| wanted.contains(name));
    let mut all: Vec<_> = known
        .flat_map(|(name, times)| (1..=times).map(move |time| (name.to_owned(), time)))
        .collect();
    if !full {
        all.extend((4..=9).map(|time| ("fsync".to_owned(), time)));
    }
    all
}

/// A refresh is stopped, its lock looks stale, and Clawdbot takes it over and is working when the
/// refresh continues.
fn stopped(report: &mut Report, full: bool) {
    let home = Home::new(1).beside_others();
    let phases = phases(&home, full);
    let mut peer = Clawdbot::start(&home.store("main"));
    let (mut hit, mut taken) = (0, 0);
    for (call, time) in &phases {
        let inject = format!("inject={call}:signal=SIGSTOP:when={time}");
        let trace = format!("trace={call}");
        let options = ["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        let what = format!("stopped after {call} {time}");
        taken += u64::from(interrupted(report, &home, &mut peer, &what, &options, &mut hit));
    }
    // Not after a call but before it: between the last check of the store and the rename.
    let before = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2", "-e", BEFORE_RENAME];
    interrupted(report, &home, &mut peer, "stopped before the rename", &before, &mut hit);
    report.injections += hit;
    report.requests += home.issuer.requests("refresh_token") as u64;
    report.note(format!(
        "a refresh stopped at {hit} points with its lock backdated ({taken} times taken over by a Clawdbot at work): one request each, every update there, no token lost"
    ));
}

/// One refresh that is stopped once. Returns whether its lock was taken over meanwhile.
fn interrupted(
    report: &mut Report,
    home: &Home,
    peer: &mut Clawdbot,
    what: &str,
    options: &[&str],
    hit: &mut u64,
) -> bool {
    let store = home.store("main");
    let lock = lock_of(&store);
    home.expire("main", PROFILE);
    let requests = home.issuer.requests("refresh_token");
    let updates = || counts(home, "main").get("x:theirs").copied().unwrap_or(0);
    let before = updates();
    let mut tracer = under_strace(home, options, &TOKEN);
    let mut tracer = tracer.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("strace");
    let stopped = wait_until_stopped(&mut tracer);
    let mut taken = false;
    if let Some(stopped) = stopped {
        *hit += 1;
        taken = backdate(&lock, Duration::from_secs(40));
        peer.begin(&json!({"op": "update", "id": "x:theirs", "holdMs": 200}));
        // It has the lock once its update is in the file.
        let deadline = Instant::now() + Duration::from_mins(1);
        while read_count(&store) <= before && Instant::now() < deadline {
            thread::park_timeout(Duration::from_millis(2));
        }
        kill_with("CONT", stopped);
        // A restart makes a new child, which is stopped at the same point.
        while let Some(stopped) = wait_until_stopped(&mut tracer) {
            kill_with("CONT", stopped);
        }
    }
    let output = tracer.wait_with_output().expect("a child of ours");
    let finished = Finished {
        args: vec![what.to_owned()],
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    expect(report, what, &finished, 0);
    let answered = stopped.is_none() || peer.reply()["done"] == true;
    let sent = home.issuer.requests("refresh_token") - requests;
    if sent != 1 {
        report.fail(format!("{what}: {sent} requests"));
    }
    if !answered || updates() != before + u64::from(stopped.is_some()) {
        report.fail(format!("{what}: an update of Clawdbot's was lost"));
    }
    home.check(report, what);
    taken
}

/// The count that a reader without a lock sees; a torn file has none.
fn read_count(store: &std::path::Path) -> u64 {
    let text = fs::read(store).unwrap_or_default();
    let store: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    store["usageStats"]["x:theirs"]["errorCount"].as_u64().unwrap_or(0)
}

/// Waits until a process below this one has been stopped for too long to be a coincidence. `None`:
/// everything has ended.
fn wait_until_stopped(tracer: &mut std::process::Child) -> Option<u32> {
    let deadline = Instant::now() + Duration::from_mins(2);
    let mut times = 0;
    loop {
        if tracer.try_wait().expect("a child of ours").is_some() {
            return None;
        }
        assert!(Instant::now() < deadline, "a refresh under strace hangs");
        let own: Vec<u32> = children_of(tracer.id());
        let all: Vec<u32> =
            own.iter().copied().chain(own.iter().flat_map(|it| children_of(*it))).collect();
        let stopped = all.into_iter().find(|process| is_stopped(*process));
        times = if stopped.is_some() { times + 1 } else { 0 };
        if times == 8 {
            return stopped;
        }
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// Whether this is our process, and is stopped. Before `exec`, `strace` stops it too.
fn is_stopped(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    stat.contains("(clawdbot)") && (state.starts_with('t') || state.starts_with('T'))
}

/// The control: a writer that does not check again before it writes.
fn blind_writer(report: &mut Report) {
    let home = Home::new(1).beside_others();
    let mut peer = Clawdbot::start(&home.store("main"));
    peer.ask(&json!({"op": "load"}));
    let count = ["models", "auth", "report", "x:bystander", "--failed", "timeout"];
    home.run(report, &count);
    peer.ask(&json!({"op": "save"}));
    let is_lost = !counts(&home, "main").contains_key("x:bystander");
    report.control("a writer that was stopped and does not look again", is_lost);
}

/// The system calls that advance a refresh.
const TELLING: [&str; 6] = ["renameat2", "rename", "rmdir", "connect", "writev", "recvfrom"];
/// Those, and the calls around them.
const EVERY: [&str; 17] = [
    "mkdir",
    "renameat2",
    "rename",
    "unlink",
    "rmdir",
    "fsync",
    "flock",
    "ftruncate",
    "connect",
    "writev",
    "recvfrom",
    "shutdown",
    "write",
    "statx",
    "openat",
    "close",
    "lseek",
];
/// Long enough for a complete Clawdbot process.
const BEFORE_RENAME: &str = "inject=renameat2:delay_enter=1500000:when=2";
