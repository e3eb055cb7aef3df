//! The state of each refresh token: a kernel lock and a durable record in one file per token.
//!
//! The file is named by a hash of the token, so it is the same for every agent with a copy. Its
//! content is a list of lines, each with a checksum. The last complete line counts, and a torn line
//! is ignored. It never contains a secret.

pub(crate) mod endpoint_note;
pub(crate) mod fallback_directory;
pub(crate) mod response_file;
pub(crate) mod token_key;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{ParseError, StoreError};
use crate::fs::File;
use crate::fs::exists;
use crate::fs::flock::FileLock;
use crate::fs::open::read_regular;
use crate::id::ProfileId;
use crate::refresh_record::fallback_directory::FallbackDirectories;
use crate::refresh_record::response_file::StoredResponse;
use crate::refresh_record::token_key::TokenKey;
use crate::time::Timestamp;

/// The last known state of a refresh token.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The state.
    pub state: State,
    /// The store that the token belonged to.
    pub store: PathBuf,
    /// The profile in that store.
    pub profile: ProfileId,
    /// The token that replaced it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<TokenKey>,
    /// The issuer's error code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// No request is sent before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// When the record was written.
    pub at: Timestamp,
}

impl Record {
    /// A record with the required fields only.
    pub fn new(state: State, store: &Path, profile: &ProfileId, at: Timestamp) -> Self {
        Self {
            state,
            store: store.to_owned(),
            profile: profile.clone(),
            successor: None,
            code: None,
            retry_at: None,
            at,
        }
    }
}

/// The states of a refresh token.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It may be sent, as if there were no record.
    None,
    /// It is about to be sent, or a process sent it and crashed before it knew the result.
    Intent,
    /// It was used and replaced by `successor`. It is never sent again.
    Consumed,
    /// The issuer refused it, with `code`.
    Rejected,
    /// It was revoked at the issuer.
    Revoked,
    /// The issuer could not respond. No request is sent before `retry_at`.
    Waiting,
    /// Its token response could not be read, for the reason in `code`, and is kept beside `store`. It
    /// is sent again only if the user forces that.
    Unmerged,
}

/// The records of all agents of a state directory.
#[derive(Clone, Debug)]
pub struct Records {
    directory: PathBuf,
    fallbacks: FallbackDirectories,
}

impl Records {
    /// The records in `directory`, which is created when the first token is locked.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), fallbacks: FallbackDirectories::default() }
    }

    /// Adds a fallback directory for token responses that cannot be written beside their store. It
    /// should be on another disk. It is created with mode 0700, but no directory above it is, and
    /// it is not used if another user can access it. With several of them, the first writable one
    /// is used for writing, and all are read.
    #[must_use]
    pub fn with_rescue(mut self, directory: impl Into<PathBuf>) -> Self {
        self.fallbacks.add(directory.into());
        self
    }

    /// The tokens with a response in a fallback directory.
    pub fn rescued(&self) -> Vec<TokenKey> {
        self.fallbacks.keys()
    }

    /// Waits at most `timeout` for the lock on the token.
    ///
    /// # Errors
    /// [`StoreError::Busy`]: another process refreshes it. Try again later.
    pub fn lock(&self, key: TokenKey, timeout: Duration) -> Result<TokenLock, StoreError> {
        let lock = FileLock::acquire(&self.path(key), timeout)?;
        Ok(self.held(key, lock))
    }

    /// The lock on the token, unless it is held.
    pub fn try_lock(&self, key: TokenKey) -> Result<Option<TokenLock>, StoreError> {
        let lock = FileLock::try_acquire(&self.path(key))?;
        Ok(lock.map(|lock| self.held(key, lock)))
    }

    /// The lock that `file` already holds, inherited from another process of ours.
    pub fn inherited(&self, key: TokenKey, file: File) -> Result<TokenLock, StoreError> {
        Ok(self.held(key, FileLock::inherited(file, &self.path(key))?))
    }

    /// The record of a token, read without the lock: for following rotation chains and for display,
    /// not for deciding to send.
    pub fn peek(&self, key: TokenKey) -> Result<Option<Record>, StoreError> {
        Ok(self.last(key)?.filter(|record| record.state != State::None))
    }

    /// The last record of every token, [`State::None`] included: for finding the predecessor of a
    /// token.
    ///
    /// # Errors
    /// One of them cannot be read, and may be the one that is needed.
    pub fn all(&self) -> Result<Vec<(TokenKey, Record)>, StoreError> {
        let names = exists::names(&self.directory)?.into_iter();
        let keys = names.filter_map(|name| name.to_str()?.parse::<TokenKey>().ok());
        let mut all = Vec::new();
        for key in keys {
            all.extend(self.last(key)?.map(|record| (key, record)));
        }
        Ok(all)
    }

    /// The last record of a token, [`State::None`] included.
    fn last(&self, key: TokenKey) -> Result<Option<Record>, StoreError> {
        let path = self.path(key);
        match read_regular(&path) {
            Ok(bytes) => last_record(&bytes, &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("read", &path)(error)),
        }
    }

    fn held(&self, key: TokenKey, lock: FileLock) -> TokenLock {
        TokenLock { key, lock, fallbacks: self.fallbacks.clone() }
    }

    fn path(&self, key: TokenKey) -> PathBuf {
        self.directory.join(key.to_string())
    }
}

/// The held lock on one refresh token: the right to send it, and to write its record.
#[derive(Debug)]
pub struct TokenLock {
    key: TokenKey,
    lock: FileLock,
    /// For a token response that cannot be written beside the store.
    fallbacks: FallbackDirectories,
}

impl TokenLock {
    /// The token's key.
    pub fn key(&self) -> TokenKey {
        self.key
    }

    /// The record of the token. [`State::None`] counts as no record.
    pub fn record(&self) -> Result<Option<Record>, StoreError> {
        let last = last_record(&self.lock.content()?, &self.lock.path)?;
        Ok(last.filter(|record| record.state != State::None))
    }

    /// The record that says that the token response is kept, unless the token got another state
    /// since. A repeated request without a response does not count as one.
    pub fn unmerged(&self) -> Result<Option<Record>, StoreError> {
        let bytes = self.lock.content()?;
        let is_attempt = |record: &Record| matches!(record.state, State::Waiting | State::Intent);
        let last = records(&bytes).map_while(Result::ok).find(|record| !is_attempt(record));
        Ok(last.filter(|record| record.state == State::Unmerged))
    }

    /// The number of consecutive last records that say that the issuer could not respond.
    pub fn failures_in_a_row(&self) -> Result<u32, StoreError> {
        let bytes = self.lock.content()?;
        let waiting = records(&bytes)
            .map_while(Result::ok)
            .take_while(|record| matches!(record.state, State::Waiting | State::Intent))
            .filter(|record| record.state == State::Waiting);
        Ok(u32::try_from(waiting.count()).unwrap_or(u32::MAX))
    }

    /// Writes a record, and waits until it is on the disk.
    pub fn write(&self, record: &Record) -> Result<(), StoreError> {
        let line = |record: &Record| line(record).map_err(StoreError::io("write", &self.lock.path));
        let mut lines = String::new();
        if record.state == State::Unmerged {
            // An older version ignores an unknown state, and reads the line before.
            lines = line(&Record { state: State::Rejected, ..record.clone() })? + "\n";
        }
        self.lock.append_line(&(lines + &line(record)?))
    }

    /// Writes a token response that cannot be written beside its store to a fallback directory.
    ///
    /// # Errors
    /// There is no fallback directory, or none can be written. The response is in memory only.
    pub fn rescue(&self, response: &StoredResponse) -> Result<(), StoreError> {
        self.fallbacks.write(self.key, response)
    }

    /// The token response in a fallback directory, if there is one.
    pub fn rescued(&self) -> Result<Option<StoredResponse>, StoreError> {
        self.fallbacks.read(self.key)
    }

    /// Removes the response from the fallback directories, because it is in the store now.
    pub fn remove_rescued(&self) -> Result<(), StoreError> {
        self.fallbacks.remove(self.key)
    }

    /// A descriptor that shares this lock, for a child process. The lock is held until both are
    /// closed.
    pub fn share(&self) -> Result<File, StoreError> {
        self.lock.share()
    }
}

fn line(record: &Record) -> io::Result<String> {
    let text = serde_json::to_string(record)?;
    Ok(format!("{text} {}", checksum(&text)))
}

/// The last complete record in the file at `path`.
///
/// # Errors
/// The last record is unknown: a later program wrote it. It must not be treated as if there were no
/// record.
fn last_record(bytes: &[u8], path: &Path) -> Result<Option<Record>, StoreError> {
    records(bytes).next().transpose().map_err(|offset| {
        let reason = "a record that this program does not understand";
        let error = ParseError { offset, reason, is_json: true };
        StoreError::Damaged { path: path.to_owned(), error }
    })
}

/// The complete records in a file, the last one first; for an unknown record, its position.
fn records(bytes: &[u8]) -> impl Iterator<Item = Result<Record, usize>> {
    let mut end = bytes.len() + 1;
    bytes.rsplit(|byte| *byte == b'\n').filter_map(move |line| {
        end -= line.len() + 1;
        let (json, sum) = std::str::from_utf8(line).ok()?.rsplit_once(' ')?;
        (sum == checksum(json)).then(|| serde_json::from_str(json).map_err(|_| end))
    })
}

fn checksum(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..8])
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    fn record(state: State) -> Record {
        Record::new(state, Path::new("/s"), &"p".into(), Timestamp(1))
    }

    fn key() -> TokenKey {
        TokenKey::new("https://issuer.example/token", "client", &"refresh".into())
    }

    #[test]
    fn the_last_whole_line_counts() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::at(directory.path().join("refresh"));
        assert_eq!(records.peek(key()).unwrap(), None);
        let lock = records.lock(key(), Duration::from_mins(1)).unwrap();
        lock.write(&record(State::Intent)).unwrap();
        lock.write(&record(State::Rejected)).unwrap();
        assert_eq!(lock.record().unwrap(), Some(record(State::Rejected)));

        let path = records.path(key());
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            let torn = last_record(&whole[..length], &path).unwrap().map(|record| record.state);
            assert!([None, Some(State::Intent), Some(State::Rejected)].contains(&torn), "{length}");
        }
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"state\":\"conf").unwrap();
        assert_eq!(lock.record().unwrap(), Some(record(State::Rejected)));
        lock.write(&record(State::None)).unwrap();
        assert_eq!(lock.record().unwrap(), None);
    }

    #[test]
    fn a_damaged_line_never_happened() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::at(directory.path());
        let lock = records.lock(key(), Duration::from_mins(1)).unwrap();
        lock.write(&record(State::Intent)).unwrap();
        let first = fs::read(records.path(key())).unwrap().len();
        lock.write(&record(State::Consumed)).unwrap();
        let whole = fs::read(records.path(key())).unwrap();
        let last = |bytes: &[u8]| last_record(bytes, Path::new("r")).unwrap();
        assert_eq!(last(&whole), Some(record(State::Consumed)));
        // Except for the line breaks around it.
        for index in first + 1..whole.len() - 1 {
            let mut damaged = whole.clone();
            damaged[index] ^= 4;
            assert_eq!(last(&damaged), Some(record(State::Intent)), "{index}");
        }
    }

    #[test]
    fn a_whole_line_that_is_not_understood_is_not_taken_for_none() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::at(directory.path());
        let lock = records.lock(key(), Duration::from_mins(1)).unwrap();
        lock.write(&record(State::Intent)).unwrap();
        let text = r#"{"state":"exchanged","store":"/s","profile":"p","at":1}"#;
        let mut file = fs::OpenOptions::new().append(true).open(records.path(key())).unwrap();
        writeln!(file, "\n{text} {}", checksum(text)).unwrap();
        for refused in [lock.record(), records.peek(key())] {
            assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{refused:?}");
        }
        // The control: a later known record counts.
        lock.write(&record(State::Rejected)).unwrap();
        assert_eq!(lock.record().unwrap(), Some(record(State::Rejected)));
    }

    #[test]
    fn every_token_with_a_record_is_found_by_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::at(directory.path().join("refresh"));
        assert_eq!(records.all().unwrap(), []);
        let lock = records.lock(key(), Duration::from_mins(1)).unwrap();
        assert_eq!((lock.key(), records.all().unwrap()), (key(), vec![]));
        lock.write(&record(State::Rejected)).unwrap();
        crate::write_atomic(&directory.path().join("refresh/other"), b"x").unwrap();
        assert_eq!(records.peek(key()).unwrap(), Some(record(State::Rejected)));
        assert_eq!(records.all().unwrap(), [(key(), record(State::Rejected))]);
        lock.write(&record(State::None)).unwrap();
        assert_eq!(records.peek(key()).unwrap(), None);
        assert_eq!(records.all().unwrap(), [(key(), record(State::None))]);
        // A record that cannot be read is an error, not a missing record.
        fs::remove_file(records.path(key())).unwrap();
        fs::create_dir(records.path(key())).unwrap();
        assert!(records.peek(key()).is_err());
        assert!(records.all().is_err());
    }

    #[test]
    fn failures_count_until_something_else_became_of_the_token() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::at(directory.path());
        let lock = records.lock(key(), Duration::from_mins(1)).unwrap();
        assert_eq!(lock.failures_in_a_row().unwrap(), 0);
        for (state, failures) in [
            (State::Waiting, 1),
            (State::Rejected, 0),
            (State::Intent, 0),
            (State::Waiting, 1),
            (State::Intent, 1),
            (State::Waiting, 2),
            (State::None, 0),
        ] {
            lock.write(&record(state)).unwrap();
            assert_eq!(lock.failures_in_a_row().unwrap(), failures);
        }
    }

    #[test]
    fn a_kept_response_is_known_of_until_something_else_became_of_the_token() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::at(directory.path());
        let lock = records.lock(key(), Duration::from_mins(1)).unwrap();
        for (state, is_kept) in [
            (State::Intent, false),
            (State::Unmerged, true),
            (State::Intent, true),
            (State::Waiting, true),
            (State::Rejected, false),
            (State::Unmerged, true),
            (State::None, false),
        ] {
            lock.write(&record(state)).unwrap();
            assert_eq!(lock.unmerged().unwrap().is_some(), is_kept, "{state:?}");
        }
    }

    #[test]
    fn an_older_program_takes_a_token_whose_response_is_kept_for_refused() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::at(directory.path());
        let lock = records.lock(key(), Duration::from_mins(1)).unwrap();
        lock.write(&record(State::Intent)).unwrap();
        lock.write(&record(State::Unmerged)).unwrap();
        assert_eq!(lock.record().unwrap(), Some(record(State::Unmerged)));
        // A program that skips an unknown state reads the line before it.
        let text = fs::read_to_string(records.path(key())).unwrap();
        let known: Vec<_> = text.lines().filter(|line| !line.contains("unmerged")).collect();
        let last = last_record(known.join("\n").as_bytes(), Path::new("r")).unwrap();
        assert_eq!(last, Some(record(State::Rejected)));
    }

    #[test]
    fn a_response_in_a_fallback_directory_is_found_by_the_next_holder_of_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::at(directory.path().join("refresh"));
        let response = StoredResponse {
            status: 200,
            received_at: Timestamp(7),
            headers: Vec::new(),
            body: b"{}".to_vec(),
        };
        assert!(records.lock(key(), Duration::from_mins(1)).unwrap().rescue(&response).is_err());

        let records = records.with_rescue(directory.path().join("rescue"));
        records.lock(key(), Duration::from_mins(1)).unwrap().rescue(&response).unwrap();
        let lock = records.lock(key(), Duration::from_mins(1)).unwrap();
        assert_eq!(lock.rescued().unwrap().unwrap().body, b"{}");
        assert_eq!(records.rescued(), [key()]);
        lock.remove_rescued().unwrap();
        assert_eq!(records.rescued(), []);
        assert!(lock.rescued().unwrap().is_none());
    }

    #[test]
    fn a_shared_descriptor_keeps_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::at(directory.path());
        let lock = records.lock(key(), Duration::from_mins(1)).unwrap();
        let shared = lock.share().unwrap();
        drop(lock);
        assert!(records.try_lock(key()).unwrap().is_none());
        let inherited = records.inherited(key(), shared).unwrap();
        assert!(records.try_lock(key()).unwrap().is_none());
        drop(inherited);
        assert!(records.try_lock(key()).unwrap().is_some());
    }
}
