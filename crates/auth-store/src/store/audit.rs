//! The audit log of a state directory: `audit.jsonl`, one JSON object a line, for its owner only. It
//! has no secret in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::fs::journal;
use crate::id::{ProfileId, ProviderId};
use crate::paths;
use crate::time::Timestamp;

/// The audit log of a state directory.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
}

/// What happened to a credential, when, and who asked for it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditEvent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: AuditKind,
    /// The provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderId>,
    /// The profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileId>,
    /// The agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The executable of the process that asked: the parent of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The id of the user who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The client of the gateway that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The origin that a secret was sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// How it ended, or the profile that was used instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The sort of an [`AuditEvent`].
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditKind {
    /// A token or key was handed out.
    #[default]
    Token,
    /// A refresh token was sent.
    Refresh,
    /// A credential was stored.
    Login,
    /// A credential was removed.
    Logout,
    /// Another profile was used, because one could not be.
    Failover,
    /// A client or an agent may use credentials from now on, or no longer.
    Grant,
}

impl AuditEvent {
    /// An event of this sort, of which nothing else is known.
    pub fn of(what: AuditKind) -> Self {
        Self { what, ..Self::default() }
    }
}

impl AuditKind {
    /// The name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Refresh => "refresh",
            Self::Login => "login",
            Self::Logout => "logout",
            Self::Failover => "failover",
            Self::Grant => "grant",
        }
    }
}

impl AuditLog {
    /// The log of the state directory at `root`, which need not exist.
    pub fn at(root: &Path) -> Self {
        Self { path: paths::audit_log(root) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds an event. A log of 8 MiB becomes an old one first; four old ones are kept.
    ///
    /// # Errors
    /// It was not written. Nothing else may fail for that.
    pub fn record(&self, event: &AuditEvent) -> Result<(), StoreError> {
        // An object of strings and numbers serialises infallibly.
        let line = serde_json::to_string(event).unwrap_or_default();
        journal::append(&self.path, &line, LARGEST, KEPT, TIMEOUT)
    }

    /// The events of all files, the oldest first, and how many lines could not be read.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub fn read(&self) -> Result<(Vec<AuditEvent>, usize), StoreError> {
        let (mut events, mut unreadable) = (Vec::new(), 0);
        for text in journal::read(&self.path, KEPT)? {
            for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                match serde_json::from_slice(line) {
                    Ok(event) => events.push(event),
                    Err(_) => unreadable += 1,
                }
            }
        }
        Ok((events, unreadable))
    }
}

/// The size at which a log becomes an old one.
const LARGEST: u64 = 8 << 20;
/// How many old ones are kept.
const KEPT: u32 = 4;
/// How long to wait for another process that writes.
const TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: i64) -> AuditEvent {
        AuditEvent { at: Timestamp(at), ..AuditEvent::of(AuditKind::Refresh) }
    }

    #[test]
    fn events_are_read_back_in_their_order_and_the_file_is_private() {
        let root = tempfile::tempdir().unwrap();
        let log = AuditLog::at(&root.path().join("state"));
        assert_eq!(log.read().unwrap(), (Vec::new(), 0));
        for at in 1..=3 {
            log.record(&event(at)).unwrap();
        }
        assert_eq!(log.read().unwrap(), ((1..=3).map(event).collect(), 0));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(log.path()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_torn_line_costs_itself_alone() {
        let root = tempfile::tempdir().unwrap();
        let log = AuditLog::at(root.path());
        log.record(&event(1)).unwrap();
        let mut bytes = std::fs::read(log.path()).unwrap();
        bytes.extend_from_slice(b"{\"at\":2,\"wh");
        crate::write_atomic(log.path(), &bytes).unwrap();
        log.record(&event(3)).unwrap();
        assert_eq!(log.read().unwrap(), (vec![event(1), event(3)], 1));
    }

    #[test]
    fn a_full_log_becomes_an_old_one_and_four_old_ones_are_kept() {
        let root = tempfile::tempdir().unwrap();
        let path = paths::audit_log(root.path());
        for number in 0..12 {
            journal::append(&path, &format!("{number:04}"), 10, KEPT, TIMEOUT).unwrap();
        }
        let texts = journal::read(&path, KEPT).unwrap();
        let texts: Vec<_> =
            texts.into_iter().map(|text| String::from_utf8(text).unwrap()).collect();
        assert_eq!(
            texts,
            ["0002\n0003\n", "0004\n0005\n", "0006\n0007\n", "0008\n0009\n", "0010\n0011\n"]
        );
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 5);
    }

    #[test]
    fn no_event_of_many_writers_is_lost_however_often_the_log_is_rotated() {
        let root = tempfile::tempdir().unwrap();
        let path = paths::audit_log(root.path());
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    for number in 0..10 {
                        let line = format!("{writer}-{number}");
                        journal::append(path, &line, 100, KEPT, Duration::from_mins(1)).unwrap();
                    }
                });
            }
        });
        let texts = journal::read(&path, KEPT).unwrap().concat();
        let lines = texts.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        assert_eq!(lines.collect::<std::collections::BTreeSet<_>>().len(), 80);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_in_the_place_of_the_log_is_an_error_and_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let log = AuditLog::at(root.path());
        std::os::unix::fs::symlink(root.path().join("elsewhere"), log.path()).unwrap();
        assert!(log.record(&event(1)).is_err());
        assert!(!root.path().join("elsewhere").exists());
    }
}
