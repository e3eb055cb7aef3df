//! Side by side with Clawdbot on the same file: its lock, the real `proper-lockfile`, and its habit
//! of writing without it.

use crate::Settings;
use crate::live::{
    Home, PROFILE, TOKEN, Watch, backdate, counts, expect, has_strace, lock_of, replace,
    under_strace,
};
use crate::report::Report;
use e2e::clawdbot::Clawdbot;
use e2e::issuer::Fault;
use e2e::sandbox::{Finished, write};
use serde_json::{Value, json};
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Runs the stage.
pub(crate) fn run(settings: &Settings) -> Report {
    let mut report = Report::default();
    let updates = if settings.full { 10_000 } else { 320 };
    side_by_side(&mut report, updates);
    takers(&mut report, if settings.full { 100 } else { 6 });
    if has_strace() {
        parked_clawdbot(&mut report);
        parked_ours(&mut report);
        parked_without_us(&mut report);
    } else {
        report.not_run("parked takers", "strace cannot be used here");
    }
    stale_saves(&mut report, if settings.full { 200 } else { 10 });
    saved_under_way(&mut report);
    other_locks(&mut report);
    sessions(&mut report, settings.full);
    report
}

/// The id of a profile in which one process counts its updates.
fn id(side: &str, number: usize) -> String {
    format!("x:{side}{number}")
}

/// A home whose store has counting profiles, for this many processes per side.
fn home_for(processes: usize) -> Home {
    let home = Home::new(1).beside_others();
    home.edit("main", |store| {
        for side in ["ours", "theirs"] {
            for number in 0..processes {
                let profile = json!({"type": "api_key", "provider": "x", "key": "k"});
                store["profiles"][id(side, number)] = profile;
            }
        }
    });
    home
}

fn count_one(home: &Home, number: usize) -> Finished {
    home.sandbox.run(&["models", "auth", "report", &id("ours", number), "--failed", "timeout"])
}

/// 8 processes of ours and 8 of Clawdbot's, with this many updates per side; then 16 of Clawdbot's
/// alone.
fn side_by_side(report: &mut Report, updates: usize) {
    let home = home_for(8);
    let store = home.store("main");
    let watch = Watch::start(&store);
    let start = Instant::now();
    let (parts, beside, readers) = thread::scope(|scope| {
        let ours = |number: usize| {
            let home = &home;
            scope.spawn(move || {
                let mut part = Report::default();
                for _ in 0..updates / 8 {
                    expect(&mut part, "side by side", &count_one(home, number), 0);
                    part.injections += 1;
                }
                part
            })
        };
        let ours: Vec<_> = (0..8).map(ours).collect();
        let store = store.as_path();
        let theirs: Vec<_> =
            (0..8).map(|number| scope.spawn(move || counted(store, number, updates / 8))).collect();
        let mut readers = Report::default();
        while !ours.iter().all(thread::ScopedJoinHandle::is_finished) {
            let list = home.sandbox.run(&["models", "auth", "list", "--json"]);
            expect(&mut readers, "a reader beside writers", &list, 0);
            let profiles = list.json()["profiles"].as_array().map_or(0, Vec::len);
            if profiles != 18 {
                readers.fail(format!("a reader saw {profiles} of 18 profiles"));
            }
            readers.injections += 1;
        }
        let parts: Vec<_> = ours.into_iter().map(|it| it.join().expect("one of ours")).collect();
        let theirs: Vec<_> = theirs.into_iter().map(|it| it.join().expect("a peer")).collect();
        (parts, theirs, readers)
    });
    let took = start.elapsed();
    let reads = readers.injections;
    parts.into_iter().chain([readers]).for_each(|part| report.absorb(part));
    let seen = watch.end();
    seen.judge(report, "side by side");
    let found = counts(&home, "main");
    let sum = |side: &str| {
        (0..8).map(|number| found.get(&id(side, number)).copied().unwrap_or(0)).sum::<u64>()
    };
    let wanted = (updates / 8 * 8) as u64;
    let lost = 2 * wanted - sum("ours") - sum("theirs");
    if lost > 0 {
        report.fail(format!("{lost} of {} updates were lost", 2 * wanted));
    }
    report.injections += wanted;
    home.sandbox.run(&TOKEN);
    home.check(report, "side by side");

    let alone = {
        let home = home_for(16);
        let store = home.store("main");
        thread::scope(|scope| {
            let theirs = |number: usize| {
                let store = store.as_path();
                scope.spawn(move || counted(store, number, updates / 8))
            };
            let theirs: Vec<_> = (0..16).map(theirs).collect();
            theirs.into_iter().map(|it| it.join().expect("a peer")).collect::<Vec<_>>()
        })
    };
    let of = |replies: &[Value], what: &str| {
        replies.iter().filter_map(|reply| reply[what].as_u64()).sum::<u64>()
    };
    let (beside_us, without_us) = (of(&beside, "failures"), of(&alone, "failures"));
    if beside_us > without_us {
        report.fail(format!("Clawdbot did not get its lock {beside_us} times, alone {without_us}"));
    }
    let torn = of(&beside, "torn");
    if torn + of(&beside, "compromised") > 0 {
        report.fail(format!("Clawdbot read {torn} torn stores, or lost its lock to us"));
    }
    report.note(format!(
        "8 of ours + 8 of Clawdbot's, {wanted} updates a side in {took:.0?}: {lost} lost, 0 torn in {reads} reads of ours and {torn} in its own; lock failures of Clawdbot's: {beside_us}, and {without_us} of 16 Clawdbots alone"
    ));
    report.note(format!(
        "hold of the lock beside 8 Clawdbots: p99.9 {:.1?}, longest {:.1?}, of {} seen",
        seen.long_hold(),
        seen.ours.last().copied().unwrap_or_default(),
        seen.ours.len()
    ));
}

fn counted(store: &std::path::Path, number: usize, times: usize) -> Value {
    Clawdbot::start(store).ask(&json!({"op": "count", "id": id("theirs", number), "times": times}))
}

/// A stale lock: an old directory without a holder.
fn make_stale(home: &Home) {
    let lock = lock_of(&home.store("main"));
    fs::create_dir(&lock).expect("no lock is held");
    assert!(backdate(&lock, LONG_DEAD), "the lock is there");
}

/// 8 of our processes and 4 of Clawdbot's find the lock of a crashed process at the same time.
fn takers(report: &mut Report, rounds: usize) {
    let home = home_for(8);
    let store = home.store("main");
    let mut peers: Vec<_> = (0..4).map(|_| Clawdbot::start(&store)).collect();
    let (mut wanted_theirs, mut among_themselves) = (0, 0);
    let mut slowest = Duration::ZERO;
    for _ in 0..rounds {
        make_stale(&home);
        let start = Instant::now();
        for (number, peer) in peers.iter_mut().enumerate() {
            peer.begin(&json!({"op": "update", "id": id("theirs", number)}));
        }
        thread::scope(|scope| {
            let home = &home;
            let ours: Vec<_> =
                (0..8).map(|number| scope.spawn(move || count_one(home, number))).collect();
            for run in ours {
                expect(report, "many takers", &run.join().expect("a run"), 0);
            }
        });
        slowest = slowest.max(start.elapsed());
        let replies: Vec<_> = peers.iter_mut().map(Clawdbot::reply).collect();
        wanted_theirs += replies.iter().filter(|reply| reply["done"] == true).count() as u64;
        among_themselves += u64::from(overlaps(&replies));
        report.injections += 12;
    }
    let found = counts(&home, "main");
    let sum = |side: &str, of: usize| {
        (0..of).map(|number| found.get(&id(side, number)).copied().unwrap_or(0)).sum::<u64>()
    };
    let ours = (rounds * 8) as u64;
    let (lost_ours, lost_theirs) =
        (ours - sum("ours", 8), wanted_theirs.saturating_sub(sum("theirs", 4)));
    if lost_ours > 0 || lost_theirs > among_themselves {
        report.fail(format!(
            "many takers: {lost_ours} updates of ours lost, {lost_theirs} of theirs"
        ));
    }
    home.sandbox.run(&TOKEN);
    home.check(report, "many takers");
    report.note(format!(
        "a stale lock and 12 takers, {rounds} rounds: {lost_ours} updates of ours lost, {lost_theirs} of Clawdbot's; two Clawdbots at once in {among_themselves} rounds; slowest of ours {slowest:.1?}"
    ));
}

/// Whether two of these held the lock at the same time.
fn overlaps(replies: &[Value]) -> bool {
    let time = |value: &Value| value.as_str().and_then(|text| text.parse::<u64>().ok());
    let mut spans: Vec<_> = replies
        .iter()
        .filter_map(|reply| Some((time(&reply["from"])?, time(&reply["to"])?)))
        .collect();
    spans.sort_unstable();
    spans.windows(2).any(|pair| pair[1].0 < pair[0].1)
}

/// A Clawdbot process judges the lock stale and is stopped before it removes it. Meanwhile we take
/// the lock over, and have a request in progress when that process continues and removes our lock.
fn parked_clawdbot(report: &mut Report) {
    let home = home_for(1);
    let store = home.store("main");
    make_stale(&home);
    let mut peer = Clawdbot::start_under(&parked("rmdir"), &store);
    peer.begin(&json!({"op": "update", "id": id("theirs", 0)}));
    let is_parked = wait_until_parked(peer.id());
    home.issuer.inject(Fault::HoldAnswer);
    let token = home.refresh_token("main", PROFILE);
    let run = thread::scope(|scope| {
        let ours = scope.spawn(|| home.sandbox.run(&TOKEN));
        home.issuer.wait_for_outcome("held");
        let was_sent_first = counts(&home, "main").is_empty();
        let theirs = peer.reply();
        if !is_parked || !was_sent_first || theirs["done"] != true {
            report.fail(format!("a parked Clawdbot: it went otherwise than planned: {theirs}"));
        }
        home.issuer.release();
        ours.join().expect("a run")
    });
    expect(report, "a parked Clawdbot took our lock", &run, 0);
    if counts(&home, "main").get(&id("theirs", 0)) != Some(&1) {
        report.fail("a parked Clawdbot: its update was lost");
    }
    if home.record(&token)["state"] != "consumed" {
        report.fail("a parked Clawdbot: the record of the token was not written");
    }
    home.check(report, "a parked Clawdbot");
    report.requests += home.issuer.requests("refresh_token") as u64;
    report.injections += 1;
}

/// One of our processes judges the lock stale and is stopped before it exchanges it. Meanwhile a
/// Clawdbot process takes the lock over and is working.
fn parked_ours(report: &mut Report) {
    let home = home_for(1);
    let store = home.store("main");
    let mut peer = Clawdbot::start(&store);
    make_stale(&home);
    let profile = id("ours", 0);
    let args = ["models", "auth", "report", &profile, "--failed", "timeout"];
    let mut command = under_strace(&home, &parked("renameat2")[1..], &args);
    let mut ours = command.stderr(Stdio::null()).spawn().expect("strace starts");
    let is_parked = wait_until_parked(ours.id());
    let lock = lock_of(&store);
    peer.begin(&json!({"op": "update", "id": id("theirs", 0), "holdMs": 4000}));
    let theirs = peer.reply();
    let status = ours.wait().expect("a child of ours");
    let found = counts(&home, "main");
    let both = (found.get(&id("ours", 0)), found.get(&id("theirs", 0)));
    if !is_parked || !status.success() || both != (Some(&1), Some(&1)) {
        report.fail(format!("one of ours was parked: {status}, counted {both:?}"));
    }
    if theirs["compromised"] != 0 || !theirs["release"].is_null() {
        report.fail(format!("one of ours was parked: it took the lock of a live one: {theirs}"));
    }
    if lock.exists() {
        report.fail("one of ours was parked: a lock is left");
    }
    home.sandbox.run(&TOKEN);
    home.check(report, "one of ours was parked");
    report.injections += 1;
}

/// The control: two Clawdbot processes, one of them stopped. Both hold the lock.
fn parked_without_us(report: &mut Report) {
    let home = home_for(2);
    let store = home.store("main");
    make_stale(&home);
    let mut one = Clawdbot::start_under(&parked("rmdir"), &store);
    let mut other = Clawdbot::start(&store);
    one.begin(&json!({"op": "update", "id": id("theirs", 0), "holdMs": 1000}));
    let is_parked = wait_until_parked(one.id());
    other.begin(&json!({"op": "update", "id": id("theirs", 1), "holdMs": 4000}));
    let both = [one.reply(), other.reply()];
    let found_out = is_parked && overlaps(&both);
    report.control("a takeover by rmdir and mkdir, one taker parked", found_out);
}

/// Clawdbot keeps a copy in memory and writes it back without the lock, over tokens that we have
/// rotated since.
fn stale_saves(report: &mut Report, rounds: usize) {
    let home = home_for(1);
    let store = home.store("main");
    let mut peer = Clawdbot::start(&store);
    let forced = [&TOKEN[..], &["--force-refresh"]].concat();
    home.run(report, &TOKEN);
    for round in 0..rounds {
        peer.ask(&json!({"op": "load"}));
        for _ in 0..=round % 3 {
            expect(report, "before a stale save", &home.sandbox.run(&forced), 0);
        }
        peer.ask(&json!({"op": "save"}));
        if round % 2 == 0 {
            // Its access token has expired too, so the used-up refresh token cannot be avoided.
            home.expire("main", PROFILE);
            expect(report, "after a stale save", &home.sandbox.run(&TOKEN), 0);
        } else {
            expect(report, "after a stale save", &home.sandbox.run(&forced), 0);
        }
        home.check(report, "after a stale save");
        report.injections += 1;
    }
    let reused = home.issuer.outcomes("reuse");
    if reused > 0 {
        report.fail(format!("after stale saves {reused} used-up tokens were sent"));
    }
    report.requests += home.issuer.requests("refresh_token") as u64;

    // The control: without the records, nothing shows that the copy is old.
    peer.ask(&json!({"op": "load"}));
    home.run(report, &forced);
    peer.ask(&json!({"op": "save"}));
    home.expire("main", PROFILE);
    fs::remove_dir_all(home.sandbox.state().join("locks")).expect("the records");
    home.sandbox.run(&TOKEN);
    report.control("a stale save, and no records", home.issuer.outcomes("reuse") > 0);
    report.note(format!(
        "{rounds} stale saves over rotated tokens: all healed, 0 used-up tokens sent"
    ));
}

/// Clawdbot writes without the lock while a request is in progress: old copies, and updates of its
/// own.
fn saved_under_way(report: &mut Report) {
    for op in ["save", "unlocked"] {
        let what = format!("Clawdbot does `{op}` while a request is under way");
        let home = home_for(1);
        let mut peer = Clawdbot::start(&home.store("main"));
        peer.ask(&json!({"op": "load"}));
        home.issuer.inject(Fault::HoldAnswer);
        let run = thread::scope(|scope| {
            let ours = scope.spawn(|| home.sandbox.run(&TOKEN));
            home.issuer.wait_for_outcome("held");
            peer.ask(&json!({"op": op, "id": id("theirs", 0)}));
            home.issuer.release();
            ours.join().expect("a run")
        });
        expect(report, &what, &run, 0);
        if op == "unlocked" && counts(&home, "main").get(&id("theirs", 0)) != Some(&1) {
            report.fail(format!("{what}: its update was lost"));
        }
        home.check(report, &what);
        report.requests += home.issuer.requests("refresh_token") as u64;
        report.injections += 1;
    }
}

/// The start time of this process, in clock ticks since boot; 0 on systems that do not report it.
fn own_start() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may contain spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(19).find_map(|start| start.parse().ok()).unwrap_or(0)
}

/// What a later Clawdbot leaves beside the store: a lock that is a file, a database that replaces
/// the store.
fn other_locks(report: &mut Report) {
    let mut home = home_for(1);
    home.sandbox.set_env("CLAWDBOT_LOCK_TIMEOUT", "1");
    let lock = lock_of(&home.store("main"));
    let now = e2e::now_ms();
    // `startTime` is the kernel's (proc_pid_stat(5)). It distinguishes the process from a later one
    // with its id.
    let file = |pid: u32, start: u64| {
        json!({"pid": pid, "createdAt": now, "startTime": start}).to_string()
    };
    let ours = own_start();

    write(&lock, file(std::process::id(), ours).as_bytes());
    let bytes = fs::read(home.store("main")).expect("a store");
    expect(report, "OpenClaw's lock, its holder alive", &count_one(&home, 0), 7);
    if !lock.is_file() || fs::read(home.store("main")).ok() != Some(bytes) {
        report.fail("OpenClaw's lock was not honoured");
    }
    if cfg!(target_os = "linux") {
        write(&lock, file(std::process::id(), ours + 1).as_bytes());
        expect(report, "OpenClaw's lock, its holder's id given away", &count_one(&home, 0), 0);
    }
    let mut gone = Command::new("true").spawn().expect("a process");
    gone.wait().expect("a child of ours");
    write(&lock, file(gone.id(), ours).as_bytes());
    expect(report, "OpenClaw's lock, its holder dead", &count_one(&home, 0), 0);

    // Another program's directory with a time years ahead: we wait for it, but not forever.
    fs::create_dir(&lock).expect("a free path");
    let ahead = std::time::UNIX_EPOCH + Duration::from_millis(now) + TEN_YEARS;
    let directory = fs::File::open(&lock).expect("the directory");
    directory.set_modified(ahead).expect("its time");
    expect(report, "a lock of ten years from now", &count_one(&home, 0), 7);
    fs::remove_dir(&lock).expect("the lock is left alone");

    home.sandbox.run(&TOKEN);
    home.expire("main", PROFILE);
    let requests = home.issuer.requests("refresh_token");
    replace(&home.store("main").with_file_name("openclaw-agent.sqlite"), b"");
    expect(report, "beside OpenClaw's database", &count_one(&home, 0), 8);
    expect(report, "beside OpenClaw's database", &home.sandbox.run(&TOKEN), 8);
    expect(report, "a list beside the database", &home.sandbox.run(&["models", "auth", "list"]), 0);
    if home.issuer.requests("refresh_token") != requests {
        report.fail("beside OpenClaw's database a request was sent");
    }
    home.check(report, "other locks");
    report.injections += 5;
    report.requests += requests as u64;
}

/// `sessions.json` has its own kind of lock.
fn sessions(report: &mut Report, full: bool) {
    let home = Home::new(1);
    let file = home.sandbox.state().join("agents").join("main").join("sessions/sessions.json");
    let mut lock = file.clone().into_os_string();
    lock.push(".lock");
    let lock = std::path::PathBuf::from(lock);
    let pin = |number: usize| {
        let key = format!("agent:main:{number}");
        home.sandbox.run(&["sessions", "model", &key, &format!("demo/x@{PROFILE}")])
    };
    write(&file, b"{ // by hand\n \"agent:main:old\": {sessionId: 'o', updatedAt: 1} }");
    write(&lock, b"{\"pid\":1,\"startedAt\":1}");
    assert!(backdate(&lock, LONG_DEAD), "the lock is there");
    thread::scope(|scope| {
        let runs: Vec<_> = (0..16).map(|number| scope.spawn(move || pin(number))).collect();
        for run in runs {
            expect(report, "many sessions", &run.join().expect("a run"), 0);
        }
    });
    let text = fs::read_to_string(&file).unwrap_or_default();
    let all: Value = serde_json::from_str(&text).unwrap_or_default();
    let entries = all.as_object().map_or(0, serde_json::Map::len);
    if entries != 17 || all["agent:main:old"]["sessionId"] != "o" {
        report.fail(format!("16 sessions were pinned, {entries} of 17 are there"));
    }
    if lock.exists() {
        report.fail("the lock of the sessions is left");
    }
    report.injections += 16;
    if full {
        write(&lock, b"{\"pid\":1,\"startedAt\":1}");
        expect(report, "sessions locked by somebody", &pin(0), 7);
        if !lock.exists() {
            report.fail("the lock of the sessions was not honoured");
        }
        report.injections += 1;
    }
    home.run(report, &TOKEN);
    home.check(report, "sessions");
}

/// `strace` with options that stop every thread for a while before its first call of this name.
fn parked(call: &str) -> Vec<&'static str> {
    let (trace, inject) = match call {
        "rmdir" => ("trace=rmdir", "inject=rmdir:delay_enter=2000000:when=1"),
        _ => ("trace=renameat2", "inject=renameat2:delay_enter=2000000:when=1"),
    };
    vec!["strace", "-f", "-qq", "-o", "/dev/null", "-e", trace, "-e", inject]
}

/// Waits until a thread below this process has been stopped by its tracer for too long to be a
/// coincidence.
fn wait_until_parked(tracer: u32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut last = (0, 0);
    while Instant::now() < deadline {
        let parked =
            e2e::sandbox::children_of(tracer).into_iter().flat_map(threads_of).find(|id| {
                let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
                stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('t'))
            });
        last = match parked {
            Some(id) if id == last.0 => (id, last.1 + 1),
            Some(id) => (id, 1),
            None => (0, 0),
        };
        if last.1 == 10 {
            return true;
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    false
}

fn threads_of(process: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Longer than a lock may stay untouched.
const LONG_DEAD: Duration = Duration::from_secs(40);
const TEN_YEARS: Duration = Duration::from_hours(24 * 3650);
