//! `sessions.json`: the model and the profile of each conversation of an agent. Clawdbot writes the
//! file too, under its own kind of lock, which we respect.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth_routing::session::Entry;
use auth_store::{Timestamp, paths, read_regular_text, write_atomic};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::agent::sessions_text::Sheet;
use crate::config::Config;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::paths::sessions_file;

/// The text of a sessions file with one entry changed; `None` if it is not a sessions file.
#[doc(hidden)]
pub fn edited_text(text: &str, key: &str, entry: &Entry) -> Option<String> {
    let mut sheet = Sheet::parse(text).ok()?;
    sheet.set(key, entry);
    Some(sheet.to_text())
}

/// The sessions of one agent.
#[derive(Clone, Debug)]
pub struct Sessions {
    path: PathBuf,
    agent: String,
}

impl Sessions {
    /// The file of `agent`: at `session.store` of the config (`{agentId}` is replaced with the id),
    /// else in the agent's folder of the state directory.
    ///
    /// # Errors
    /// What the config says is no path.
    pub fn for_agent(agent: &Agent, config: &Config, context: &Context) -> Result<Self, CliError> {
        let configured = config.value["session"]["store"].as_str().map(auth_store::trim);
        let path = if let Some(text) = configured.filter(|text| !text.is_empty()) {
            context
                .path_of("`session.store` of the config", &text.replace("{agentId}", &agent.id))?
        } else {
            sessions_file(&context.paths().state_dir, &agent.id)
        };
        Ok(Self { path, agent: agent.id.clone() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All sessions, in the order of the file.
    ///
    /// # Errors
    /// The file cannot be read, or is not an object; it is left unchanged.
    pub fn all(&self) -> Result<Vec<(String, Entry)>, CliError> {
        let sheet = self.read()?;
        let keys: Vec<_> = sheet.keys().map(str::to_owned).collect();
        Ok(keys.into_iter().filter_map(|key| sheet.entry(&key).map(|it| (key, it))).collect())
    }

    /// The entry of the session `key`, if there is one.
    ///
    /// # Errors
    /// The file cannot be read, or is not an object; it is left unchanged.
    pub fn entry(&self, key: &str) -> Result<Option<Entry>, CliError> {
        let sheet = self.read()?;
        Ok(sheet.entry(&self.key_in(&sheet, key)))
    }

    /// Changes the entry of the session `key` with `edit`, and writes the file, under Clawdbot's
    /// lock. `None`, without a write, if there is no such session and `is_made` is not set, or if
    /// `edit` returns no change.
    ///
    /// # Errors
    /// Nothing was written.
    pub fn update(
        &self,
        key: &str,
        is_made: bool,
        context: &Context,
        edit: impl FnOnce(&Entry) -> Option<Entry>,
    ) -> Result<Option<Entry>, CliError> {
        let lock = Lock::take(&self.path, context)?;
        let mut sheet = self.read()?;
        let key = self.key_in(&sheet, key);
        let entry = match sheet.entry(&key) {
            Some(entry) => entry,
            None if is_made => new_entry(context)?,
            None => return Ok(None),
        };
        let Some(entry) = edit(&entry) else { return Ok(None) };
        sheet.set(&key, &entry);
        if !lock.is_ours() {
            let message = format!("the lock of `{}` was taken away", self.path.display());
            return Err(CliError::new(Exit::Locked, "locked", message)
                .hint("nothing was written; try again")
                .path(&self.path));
        }
        self.write(&sheet.to_text())?;
        Ok(Some(entry))
    }

    /// The key of the session in the file: as given, or, for a short form (`main`), with its agent
    /// (`agent:main:main`).
    fn key_in(&self, sheet: &Sheet, key: &str) -> String {
        let key = auth_store::trim(key);
        let is_whole = key.starts_with("agent:") || ["global", "unknown"].contains(&key);
        if is_whole || sheet.keys().any(|known| known == key) {
            return key.to_owned();
        }
        format!("agent:{}:{key}", self.agent)
    }

    fn read(&self) -> Result<Sheet, CliError> {
        let text = match read_regular_text(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Sheet::default()),
            Err(error) => return Err(self.error("read", &error.to_string())),
        };
        Sheet::parse(&text).map_err(|reason| self.error("read", &reason))
    }

    /// Replaces the file, which may be a link. Clawdbot detects a change by the modification time
    /// in milliseconds, so every write advances it.
    fn write(&self, text: &str) -> Result<(), CliError> {
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let modified = || path.metadata().and_then(|found| found.modified()).ok();
        let before = modified();
        write_atomic(&path, text.as_bytes())?;
        let is_same =
            |before| modified().is_some_and(|after| milliseconds(after) <= milliseconds(before));
        if let Some(before) = before.filter(|before| is_same(*before)) {
            let file = auth_store::open_regular(&path);
            let next = before + Duration::from_millis(1);
            // Best effort: the content is written; at worst a running Clawdbot sees it a moment
            // later.
            let _best_effort = file.and_then(|(file, _)| file.set_modified(next));
        }
        Ok(())
    }

    fn error(&self, action: &str, reason: &str) -> CliError {
        let message =
            format!("could not {action} the sessions `{}`: {reason}", self.path.display());
        CliError::new(Exit::CannotWrite, "sessions", message)
            .hint("nothing was changed; fix the file, or move it away")
            .path(&self.path)
    }
}

/// A session without messages yet. Clawdbot treats an entry without an id as its own.
fn new_entry(context: &Context) -> Result<Entry, CliError> {
    let mut bytes = [0; 16];
    (context.entropy)(&mut bytes).map_err(|error| {
        let message = format!("could not make an id for the session: {error}");
        CliError::new(Exit::TryLater, "entropy", message)
    })?;
    let id = uuid::Builder::from_random_bytes(bytes).into_uuid();
    let mut entry = Entry::new();
    entry.insert("sessionId".to_owned(), id.to_string().into());
    entry.insert("updatedAt".to_owned(), context.now().0.into());
    Ok(entry)
}

/// Clawdbot's lock of `sessions.json`: a file beside it that only one process can create. We also
/// hold the kernel's lock on that file, and record that in it, so a crashed process of ours is
/// detected at once.
struct Lock {
    path: PathBuf,
    owner: String,
    /// Closing it releases the kernel's lock.
    _file: fs::File,
}

impl Lock {
    /// Waits for the lock for 10 s. A lock file older than 30 s belongs to a crashed process, and
    /// so does one of ours without the kernel's lock.
    fn take(sessions: &Path, context: &Context) -> Result<Self, CliError> {
        let cannot = |error: io::Error, path: &Path| {
            let message = format!("could not lock `{}`: {error}", path.display());
            CliError::new(Exit::CannotWrite, "cannot_write", message).path(path)
        };
        if let Some(directory) = sessions.parent() {
            auth_store::create_private_directory(directory)?;
        }
        let path = paths::lock(sessions);
        let mut aside = path.clone().into_os_string();
        aside.push(format!(".{}.stale", context.process_id));
        let aside = PathBuf::from(aside);
        for _attempt in 0..ATTEMPTS {
            match auth_store::create_private_file(&path) {
                Ok(mut file) => {
                    let mut owner =
                        json!({ "pid": context.process_id, "startedAt": context.now() });
                    if auth_store::hold(&file, &path) {
                        owner[HELD] = true.into();
                    }
                    let owner = owner.to_string();
                    if let Err(error) = file.write_all(owner.as_bytes()) {
                        let _nobody_else_has_it = fs::remove_file(&path);
                        return Err(cannot(error, &path));
                    }
                    return Ok(Self { path, owner, _file: file });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if is_stale(&path, context.now()) {
                        remove_stale(&path, &aside, context.now());
                    } else if !remove_dead(&path) {
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

    /// Whether the lock is still ours: another process may have judged it stale.
    fn is_ours(&self) -> bool {
        read_regular_text(&self.path).is_ok_and(|owner| owner == self.owner)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.is_ours() {
            let _gone_already = fs::remove_file(&self.path);
        }
    }
}

/// Removes a stale lock: renames it first, since another process may have removed it already and
/// taken the lock. Then the renamed file is checked, and renamed back if it is not stale.
fn remove_stale(lock: &Path, aside: &Path, now: Timestamp) {
    if fs::rename(lock, aside).is_err() {
        return;
    }
    if !is_stale(aside, now) {
        let _taken_again = fs::hard_link(aside, lock);
    }
    let _gone = fs::remove_file(aside);
}

/// Removes the lock of a crashed process of ours. No other process of ours can take it meanwhile,
/// since we hold the kernel's lock on it. `false`: there is none, or another process removed it.
fn remove_dead(lock: &Path) -> bool {
    let read = || -> io::Result<(fs::File, String)> {
        let (mut file, _) = auth_store::open_regular(lock)?;
        let mut owner = String::new();
        file.read_to_string(&mut owner)?;
        Ok((file, owner))
    };
    read().is_ok_and(|(file, owner)| {
        let owner: Value = serde_json::from_str(&owner).unwrap_or_default();
        owner[HELD] == true && auth_store::hold(&file, lock) && fs::remove_file(lock).is_ok()
    })
}

fn is_stale(lock: &Path, now: Timestamp) -> bool {
    let written = lock.metadata().and_then(|found| found.modified()).ok();
    written.is_some_and(|at| now.since(Timestamp(milliseconds(at))) > STALE)
}

fn milliseconds(at: std::time::SystemTime) -> i64 {
    let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(i64::MAX)
}

/// The value of a member, if it is a non-empty string.
pub fn text<'a>(entry: &'a Entry, name: &str) -> Option<&'a str> {
    entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The member of a lock file that says that its writer also holds the kernel's lock.
const HELD: &str = "kernelLock";
const POLL: Duration = Duration::from_millis(25);
const ATTEMPTS: u32 = 400;
const STALE: Duration = Duration::from_secs(30);

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_of_one_of_ours_that_died_is_removed_at_once_and_no_other() {
        let home = tempfile::tempdir().unwrap();
        let context = Context::sealed(home.path(), Timestamp(0));
        let sessions = home.path().join("sessions.json");
        let lives = Lock::take(&sessions, &context).unwrap();
        let (path, owner) = (lives.path.clone(), lives.owner.clone());
        assert!(!remove_dead(&path) && lives.is_ours());
        drop(lives);
        assert!(!path.exists() && !remove_dead(&path));

        // As a killed process leaves it.
        write_atomic(&path, owner.as_bytes()).unwrap();
        drop(Lock::take(&sessions, &context).unwrap());
        assert!(!path.exists());
        // Whether the holder of Clawdbot's own lock is alive is unknown.
        for other in ["", r#"{"pid": 1, "startedAt": 1}"#] {
            write_atomic(&path, other.as_bytes()).unwrap();
            assert!(!remove_dead(&path) && path.exists());
        }
    }
}
