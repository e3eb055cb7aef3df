//! The locked store: reading, writing and reserving while no other process of ours writes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clawdbot_lock::memory::Memory;
use crate::clawdbot_lock::{DirectoryLock, busy, pause};
use crate::document::Document;
use crate::error::{ParseError, StoreError};
use crate::fs::atomic::{self, Installed, NextFile};
use crate::fs::flock::FileLock;
use crate::fs::open::read_trusted;
use crate::fs::stamp::Stamp;
use crate::paths;
use crate::refresh_record::response_file::{self, ResponseFile, StoredResponse};
use crate::refresh_record::token_key::TokenKey;
use crate::store::place::{Place, read_backup, superseded_by};
use crate::store::recovery::{Recoveries, Recovery};
use crate::time::{Clock as _, SystemClock};

/// The locked store. Dropping it releases both locks.
#[derive(Debug)]
pub struct StoreLock {
    pub(crate) place: Place,
    pub(crate) flock: FileLock,
    /// `None` during a drop, while it is taken again, and where a response is saved without it.
    pub(crate) directory: Option<DirectoryLock>,
    pub(crate) reserved: Option<NextFile>,
    must_commit: bool,
    /// Whether the store was written under this lock.
    has_written: bool,
    recoveries: Recoveries,
}

impl StoreLock {
    /// Locks the store at `path`, waiting at most `timeout` for both locks together. While another
    /// program has its directory, no process of ours waits for the flock.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if a lock was held until the timeout.
    pub(crate) fn acquire(
        path: &Path,
        timeout: Duration,
        recoveries: &Recoveries,
    ) -> Result<Self, StoreError> {
        let place = Place::resolve(path)?;
        atomic::create_private_directory(paths::directory_of(&place.file))?;
        let started = Instant::now();
        // Not even our lock is put beside what is another program's.
        refuse_if_superseded(&place.file)?;
        let mut met_others = false;
        loop {
            let left = timeout.saturating_sub(started.elapsed());
            let flock = FileLock::acquire(&place.flock, left).map_err(|error| match error {
                // The whole timeout, not the part that earlier attempts left.
                StoreError::Busy { path, holder, .. } => busy(&path, timeout, holder),
                other => other,
            })?;
            match DirectoryLock::try_acquire(&place.lock, &flock.file, met_others)? {
                Ok(directory) => {
                    return Ok(Self::locked(place, flock, Some(directory), recoveries));
                }
                Err(holder) if started.elapsed() >= timeout => {
                    return Err(busy(&place.lock, timeout, holder));
                }
                Err(_) => met_others = true,
            }
            drop(flock);
            pause();
        }
    }

    /// The same with the directory that was kept during a request, or with a new one. What is to be
    /// saved exists only once: should another program have the directory for long, this goes on
    /// without it.
    pub(crate) fn acquire_again(
        place: Place,
        timeout: Duration,
        kept: Option<DirectoryLock>,
        recoveries: &Recoveries,
    ) -> Result<Self, StoreError> {
        let started = Instant::now();
        let mut kept = kept;
        let mut met_others = false;
        loop {
            // Should it fail, our other processes know the directory, and take it.
            let flock = FileLock::acquire(&place.flock, timeout)?;
            let ours = match kept.take() {
                Some(directory) if directory.is_ours() => Some(directory),
                lost => {
                    if let Some(lost) = lost {
                        lost.release(&flock.file);
                    }
                    let tried = DirectoryLock::try_acquire(&place.lock, &flock.file, met_others);
                    tried.ok().and_then(Result::ok)
                }
            };
            if ours.is_none() && started.elapsed() < RETURN {
                met_others = true;
                drop(flock);
                pause();
                continue;
            }
            let mut store = Self::locked(place, flock, ours, recoveries);
            store.commit_whatever_happens();
            return Ok(store);
        }
    }

    fn locked(
        place: Place,
        flock: FileLock,
        directory: Option<DirectoryLock>,
        recoveries: &Recoveries,
    ) -> Self {
        for left in place.temporaries() {
            // Only the holder of the lock makes them, so these are stale files of a crashed process.
            atomic::discard(&left);
        }
        note_foreign_write(&flock, Stamp::at(&place.file));
        let recoveries = recoveries.clone();
        let (reserved, must_commit, has_written) = (None, false, false);
        Self { place, flock, directory, reserved, must_commit, has_written, recoveries }
    }

    /// From now on a lost directory lock does not stop a commit, because a new token would be lost.
    pub(crate) fn commit_whatever_happens(&mut self) {
        self.must_commit = true;
    }

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
            let Some(bytes) = read_trusted(&self.place.file)? else {
                return Ok((Document::empty(), None));
            };
            match Document::parse(&bytes) {
                Ok(document) => return Ok((document, Some(bytes))),
                // Another program may be writing in place without the lock.
                Err(_) if attempts < REREADS => std::thread::sleep(REREAD_AFTER),
                Err(error) => {
                    if let Some((document, bytes)) = self.recover(&bytes, error)? {
                        return Ok((document, Some(bytes)));
                    }
                }
            }
            attempts += 1;
        }
    }

    /// Keeps the damaged file under another name, and replaces it with the backup: at every moment
    /// one or the other exists. `None`: another program wrote something else there meanwhile.
    fn recover(
        &self,
        damaged: &[u8],
        error: ParseError,
    ) -> Result<Option<(Document, Vec<u8>)>, StoreError> {
        let file = &self.place.file;
        let backup = if error.is_json { None } else { read_backup(&self.place.backup)? };
        let Some((mut document, bytes)) = backup else {
            return Err(StoreError::Damaged { path: file.clone(), error });
        };
        let copy = paths::damaged_copy(file, SystemClock.now(), rand::random());
        atomic::keep_whole(file, &copy, &paths::next_beside_reserved(file))?;
        if read_trusted(file)?.as_deref() != Some(damaged) {
            atomic::remove(&copy)?;
            return Ok(None);
        }
        if let Err(error) = self.put(file, &bytes) {
            // The damaged file is still in its place.
            atomic::remove(&copy)?;
            return Err(error);
        }
        // A program that was writing in place has written to the copy.
        if let Some(theirs) = read_trusted(&copy)?.filter(|it| Document::parse(it).is_ok()) {
            self.put(file, &theirs)?;
            atomic::remove(&copy)?;
            return Ok(None);
        }
        self.tell(&copy, &error, true);
        document.set_recovered_from(copy);
        Ok(Some((document, bytes)))
    }

    fn tell(&self, copy: &Path, error: &ParseError, is_from_backup: bool) {
        self.recoveries.add(Recovery {
            store: self.place.file.clone(),
            copy: copy.to_owned(),
            reason: error.to_string(),
            is_from_backup,
        });
    }

    /// Changes the document with `edit`, and writes it. See [`Store::update`](crate::Store::update).
    pub fn update<T>(&mut self, mut edit: impl FnMut(&mut Document) -> T) -> Result<T, StoreError> {
        refuse_if_superseded(&self.place.file)?;
        // Content that another program wrote at the moment of our rename, to be merged with the
        // present content.
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
            document.check_writable(&self.place.file)?;
            let bytes = document.to_bytes();
            let mut next = match self.reserved.take() {
                // From now on there are secrets in it, so it gets the name that the next holder of
                // the lock clears away.
                Some(reserved) => reserved.renamed(&paths::next(&self.place.file))?,
                None => self.next_file(0)?,
            };
            next.fill(&bytes)?;
            next.sync()?;
            let is_ours = self.is_directory_ours() || self.retake_directory()?;
            let is_as_read = read_trusted(&self.place.file)? == before;
            if !is_as_read {
                note_foreign_write(&self.flock, Stamp::at(&self.place.file));
            }
            if !is_ours || !is_as_read {
                self.reserved = Some(next);
                overwritten = theirs.filter(|_| is_as_read);
                continue;
            }
            // A removed profile is removed from the backup first: after the commit nothing would
            // look for it there.
            let removes = document.touched().any(|id| !document.contains(id));
            if removes {
                self.write_backup(&document)?;
            }
            self.has_written = true;
            match next.install_over(before.as_deref())? {
                Installed::Done => {}
                Installed::Not(next) => {
                    self.reserved = Some(next);
                    continue;
                }
                Installed::Over(next) => {
                    note_foreign_write(&self.flock, next.stamp());
                    let theirs = match self.came_out(&next) {
                        Err(error @ StoreError::Io { .. }) => {
                            next.put_back()?;
                            return Err(error);
                        }
                        came_out => came_out?,
                    };
                    self.back_up(&document);
                    overwritten = theirs.map(|theirs| (theirs, bytes));
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

    /// Reads the content that our rename replaced. Another program may still be writing it in place.
    /// If it stays damaged, it is kept as a copy, as a damaged store would be.
    fn came_out(&self, next: &NextFile) -> Result<Option<Document>, StoreError> {
        let mut attempts = 0;
        loop {
            let bytes = match next.came_out() {
                Err(_) if attempts < REREADS => {
                    std::thread::sleep(REREAD_AFTER);
                    attempts += 1;
                    continue;
                }
                came_out => came_out?,
            };
            match Document::parse(&bytes) {
                Ok(document) if document.is_writable() => return Ok(Some(document)),
                Ok(document) => {
                    self.put(&self.place.file, &bytes)?;
                    return document.check_writable(&self.place.file).map(|()| None);
                }
                Err(_) if attempts < REREADS => std::thread::sleep(REREAD_AFTER),
                Err(error) if error.is_json => {
                    let path = self.place.file.clone();
                    self.put(&path, &bytes)?;
                    return Err(StoreError::Damaged { path, error });
                }
                Err(error) => {
                    let copy =
                        paths::damaged_copy(&self.place.file, SystemClock.now(), rand::random());
                    next.keep_what_came_out(&copy, &paths::next_beside_reserved(&self.place.file))?;
                    self.tell(&copy, &error, false);
                    return Ok(None);
                }
            }
            attempts += 1;
        }
    }

    /// Replaces a file without the next one of the store, which may be reserved already. The name of
    /// the temporary file is fixed, so that the next holder removes it after a crash.
    fn put(&self, target: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let temporary = paths::next_beside_reserved(&self.place.file);
        atomic::discard(&temporary);
        let mut next = NextFile::create(target, &temporary, 0)?;
        next.fill(bytes)?;
        next.sync()?;
        next.install()
    }

    /// Updates the backup. Best effort: the store itself is committed.
    fn back_up(&self, committed: &Document) {
        let _ = self.write_backup(committed);
    }

    /// Writes the touched profiles into the backup as they were just committed. All others stay as
    /// they were last committed, even if other programs have changed them since.
    fn write_backup(&self, committed: &Document) -> Result<(), StoreError> {
        if committed.touched().len() == 0 {
            return Ok(());
        }
        // A backup that cannot be read may have the only copy of a profile.
        let backup = match read_backup(&self.place.backup)? {
            Some((mut backup, _)) => {
                for id in committed.touched() {
                    backup.copy_entry(id, committed);
                }
                backup
            }
            None => committed.clone(),
        };
        let temporary = paths::next(&self.place.backup);
        atomic::remove(&temporary)?;
        let mut next = NextFile::create(&self.place.backup, &temporary, 0)?;
        next.fill(&backup.to_bytes())?;
        next.install_without_sync()
    }

    /// Reserves disk space for a token response and for the next store, so that neither write can
    /// run out of space after the request was sent.
    ///
    /// # Errors
    /// Send nothing, because the response could not be saved.
    pub fn reserve(&mut self, key: TokenKey) -> Result<ResponseFile, StoreError> {
        self.reserve_next_as(&self.reserved_path(key))?;
        ResponseFile::reserve(&self.response_path(key))
    }

    pub(crate) fn reserve_next(&mut self) -> Result<(), StoreError> {
        self.reserve_next_as(&paths::next(&self.place.file))
    }

    /// Reserves under a name of its own what must stay while the store is not locked.
    fn reserve_next_as(&mut self, temporary: &Path) -> Result<(), StoreError> {
        let size = self.read_to_write()?.map_or(0, |bytes| bytes.len());
        atomic::remove(temporary)?;
        // It is renamed to that later.
        atomic::remove(&paths::next(&self.place.file))?;
        self.reserved = Some(NextFile::create(&self.place.file, temporary, size + ROOM_TO_GROW)?);
        Ok(())
    }

    /// The bytes of the file, if it may be written.
    pub(crate) fn read_to_write(&self) -> Result<Option<Vec<u8>>, StoreError> {
        refuse_if_superseded(&self.place.file)?;
        let (document, bytes) = self.read_with_bytes()?;
        document.check_writable(&self.place.file)?;
        atomic::refuse_if_fixed(&self.place.file)?;
        Ok(bytes)
    }

    /// The response file of the token `key` beside this store, if it has a complete response.
    pub fn stored_response(&self, key: TokenKey) -> Result<Option<StoredResponse>, StoreError> {
        response_file::read(&self.response_path(key))
    }

    /// Removes the response file of the token `key`, because its content is in the store now, and
    /// what was reserved beside it.
    pub fn remove_response(&self, key: TokenKey) -> Result<(), StoreError> {
        atomic::remove(&self.reserved_path(key))?;
        atomic::remove(&self.response_path(key))
    }

    /// Renames the response file of the token `key`: it could not be read, and is kept for a newer
    /// program or for the user.
    pub fn keep_response(&self, key: TokenKey) -> Result<(), StoreError> {
        response_file::keep(paths::directory_of(&self.place.file), key)
    }

    /// The response of the token `key` that was [kept](Self::keep_response), if there is one.
    pub fn kept_response(&self, key: TokenKey) -> Result<Option<StoredResponse>, StoreError> {
        response_file::read(&paths::kept_response(paths::directory_of(&self.place.file), key))
    }

    /// Removes the kept response of the token `key`: it was read, or is no longer needed.
    pub fn remove_kept_response(&self, key: TokenKey) -> Result<(), StoreError> {
        atomic::remove(&paths::kept_response(paths::directory_of(&self.place.file), key))
    }

    /// The tokens with a response file beside this store, or with the space that is reserved for it.
    ///
    /// # Errors
    /// The directory cannot be read. Send nothing, because a response may be in it.
    pub fn responses(&self) -> Result<Vec<TokenKey>, StoreError> {
        response_file::keys_of_requests(paths::directory_of(&self.place.file))
    }

    fn response_path(&self, key: TokenKey) -> PathBuf {
        paths::response_file(paths::directory_of(&self.place.file), key)
    }

    fn reserved_path(&self, key: TokenKey) -> PathBuf {
        paths::reserved_store(paths::directory_of(&self.place.file), key)
    }

    /// Whether another program was seen here within a week: its lock, or what it wrote.
    pub(crate) fn was_shared_lately(&self) -> bool {
        SystemClock.now().since(Memory::read(&self.flock.file).others_at()) < WEEK
    }

    pub(crate) fn recoveries(&self) -> &Recoveries {
        &self.recoveries
    }

    fn is_directory_ours(&self) -> bool {
        self.directory.as_ref().is_some_and(DirectoryLock::is_ours)
    }

    /// Another program removed our lock: takes it again, and the caller starts over. If that fails
    /// and a new token would be lost, the caller commits anyway. `true`: commit.
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

    /// Remembers the store as we wrote it, to see later whether another program did.
    fn note_write(&self) {
        let written = Stamp::at(&self.place.file).filter(|_| self.has_written);
        if written.is_some() {
            Memory { written, ..Memory::read(&self.flock.file) }.write(&self.flock.file);
        }
    }

    /// The next content of the file. Its name is fixed because only the holder of the lock makes one.
    /// An old one is from a crashed process.
    fn next_file(&self, reserve: usize) -> Result<NextFile, StoreError> {
        let temporary = paths::next(&self.place.file);
        atomic::remove(&temporary)?;
        NextFile::create(&self.place.file, &temporary, reserve)
    }
}

/// Later versions of OpenClaw keep the credentials in a database, and leave the file as it is.
pub(crate) fn refuse_if_superseded(file: &Path) -> Result<(), StoreError> {
    match superseded_by(file)? {
        Some(database) => Err(StoreError::Superseded { path: file.to_owned(), database }),
        None => Ok(()),
    }
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        // Dropped before the lock is released, because the next holder uses the same name.
        self.reserved = None;
        self.note_write();
        if let Some(directory) = self.directory.take() {
            directory.release(&self.flock.file);
        }
    }
}

/// Remembers that another program wrote the store, if we did not write it as it was `found`.
fn note_foreign_write(flock: &FileLock, found: Option<Stamp>) {
    let memory = Memory::read(&flock.file);
    if let Some(found) = found.filter(|found| memory.written != Some(*found)) {
        memory.noticing(found).write(&flock.file);
    }
}

/// The timeout for a directory lock that another program removed.
const RETAKE: Duration = Duration::from_secs(1);
/// For how long a token response waits for the directory of another program.
const RETURN: Duration = Duration::from_secs(2);
pub(crate) const WEEK: Duration = Duration::from_hours(7 * 24);
/// How often, and after what pause, a damaged file is read again before it is treated as damaged.
const REREADS: u32 = 5;
const REREAD_AFTER: Duration = Duration::from_millis(100);
/// The space by which a refresh may enlarge the file.
pub(crate) const ROOM_TO_GROW: usize = 64 << 10;

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
