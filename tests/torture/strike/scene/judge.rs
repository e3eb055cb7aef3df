//! Judges what a run with a fault left: its output, the files, and the following commands.

use super::{
    ALICE, BOB, FORCED, NEW_TOKEN, OLD_TOKEN, OTHER, Operation, REPORT, Scene, TOKEN, Tolerance,
    WORK, everything,
};
use crate::report::Report;
use crate::strike::trace::Traced;
use e2e::issuer::TokenState;
use e2e::sandbox::Finished;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

impl Scene<'_> {
    /// Whether the store has what a run that reports success must have written; the error says what
    /// it has instead.
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

    /// Checks what a run with a fault left, runs the next ordinary commands, and checks again.
    /// `at_most` is how often the refresh token may have been sent by then.
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

    /// Checks the output of a run: no panic, no secret.
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

    /// The store and its backup parse, the unused profile is unchanged, and all files are
    /// accessible to their owner only.
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
        // The next write of a credential adds it again.
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

    /// Before any repair: each profile is as before or as after, never something else.
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

    /// Checks that the next ordinary command succeeded.
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

    /// Checks that a token can be obtained, or was lost where that is unavoidable.
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
            // The issuer was out of reach, so callers wait a little; a user can force it.
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

    /// Continues normally: usage is updated, and the login is refreshed once more.
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

    /// After a later write, no stale file is left.
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
                || path.parent().is_some_and(|parent| {
                    parent.ends_with("locks/refresh") || parent.ends_with("locks/endpoint")
                })
                // It can be finished for ten minutes, and is removed by the next login.
                || self.operation == Operation::Login
                    && path.parent().is_some_and(|parent| parent.ends_with("logins"))
                || self.operation == Operation::RecoverBackup && name.contains(".corrupt.")
                // It is written without a sync, so a power cut may tear it. An unreadable file is
                // kept.
                || name.starts_with(".auth-models.json.corrupt.");
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

    fn agent(&self) -> PathBuf {
        self.sandbox.agent_dir("main")
    }
}

/// The findings.
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
