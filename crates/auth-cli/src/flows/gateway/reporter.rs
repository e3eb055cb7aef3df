//! Reports on their way into the stores: failures at once, successes together once a second, all
//! of them before the server ends.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use auth_routing::cooldown::response;
use auth_routing::session::selector::ModelRef;
use auth_store::{AuditKind, ProfileId, ProviderId, Timestamp};

use crate::agent::Agent;
use crate::config::Config;
use crate::flows::gateway::notes::Notes;
use crate::host::context::{Context, Surroundings};
use crate::host::error::CliError;
use crate::profiles::audit;
use crate::profiles::cooldowns::usage::{self, Failed, Worked};

/// The thread that writes.
#[derive(Debug)]
pub(crate) struct Reporter {
    sender: Mutex<Option<Sender<Report>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What became of one attempt.
#[derive(Debug)]
pub(crate) enum Report {
    /// It was served.
    Worked(Agent, Worked),
    /// The profile, or one model of it, could not serve.
    Failed(Agent, Failure),
}

/// A failure on its way.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Whose.
    pub(crate) id: ProfileId,
    /// Its provider.
    pub(crate) provider: ProviderId,
    /// Why.
    pub(crate) why: response::Failure,
    /// Whether the provider has too much to do, whoever asks.
    pub(crate) overload_until: Option<Timestamp>,
    /// The model that is in cooldown instead of the whole profile.
    pub(crate) model: Option<ModelRef>,
    /// When.
    pub(crate) at: Timestamp,
    /// The note that it takes the place of.
    pub(crate) note: u64,
}

impl Reporter {
    /// Begins to write.
    pub(crate) fn start(surroundings: Surroundings, notes: Arc<Notes>) -> Result<Self, CliError> {
        let (sender, receiver) = channel();
        let write = move || {
            let context = surroundings.context();
            Writer { context, notes, waiting: HashMap::new() }.run(&receiver);
        };
        let thread = std::thread::Builder::new()
            .name("reports".to_owned())
            .spawn(write)
            .map_err(|error| crate::host::process::runtime::not_started(&error))?;
        Ok(Self { sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) })
    }

    /// Takes a report. It is not waited for.
    pub(crate) fn take(&self, report: Report) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = &*sender {
            // The thread ends only with the sender.
            let _ = sender.send(report);
        }
    }

    /// Writes all that waits. Later reports are lost.
    pub(crate) fn finish(&self) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

struct Writer {
    context: Context,
    notes: Arc<Notes>,
    waiting: HashMap<PathBuf, (Agent, HashMap<ProfileId, Worked>)>,
}

impl Writer {
    fn run(mut self, reports: &Receiver<Report>) {
        let mut due: Option<Instant> = None;
        loop {
            let next = match due {
                Some(due) => reports.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => reports.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(Report::Worked(agent, worked)) => {
                    let of_agent = self.waiting.entry(agent.directory.clone());
                    let (_, waiting) = of_agent.or_insert_with(|| (agent, HashMap::new()));
                    waiting.insert(worked.id.clone(), worked);
                    due.get_or_insert_with(|| Instant::now() + PAUSE);
                }
                Ok(Report::Failed(agent, failed)) => {
                    // It worked before it failed: in this order it is written, too.
                    self.write_successes(Some(&agent));
                    self.write_failure(&agent, &failed);
                }
                Err(RecvTimeoutError::Timeout) => {
                    due = None;
                    self.write_successes(None);
                }
                Err(RecvTimeoutError::Disconnected) => return self.write_successes(None),
            }
        }
    }

    fn write_failure(&self, agent: &Agent, failed: &Failure) {
        let written = self.failure_written(agent, failed);
        if written.is_ok() {
            // Else the note is all that is known.
            self.notes.is_written(&agent.directory, &failed.id, failed.note);
            let detail = Some(failed.why.reason.as_str().to_owned());
            let Failure { provider, id, .. } = failed;
            audit::note(AuditKind::Failover, provider, id, agent, detail, &self.context);
        }
        self.say(&failed.id, written);
    }

    fn failure_written(&self, agent: &Agent, failed: &Failure) -> Result<(), CliError> {
        let store = agent.store_to_change(&self.context);
        if let Some(until) = failed.overload_until {
            return usage::write_overload(&failed.id, until, failed.at, &store);
        }
        let policy = Config::load(&self.context)?.routing().cooldowns;
        let Failure { id, provider, why: failure, model, at, .. } = failed;
        let failed = Failed { id, provider, failure, model: model.as_ref(), at: *at };
        failed.write(&policy, &store).map(drop)
    }

    /// Writes the successes that wait, of one agent or of all.
    fn write_successes(&mut self, only: Option<&Agent>) {
        let is_wanted = |agent: &Agent| only.is_none_or(|only| only.directory == agent.directory);
        let now = self.context.now();
        let waiting = std::mem::take(&mut self.waiting);
        for (directory, (agent, worked)) in waiting {
            if !is_wanted(&agent) {
                self.waiting.insert(directory, (agent, worked));
                continue;
            }
            let all: Vec<Worked> = worked.into_values().collect();
            if let Some(first) = all.first() {
                let written = Worked::write_all(&all, &agent.store_to_change(&self.context));
                self.say(&first.id, written);
            }
        }
        if only.is_none() {
            self.notes.uses_are_written(now);
        }
    }

    fn say(&self, id: &ProfileId, written: Result<(), CliError>) {
        if let Err(error) = written {
            let told = format_args!("warning: what is known of `{id}` was not written: {error}");
            self.context.say(told);
        }
        self.context.say_recoveries();
    }
}

/// How long successes wait for others.
const PAUSE: Duration = Duration::from_secs(1);
