//! Network faults: how each of them is classified, how often we send, what is recorded, and that
//! the next call continues from there.

use crate::Settings;
use crate::live::{Home, PROFILE, TOKEN, Watch, expect, judge};
use crate::report::Report;
use e2e::issuer::{Fault, Issuer};
use e2e::now_ms;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

/// One network fault.
struct Case {
    name: String,
    /// What the issuer does to the first requests; later ones are served normally.
    faults: Vec<Fault>,
    /// Whether a used-up token returns its successor again.
    grace: bool,
    /// The exit code.
    exit: i32,
    /// The number of requests.
    requests: usize,
    /// The state in the token's record afterwards.
    record: &'static str,
    /// The minimum and maximum number of seconds during which nothing is sent.
    wait: Option<(u64, u64)>,
    next: Next,
}

/// The behavior of the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Does nothing: it has the token.
    HasIt,
    /// Sends once more, and gets the token.
    Asks,
    /// Waits and sends nothing; with a force, it sends and gets the token.
    Waits,
    /// Reports that a login is needed and sends nothing; with a force to send, it sends and gets
    /// the token.
    NeedsLogin,
    /// Like `NeedsLogin`, but the login is lost: the issuer has used up the token, and its response
    /// is gone.
    IsLost,
    /// Waits and sends nothing; with a force, it learns that the login is lost.
    WaitsAndIsLost,
}

/// Runs the stage.
pub(crate) fn run(settings: &Settings) -> Report {
    let mut report = Report::default();
    let cases = cases(settings.full);
    let left = Mutex::new(cases.iter());
    let work = || {
        let mut part = Report::default();
        loop {
            let next = left.lock().expect("no case panicked").next();
            let Some(case) = next else { return part };
            part.absorb(play(case));
        }
    };
    let parts: Vec<Report> = thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a case")).collect()
    });
    for part in parts {
        report.absorb(part);
    }
    redirected(&mut report);
    let replies = if settings.full { 1000 } else { 60 };
    random_replies(&mut report, settings.seed, replies);
    report.note(format!(
        "{} moods of the network, {replies} replies of chance: outcome, exit code, number of requests, record and next call as documented",
        cases.len()
    ));
    controls(&mut report);
    report
}

fn case(name: impl Debug, faults: Vec<Fault>, grace: bool) -> Case {
    Case {
        name: format!("{name:?}, grace {}", if grace { "on" } else { "off" }),
        faults,
        grace,
        exit: 0,
        requests: 1,
        record: "consumed",
        wait: None,
        next: Next::HasIt,
    }
}

fn cases(full: bool) -> Vec<Case> {
    let mut all = Vec::new();
    for grace in [false, true] {
        // Not carried out: sent again until it is, at most three times in total.
        for fault in [Fault::DropBeforeRead, Fault::DropAfterRead, Fault::Garbage] {
            for times in 1..=3_usize {
                let case = case((&fault, times), vec![fault.clone(); times], grace);
                all.push(match times {
                    3 => Case { exit: 5, requests: 3, record: "intent", next: Next::Asks, ..case },
                    _ => Case { requests: times + 1, ..case },
                });
            }
        }
        // Carried out, and the response is lost: with grace it is returned again, without grace the
        // login is lost.
        for fault in [Fault::DropAfterCommit, Fault::HalfBody, Fault::ResetAfterCommit] {
            let lost = case(&fault, vec![fault.clone()], grace);
            all.push(if grace {
                Case { requests: 2, ..lost }
            } else {
                Case { exit: 4, requests: 2, record: "rejected", next: Next::IsLost, ..lost }
            });
        }
        if grace {
            let three = vec![Fault::DropAfterCommit; 3];
            let case = case("three answers lost", three, grace);
            all.push(Case { exit: 5, requests: 3, record: "intent", next: Next::Asks, ..case });
        }
        let next = if grace { Next::Waits } else { Next::WaitsAndIsLost };
        let blank = case(Fault::Blank, vec![Fault::Blank], grace);
        all.push(Case { exit: 5, record: "waiting", wait: Some((3, 5)), next, ..blank });
        all.push(case("slow", vec![Fault::Drip { every_ms: 1 }], grace));
    }
    all.extend(slow(full));
    all.extend(unavailable());
    all.extend(refused());
    all
}

/// Responses that arrive after our timeout.
fn slow(full: bool) -> Vec<Case> {
    let held = case("silent for longer than we wait", vec![Fault::HoldRequest], false);
    let mut all = vec![Case { requests: 2, ..held }];
    if full {
        let drip = vec![Fault::Drip { every_ms: 60 }];
        all.push(Case { requests: 2, ..case("slower than we wait", drip, true) });
        let silent = case("silent for ever", vec![Fault::HoldRequest; 3], false);
        all.push(Case { exit: 5, requests: 2, record: "intent", next: Next::Asks, ..silent });
    }
    all
}

/// Responses that prove nothing.
fn unavailable() -> Vec<Case> {
    let status = |status: u16, headers: &[(&str, &str)], body: &str| Fault::Status {
        status,
        headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        body: body.to_owned(),
    };
    let retry = |value: &str| status(429, &[("retry-after", value)], "{}");
    let portal = "<html><body>Welcome to our hotel</body></html>";
    let usual = Some((3, 5));
    let mut replies = vec![
        (retry("600"), Some((599, 600))),
        (retry("Fri, 31 Dec 2100 23:59:59 GMT"), Some((3599, 3600))),
        (retry("99999999999999999999"), Some((3599, 3600))),
        (retry("soon"), usual),
        (status(503, &[("retry-after", "120")], ""), Some((119, 120))),
        (Fault::Html, usual),
        (Fault::Oversized { bytes: 2 << 20 }, usual),
        (status(401, &[], portal), usual),
        (status(403, &[], portal), usual),
        (status(511, &[], portal), usual),
        (status(400, &[], ""), usual),
        (status(400, &[], "{}"), usual),
        (status(400, &[], "[]"), usual),
        (status(400, &[], r#"{"error":"odd"}"#), usual),
        (status(400, &[], r#"{"error":"slow_down"}"#), usual),
        (status(503, &[], r#"{"error":"invalid_grant"}"#), usual),
        (status(200, &[], r#"{"error":5}"#), usual),
        (status(200, &[], r#"{"access_token":""}"#), usual),
        (status(204, &[], ""), usual),
    ];
    replies.extend(
        [408, 425, 429, 500, 502, 503, 504, 599].map(|code| (status(code, &[], "{}"), usual)),
    );
    replies.extend(
        ["invalid_client", "unauthorized_client", "unsupported_grant_type"]
            .map(|code| (status(401, &[], &format!("{{\"error\":\"{code}\"}}")), Some((5, 5)))),
    );
    let taken = |(fault, wait): (Fault, Option<(u64, u64)>)| {
        let mut name = format!("{fault:?}");
        name.truncate(100);
        let case = case(name, vec![fault], false);
        Case { exit: 5, record: "waiting", wait, next: Next::Waits, ..case }
    };
    replies.into_iter().map(taken).collect()
}

/// The only responses that end a login.
fn refused() -> Vec<Case> {
    let codes = [
        r#"{"error":"invalid_grant"}"#,
        r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#,
        r#"{"error":{"code":"refresh_token_expired","message":"m"}}"#,
        r#"{"error":{"code":"refresh_token_reused","message":"m"}}"#,
        r#"{"error":{"code":"refresh_token_invalidated","message":"m"}}"#,
    ];
    let refused = |body: &str| {
        let case = case(body, vec![Fault::status(400, body)], false);
        Case { exit: 4, record: "rejected", next: Next::NeedsLogin, ..case }
    };
    codes.into_iter().map(refused).collect()
}

fn asked(issuer: &Issuer) -> usize {
    issuer.count(|exchange| exchange.path == "/token")
}

fn play(case: &Case) -> Report {
    let mut report = Report { injections: 1, ..Report::default() };
    let (what, home) = (case.name.as_str(), Home::new(1));
    home.issuer.set(|policy| policy.grace = case.grace);
    let token = home.refresh_token("main", PROFILE);
    for fault in &case.faults {
        home.issuer.inject(fault.clone());
    }
    let watch = Watch::start(&home.store("main"));
    let first = home.sandbox.run(&TOKEN);
    let seen = watch.end();
    seen.judge_longest(&mut report, what);
    if report.longest_hold > Duration::from_secs(10) {
        report.note(format!(
            "{what}: the lock was held for {:.1?}, and never went untouched for more than {:.1?}",
            report.longest_hold, seen.longest_untouched
        ));
    }
    expect(&mut report, what, &first, case.exit);
    let requests = asked(&home.issuer);
    if requests != case.requests {
        report.fail(format!("{what}: {requests} requests instead of {}", case.requests));
    }
    let record = home.record(&token);
    if record["state"] != case.record {
        report.fail(format!("{what}: the record says {record} instead of {}", case.record));
    }
    if let Some((least, most)) = case.wait {
        let time = |name: &str| record[name].as_u64().unwrap_or_default();
        let waits = time("retryAt").saturating_sub(time("at"));
        if !(least * 1000..=most * 1000).contains(&waits) {
            report.fail(format!("{what}: waits for {waits} ms instead of {least} to {most} s"));
        }
    }
    home.issuer.clear_faults();
    next(&mut report, case, &home, &record, requests);
    report.requests += asked(&home.issuer) as u64;
    let lost = home.check_all_but_losses(&mut report, what);
    let may_be_lost = matches!(case.next, Next::IsLost | Next::WaitsAndIsLost);
    if may_be_lost {
        report.lost_in_window += lost.len() as u64;
    } else if !lost.is_empty() {
        report.lost += 1;
        report.fail(format!("{what}: {lost:?}"));
    }
    report
}

/// The next call, and the forced one after it.
fn next(report: &mut Report, case: &Case, home: &Home, record: &Value, before: usize) {
    let what = format!("after {}", case.name);
    let (exit, asks) = match case.next {
        Next::HasIt => (0, 0),
        Next::Asks => (0, 1),
        Next::Waits | Next::WaitsAndIsLost => (5, 0),
        Next::NeedsLogin | Next::IsLost => (4, 0),
    };
    let retry_at = record["retryAt"].as_u64().unwrap_or(u64::MAX);
    let second = home.sandbox.run(&TOKEN);
    if second.code != Some(exit) && now_ms() >= retry_at {
        // The machine is so slow that the wait was over: the call may send, and does.
        return judge(report, &second);
    }
    expect(report, &what, &second, exit);
    let more = asked(&home.issuer) - before;
    if more != asks {
        report.fail(format!("{what}: {more} requests instead of {asks}"));
    }
    let insist = ["models", "auth", "refresh", PROFILE, "--force"];
    let do_not_wait = [&TOKEN[..], &["--force-refresh"]].concat();
    let then = match case.next {
        Next::HasIt | Next::Asks | Next::IsLost => return,
        Next::Waits => home.sandbox.run(&do_not_wait),
        Next::WaitsAndIsLost => {
            return expect(report, &what, &home.sandbox.run(&do_not_wait), 4);
        }
        Next::NeedsLogin => home.sandbox.run(&insist),
    };
    expect(report, &format!("{what}, insisting"), &then, 0);
    if asked(&home.issuer) != before + 1 {
        report.fail(format!("{what}: insisting did not send exactly once"));
    }
}

/// No redirect is followed, whatever its status, and its target gets no request.
fn redirected(report: &mut Report) {
    let elsewhere = Issuer::start();
    for status in [301, 302, 303, 307, 308] {
        let what = format!("a redirect {status}");
        let home = Home::new(1);
        let headers = vec![("location".to_owned(), elsewhere.token_endpoint())];
        home.issuer.inject(Fault::Status { status, headers, body: String::new() });
        expect(report, &what, &home.sandbox.run(&TOKEN), 5);
        let next = home.sandbox.run(&[&TOKEN[..], &["--force-refresh"]].concat());
        expect(report, &format!("after {what}"), &next, 0);
        home.check(report, &what);
        report.injections += 1;
        report.requests += asked(&home.issuer) as u64;
    }
    if !elsewhere.log().is_empty() {
        report.fail("a redirect was followed");
    }
}

/// Whatever an issuer responds, the store has either its old token or the received one.
fn random_replies(report: &mut Report, seed: u64, count: u64) {
    let mut home = Home::new(1);
    let mut chance = Chance(seed);
    for number in 0..count {
        let (status, body) = chance.reply(number);
        let what = format!("reply {number} of seed {seed}: {status} {body}");
        let before = home.refresh_token("main", PROFILE);
        home.issuer.inject(Fault::status(status, &body));
        let insist = ["models", "auth", "refresh", PROFILE, "--force"];
        let finished = home.sandbox.run(&insist);
        judge(report, &finished);
        if asked(&home.issuer) == 0 {
            report.fail(format!("{what}: nothing was sent: {}", finished.stderr));
        }
        let after = home.refresh_token("main", PROFILE);
        // As the body spells it: some random tokens are control characters.
        let came = body.contains(&json!(after).to_string()) && !after.is_empty();
        if after != before && !came {
            report.lost += 1;
            report.fail(format!("{what}: `{before}` became `{after}`"));
        }
        report.injections += 1;
        // A response that cannot be merged is kept, and nothing is sent any more. A merged token
        // may not be one of this issuer's.
        if finished.code != Some(5) {
            report.requests += asked(&home.issuer) as u64;
            home = Home::new(1);
        }
    }
    report.requests += asked(&home.issuer) as u64;
}

/// A small random number generator (SplitMix64): the same seed gives the same responses.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        let number = self.next() % of.len() as u64;
        of[usize::try_from(number).unwrap_or_default()]
    }

    fn reply(&mut self, number: u64) -> (u16, String) {
        let status =
            self.one(&[200, 200, 200, 200, 201, 204, 302, 400, 400, 401, 403, 404, 418, 429, 500]);
        let fresh = format!("\"reply-{number}\"");
        let mut members = Vec::new();
        for name in [
            "access_token",
            "refresh_token",
            "expires_in",
            "token_type",
            "id_token",
            "error",
            "scope",
        ] {
            let values = [
                "null",
                "\"\"",
                "\" \"",
                "0",
                "-1",
                "1e300",
                "3600",
                "\"3600\"",
                "true",
                "{}",
                "[]",
                "\"Bearer\"",
                "\"mac\"",
                "\"invalid_grant\"",
                "\"a b\"",
                "\"\\u0000\"",
                "\"x.e30.y\"",
                &fresh,
                &fresh,
                &fresh,
            ];
            if !self.next().is_multiple_of(3) {
                members.push(format!("\"{name}\":{}", self.one(&values)));
            }
        }
        let mut body = format!("{{{}}}", members.join(","));
        match self.next() % 8 {
            0 => body.truncate(body.len() / 2),
            1 => body.push_str("trailing"),
            2 => body = format!("[{body}]"),
            _ => {}
        }
        (status, body)
    }
}

/// Shows that this stage can fail.
fn controls(report: &mut Report) {
    // The check of the files finds a lost token.
    let home = Home::new(1);
    home.issuer.inject(Fault::DropAfterCommit);
    home.sandbox.run(&TOKEN);
    let lost = home.check_all_but_losses(&mut Report::default(), "control");
    report.control("an answer that is lost without grace", !lost.is_empty());

    // A client that does not send again cannot satisfy the table above.
    let home = Home::new(1);
    let mut manifest = home.issuer.manifest("demo");
    manifest["replay_after_lost_response"] = json!(false);
    home.sandbox.write_manifest("demo", &manifest);
    home.issuer.inject(Fault::DropAfterRead);
    let code = home.sandbox.run(&TOKEN).code;
    report.control("a client that never asks again", code != Some(0));
}

/// How many cases run at the same time; most of them only wait.
const AT_ONCE: usize = 12;
