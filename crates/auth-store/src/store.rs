//! The store: *read*, *update*, *lock for refresh*. Nobody else writes the file.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::answer::{self, AnswerFile, StoredAnswer};
use crate::atomic::{self, Installed, NextFile};
use crate::directory_lock::{DirectoryLock, Held};
use crate::document::{Document, LARGEST, ParseError};
use crate::error::StoreError;
use crate::file_lock::FileLock;
use crate::record::TokenKey;
use crate::time::{Clock as _, SystemClock};
use crate::trust;

/// The credentials of one agent: the file `auth-profiles.json` and what belongs to it.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    patience: Duration,
}

impl Store {
    /// The store at `path`. Nothing is touched; a file that is not there is an empty store.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), patience: PATIENCE }
    }

    /// The same store, waiting at most `patience` for its locks instead of 60 s.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Where it is, as given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is, links followed: the name by which records know it.
    pub fn canonical_path(&self) -> PathBuf {
        match fs::canonicalize(&self.path) {
            Ok(path) => path,
            Err(_) => match self.path.file_name() {
                Some(name) => crate::record::canonical(atomic::directory_of(&self.path)).join(name),
                None => self.path.clone(),
            },
        }
    }

    /// The content now. Takes no lock, unless the file is damaged: a live Clawdbot writes in
    /// place, so then it is read again under the lock, and recovered from the backup if it stays
    /// damaged.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if there is no backup to recover from; the file is left as it is.
    pub fn read(&self) -> Result<Document, StoreError> {
        Ok(self.read_open()?.0)
    }

    /// The same with the file it was read from, still open, and how that was before it was read:
    /// for those who want to know later whether it changed. `None` if there is no file, or it was
    /// damaged.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn read_open(&self) -> Result<(Document, Option<(fs::File, fs::Metadata)>), StoreError> {
        let Some((bytes, file, as_it_was)) = read_open(&self.path)? else {
            return Ok((Document::empty(), None));
        };
        match Document::parse(&bytes) {
            Ok(document) => Ok((document, Some((file, as_it_was)))),
            Err(error) => match self.lock_for_refresh() {
                Ok(lock) => Ok((lock.read()?, None)),
                // There is something to recover from, and this is all that is in the way.
                Err(hindrance @ StoreError::Io { .. }) if self.backup().is_some() => Err(hindrance),
                Err(_) => Err(StoreError::Damaged { path: self.path.clone(), error }),
            },
        }
    }

    /// Sees whether a store that has grown could be written now. For those who are about to fetch
    /// something that can be had once only.
    ///
    /// # Errors
    /// Fetch nothing: it could not be saved.
    pub fn check_room(&self) -> Result<(), StoreError> {
        self.lock_for_refresh()?.reserve_next()
    }

    /// Reads, has `edit` change the document, and writes it, all under the lock. Should somebody
    /// write meanwhile without a lock, `edit` is called again on what they wrote; so it must
    /// depend on nothing but the document. Nothing is written if nothing was changed.
    ///
    /// # Errors
    /// Whatever the error, the file is as it was.
    pub fn update<T>(&self, edit: impl FnMut(&mut Document) -> T) -> Result<T, StoreError> {
        self.lock_for_refresh()?.update(edit)
    }

    /// Locks the store for several steps: against other processes of ours, and against Clawdbot.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if somebody else holds a lock all the time.
    pub fn lock_for_refresh(&self) -> Result<StoreLock, StoreError> {
        let place = Place::of(&self.path)?;
        atomic::create_private_directory(atomic::directory_of(&place.file))?;
        let started = Instant::now();
        let flock = FileLock::acquire(&place.flock, self.patience)?;
        let rest = self.patience.saturating_sub(started.elapsed());
        let directory =
            DirectoryLock::acquire(&place.lock, &flock.file, rest).map_err(|error| {
                match error {
                    // The whole wait counts, not what the other lock left of it.
                    StoreError::Busy { path, holder, .. } => {
                        StoreError::Busy { path, seconds: self.patience.as_secs(), holder }
                    }
                    other => other,
                }
            })?;
        for left in place.temporaries() {
            // A dead one's: only the holder of the lock makes them.
            let _ = fs::remove_file(left);
        }
        Ok(StoreLock {
            place,
            flock,
            directory: Some(directory),
            reserved: None,
            must_commit: false,
        })
    }

    /// Locks what lies beside the store and is ours alone: Clawdbot is not kept waiting.
    pub(crate) fn lock_companions(&self) -> Result<FileLock, StoreError> {
        let place = Place::of(&self.path)?;
        atomic::create_private_directory(atomic::directory_of(&place.file))?;
        FileLock::acquire(&place.flock, self.patience)
    }

    /// Whether no process of ours has ever locked this store: the only time at which a legacy
    /// file beside it is imported.
    pub fn is_untouched(&self) -> bool {
        Place::of(&self.path).is_ok_and(|place| !place.flock.exists())
    }

    /// The answer of the token `key` that waits beside this store, if there is one.
    pub fn stored_answer(&self, key: TokenKey) -> Result<Option<StoredAnswer>, StoreError> {
        answer::read(&self.answer_path(key))
    }

    /// The tokens for which an answer file lies beside this store.
    pub fn answers(&self) -> Vec<TokenKey> {
        answer::keys(atomic::directory_of(&self.canonical_path()))
    }

    /// The credentials as they were last committed by us, if a backup is there and whole.
    pub fn backup(&self) -> Option<Document> {
        let backup = atomic::sibling(&self.canonical_path(), ".bak");
        Document::parse(&read_bytes(&backup).ok()??).ok()
    }

    fn answer_path(&self, key: TokenKey) -> PathBuf {
        answer::path(atomic::directory_of(&self.canonical_path()), key)
    }
}

/// The locked store. Dropping it releases both locks.
#[derive(Debug)]
pub struct StoreLock {
    place: Place,
    flock: FileLock,
    /// `None` only while it is being dropped or taken anew.
    directory: Option<DirectoryLock>,
    reserved: Option<NextFile>,
    must_commit: bool,
}

impl StoreLock {
    /// The store's canonical path.
    pub fn path(&self) -> &Path {
        &self.place.file
    }

    /// The content now, recovered from the backup if it is damaged.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if there is no backup to recover from.
    pub fn read(&self) -> Result<Document, StoreError> {
        Ok(self.read_with_bytes()?.0)
    }

    fn read_with_bytes(&self) -> Result<(Document, Option<Vec<u8>>), StoreError> {
        let mut attempts = 0;
        loop {
            let Some(bytes) = read_bytes(&self.place.file)? else {
                return Ok((Document::empty(), None));
            };
            match Document::parse(&bytes) {
                Ok(document) => return Ok((document, Some(bytes))),
                // Somebody may be writing in place without the lock.
                Err(_) if attempts < REREADS => std::thread::sleep(REREAD_AFTER),
                Err(error) => return self.recover(&bytes, error),
            }
            attempts += 1;
        }
    }

    /// Keeps a copy of the damaged bytes, and puts the backup in their place.
    fn recover(
        &self,
        damaged: &[u8],
        error: ParseError,
    ) -> Result<(Document, Option<Vec<u8>>), StoreError> {
        let file = &self.place.file;
        let backup = read_bytes(&self.place.backup).ok().flatten();
        let parsed = backup.as_deref().and_then(|bytes| Document::parse(bytes).ok());
        let (Some(bytes), Some(mut document)) = (backup, parsed) else {
            return Err(StoreError::Damaged { path: file.clone(), error });
        };
        let copy = self.keep_damaged(damaged)?;
        self.put(file, &bytes)?;
        document.set_recovered_from(copy);
        Ok((document, Some(bytes)))
    }

    /// Has `edit` change the document, and writes it. See [`Store::update`].
    pub fn update<T>(&mut self, mut edit: impl FnMut(&mut Document) -> T) -> Result<T, StoreError> {
        self.refuse_if_superseded()?;
        // What somebody wrote at the very moment of our rename, to be merged with what is there
        // now.
        let mut overwritten: Option<(Document, Vec<u8>)> = None;
        loop {
            let theirs = overwritten.take();
            let (mut document, before) = match &theirs {
                Some((theirs, ours)) => (theirs.clone(), Some(ours.clone())),
                None => self.read_with_bytes()?,
            };
            let result = edit(&mut document);
            if !document.is_changed() && theirs.is_none() {
                return Ok(result);
            }
            if !document.is_writable() {
                return Err(StoreError::Newer { path: self.place.file.clone() });
            }
            let bytes = document.to_bytes();
            let mut next = match self.reserved.take() {
                Some(reserved) => reserved,
                None => self.next_file(0)?,
            };
            next.fill(&bytes)?;
            next.sync()?;
            let is_ours = self.is_directory_ours() || self.retake_directory()?;
            let is_as_read = read_bytes(&self.place.file)? == before;
            if !is_ours || !is_as_read {
                self.reserved = Some(next);
                overwritten = theirs.filter(|_| is_as_read);
                continue;
            }
            // What is removed is gone from the backup first: nobody would look for it there again.
            let removes = document.touched().any(|id| !document.contains(id));
            if removes {
                self.back_up(&document);
            }
            match next.install_over(before.as_deref())? {
                Installed::Done => {}
                Installed::Not(next) => {
                    self.reserved = Some(next);
                    continue;
                }
                Installed::Over(next) => {
                    self.back_up(&document);
                    overwritten = self.came_out(&next)?.map(|theirs| (theirs, bytes));
                    if overwritten.is_some() {
                        continue;
                    }
                    return Ok(result);
                }
            }
            self.back_up(&document);
            return Ok(result);
        }
    }

    /// Reads what our rename put aside. Somebody may still be writing it in place; what stays
    /// damaged is kept as a copy, as it would have been in its place.
    fn came_out(&self, next: &NextFile) -> Result<Option<Document>, StoreError> {
        let mut attempts = 0;
        loop {
            let bytes = next.came_out()?;
            match Document::parse(&bytes) {
                Ok(document) if document.is_writable() => return Ok(Some(document)),
                Ok(_) => {
                    self.put(&self.place.file, &bytes)?;
                    return Err(StoreError::Newer { path: self.place.file.clone() });
                }
                Err(_) if attempts < REREADS => std::thread::sleep(REREAD_AFTER),
                Err(_) => return self.keep_damaged(&bytes).map(|_| None),
            }
            attempts += 1;
        }
    }

    /// Keeps a copy of damaged bytes beside the store.
    fn keep_damaged(&self, damaged: &[u8]) -> Result<PathBuf, StoreError> {
        let file = &self.place.file;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let suffix: u32 = rand::random();
        let copy =
            file.with_file_name(format!("{name}.corrupt.{}.{suffix:08x}", SystemClock.now()));
        self.put(&copy, damaged)?;
        Ok(copy)
    }

    /// Replaces a file, not by the next one of the store, which may be reserved already. The name
    /// of the temporary file is fixed, so that whoever comes after we died clears it away.
    fn put(&self, target: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let temporary = self.place.put();
        let _ = fs::remove_file(&temporary);
        let mut next = NextFile::create(target, &temporary, 0)?;
        next.fill(bytes)?;
        next.sync()?;
        next.install()
    }

    /// Writes the touched profiles into the backup as they were just committed; all others stay
    /// there as they were committed before, whatever somebody else made of them since. Best
    /// effort: the store itself is committed.
    fn back_up(&self, committed: &Document) {
        if committed.touched().len() == 0 {
            return;
        }
        let before = read_bytes(&self.place.backup).ok().flatten();
        let before = before.and_then(|bytes| Document::parse(&bytes).ok());
        let backup = match before {
            Some(mut backup) => {
                for id in committed.touched() {
                    backup.copy_entry(id, committed);
                }
                backup
            }
            None => committed.clone(),
        };
        let temporary = self.place.next_backup();
        let _ = fs::remove_file(&temporary);
        let _ = NextFile::create(&self.place.backup, &temporary, 0).and_then(|mut next| {
            next.fill(&backup.to_bytes())?;
            next.install_without_sync()
        });
    }

    /// Puts enough bytes on the disk for an answer and for the next store, so that neither can
    /// fail for want of space once the request is sent.
    ///
    /// # Errors
    /// Send nothing: its result could not be saved.
    pub fn reserve(&mut self, key: TokenKey) -> Result<AnswerFile, StoreError> {
        self.reserve_next()?;
        AnswerFile::reserve(&self.answer_path(key))
    }

    fn reserve_next(&mut self) -> Result<(), StoreError> {
        self.refuse_if_superseded()?;
        let (document, bytes) = self.read_with_bytes()?;
        if !document.is_writable() {
            return Err(StoreError::Newer { path: self.place.file.clone() });
        }
        let size = bytes.map_or(0, |bytes| bytes.len());
        self.reserved = Some(self.next_file(size + ROOM_TO_GROW)?);
        Ok(())
    }

    /// The answer of the token `key` that waits beside this store, if there is one.
    pub fn stored_answer(&self, key: TokenKey) -> Result<Option<StoredAnswer>, StoreError> {
        answer::read(&self.answer_path(key))
    }

    /// Removes the answer of the token `key`, which is in the store now.
    pub fn remove_answer(&self, key: TokenKey) -> Result<(), StoreError> {
        answer::remove(&self.answer_path(key))
    }

    /// The tokens for which an answer file lies beside this store.
    pub fn answers(&self) -> Vec<TokenKey> {
        answer::keys(atomic::directory_of(&self.place.file))
    }

    fn answer_path(&self, key: TokenKey) -> PathBuf {
        answer::path(atomic::directory_of(&self.place.file), key)
    }

    /// From now on a lost directory lock does not stop a commit: a fresh token would be lost.
    pub fn commit_whatever_happens(&mut self) {
        self.must_commit = true;
    }

    /// Has a thread keep the directory lock alive, for holds across the network.
    pub fn keep_alive(&mut self) {
        if let Some(directory) = &mut self.directory {
            directory.keep_alive();
        }
    }

    /// How long the directory lock has been held.
    pub fn age(&self) -> Duration {
        self.directory.as_ref().map_or(Duration::ZERO, DirectoryLock::age)
    }

    /// Tells, at any later time and from any thread, whether the directory lock is still ours.
    pub fn witness(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let held: Option<Arc<Held>> = self.directory.as_ref().map(DirectoryLock::witness);
        move || held.as_ref().is_some_and(|held| held.is_ours())
    }

    fn is_directory_ours(&self) -> bool {
        self.directory.as_ref().is_some_and(DirectoryLock::is_ours)
    }

    /// Somebody removed our lock. Take it again and start over; if that cannot be, commit all the
    /// same when a fresh token is at stake. `true`: go on to the commit.
    fn retake_directory(&mut self) -> Result<bool, StoreError> {
        if let Some(lost) = self.directory.take() {
            lost.release(&self.flock.file);
        }
        match DirectoryLock::acquire(&self.place.lock, &self.flock.file, RETAKE) {
            Ok(directory) => {
                self.directory = Some(directory);
                Ok(false)
            }
            Err(_) if self.must_commit => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// A later OpenClaw keeps its credentials in a database, and leaves the file behind.
    fn refuse_if_superseded(&self) -> Result<(), StoreError> {
        let database = self.place.file.with_file_name("openclaw-agent.sqlite");
        if database.exists() {
            return Err(StoreError::Superseded { path: self.place.file.clone(), database });
        }
        Ok(())
    }

    /// The next content of the file. Its name is fixed, since only the holder of the lock makes
    /// one: one that is left over is a dead one's.
    fn next_file(&self, reserve: usize) -> Result<NextFile, StoreError> {
        let temporary = self.place.next();
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("remove", &temporary)(error));
            }
            _ => {}
        }
        NextFile::create(&self.place.file, &temporary, reserve)
    }
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        // While its name is still ours: whoever has the lock next makes one of the same name.
        self.reserved = None;
        if let Some(directory) = self.directory.take() {
            directory.release(&self.flock.file);
        }
    }
}

/// Where a store and its siblings really are.
#[derive(Clone, Debug)]
struct Place {
    file: PathBuf,
    lock: PathBuf,
    flock: PathBuf,
    backup: PathBuf,
}

impl Place {
    /// The next content of the store.
    fn next(&self) -> PathBuf {
        atomic::sibling(&self.file, ".new")
    }

    /// The next content of the backup.
    fn next_backup(&self) -> PathBuf {
        atomic::sibling(&self.backup, ".new")
    }

    /// A file on its way to its place without having been reserved.
    fn put(&self) -> PathBuf {
        atomic::sibling(&self.file, ".put")
    }

    /// The files that exist only while somebody holds the lock.
    fn temporaries(&self) -> [PathBuf; 5] {
        let companion = |name: &str| self.file.with_file_name(name);
        [
            self.next(),
            self.next_backup(),
            self.put(),
            companion(crate::runtime_cache::TEMPORARY),
            companion(crate::model_usage::TEMPORARY),
        ]
    }

    /// Resolves the path once: a store may be a symbolic link, and everything that belongs to it
    /// lies beside the target. What could be under the control of others is refused.
    fn of(path: &Path) -> Result<Self, StoreError> {
        let unsafe_because =
            |path: &Path, reason| StoreError::Unsafe { path: path.to_owned(), reason };
        trust::check_way(path)?;
        let file = match fs::canonicalize(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if fs::symlink_metadata(path).is_ok() {
                    return Err(unsafe_because(path, "it is a link that leads nowhere"));
                }
                let directory = crate::record::canonical(atomic::directory_of(path));
                directory.join(path.file_name().unwrap_or_default())
            }
            Err(error) => return Err(StoreError::io("find", path)(error)),
        };
        if let Ok(metadata) = fs::metadata(&file) {
            if !metadata.is_file() {
                return Err(unsafe_because(&file, "it is not a regular file"));
            }
            #[cfg(unix)]
            if !trust::is_ours(&metadata) {
                return Err(unsafe_because(&file, "it belongs to another user"));
            }
        }
        trust::check_directory(atomic::directory_of(&file), &file)?;
        let mut lock = file.clone().into_os_string();
        lock.push(".lock");
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        Ok(Self {
            lock: lock.into(),
            flock: file.with_file_name(format!(".{stem}.flock")),
            backup: atomic::sibling(&file, ".bak"),
            file,
        })
    }
}

/// The bytes of a file; `None` if there is none. Whatever else goes wrong is an error: a file we
/// cannot read is not an empty one.
pub(crate) fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(read_open(path)?.map(|(bytes, _file, _as_it_was)| bytes))
}

/// The same with the file, and how it was before it was read.
fn read_open(path: &Path) -> Result<Option<(Vec<u8>, fs::File, fs::Metadata)>, StoreError> {
    let Some((mut file, as_it_was)) = trust::open(path)? else { return Ok(None) };
    let length = usize::try_from(as_it_was.len()).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(length.min(LARGEST) + 1);
    let limit = LARGEST as u64 + 1;
    match io::Read::take(&mut file, limit).read_to_end(&mut bytes) {
        Ok(_) => Ok(Some((bytes, file, as_it_was))),
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}

/// How long we wait for the locks.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long we wait for a directory lock that somebody took from us.
const RETAKE: Duration = Duration::from_secs(2);
/// How often, and how far apart, a damaged file is read again before it is believed.
const REREADS: u32 = 5;
const REREAD_AFTER: Duration = Duration::from_millis(100);
/// What a refresh may add to the file.
const ROOM_TO_GROW: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::credential::Credential;
    use crate::id::ProfileId;

    fn directory_and_store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path().join("agent/auth-profiles.json"));
        (directory, store)
    }

    fn put(store: &Store, id: &str, key: &str) {
        let id = ProfileId::from(id);
        store
            .update(|document| {
                document.put(&id, "acme", &Credential::ApiKey(key.into()), &Map::new());
            })
            .unwrap();
    }

    fn key(document: &Document, id: &str) -> Option<String> {
        Some(document.credential(&id.into())?.bearer().expose().to_owned())
    }

    #[test]
    fn what_was_put_is_read_back_and_nothing_else_is_left_in_the_directory() {
        let (_directory, store) = directory_and_store();
        put(&store, "acme:a", "one");
        assert_eq!(key(&store.read().unwrap(), "acme:a").as_deref(), Some("one"));
        let mut names: Vec<_> = fs::read_dir(store.path().parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            [".auth-profiles.flock", ".auth-profiles.json.bak", "auth-profiles.json"]
        );
    }

    #[test]
    fn no_update_of_many_writers_is_lost() {
        let (_directory, store) = directory_and_store();
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let store = store.clone();
                std::thread::spawn(move || {
                    for number in 0..10 {
                        put(&store, &format!("acme:{thread}-{number}"), "k");
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(store.read().unwrap().profiles().count(), 40);
    }

    #[test]
    fn an_edit_that_changes_nothing_writes_nothing() {
        let (_directory, store) = directory_and_store();
        put(&store, "acme:a", "one");
        let odd = b"{\"version\":1,   \"profiles\":{}}";
        atomic::write_atomic(store.path(), odd).unwrap();
        store.update(|_| ()).unwrap();
        assert_eq!(fs::read(store.path()).unwrap(), odd);
    }

    #[test]
    fn an_unlocked_write_between_our_read_and_our_rename_is_kept() {
        let (_directory, store) = directory_and_store();
        put(&store, "acme:a", "one");
        let mut calls = 0;
        let path = store.path().to_owned();
        store
            .update(|document| {
                calls += 1;
                if calls == 1 {
                    let mut theirs = document.clone();
                    let credential = Credential::ApiKey("theirs".into());
                    theirs.put(&"acme:theirs".into(), "acme", &credential, &Map::new());
                    atomic::write_atomic(&path, &theirs.to_bytes()).unwrap();
                }
                let ours = Credential::ApiKey("ours".into());
                document.put(&"acme:ours".into(), "acme", &ours, &Map::new());
            })
            .unwrap();
        let document = store.read().unwrap();
        assert_eq!(calls, 2);
        assert!(key(&document, "acme:theirs").is_some() && key(&document, "acme:ours").is_some());
    }

    #[test]
    fn an_unlocked_write_between_our_last_look_and_our_rename_is_merged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let next = |text: &str| {
            let mut next = NextFile::create(&path, &directory.path().join(".file.new"), 0).unwrap();
            next.fill(text.as_bytes()).unwrap();
            next
        };
        let left = || fs::read_dir(directory.path()).unwrap().count();
        assert!(matches!(next("one").install_over(None).unwrap(), Installed::Done));
        assert!(matches!(next("two").install_over(Some(b"one")).unwrap(), Installed::Done));
        assert_eq!((fs::read(&path).unwrap(), left()), (b"two".to_vec(), 1));
        let Installed::Over(over) = next("three").install_over(Some(b"one")).unwrap() else {
            panic!("nobody noticed")
        };
        assert_eq!(over.came_out().unwrap(), b"two");
        drop(over);
        assert_eq!((fs::read(&path).unwrap(), left()), (b"three".to_vec(), 1));
        assert!(matches!(next("four").install_over(None).unwrap(), Installed::Not(_)));
        fs::remove_file(&path).unwrap();
        assert!(matches!(next("five").install_over(Some(b"three")).unwrap(), Installed::Not(_)));
        assert_eq!(left(), 0);
    }

    #[test]
    fn a_reserved_store_survives_unlocked_writes_and_a_recovery() {
        let (_directory, store) = directory_and_store();
        put(&store, "acme:a", "one");
        let mut lock = store.lock_for_refresh().unwrap();
        let _answer = lock.reserve(TokenKey::new("e", "c", &"r".into())).unwrap();
        atomic::write_atomic(store.path(), b"{").unwrap();
        let mut calls = 0;
        lock.update(|document| {
            calls += 1;
            if calls == 1 {
                atomic::write_atomic(store.path(), b"{\"version\":1,\"profiles\":{}}").unwrap();
            }
            let ours = Credential::ApiKey("ours".into());
            document.put(&"acme:ours".into(), "acme", &ours, &Map::new());
        })
        .unwrap();
        assert_eq!(calls, 2);
        assert_eq!(key(&store.read().unwrap(), "acme:ours").as_deref(), Some("ours"));
    }

    #[test]
    fn a_damaged_file_is_recovered_from_the_backup_and_kept() {
        let (_directory, store) = directory_and_store();
        put(&store, "acme:a", "one");
        let whole = fs::read(store.path()).unwrap();
        let torn = &whole[..whole.len() / 2];
        atomic::write_atomic(store.path(), torn).unwrap();
        let document = store.read().unwrap();
        assert_eq!(key(&document, "acme:a").as_deref(), Some("one"));
        assert_eq!(fs::read(document.recovered_from().unwrap()).unwrap(), torn);
    }

    #[test]
    fn what_is_removed_is_gone_from_the_backup_too() {
        let (_directory, store) = directory_and_store();
        put(&store, "acme:a", "one");
        put(&store, "acme:b", "two");
        store.update(|document| document.remove(&"acme:a".into())).unwrap();
        let backup = store.backup().unwrap();
        assert!(!backup.contains(&"acme:a".into()) && backup.contains(&"acme:b".into()));
    }

    #[test]
    fn what_a_dead_process_left_is_gone_with_the_next_lock() {
        let (_directory, store) = directory_and_store();
        put(&store, "acme:a", "one");
        let place = Place::of(store.path()).unwrap();
        for path in place.temporaries() {
            atomic::write_atomic(&path, b"secret").unwrap();
        }
        drop(store.lock_for_refresh().unwrap());
        assert!(place.temporaries().iter().all(|path| !path.exists()));
    }

    #[test]
    fn a_damaged_file_without_a_backup_is_an_error_and_left_as_it_is() {
        let (_directory, store) = directory_and_store();
        for damaged in ["", "{", "null", "{\"version\":1,\"profiles\":5}"] {
            fs::create_dir_all(store.path().parent().unwrap()).unwrap();
            atomic::write_atomic(store.path(), damaged.as_bytes()).unwrap();
            let updated = store.update(|document| document.remove(&"x".into()));
            assert!(matches!(updated, Err(StoreError::Damaged { .. })), "{damaged}");
            assert!(matches!(store.read(), Err(StoreError::Damaged { .. })), "{damaged}");
            assert_eq!(fs::read(store.path()).unwrap(), damaged.as_bytes());
        }
    }

    #[test]
    fn a_newer_version_is_read_but_never_written() {
        let (_directory, store) = directory_and_store();
        let newer =
            br#"{"version":2,"profiles":{"a":{"type":"api_key","provider":"x","key":"k"}}}"#;
        fs::create_dir_all(store.path().parent().unwrap()).unwrap();
        atomic::write_atomic(store.path(), newer).unwrap();
        assert_eq!(key(&store.read().unwrap(), "a").as_deref(), Some("k"));
        let removed = store.update(|document| document.remove(&"a".into()));
        assert!(matches!(removed, Err(StoreError::Newer { .. })));
        assert_eq!(fs::read(store.path()).unwrap(), newer);
    }

    #[cfg(unix)]
    #[test]
    fn a_linked_store_is_written_at_its_target() {
        let (directory, store) = directory_and_store();
        let link = directory.path().join("link.json");
        put(&store, "acme:a", "one");
        std::os::unix::fs::symlink(store.path(), &link).unwrap();
        put(&Store::at(&link), "acme:b", "two");
        assert!(fs::symlink_metadata(&link).unwrap().file_type().is_symlink());
        assert_eq!(store.read().unwrap().profiles().count(), 2);
        fs::remove_file(store.path()).unwrap();
        assert!(matches!(Store::at(&link).update(|_| ()), Err(StoreError::Unsafe { .. })));
    }

    #[test]
    fn the_backup_holds_what_we_committed_not_what_others_wrote() {
        let (_directory, store) = directory_and_store();
        put(&store, "acme:a", "ours");
        put(&store, "acme:b", "ours");
        let theirs = String::from_utf8(fs::read(store.path()).unwrap()).unwrap();
        let theirs = theirs.replacen("ours", "stale", 1);
        atomic::write_atomic(store.path(), theirs.as_bytes()).unwrap();
        put(&store, "acme:b", "new");
        let backup = store.backup().unwrap();
        assert_eq!(key(&backup, "acme:a").as_deref(), Some("ours"));
        assert_eq!(key(&backup, "acme:b").as_deref(), Some("new"));
    }
}
