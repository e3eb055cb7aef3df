//! What is tortured: one home per fault, the operation that is struck in it, and the judgement of what is left.

use super::trace::{self, Fault, Point, Role, Traced};
use crate::live::{backdate, lock_of};
use crate::naive::{self, Way};
use crate::report::Report;
use e2e::issuer::{Issuer, TokenState, Tokens};
use e2e::person::Person;
use e2e::sandbox::{Finished, Sandbox, expired, write};
use e2e::{issuer, now_ms};
use serde_json::{Value, json};
use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// An operation under fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    /// An expired token is asked for.
    Refresh,
    /// The same, and another agent holds a copy of the refresh token.
    RefreshCopies,
    /// The same, and somebody else's lock on the store is stale.
    RefreshTakeover,
    /// A token is pasted over an older one.
    Paste,
    /// A login replaces an older one of the same account.
    Login,
    /// A login is revoked and removed.
    Logout,
    /// A profile is removed.
    Remove,
    /// The outcome of a use is reported.
    Usage,
    /// The same, and somebody else's lock on the store is stale.
    Takeover,
    /// A token is asked for; the issuer's answer lies in its file since its process died.
    FinishAnswer,
    /// A token is asked for; the store is damaged and there is a backup.
    RecoverBackup,
    /// A token is asked for; somebody saved a copy of the store over the successor.
    Heal,
}

impl Operation {
    /// All of them.
    pub(crate) const ALL: [Self; 12] = [
        Self::Refresh,
        Self::RefreshCopies,
        Self::RefreshTakeover,
        Self::Paste,
        Self::Login,
        Self::Logout,
        Self::Remove,
        Self::Usage,
        Self::Takeover,
        Self::FinishAnswer,
        Self::RecoverBackup,
        Self::Heal,
    ];

    /// Whether it sends a refresh token, so that a rotated one can be lost.
    pub(crate) fn refreshes(self) -> bool {
        matches!(self, Self::Refresh | Self::RefreshCopies | Self::RefreshTakeover)
    }

    fn begins_fresh(self) -> bool {
        !self.refreshes() && !matches!(self, Self::FinishAnswer | Self::Heal)
    }

    /// What the person types.
    fn args(self) -> &'static [&'static str] {
        match self {
            Self::Paste => &PASTE,
            Self::Login => &["models", "auth", "login", "--finish", "-"],
            Self::Logout => &["models", "auth", "logout", ALICE],
            Self::Remove => &["models", "auth", "remove", ALICE],
            Self::Usage | Self::Takeover => &REPORT,
            _ => &TOKEN,
        }
    }
}

/// A home in which something is about to be struck.
pub(crate) struct Scene<'a> {
    issuer: &'a Issuer,
    pub(crate) sandbox: Sandbox,
    operation: Operation,
    grace: bool,
    input: String,
    alice: Tokens,
    untouched: Vec<(&'static str, Value)>,
    requests_before: usize,
    asked_before: usize,
    power_was_cut: bool,
}

/// What may be left of a struck refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tolerance {
    /// The answer may be lost on its way from the issuer to our write.
    Window,
    /// Nothing.
    Nothing,
}

impl<'a> Scene<'a> {
    /// A home below `base`, as it is just before `operation`. `answered` is the point after an answer was written.
    pub(crate) fn set(
        base: &Path,
        issuer: &'a Issuer,
        operation: Operation,
        grace: bool,
        answered: Option<Point>,
    ) -> Self {
        Self::set_in(Sandbox::within(base), issuer, operation, grace, answered)
    }

    /// The same in a home that is there already.
    pub(crate) fn set_in(
        mut sandbox: Sandbox,
        issuer: &'a Issuer,
        operation: Operation,
        grace: bool,
        answered: Option<Point>,
    ) -> Self {
        issuer.set(|policy| policy.grace = grace);
        let runtime = sandbox.home().join(RUNTIME);
        sandbox.set_env("XDG_RUNTIME_DIR", runtime);
        let alice = sandbox.seed_expired(issuer, "demo", &["alice"]).remove(0);
        let bob = fresh(issuer, &issuer.grant("bob"));
        let key =
            json!({"type": "api_key", "provider": "acme", "key": "sk-acme", "x-note": {"kept": 1}});
        let untouched = vec![(BOB, bob.clone()), (KEY, key.clone())];
        sandbox.edit_store("main", |store| {
            store["profiles"][BOB] = bob;
            store["profiles"][KEY] = key;
            store["profiles"][WORK] =
                json!({"type": "token", "provider": "acme", "token": OLD_TOKEN});
            if operation.begins_fresh() {
                store["profiles"][ALICE] = fresh(issuer, &alice);
            }
        });
        fs::create_dir(sandbox.home().join(RUNTIME)).expect("a directory");
        make_private(&sandbox.home());
        let mut scene = Self {
            issuer,
            sandbox,
            operation,
            grace,
            input: String::new(),
            alice,
            untouched,
            requests_before: issuer.requests("refresh_token"),
            asked_before: 0,
            power_was_cut: false,
        };
        scene.prepare(answered);
        scene.asked_before = scene.asked_ever();
        scene
    }

    fn prepare(&mut self, answered: Option<Point>) {
        let sandbox = &self.sandbox;
        match self.operation {
            Operation::RefreshCopies => {
                let store = json!({"version": 1, "profiles": {ALICE: expired(self.issuer, "demo", &self.alice)}});
                sandbox.seed_store(OTHER, &store);
                make_private(&sandbox.home());
            }
            Operation::RefreshTakeover | Operation::Takeover => {
                let lock = lock_of(&sandbox.store_path("main"));
                fs::create_dir(&lock).expect("a lock of somebody else");
                assert!(backdate(&lock, MINUTE), "an old lock");
            }
            Operation::Paste => NEW_TOKEN.clone_into(&mut self.input),
            Operation::Login => self.input = self.begin_login(),
            Operation::FinishAnswer => {
                let point = answered.expect("the point after an answer was written");
                let struck = self.run_traced(&TOKEN, "", Some((point, Fault::KillAll)));
                assert!(struck.hit, "the refresh did not come to {point}");
            }
            Operation::RecoverBackup => {
                let made = sandbox.run_with_input(&PASTE, OLD_TOKEN);
                assert_eq!(made.code, Some(0), "{made:?}");
                let path = sandbox.store_path("main");
                let whole = fs::read(&path).expect("a store");
                write(&path, &whole[..whole.len() / 2]);
            }
            Operation::Heal => {
                let copy = fs::read(sandbox.store_path("main")).expect("a store");
                let refreshed = sandbox.run(&TOKEN);
                assert_eq!(refreshed.code, Some(0), "{refreshed:?}");
                write(&sandbox.store_path("main"), &copy);
            }
            _ => {}
        }
    }

    /// Begins a login and goes through the issuer's pages. The address the browser ends on.
    fn begin_login(&self) -> String {
        let start = self.sandbox.run(&START);
        let start: Value = serde_json::from_str(&start.stdout).expect("a login that began");
        let url = start["url"].as_str().expect("an address").to_owned();
        Person::named("alice").walk(&url).expect("the issuer consents")
    }

    fn agent(&self) -> PathBuf {
        self.sandbox.agent_dir("main")
    }

    /// Runs the operation under the tracer.
    pub(crate) fn strike(&self, fault: Option<(Point, Fault)>) -> Traced {
        self.run_traced(self.operation.args(), &self.input, fault)
    }

    /// Runs the operation with a limit on the size of every file it writes, in KiB.
    pub(crate) fn strike_with_file_size(&self, kib: u64, is_signal_ignored: bool) -> Traced {
        let operation = self.sandbox.command(self.operation.args());
        let trap = if is_signal_ignored { "trap '' XFSZ; " } else { "" };
        // The shell counts in blocks of 512 bytes.
        let script = format!("{trap}ulimit -f {} && exec \"$0\" \"$@\"", kib * 2);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]).arg(operation.get_program()).args(operation.get_args());
        command.current_dir(self.sandbox.home());
        command.envs(operation.get_envs().filter_map(|(name, value)| Some((name, value?))));
        trace::trace(&command, &self.input, &self.sandbox.state(), None)
    }

    /// Runs the unsafe variant instead.
    pub(crate) fn strike_naive(&self, way: Way, fault: Option<(Point, Fault)>) -> Traced {
        let mut command = Command::new(env::current_exe().expect("a path to this program"));
        command.arg(naive::WORD).arg(self.sandbox.store_path("main"));
        command.arg(self.issuer.token_endpoint()).arg(way.word()).env_clear();
        trace::trace(&command, "", &self.sandbox.state(), fault)
    }

    /// Runs what comes after the operation under the tracer: its recovery.
    pub(crate) fn strike_next(&self, fault: Option<(Point, Fault)>) -> Traced {
        let (args, input) = self.next();
        self.run_traced(args, &input, fault)
    }

    fn run_traced(&self, args: &[&str], input: &str, fault: Option<(Point, Fault)>) -> Traced {
        trace::trace(&self.sandbox.command(args), input, &self.sandbox.state(), fault)
    }

    /// The ordinary command that somebody runs next.
    fn next(&self) -> (&'static [&'static str], String) {
        match self.operation {
            // Its code may be spent; the older login must do.
            Operation::Login => (&TOKEN, String::new()),
            operation => (operation.args(), self.input.clone()),
        }
    }

    /// The refresh requests since the scene was set.
    pub(crate) fn requests(&self) -> u64 {
        (self.issuer.requests("refresh_token") - self.requests_before) as u64
    }

    /// The token requests of any kind since the scene was set.
    pub(crate) fn asked(&self) -> usize {
        self.asked_ever() - self.asked_before
    }

    fn asked_ever(&self) -> usize {
        self.issuer.requests("refresh_token") + self.issuer.requests("authorization_code")
    }

    /// The stores to the byte.
    pub(crate) fn stores(&self) -> Vec<Vec<u8>> {
        let read = |agent| fs::read(self.sandbox.store_path(agent)).unwrap_or_default();
        ["main", OTHER].map(read).into()
    }

    /// The disk lost what was not waited for, as the backup is not, and whose a lock is; and the machine needed a
    /// minute to come back.
    pub(crate) fn power_was_cut(&mut self) {
        self.power_was_cut = true;
        for agent in ["main", OTHER] {
            backdate(&lock_of(&self.sandbox.store_path(agent)), MINUTE);
        }
    }

    /// Whether the store has what a run that says it is done must have put there; what it has instead.
    pub(crate) fn is_done(&self, struck: &Traced) -> Result<(), String> {
        let store = self.store("main").ok_or("the store does not parse")?;
        let profiles = &store["profiles"];
        let refresh = profiles[ALICE]["refresh"].as_str().unwrap_or_default();
        let is_alive = self.issuer.state_of(refresh) == TokenState::Live;
        let is_done = match self.operation {
            Operation::Paste => profiles[WORK]["token"] == NEW_TOKEN,
            Operation::Login => is_alive && refresh != self.alice.refresh,
            Operation::Logout | Operation::Remove => profiles[ALICE].is_null(),
            Operation::Usage | Operation::Takeover => {
                store["usageStats"][BOB]["lastUsed"].is_number()
            }
            _ => is_alive && profiles[ALICE]["access"] == struck.stdout.trim_end(),
        };
        if is_done { Ok(()) } else { Err(format!("the store has {store}")) }
    }

    /// Looks at what a struck run left, runs the next ordinary commands, and looks again. `at_most` is how often the
    /// refresh token may have been sent by then.
    pub(crate) fn judge(
        &self,
        name: &str,
        struck: &Traced,
        tolerance: Tolerance,
        at_most: u64,
        report: &mut Report,
    ) -> Judgement {
        let mut judgement = Judgement::default();
        let mut wrong = Vec::new();
        if struck.hung {
            wrong.push("it hung".to_owned());
        }
        self.listen(&struck.stdout, &struck.stderr, &mut wrong);
        self.inspect(true, &mut judgement, &mut wrong);
        self.look_in_between(&mut wrong);

        let started = Instant::now();
        let (args, input) = self.next();
        let next = self.sandbox.run_with_input(args, &input);
        judgement.next_took = started.elapsed();
        self.listen("", &next.stderr, &mut wrong);
        self.end(&next, tolerance, &mut judgement, &mut wrong);

        let requests = self.requests();
        if requests > at_most {
            wrong.push(format!("{requests} requests, at most {at_most} were due"));
        }
        self.go_on(judgement.lost, &mut wrong);
        self.inspect(false, &mut judgement, &mut wrong);
        self.sweep(&mut wrong);
        report.requests += requests;
        report.corrupt += u64::from(judgement.corrupt);
        match judgement.lost {
            Loss::None => {}
            Loss::InWindow => report.lost_in_window += 1,
            Loss::Outside => report.lost += 1,
        }
        report.held(self.longest_hold());
        for what in &wrong {
            report.fail(format!("{name}: {what}"));
        }
        judgement.wrong = !wrong.is_empty();
        judgement
    }

    /// What a run said: no panic, no secret.
    fn listen(&self, stdout: &str, stderr: &str, wrong: &mut Vec<String>) {
        if stderr.contains("panicked") {
            wrong.push(format!("it panicked: {stderr}"));
        }
        let both = [stdout, stderr].concat();
        let is_secret = both.contains("rt-secret")
            || stderr.contains(&self.alice.access)
            || both.contains(NEW_TOKEN);
        if is_secret {
            wrong.push(format!("a secret was told: {both}"));
        }
    }

    /// The store and its backup parse, what nobody touched is as it was, all of it is for its owner only.
    fn inspect(&self, is_first: bool, judgement: &mut Judgement, wrong: &mut Vec<String>) {
        let must_parse = !(is_first && self.operation == Operation::RecoverBackup);
        match self.store("main") {
            Some(store) => {
                if store["version"] != 1 {
                    wrong.push(format!("version {}", store["version"]));
                }
                for (id, before) in &self.untouched {
                    if &store["profiles"][id] != before {
                        wrong.push(format!("{id} was touched: {}", store["profiles"][id]));
                    }
                }
            }
            None if must_parse => {
                judgement.corrupt = true;
                wrong.push("the store does not parse".to_owned());
            }
            None => {}
        }
        // The next credential that is written is in it again.
        let is_backup_lost = self.power_was_cut
            && (is_first || matches!(self.operation, Operation::Logout | Operation::Remove));
        let backup = self.agent().join(".auth-profiles.json.bak");
        if let Ok(bytes) = fs::read(&backup)
            && serde_json::from_slice::<Value>(&bytes).is_err()
            && !is_backup_lost
        {
            wrong.push("the backup does not parse".to_owned());
        }
        for path in everything(&self.sandbox.home()) {
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let is_lock = metadata.is_dir() && path.to_string_lossy().contains(".lock");
            if !is_lock && metadata.permissions().mode() & 0o077 != 0 {
                let mode = metadata.permissions().mode() & 0o777;
                wrong.push(format!("{} has mode {mode:o}", path.display()));
            }
        }
    }

    /// Before anybody repaired anything: each profile is as before or as after, never something else.
    fn look_in_between(&self, wrong: &mut Vec<String>) {
        let Some(store) = self.store("main") else { return };
        let profiles = &store["profiles"];
        match self.operation {
            Operation::Paste => {
                let token = &profiles[WORK]["token"];
                if *token != OLD_TOKEN && *token != NEW_TOKEN {
                    wrong.push(format!("the pasted profile is {}", profiles[WORK]));
                }
            }
            Operation::Logout | Operation::Remove => {
                let refresh = &profiles[ALICE]["refresh"];
                if !profiles[ALICE].is_null() && *refresh != self.alice.refresh.as_str() {
                    wrong.push(format!("{ALICE} is half removed: {}", profiles[ALICE]));
                }
            }
            _ => {
                let refresh = profiles[ALICE]["refresh"].as_str().unwrap_or_default();
                if self.issuer.state_of(refresh) == TokenState::Unknown {
                    wrong.push(format!("{ALICE} holds no token of its issuer"));
                }
            }
        }
    }

    /// The next ordinary command did its work.
    fn end(
        &self,
        next: &Finished,
        tolerance: Tolerance,
        judgement: &mut Judgement,
        wrong: &mut Vec<String>,
    ) {
        let profiles = self.store("main").unwrap_or_default()["profiles"].clone();
        match self.operation {
            Operation::Paste => {
                if next.code != Some(0) || profiles[WORK]["token"] != NEW_TOKEN {
                    wrong.push(format!("pasting again: {next:?}"));
                }
            }
            Operation::Logout | Operation::Remove => {
                if !matches!(next.code, Some(0 | 3)) || !profiles[ALICE].is_null() {
                    wrong.push(format!("removing again: {next:?}"));
                }
                for path in everything(&self.sandbox.home()) {
                    let bytes = fs::read(&path).unwrap_or_default();
                    let token = self.alice.refresh.as_bytes();
                    if bytes.windows(token.len()).any(|part| part == token) {
                        wrong.push(format!("{} still has the token", path.display()));
                    }
                }
            }
            Operation::Usage | Operation::Takeover => {
                if next.code != Some(0) {
                    wrong.push(format!("the next usage update: {next:?}"));
                }
                self.must_be_alive(ALICE, &profiles, wrong);
            }
            _ => self.end_of_login(next, &profiles, tolerance, judgement, wrong),
        }
    }

    /// A token can be had, or was lost where that could not be helped.
    fn end_of_login(
        &self,
        first: &Finished,
        profiles: &Value,
        tolerance: Tolerance,
        judgement: &mut Judgement,
        wrong: &mut Vec<String>,
    ) {
        let mut next = first.clone();
        let mut profiles = profiles.clone();
        if next.code == Some(5) {
            // The issuer was out of reach, and everyone waits a little; a person need not.
            next = self.sandbox.run(&[&TOKEN[..], &["--force-refresh"]].concat());
            profiles = self.store("main").unwrap_or_default()["profiles"].clone();
        }
        if next.code == Some(4) {
            let is_window = tolerance == Tolerance::Window && !self.grace;
            judgement.lost = if is_window { Loss::InWindow } else { Loss::Outside };
            if !is_window {
                wrong.push(format!("the login is lost: {}", next.stderr));
            }
            return;
        }
        if next.code != Some(0) || profiles[ALICE]["access"] != next.line() {
            wrong.push(format!("the next token: {next:?}"));
        }
        self.must_be_alive(ALICE, &profiles, wrong);
        if self.operation == Operation::RefreshCopies {
            let args = [&TOKEN[..], &["--agent", OTHER]].concat();
            let copy = self.sandbox.run(&args);
            let held = self.store(OTHER).unwrap_or_default()["profiles"].clone();
            if copy.code != Some(0) {
                wrong.push(format!("the other agent: {copy:?}"));
            }
            self.must_be_alive(ALICE, &held, wrong);
        }
    }

    fn must_be_alive(&self, id: &str, profiles: &Value, wrong: &mut Vec<String>) {
        let refresh = profiles[id]["refresh"].as_str().unwrap_or_default();
        let state = self.issuer.state_of(refresh);
        if state != TokenState::Live {
            wrong.push(format!("{id} holds {refresh}, which is {state:?}"));
        }
    }

    /// Life goes on: usage is updated, and the login is refreshed once more.
    fn go_on(&self, lost: Loss, wrong: &mut Vec<String>) {
        let mut commands = vec![REPORT.to_vec()];
        let is_there = !matches!(self.operation, Operation::Logout | Operation::Remove);
        if is_there && lost == Loss::None {
            commands.push(FORCED.to_vec());
        }
        if self.operation == Operation::RefreshCopies {
            commands.push(vec!["models", "auth", "report", ALICE, "--ok", "--agent", OTHER]);
        }
        for args in commands {
            let run = self.sandbox.run(&args);
            if run.code != Some(0) {
                wrong.push(format!("afterwards: {run:?}"));
            }
        }
    }

    /// Nothing of the dead is left once somebody has written.
    fn sweep(&self, wrong: &mut Vec<String>) {
        for path in everything(&self.sandbox.home()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_known = path.is_dir() && !name.contains(".lock")
                || matches!(
                    name.as_str(),
                    "auth-profiles.json"
                        | ".auth-profiles.flock"
                        | ".auth-profiles.json.bak"
                        | ".auth-models.json"
                        | "auth.json"
                        | "clawdbot.json"
                        | "demo.json"
                )
                || path.parent().is_some_and(|parent| parent.ends_with("locks/refresh"))
                // It can be finished for ten minutes, and goes with the next one.
                || self.operation == Operation::Login
                    && path.parent().is_some_and(|parent| parent.ends_with("logins"))
                || self.operation == Operation::RecoverBackup && name.contains(".corrupt.");
            if !is_known {
                wrong.push(format!("{} is left over", path.display()));
            }
        }
    }

    /// An agent's store, if it parses.
    fn store(&self, agent: &str) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.sandbox.store_path(agent)).ok()?).ok()
    }

    /// How long the lock that Clawdbot waits for was last held.
    fn longest_hold(&self) -> Duration {
        let bytes = fs::read(self.agent().join(".auth-profiles.flock")).unwrap_or_default();
        let memory: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        Duration::from_millis(memory["heldMs"].as_u64().unwrap_or(0))
    }
}

/// What was found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Judgement {
    pub(crate) corrupt: bool,
    pub(crate) lost: Loss,
    pub(crate) next_took: Duration,
    pub(crate) wrong: bool,
}

/// Whether a refresh token was lost, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Loss {
    #[default]
    None,
    InWindow,
    Outside,
}

/// What these runs may have lost: an answer to a request that was sent, if it was not written.
pub(crate) fn tolerance_of(runs: &[&Traced]) -> Tolerance {
    if runs.iter().any(|run| run.is_answer_missing) {
        Tolerance::Window
    } else {
        Tolerance::Nothing
    }
}

/// Just after the child wrote the answer, in a refresh that nobody struck: before it waits for the disk.
pub(crate) fn after_answer(refresh: &Traced) -> Option<Point> {
    let answer = refresh.answer?;
    let later = refresh.calls[answer.index + 1..].iter().map(|call| call.point);
    later.into_iter().find(|point| point.role == Role::Child && point.call == "fsync")
}

fn fresh(issuer: &Issuer, tokens: &Tokens) -> Value {
    let mut profile = expired(issuer, "demo", tokens);
    profile["expires"] = (now_ms() + 3_600_000).into();
    profile["obtainedAt"] = now_ms().into();
    debug_assert_eq!(profile["clientId"], issuer::CLIENT);
    profile
}

/// Every file and directory below one, itself not.
fn everything(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(everything(&path));
        }
        found.push(path);
    }
    found
}

/// What the scene was set with is for its owner only, so that everything is that must be later.
fn make_private(directory: &Path) {
    for path in everything(directory) {
        let mode = if path.is_dir() { 0o700 } else { 0o600 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a file of ours");
    }
}

const MINUTE: Duration = Duration::from_mins(1);
/// A disk of its own, as far as the faults are concerned.
const RUNTIME: &str = "run";
pub(crate) const ALICE: &str = "demo:alice";
const BOB: &str = "demo:bob";
const KEY: &str = "acme:key";
const WORK: &str = "acme:work";
const OTHER: &str = "other";
const OLD_TOKEN: &str = "old-canary-token-of-acme-0123456789";
const NEW_TOKEN: &str = "new-canary-token-of-acme-0123456789";
const TOKEN: [&str; 5] = ["models", "auth", "token", "--profile", ALICE];
const REPORT: [&str; 5] = ["models", "auth", "report", BOB, "--ok"];
const FORCED: [&str; 5] = ["models", "auth", "refresh", ALICE, "--force"];
const START: [&str; 9] =
    ["models", "auth", "login", "--provider", "demo", "--profile-id", ALICE, "--start", "--json"];
const PASTE: [&str; 7] =
    ["models", "auth", "paste-token", "--provider", "acme", "--profile-id", WORK];
