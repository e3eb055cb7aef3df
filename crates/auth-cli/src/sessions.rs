//! `sessions.json`: which model and profile each conversation of an agent uses. Clawdbot writes
//! the file too, under a lock of its own kind, which we keep.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth_routing::session::Entry;
use auth_store::{Timestamp, write_atomic};
use serde_json::{Map, Value, json};

use crate::agent::Agent;
use crate::config::{self, Config};
use crate::context::Context;
use crate::error::{CliError, Exit};

/// The sessions of one agent.
#[derive(Clone, Debug)]
pub struct Sessions {
    path: PathBuf,
}

impl Sessions {
    /// The file of `agent`: where `session.store` of the config says (`{agentId}` stands for the
    /// id), else in the agent's folder of the state directory.
    pub fn of(agent: &Agent, config: &Config, context: &Context) -> Self {
        let configured = config.value["session"]["store"].as_str().map(auth_store::trim);
        let path = if let Some(text) = configured.filter(|text| !text.is_empty()) {
            context.user_path(&text.replace("{agentId}", &agent.id))
        } else {
            let agents = context.paths().state_dir.join("agents");
            agents.join(&agent.id).join("sessions").join("sessions.json")
        };
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The entry of the session `key`, if there is one.
    ///
    /// # Errors
    /// The file cannot be read, or is not an object; it is left as it is.
    pub fn entry(&self, key: &str) -> Result<Option<Entry>, CliError> {
        Ok(self.read()?.get(key).and_then(Value::as_object).cloned())
    }

    /// Has `edit` change the entry of the session `key`, which is made if it is not there, and
    /// writes the file, under Clawdbot's lock.
    ///
    /// # Errors
    /// Nothing was written.
    pub fn update(
        &self,
        key: &str,
        context: &Context,
        edit: impl FnOnce(&Entry) -> Entry,
    ) -> Result<Entry, CliError> {
        let _lock = Lock::take(&self.path, context)?;
        let mut sessions = self.read()?;
        let entry = sessions.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
        let entry = edit(&entry);
        sessions.insert(key.to_owned(), Value::Object(entry.clone()));
        let text = serde_json::to_string_pretty(&sessions)
            .map_err(|error| self.error("write", &error.to_string()))?;
        write_atomic(&self.path, text.as_bytes())?;
        Ok(entry)
    }

    fn read(&self) -> Result<Map<String, Value>, CliError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
            Err(error) => return Err(self.error("read", &error.to_string())),
        };
        match config::parse(&text) {
            Ok(Value::Object(sessions)) => Ok(sessions),
            Ok(_) => Err(self.error("read", "it is not an object")),
            Err(reason) => Err(self.error("read", &reason)),
        }
    }

    fn error(&self, action: &str, reason: &str) -> CliError {
        let message =
            format!("could not {action} the sessions `{}`: {reason}", self.path.display());
        CliError::new(Exit::CannotWrite, "sessions", message)
            .hint("nothing was changed; mend the file, or move it away")
            .path(&self.path)
    }
}

/// Clawdbot's lock of `sessions.json`: a file beside it that only one can create.
struct Lock {
    path: PathBuf,
}

impl Lock {
    /// Waits for it for 10 s. A lock file older than 30 s belongs to a dead process.
    fn take(sessions: &Path, context: &Context) -> Result<Self, CliError> {
        let cannot = |error: io::Error, path: &Path| {
            let message = format!("could not lock `{}`: {error}", path.display());
            CliError::new(Exit::CannotWrite, "cannot_write", message).path(path)
        };
        if let Some(directory) = sessions.parent() {
            auth_store::create_private_directory(directory)?;
        }
        let mut path = sessions.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        for _attempt in 0..ATTEMPTS {
            match fs::OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    let lock = Self { path };
                    let owner = json!({ "pid": context.process_id, "startedAt": context.now() });
                    let written = file.write_all(owner.to_string().as_bytes());
                    written.map_err(|error| cannot(error, &lock.path))?;
                    return Ok(lock);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if is_stale(&path, context.now()) {
                        let _somebody_else_may_have = fs::remove_file(&path);
                    } else {
                        std::thread::sleep(POLL);
                    }
                }
                Err(error) => return Err(cannot(error, &path)),
            }
        }
        let message = format!("`{}` has been locked for 10 s", sessions.display());
        Err(CliError::new(Exit::Locked, "locked", message)
            .hint("nothing was written; try again")
            .path(&path))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _gone_already = fs::remove_file(&self.path);
    }
}

fn is_stale(lock: &Path, now: Timestamp) -> bool {
    let written = lock.metadata().and_then(|found| found.modified()).ok();
    let age = written
        .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok())
        .map(|at| Timestamp(at.as_millis().try_into().unwrap_or(i64::MAX)));
    age.is_some_and(|at| now.since(at) > STALE)
}

const POLL: Duration = Duration::from_millis(25);
const ATTEMPTS: u32 = 400;
const STALE: Duration = Duration::from_secs(30);
