//! The test scene: one home per fault, the operation in it, and the judgement of what is left.

mod judge;

pub(crate) use judge::{Judgement, Loss};

use super::trace::{self, Fault, Point, Role, Traced};
use crate::live::{backdate, lock_of};
use crate::naive::{self, Way};
use e2e::issuer::{Issuer, Tokens};
use e2e::sandbox::{Sandbox, expired, write};
use e2e::user::User;
use e2e::{issuer, now_ms};
use serde_json::{Value, json};
use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The operation that is hit by a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    /// Requesting an expired token.
    Refresh,
    /// The same, while another agent holds a copy of the refresh token.
    RefreshCopies,
    /// The same, with another program's stale lock on the store.
    RefreshTakeover,
    /// Pasting a token over an older one.
    Paste,
    /// A login that replaces an older one of the same account.
    Login,
    /// Revoking and removing a login.
    Logout,
    /// Removing a profile.
    Remove,
    /// Reporting the result of a use.
    Usage,
    /// The same, with another program's stale lock on the store.
    Takeover,
    /// Requesting a token while the issuer's response is in its file, because its process crashed.
    FinishAnswer,
    /// Requesting a token while the store is damaged and there is a backup.
    RecoverBackup,
    /// Requesting a token after another program wrote an old copy of the store over the successor.
    Heal,
}

impl Operation {
    /// All operations.
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

    /// The arguments of the command.
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

/// A home prepared for an operation.
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

/// What a refresh with a fault may lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tolerance {
    /// The response may be lost on its way from the issuer to our write.
    Window,
    /// Nothing.
    Nothing,
}

impl<'a> Scene<'a> {
    /// Prepares a home below `base` in the state just before `operation`. `answered` is the point
    /// after a response was written.
    pub(crate) fn set(
        base: &Path,
        issuer: &'a Issuer,
        operation: Operation,
        grace: bool,
        answered: Option<Point>,
    ) -> Self {
        Self::set_in(Sandbox::within(base), issuer, operation, grace, answered)
    }

    /// Prepares an existing home.
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
                // Pasting a token that is stored already changes nothing, and makes no backup.
                for token in [NEW_TOKEN, OLD_TOKEN] {
                    let made = sandbox.run_with_input(&PASTE, token);
                    assert_eq!(made.code, Some(0), "{made:?}");
                }
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

    /// Begins a login and walks through the issuer's pages. Returns the final address of the
    /// browser.
    fn begin_login(&self) -> String {
        let start = self.sandbox.run(&START);
        let start: Value = serde_json::from_str(&start.stdout).expect("a login that began");
        let url = start["url"].as_str().expect("an address").to_owned();
        User::named("alice").walk(&url).expect("the issuer consents")
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

    /// Runs the command after the operation under the tracer: its recovery.
    pub(crate) fn strike_next(&self, fault: Option<(Point, Fault)>) -> Traced {
        let (args, input) = self.next();
        self.run_traced(args, &input, fault)
    }

    fn run_traced(&self, args: &[&str], input: &str, fault: Option<(Point, Fault)>) -> Traced {
        trace::trace(&self.sandbox.command(args), input, &self.sandbox.state(), fault)
    }

    /// The ordinary command that runs next.
    fn next(&self) -> (&'static [&'static str], String) {
        match self.operation {
            // Its code may be used up; the older login must work.
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

    /// The disk lost what was not synced, such as the backup and the holder of a lock; and the
    /// machine needed a minute to restart.
    pub(crate) fn power_was_cut(&mut self) {
        self.power_was_cut = true;
        for agent in ["main", OTHER] {
            backdate(&lock_of(&self.sandbox.store_path(agent)), MINUTE);
        }
    }
}

/// What these runs may have lost: the response to a request that was sent, if it was not written.
pub(crate) fn tolerance_of(runs: &[&Traced]) -> Tolerance {
    if runs.iter().any(|run| run.is_response_missing) {
        Tolerance::Window
    } else {
        Tolerance::Nothing
    }
}

/// The point just after the child wrote the response, in a refresh without a fault: before it waits
/// for the disk.
pub(crate) fn after_response(refresh: &Traced) -> Option<Point> {
    let reply = refresh.reply?;
    let later = refresh.calls[reply.index + 1..].iter().map(|call| call.point);
    later.into_iter().find(|point| point.role == Role::Child && point.call == "fsync")
}

fn fresh(issuer: &Issuer, tokens: &Tokens) -> Value {
    let mut profile = expired(issuer, "demo", tokens);
    profile["expires"] = (now_ms() + 3_600_000).into();
    profile["obtainedAt"] = now_ms().into();
    debug_assert_eq!(profile["clientId"], issuer::CLIENT);
    profile
}

/// Every file and directory below a directory, without itself.
pub(crate) fn everything(directory: &Path) -> Vec<PathBuf> {
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

/// Makes the prepared files accessible to their owner only, because they must be later.
pub(crate) fn make_private(directory: &Path) {
    for path in everything(directory) {
        let mode = if path.is_dir() { 0o700 } else { 0o600 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a file of ours");
    }
}

const MINUTE: Duration = Duration::from_mins(1);
/// A separate disk, as far as the faults are concerned.
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
const PASTE: [&str; 8] =
    ["models", "auth", "paste-token", "--provider", "acme", "--profile-id", WORK, "--force"];
