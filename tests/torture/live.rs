//! Shared by the stages with live processes: a home with an issuer, the invariants that hold after
//! every injection, and a watch on the lock that Clawdbot waits for.

use crate::report::Report;
use auth_store::write_atomic;
use e2e::issuer::{CLIENT, Issuer, TokenState};
use e2e::now_ms;
use e2e::sandbox::{Finished, Sandbox, expired};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The profile that is refreshed.
pub(crate) const PROFILE: &str = "demo:alice";
/// Prints its token.
pub(crate) const TOKEN: [&str; 5] = ["models", "auth", "token", "--profile", PROFILE];

/// A profile that no command uses, written as no serializer would.
const BYSTANDER: &str = r#""x:bystander":{"type":"api_key" ,"provider":"x","key":"k","n":1.50e2}"#;

/// A home with one expired login in each of its agents, all of them copies, and the unused profile.
pub(crate) struct Home {
    pub(crate) issuer: Issuer,
    pub(crate) sandbox: Sandbox,
    agents: Vec<String>,
    /// Other programs write the stores too, less carefully than we do.
    beside_others: bool,
}

impl Home {
    /// A home with this many agents; the first is `main`.
    pub(crate) fn new(agents: usize) -> Self {
        let home = Self::with_issuer(Issuer::start(), agents);
        home.give(PROFILE, "alice");
        home
    }

    fn with_issuer(issuer: Issuer, agents: usize) -> Self {
        let sandbox = Sandbox::new();
        sandbox.write_manifest("demo", &issuer.manifest("demo"));
        let names = (0..agents)
            .map(|number| if number == 0 { "main".into() } else { format!("agent{number}") });
        let home = Self { issuer, sandbox, agents: names.collect(), beside_others: false };
        for agent in &home.agents {
            let text = format!("{{\"version\": 1, \"profiles\": {{{BYSTANDER}}}}}");
            private_directory(&home.sandbox.agent_dir(agent));
            replace(&home.store(agent), text.as_bytes());
        }
        home
    }

    /// This home with other writers: the unused profile keeps its value, but its text may change.
    pub(crate) fn beside_others(self) -> Self {
        Self { beside_others: true, ..self }
    }

    /// Gives every agent a copy of a new login.
    pub(crate) fn give(&self, profile: &str, account: &str) {
        let tokens = self.issuer.grant(account);
        for agent in &self.agents {
            self.edit(agent, |store| {
                store["profiles"][profile] = expired(&self.issuer, "demo", &tokens);
            });
        }
    }

    /// The agents' names.
    pub(crate) fn agents(&self) -> &[String] {
        &self.agents
    }

    /// The store of an agent.
    pub(crate) fn store(&self, agent: &str) -> PathBuf {
        self.sandbox.store_path(agent)
    }

    /// Changes a store atomically, as a careful user would. The unused profile keeps its text.
    pub(crate) fn edit(&self, agent: &str, edit: impl FnOnce(&mut Value)) {
        let mut store = self.sandbox.read_store(agent);
        edit(&mut store);
        let parsed = store["profiles"]["x:bystander"].to_string();
        let text = store.to_string().replacen(&format!("\"x:bystander\":{parsed}"), BYSTANDER, 1);
        replace(&self.store(agent), text.as_bytes());
    }

    /// Makes the access token of a profile expire.
    pub(crate) fn expire(&self, agent: &str, profile: &str) {
        self.edit(agent, |store| {
            store["profiles"][profile]["expires"] = (now_ms() - 60_000).into();
            store["profiles"][profile]["obtainedAt"] = (now_ms() - 3_660_000).into();
        });
    }

    /// The current refresh token of a profile.
    pub(crate) fn refresh_token(&self, agent: &str, profile: &str) -> String {
        self.sandbox.profile(agent, profile)["refresh"].as_str().unwrap_or_default().to_owned()
    }

    /// The record of a refresh token; `none` if there is none.
    pub(crate) fn record(&self, refresh: &str) -> Value {
        let path = self.sandbox.record_path(&self.issuer.token_endpoint(), CLIENT, refresh);
        let text = fs::read_to_string(path).unwrap_or_default();
        let last = text.lines().rev().find_map(|line| line.rsplit_once(' '));
        let record = last.and_then(|(json, _)| serde_json::from_str(json).ok());
        record.unwrap_or_else(|| json!({"state": "none"}))
    }

    /// Runs the binary and checks what is true of every run.
    pub(crate) fn run(&self, report: &mut Report, args: &[&str]) -> Finished {
        let finished = self.sandbox.run(args);
        judge(report, &finished);
        finished
    }

    /// Checks the invariants of the files. `what` names the action before it.
    pub(crate) fn check(&self, report: &mut Report, what: &str) {
        for lost in self.check_all_but_losses(report, what) {
            report.lost += 1;
            report.fail(format!("{what}: {lost}"));
        }
    }

    /// The same checks if a refresh token may be lost. Returns the lost ones, a sentence each.
    pub(crate) fn check_all_but_losses(&self, report: &mut Report, what: &str) -> Vec<String> {
        let mut lost = Vec::new();
        for agent in &self.agents {
            let Some(text) = fs::read_to_string(self.store(agent)).ok() else {
                report.corrupt += 1;
                report.fail(format!("{what}: the store of `{agent}` is gone"));
                continue;
            };
            let store: Value = serde_json::from_str(&text).unwrap_or_default();
            if store["version"] != 1 {
                report.corrupt += 1;
                report.fail(format!("{what}: the store of `{agent}` is damaged"));
                continue;
            }
            for (id, profile) in store["profiles"].as_object().into_iter().flatten() {
                let Some(refresh) = profile["refresh"].as_str() else { continue };
                let state = self.issuer.state_of(refresh);
                if state != TokenState::Live {
                    lost.push(format!("`{id}` of `{agent}` is {state:?} at the issuer"));
                }
            }
            let is_as_written = without_spaces(&text).contains(&without_spaces(BYSTANDER));
            let is_there = store["profiles"]["x:bystander"]["n"].as_f64() == Some(150.0);
            if !is_there || !(is_as_written || self.beside_others) {
                report.fail(format!("{what}: the bystander of `{agent}` was rewritten"));
            }
            self.check_files(report, agent, what);
        }
        lost
    }

    fn check_files(&self, report: &mut Report, agent: &str, what: &str) {
        for entry in fs::read_dir(self.sandbox.agent_dir(agent)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_file() && !is_private(&metadata) {
                report.fail(format!("{what}: others may read `{name}` of `{agent}`"));
            }
            let is_left_over = [".new", ".tmp", ".lock", ".stale", ".answer"];
            if is_left_over.iter().any(|end| name.ends_with(end)) {
                report.fail(format!("{what}: `{name}` is left in the directory of `{agent}`"));
            }
        }
    }
}

/// Checks what is true of every run: it ends by itself, with a documented exit code, without a
/// panic and without revealing a secret.
pub(crate) fn judge(report: &mut Report, finished: &Finished) {
    const DOCUMENTED: [i32; 13] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 64, 74, 127, 130];
    let what = finished.args.join(" ");
    if !finished.code.is_some_and(|code| DOCUMENTED.contains(&code)) {
        report.fail(format!("`{what}` ended with {:?}: {}", finished.code, finished.stderr));
    }
    if finished.stderr.contains("panicked") {
        report.fail(format!("`{what}` panicked: {}", finished.stderr));
    }
    if finished.stderr.contains("-secret-") || finished.stdout.contains("rt-secret-") {
        report.fail(format!("`{what}` told a secret: {}", finished.stderr));
    }
}

/// Reports a failure unless a run ended with this exit code.
pub(crate) fn expect(report: &mut Report, what: &str, finished: &Finished, code: i32) {
    judge(report, finished);
    if finished.code != Some(code) {
        let (got, talk) = (finished.code, &finished.stderr);
        report.fail(format!("{what}: exit {got:?} instead of {code}: {talk}{}", finished.stdout));
    }
}

/// Continuously watches a store's directory lock, and the store.
pub(crate) struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<Seen>,
}

/// The observations of a watch.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How long each of our holds lasted, sorted.
    pub(crate) ours: Vec<Duration>,
    /// The longest time one of our locks was untouched.
    pub(crate) longest_untouched: Duration,
    /// How often the store was read.
    pub(crate) reads: u64,
    /// How often it was incomplete or missing.
    pub(crate) torn: u64,
}

impl Watch {
    /// Watches until it is [ended](Self::end).
    pub(crate) fn start(store: &Path) -> Self {
        let (stop, stopped) = channel();
        let store = store.to_owned();
        let thread = thread::spawn(move || {
            let lock = lock_of(&store);
            let memory = store.with_file_name(".auth-profiles.flock");
            let mut seen = Seen::default();
            let mut held: Option<(u64, Instant, bool)> = None;
            while stopped.recv_timeout(GLANCE) == Err(RecvTimeoutError::Timeout) {
                let there = fs::symlink_metadata(&lock).ok().map(|metadata| inode(&metadata));
                if held.map(|(inode, ..)| inode) != there {
                    seen.note(held.take());
                    let is_ours = |inode: u64| {
                        let text = fs::read_to_string(&memory).unwrap_or_default();
                        text.contains(&format!("\"inode\":{inode},"))
                    };
                    held = there.map(|inode| (inode, Instant::now(), is_ours(inode)));
                }
                if held.is_some_and(|(.., is_ours)| is_ours) {
                    let touched = fs::symlink_metadata(&lock).and_then(|it| it.modified()).ok();
                    #[expect(clippy::disallowed_methods, reason = "the age of a real file")]
                    let age = touched.and_then(|touched| touched.elapsed().ok());
                    seen.longest_untouched = seen.longest_untouched.max(age.unwrap_or_default());
                }
                let text = fs::read(&store).unwrap_or_default();
                seen.reads += 1;
                seen.torn += u64::from(serde_json::from_slice::<Value>(&text).is_err());
            }
            seen.note(held);
            seen.ours.sort();
            seen
        });
        Self { stop, thread }
    }

    /// The observations.
    pub(crate) fn end(self) -> Seen {
        drop(self.stop);
        self.thread.join().expect("the watch does not panic")
    }
}

impl Seen {
    fn note(&mut self, held: Option<(u64, Instant, bool)>) {
        if let Some((_, since, true)) = held {
            self.ours.push(since.elapsed());
        }
    }

    /// The hold time that 999 of 1,000 do not exceed.
    pub(crate) fn long_hold(&self) -> Duration {
        let last = self.ours.len().saturating_sub(1);
        self.ours.get(last * 999 / 1000).copied().unwrap_or_default()
    }

    /// Checks the hold times against their limits.
    pub(crate) fn judge(&self, report: &mut Report, what: &str) {
        self.judge_longest(report, what);
        if self.long_hold() > Duration::from_secs(10) {
            report.fail(format!("{what}: the lock was held for {:.1?}", self.long_hold()));
        }
    }

    /// Checks the longest hold time against its limit, for a silent issuer.
    pub(crate) fn judge_longest(&self, report: &mut Report, what: &str) {
        let longest = self.ours.last().copied().unwrap_or_default();
        report.held(longest);
        if longest > Duration::from_secs(25) {
            report.fail(format!("{what}: the lock was held for {longest:.1?}"));
        }
        // Clawdbot judges a lock stale after 30 s.
        if self.longest_untouched > Duration::from_secs(15) {
            let untouched = self.longest_untouched;
            report.fail(format!("{what}: the lock was not touched for {untouched:.1?}"));
        }
    }
}

/// Clawdbot's lock of a store.
pub(crate) fn lock_of(store: &Path) -> PathBuf {
    let mut lock = store.as_os_str().to_owned();
    lock.push(".lock");
    lock.into()
}

/// Makes a lock look untouched for this long. `false`: it does not exist.
pub(crate) fn backdate(lock: &Path, age: Duration) -> bool {
    let then = Duration::from_millis(now_ms()).saturating_sub(age);
    fs::File::open(lock)
        .and_then(|directory| directory.set_modified(std::time::UNIX_EPOCH + then))
        .is_ok()
}

/// The number of updates of each profile in a store.
pub(crate) fn counts(home: &Home, agent: &str) -> BTreeMap<String, u64> {
    let store = home.sandbox.read_store(agent);
    let usage = store["usageStats"].as_object().cloned().unwrap_or_default();
    usage
        .into_iter()
        .map(|(id, usage)| (id, usage["errorCount"].as_u64().unwrap_or_default()))
        .collect()
}

/// Whether processes can be traced here.
pub(crate) fn has_strace() -> bool {
    let strace = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    strace.is_ok_and(|status| status.success())
}

/// The binary in this home, run by `strace` with these options.
pub(crate) fn under_strace(home: &Home, options: &[&str], args: &[&str]) -> Command {
    let binary = home.sandbox.command(args);
    let mut command = Command::new("strace");
    command.args(options).arg(binary.get_program()).args(binary.get_args());
    command.env_clear().envs(binary.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

fn without_spaces(text: &str) -> String {
    text.split_whitespace().collect()
}

/// Replaces a file atomically, accessible to its owner only.
pub(crate) fn replace(path: &Path, bytes: &[u8]) {
    write_atomic(path, bytes).unwrap_or_else(|error| panic!("{error}"));
}

fn private_directory(path: &Path) {
    auth_store::create_private_directory(path).unwrap_or_else(|error| panic!("{error}"));
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}

#[cfg(unix)]
fn is_private(metadata: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(metadata).trailing_zeros() >= 6
}

#[cfg(not(unix))]
fn is_private(_: &Metadata) -> bool {
    true
}

const GLANCE: Duration = Duration::from_micros(500);
