//! Faults during the import of legacy files: every credential is in a file at any time, and the
//! next run imports all of them.

use super::calls;
use super::scene::{Judgement, Loss, everything, make_private};
use super::trace::{self, Call, Fault, Place, Point, Traced};
use super::{Plain, next_random};
use crate::Settings;
use crate::naive;
use crate::report::Report;
use e2e::issuer::{Issuer, TokenState, Tokens};
use e2e::now_ms;
use e2e::sandbox::{Sandbox, expired, write};
use nix::errno::Errno;
use serde_json::{Value, json};
use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Runs the matrix: a kill or an error at every system call, and kills in the run that follows a kill.
pub(crate) fn run(settings: &Settings) -> Report {
    let base = super::base();
    let mut report = Report::default();
    let issuer = Issuer::start();
    let home = Home::set(&base, &issuer);
    let plain = home.import(None);
    let mut found = Report::default();
    home.judge("nobody struck it", &plain, &mut found);
    if plain.code != Some(0) || !found.failures.is_empty() {
        report.fail(format!("it fails without any fault: {plain:?}; {:?}", found.failures));
    }
    drop(home);
    report.note(format!("{} points", plain.calls.len()));

    let mut jobs: Vec<Job> = plain.calls.iter().flat_map(jobs_at).collect();
    let count = if settings.full { usize::MAX } else { 40 };
    jobs = super::choose(jobs, count, settings, |job| {
        (matches!(job.fault, Fault::Kill), matches!(job.fault, Fault::Fail(_)))
    });
    let nobody = Plain { runs: Vec::new(), answered: None };
    report.absorb(super::work(&base, &nobody, &jobs, |hand, job| {
        let name = format!("the import: {:?} at {}", job.fault, job.point);
        hand.with_retries(&name, None, |issuer, report| {
            let home = Home::set(&base, issuer);
            let struck = home.import(Some((job.point, job.fault)));
            struck.hit.then(|| home.judge(&name, &struck, report))
        });
    }));

    let changes = plain.calls.iter().filter(|call| calls::leaves_a_trace(call.point.call));
    let mut random = settings.seed;
    let mut firsts: Vec<(Point, u64)> =
        changes.map(|call| (call.point, next_random(&mut random))).collect();
    firsts = super::choose(firsts, if settings.full { usize::MAX } else { 3 }, settings, |_| ());
    let seconds = if settings.full { 6 } else { 2 };
    report.absorb(super::work(&base, &nobody, &firsts, |hand, (first, seed)| {
        let first = Some((*first, Fault::Kill));
        let points = {
            let home = Home::set(&base, &hand.issuer);
            home.import(first);
            home.import(None).calls
        };
        hand.report.repeats += 1;
        let chance = Settings { seed: *seed, ..settings.clone() };
        for Call { point, .. } in super::choose(points, seconds, &chance, |_| ()) {
            let name = format!("the import: killed at {first:?}, and in the next run at {point}");
            hand.with_retries(&name, None, |issuer, report| {
                let home = Home::set(&base, issuer);
                home.import(first);
                let again = home.import(Some((point, Fault::Kill)));
                again.hit.then(|| home.judge(&name, &again, report))
            });
        }
    }));
    control(&base, &mut report);
    report
}

/// One fault at one point.
#[derive(Clone, Copy, Debug)]
struct Job {
    point: Point,
    fault: Fault,
}

/// The faults to inject at a call.
fn jobs_at(call: &Call) -> Vec<Job> {
    let point = call.point;
    let once = calls::errors(call).iter().map(|errno| Fault::Fail(*errno));
    let is_of_disk = calls::change(point.call).is_some() && call.leads_to != Place::Other;
    let from_now = [Errno::EIO, Errno::ENOSPC, Errno::EROFS].map(Fault::FailFromNow);
    let from_now = from_now.into_iter().filter(|_| is_of_disk);
    let faults = [Fault::Kill].into_iter().chain(once).chain(from_now);
    faults.map(|fault| Job { point, fault }).collect()
}

/// A home of an older version, without any of our files.
struct Home<'a> {
    issuer: &'a Issuer,
    sandbox: Sandbox,
    login: Tokens,
    oauth: Vec<u8>,
}

impl<'a> Home<'a> {
    fn set(base: &Path, issuer: &'a Issuer) -> Self {
        let sandbox = Sandbox::within(base);
        sandbox.write_manifest("demo", &issuer.manifest("demo"));
        let login = issuer.grant("alice");
        let mut entry = expired(issuer, "demo", &login);
        entry["expires"] = (now_ms() + 3_600_000).into();
        let oauth = json!({ "demo": entry }).to_string().into_bytes();
        let home = Self { issuer, sandbox, login, oauth };
        write(&home.auth(), auth().to_string().as_bytes());
        write(&home.sandbox.state().join("credentials/oauth.json"), &home.oauth);
        make_private(&home.sandbox.home());
        home
    }

    fn import(&self, fault: Option<(Point, Fault)>) -> Traced {
        trace::trace(&self.sandbox.command(&LIST), "", &self.sandbox.state(), fault)
    }

    fn judge(&self, name: &str, struck: &Traced, report: &mut Report) -> Judgement {
        let mut wrong = Vec::new();
        if struck.hung {
            wrong.push("it hung".to_owned());
        }
        let said = [struck.stdout.as_str(), &struck.stderr].concat();
        if said.contains("panicked") || self.secrets().iter().any(|secret| said.contains(secret)) {
            wrong.push(format!("it said: {said}"));
        }
        let mut judgement = Judgement::default();
        self.is_somewhere(&mut judgement, &mut wrong);

        let start = Instant::now();
        let next = self.sandbox.run(&LIST);
        judgement.next_took = start.elapsed();
        if next.code != Some(0) {
            wrong.push(format!("the next run: {next:?}"));
        }
        self.is_imported(&mut wrong);
        // It is a login like any other now.
        let token = self.sandbox.run(&["models", "auth", "refresh", "demo:default", "--force"]);
        if token.code != Some(0) || self.issuer.state_of(&self.login.refresh) == TokenState::Live {
            wrong.push(format!("its refresh: {token:?}"));
        }
        self.is_swept(&mut wrong);
        report.corrupt += u64::from(judgement.corrupt);
        report.lost += u64::from(judgement.lost == Loss::Outside);
        for what in &wrong {
            report.fail(format!("{name}: {what}"));
        }
        judgement.wrong = !wrong.is_empty();
        judgement
    }

    /// Before any repair: each credential is in the store, or in the file it came from.
    fn is_somewhere(&self, judgement: &mut Judgement, wrong: &mut Vec<String>) {
        let store = fs::read(self.sandbox.store_path("main")).unwrap_or_default();
        if !store.is_empty() && serde_json::from_slice::<Value>(&store).is_err() {
            judgement.corrupt = true;
            wrong.push("the store does not parse".to_owned());
        }
        let aside = self.auth().with_file_name(".auth.json.import");
        let sources = [fs::read(self.auth()), fs::read(aside), Ok(store)];
        let there: Vec<_> = sources.into_iter().flatten().collect();
        for secret in [KEY, TOKEN] {
            if !there.iter().any(|bytes| String::from_utf8_lossy(bytes).contains(secret)) {
                judgement.lost = Loss::Outside;
                wrong.push(format!("{secret} is nowhere"));
            }
        }
        let oauth = fs::read(self.sandbox.state().join("credentials/oauth.json"));
        if oauth.unwrap_or_default() != self.oauth {
            judgement.lost = Loss::Outside;
            wrong.push("oauth.json is not what it was".to_owned());
        }
    }

    /// After the next run: all credentials are in the store, unchanged.
    fn is_imported(&self, wrong: &mut Vec<String>) {
        let profiles = self.sandbox.read_store("main")["profiles"].clone();
        let expected = [
            (&profiles["acme:default"]["key"], KEY),
            (&profiles["beta:default"]["token"], TOKEN),
            (&profiles["demo:default"]["refresh"], &self.login.refresh),
        ];
        if expected.iter().any(|(there, expected)| *there != expected)
            || profiles["acme:default"]["x-note"] != auth()["acme"]["x-note"]
        {
            wrong.push(format!("the store has {profiles}"));
        }
        if self.auth().exists() {
            wrong.push("auth.json is still there".to_owned());
        }
    }

    /// After a later write: no stale file is left, and all files are accessible to their owner
    /// only.
    fn is_swept(&self, wrong: &mut Vec<String>) {
        for path in everything(&self.sandbox.home()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let passes = [".import", ".new", ".put", ".lock"];
            if passes.iter().any(|passing| name.contains(passing)) {
                wrong.push(format!("{} is left over", path.display()));
            }
            let mode = fs::symlink_metadata(&path).map_or(0, |it| it.permissions().mode());
            if mode & 0o077 != 0 {
                wrong.push(format!("{} has mode {:o}", path.display(), mode & 0o777));
            }
        }
    }

    fn secrets(&self) -> [&str; 4] {
        [KEY, TOKEN, &self.login.refresh, &self.login.access]
    }

    fn auth(&self) -> PathBuf {
        self.sandbox.agent_dir("main").join("auth.json")
    }
}

/// A variant that removes the old file before the new one exists must be detected.
fn control(base: &Path, report: &mut Report) {
    let issuer = Issuer::start();
    let careless = |home: &Home<'_>, fault| {
        let mut command = Command::new(env::current_exe().expect("a path to this program"));
        command.arg(naive::IMPORT_WORD).arg(home.auth()).arg(home.sandbox.store_path("main"));
        command.env_clear();
        trace::trace(&command, "", &home.sandbox.state(), fault)
    };
    let plain = careless(&Home::set(base, &issuer), None);
    let mut is_lost = false;
    for call in plain.calls.iter().filter(|call| calls::leaves_a_trace(call.point.call)) {
        let home = Home::set(base, &issuer);
        careless(&home, Some((call.point, Fault::Kill)));
        let mut judgement = Judgement::default();
        home.is_somewhere(&mut judgement, &mut Vec::new());
        is_lost |= judgement.lost == Loss::Outside;
    }
    let name = "an import that removes the old file first and writes in place, under Kill";
    report.control(name, plain.code == Some(0) && is_lost);
}

/// The legacy file of an older version, with an unknown member.
fn auth() -> Value {
    json!({
        "acme": {"type": "api_key", "key": KEY, "x-note": {"kept": 1}},
        "beta": {"type": "token", "token": TOKEN},
    })
}

const KEY: &str = "sk-canary-of-acme-0123456789";
const TOKEN: &str = "canary-token-of-beta-0123456789";
const LIST: [&str; 3] = ["models", "auth", "list"];
