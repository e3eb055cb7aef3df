//! What became of each refresh token: a kernel lock and a durable record in one file per token.
//!
//! The file is named by a hash of the token, so it is the same for every agent that holds a copy.
//! Its content is a list of lines, each with a checksum; the last whole one counts, and a torn
//! one never happened. It never holds a secret.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::answer::StoredAnswer;
use crate::atomic;
use crate::document::ParseError;
use crate::error::StoreError;
use crate::file_lock::FileLock;
use crate::id::ProfileId;
use crate::open::read_regular;
use crate::presence;
use crate::rescue::Rescue;
use crate::secret::Secret;
use crate::time::Timestamp;

/// The name of one refresh token: a hash of it, of the only endpoint that may see it, and of the
/// client it belongs to.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    /// The key of `refresh`.
    pub fn new(token_endpoint: &str, client_id: &str, refresh: &Secret) -> Self {
        let mut hash = Sha256::new();
        for part in [token_endpoint, "\0", client_id, "\0", refresh.expose()] {
            hash.update(part.as_bytes());
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Display for TokenKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hexadecimal(&self.0))
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TokenKey({self})")
    }
}

impl FromStr for TokenKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut key = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err("a key has 64 hexadecimal digits");
        }
        for (index, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16)
                .map_err(|_| "a key has 64 hexadecimal digits")?;
        }
        Ok(Self(key))
    }
}

impl Serialize for TokenKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What became of a refresh token.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// What.
    pub state: State,
    /// The store on whose behalf.
    pub store: PathBuf,
    /// The profile in it.
    pub profile: ProfileId,
    /// The token that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<TokenKey>,
    /// The issuer's error code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Nobody asks before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// When that was.
    pub at: Timestamp,
}

impl Record {
    /// A record with nothing but what every record has.
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

/// The states of a refresh token that anyone has to know.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It may be sent; as if there were no record.
    None,
    /// It is about to be sent, or was, by a process that died before it knew more.
    Intent,
    /// It was used up; `successor` has its place. It is never sent again.
    Consumed,
    /// The issuer refused it, with `code`.
    Rejected,
    /// It was revoked at the issuer.
    Revoked,
    /// The issuer could not answer; nobody asks before `retry_at`.
    Waiting,
}

/// The directory of the records, for all agents of a state directory.
#[derive(Clone, Debug)]
pub struct Records {
    directory: PathBuf,
    rescue: Rescue,
}

impl Records {
    /// The records in `directory`, which is created when the first token is locked.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), rescue: Rescue::default() }
    }

    /// The same; and an answer that cannot be written beside its store goes to `directory`, which
    /// should be on another disk. It is made for its owner only, in a directory that is there; one
    /// into which others can reach is not used. Of several, the first that can be written takes
    /// the answer, and all are looked into.
    #[must_use]
    pub fn with_rescue(mut self, directory: impl Into<PathBuf>) -> Self {
        self.rescue.add(directory.into());
        self
    }

    /// The tokens whose answers were [rescued](TokenLock::rescue).
    pub fn rescued(&self) -> Vec<TokenKey> {
        self.rescue.keys()
    }

    /// Waits at most `patience` for the lock on the token.
    ///
    /// # Errors
    /// [`StoreError::Busy`]: somebody else has been refreshing it all the time; try again later.
    pub fn lock(&self, key: TokenKey, patience: Duration) -> Result<TokenLock, StoreError> {
        let lock = FileLock::acquire(&self.path(key), patience)?;
        Ok(self.held(key, lock))
    }

    /// The lock on the token, unless somebody has it.
    pub fn try_lock(&self, key: TokenKey) -> Result<Option<TokenLock>, StoreError> {
        let lock = FileLock::try_acquire(&self.path(key))?;
        Ok(lock.map(|lock| self.held(key, lock)))
    }

    /// The lock that `file` holds already, handed over by another process of ours.
    pub fn inherited(&self, key: TokenKey, file: File) -> Result<TokenLock, StoreError> {
        Ok(self.held(key, FileLock::inherited(file, &self.path(key))?))
    }

    /// The record of a token as it is now, without the lock: for following chains and for
    /// showing, not for deciding to send.
    pub fn peek(&self, key: TokenKey) -> Result<Option<Record>, StoreError> {
        Ok(self.last(key)?.filter(|record| record.state != State::None))
    }

    /// The last record of every token, [`State::None`] included: for finding where a token came
    /// from.
    ///
    /// # Errors
    /// One of them cannot be read, and may be the one that was looked for.
    pub fn all(&self) -> Result<Vec<(TokenKey, Record)>, StoreError> {
        let names = presence::entries(&self.directory)?.into_iter().map(|entry| entry.file_name());
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
        TokenLock { key, lock, rescue: self.rescue.clone() }
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
    /// Where its answer goes if it cannot be written beside the store.
    rescue: Rescue,
}

impl TokenLock {
    /// The token's key.
    pub fn key(&self) -> TokenKey {
        self.key
    }

    /// What became of the token so far. A record that says [`State::None`] is none.
    pub fn record(&self) -> Result<Option<Record>, StoreError> {
        let last = last_record(&self.bytes()?, &self.lock.path)?;
        Ok(last.filter(|record| record.state != State::None))
    }

    fn bytes(&self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        let mut file = &self.lock.file;
        io::Seek::rewind(&mut file)
            .and_then(|()| file.read_to_end(&mut bytes))
            .map_err(StoreError::io("read", &self.lock.path))?;
        Ok(bytes)
    }

    /// How many records in a row, up to now, say that the issuer could not answer.
    pub fn failures_in_a_row(&self) -> Result<u32, StoreError> {
        let bytes = self.bytes()?;
        let waiting = records(&bytes)
            .map_while(Result::ok)
            .take_while(|record| matches!(record.state, State::Waiting | State::Intent))
            .filter(|record| record.state == State::Waiting);
        Ok(u32::try_from(waiting.count()).unwrap_or(u32::MAX))
    }

    /// Writes what became of the token, and waits until that is on the disk.
    pub fn write(&self, record: &Record) -> Result<(), StoreError> {
        let write = || -> io::Result<()> {
            let mut file = &self.lock.file;
            let end = io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
            let text = serde_json::to_string(record)?;
            // A line that was torn ends here.
            let line = format!("{}{text} {}\n", if end > 0 { "\n" } else { "" }, checksum(&text));
            file.write_all(line.as_bytes())?;
            file.sync_all()
        };
        write().map_err(StoreError::io("write", &self.lock.path))?;
        atomic::sync_directory(atomic::directory_of(&self.lock.path))
    }

    /// Writes an answer to this token that cannot be written beside its store, to another disk.
    ///
    /// # Errors
    /// There is no other place, or that cannot be written either: the answer is in memory only.
    pub fn rescue(&self, answer: &StoredAnswer) -> Result<(), StoreError> {
        self.rescue.write(self.key, answer)
    }

    /// The answer to this token that was [rescued](Self::rescue), if there is one.
    pub fn rescued(&self) -> Result<Option<StoredAnswer>, StoreError> {
        self.rescue.read(self.key)
    }

    /// Removes the rescued answer, which is in the store now.
    pub fn remove_rescued(&self) -> Result<(), StoreError> {
        self.rescue.remove(self.key)
    }

    /// A descriptor that shares this lock, to be handed to a child: the lock is held until both
    /// have closed it.
    pub fn share(&self) -> Result<File, StoreError> {
        self.lock.file.try_clone().map_err(StoreError::io("share", &self.lock.path))
    }
}

/// The last whole record in the file at `path`.
///
/// # Errors
/// It says something that we do not understand: a later program wrote it. That is not to say that
/// nothing became of the token.
fn last_record(bytes: &[u8], path: &Path) -> Result<Option<Record>, StoreError> {
    records(bytes).next().transpose().map_err(|offset| {
        let reason = "a record that this program does not understand";
        let error = ParseError { offset, reason, is_json: true };
        StoreError::Damaged { path: path.to_owned(), error }
    })
}

/// The whole records in a file, the last one first; of one that is not understood, where it is.
fn records(bytes: &[u8]) -> impl Iterator<Item = Result<Record, usize>> {
    let mut end = bytes.len() + 1;
    bytes.rsplit(|byte| *byte == b'\n').filter_map(move |line| {
        end -= line.len() + 1;
        let (json, sum) = std::str::from_utf8(line).ok()?.rsplit_once(' ')?;
        (sum == checksum(json)).then(|| serde_json::from_str(json).map_err(|_| end))
    })
}

fn checksum(text: &str) -> String {
    hexadecimal(&Sha256::digest(text.as_bytes())[..8])
}

/// `bytes` as lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// A path as records and other files of ours name a store: canonical where it exists.
pub(crate) fn canonical(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(state: State) -> Record {
        Record::new(state, Path::new("/s"), &"p".into(), Timestamp(1))
    }

    fn key() -> TokenKey {
        TokenKey::new("https://issuer.example/token", "client", &Secret::new("refresh"))
    }

    #[test]
    fn a_key_is_the_hash_of_its_parts_and_survives_printing() {
        assert_eq!(key().to_string().parse::<TokenKey>().unwrap(), key());
        assert_eq!(
            key().to_string(),
            "54a52274fa13855727ae81a3edc8118179aa5868d6ce09e201f7e13bcdfbe99b"
        );
        let refused = |text: &str| text.parse::<TokenKey>().is_err();
        let text = key().to_string();
        assert!(refused(&text[1..]) && refused(&format!("{text}0")) && refused(""));
        assert!(refused(&format!("{}é", &text[2..])) && refused(&text.replace('a', "x")));
        let other = TokenKey::new("https://issuer.example/token", "client", &Secret::new("other"));
        assert_ne!(key(), other);
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
        // But for the line breaks around it.
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
        // The control: a later one that is understood counts.
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
        atomic::write_atomic(&directory.path().join("refresh/other"), b"x").unwrap();
        assert_eq!(records.peek(key()).unwrap(), Some(record(State::Rejected)));
        assert_eq!(records.all().unwrap(), [(key(), record(State::Rejected))]);
        lock.write(&record(State::None)).unwrap();
        assert_eq!(records.peek(key()).unwrap(), None);
        assert_eq!(records.all().unwrap(), [(key(), record(State::None))]);
        // What cannot be read is not the same as none.
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
    fn a_rescued_answer_is_found_by_whoever_locks_its_token_next() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::at(directory.path().join("refresh"));
        let answer = StoredAnswer { status: 200, received_at: Timestamp(7), body: b"{}".to_vec() };
        assert!(records.lock(key(), Duration::from_mins(1)).unwrap().rescue(&answer).is_err());

        let records = records.with_rescue(directory.path().join("rescue"));
        records.lock(key(), Duration::from_mins(1)).unwrap().rescue(&answer).unwrap();
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
