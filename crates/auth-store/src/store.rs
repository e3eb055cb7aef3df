//! The store: *read*, *update*, *lock for refresh*. Nobody else writes the file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::answer::{self, StoredAnswer};
use crate::atomic;
use crate::document::Document;
use crate::error::StoreError;
use crate::file_lock::FileLock;
use crate::place::{self, Place, read_backup};
use crate::presence::{is_directory, is_there};
use crate::record::{self, TokenKey};
use crate::recovery::Recoveries;
use crate::store_lock::StoreLock;
use crate::trust;

/// The credentials of one agent: the file `auth-profiles.json` and what belongs to it.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    patience: Duration,
    recoveries: Recoveries,
}

impl Store {
    /// The store at `path`. Nothing is touched; a file that is not there is an empty store.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), patience: PATIENCE, recoveries: Recoveries::default() }
    }

    /// The same store, waiting at most `patience` for its locks instead of 60 s.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The same store; what is recovered of it is told to `recoveries`.
    #[must_use]
    pub fn telling(self, recoveries: &Recoveries) -> Self {
        Self { recoveries: recoveries.clone(), ..self }
    }

    /// The store at another path, waiting as long, telling the same.
    #[must_use]
    pub fn elsewhere(&self, path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..self.clone() }
    }

    /// Where what is recovered is told.
    pub fn recoveries(&self) -> &Recoveries {
        &self.recoveries
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
                Some(name) => record::canonical(atomic::directory_of(&self.path)).join(name),
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
    /// [`StoreError::Busy`] if it looks damaged, and somebody else holds its lock all the time.
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
        let Some((bytes, file, as_it_was)) = trust::read_open(&self.path)? else {
            return Ok((Document::empty(), None));
        };
        match Document::parse(&bytes) {
            Ok(document) => Ok((document, Some((file, as_it_was)))),
            Err(error) => match self.lock_for_refresh() {
                Ok(lock) => Ok((lock.read()?, None)),
                // Who has the lock may be writing it just now.
                Err(busy @ StoreError::Busy { .. }) => Err(busy),
                // There is something to recover from, and this is all that is in the way.
                Err(hindrance @ StoreError::Io { .. }) if self.backup()?.is_some() => {
                    Err(hindrance)
                }
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

    /// Sees whether the store may be written at all. For those who are about to end what is in it.
    ///
    /// # Errors
    /// End nothing: it could not be removed.
    pub fn check_writable(&self) -> Result<(), StoreError> {
        self.lock_for_refresh()?.read_to_write().map(drop)
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
        StoreLock::acquire(&self.path, self.patience, &self.recoveries)
    }

    /// Locks what lies beside the store and is ours alone: Clawdbot is not kept waiting.
    pub(crate) fn lock_companions(&self) -> Result<FileLock, StoreError> {
        let place = Place::of(&self.path)?;
        atomic::create_private_directory(atomic::directory_of(&place.file))?;
        FileLock::acquire(&place.flock, self.patience)
    }

    /// Whether no process of ours has ever locked this store: the only time at which a legacy
    /// file beside it is imported.
    ///
    /// # Errors
    /// It cannot be looked at: that is not to say that nobody has.
    pub fn is_untouched(&self) -> Result<bool, StoreError> {
        Ok(!is_there(&Place::of(&self.path)?.flock)?)
    }

    /// Whether the file of this store is there.
    ///
    /// # Errors
    /// It cannot be looked at: that is not to say that there is none.
    pub fn is_there(&self) -> Result<bool, StoreError> {
        self.path.try_exists().map_err(StoreError::io("look at", &self.path))
    }

    /// Whether the directory of this store is there.
    ///
    /// # Errors
    /// It cannot be looked at: that is not to say that it is gone.
    pub fn has_directory(&self) -> Result<bool, StoreError> {
        is_directory(atomic::directory_of(&self.path))
    }

    /// The answer of the token `key` that waits beside this store, if there is one.
    pub fn stored_answer(&self, key: TokenKey) -> Result<Option<StoredAnswer>, StoreError> {
        answer::read(&self.answer_path(key))
    }

    /// The tokens for which an answer file lies beside this store.
    ///
    /// # Errors
    /// The directory is there and cannot be read: send nothing, an answer may wait in it.
    pub fn answers(&self) -> Result<Vec<TokenKey>, StoreError> {
        answer::keys(atomic::directory_of(&self.canonical_path()))
    }

    /// The credentials as they were last committed by us, if a backup is there and whole.
    ///
    /// # Errors
    /// It cannot be read: that is not to say that there is none.
    pub fn backup(&self) -> Result<Option<Document>, StoreError> {
        let backup = read_backup(&atomic::sibling(&self.canonical_path(), ".bak"))?;
        Ok(backup.map(|(document, _)| document))
    }

    /// The copies of it that are kept since they were damaged. Credentials may be in them.
    ///
    /// # Errors
    /// The directory cannot be looked at: that is not to say that there are none.
    pub fn damaged_copies(&self) -> Result<Vec<PathBuf>, StoreError> {
        place::corrupt_copies(&self.canonical_path())
    }

    fn answer_path(&self, key: TokenKey) -> PathBuf {
        answer::path(atomic::directory_of(&self.canonical_path()), key)
    }
}

/// How long we wait for the locks.
const PATIENCE: Duration = Duration::from_mins(1);

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
    fn what_somebody_may_be_writing_is_not_called_damaged() {
        let (_directory, store) = directory_and_store();
        put(&store, "acme:a", "one");
        let whole = fs::read(store.path()).unwrap();
        let lock = Place::of(store.path()).unwrap().lock;
        fs::create_dir(&lock).unwrap();
        atomic::write_atomic(store.path(), &whole[..whole.len() / 2]).unwrap();
        let impatient = store.clone().with_patience(Duration::ZERO);
        assert!(matches!(impatient.read(), Err(StoreError::Busy { .. })));
        // The control: nobody does.
        fs::remove_dir(&lock).unwrap();
        assert_eq!(key(&impatient.read().unwrap(), "acme:a").as_deref(), Some("one"));
    }

    #[test]
    fn what_is_removed_is_gone_from_the_backup_too() {
        let (_directory, store) = directory_and_store();
        put(&store, "acme:a", "one");
        put(&store, "acme:b", "two");
        store.update(|document| document.remove(&"acme:a".into())).unwrap();
        let backup = store.backup().unwrap().unwrap();
        assert!(!backup.contains(&"acme:a".into()) && backup.contains(&"acme:b".into()));
    }

    #[test]
    fn nothing_is_removed_that_would_stay_in_the_backup() {
        let (_directory, store) = directory_and_store();
        put(&store, "acme:a", "one");
        // What lies there can be neither read nor replaced.
        let backup = Place::of(store.path()).unwrap().backup;
        fs::remove_file(&backup).unwrap();
        fs::create_dir(&backup).unwrap();
        let remove = || store.update(|document| document.remove(&"acme:a".into()));
        assert!(matches!(remove(), Err(StoreError::Io { .. })));
        assert_eq!(key(&store.read().unwrap(), "acme:a").as_deref(), Some("one"));
        // The control: what is stored is, backup or not.
        put(&store, "acme:b", "two");
        fs::remove_dir(&backup).unwrap();
        assert!(remove().unwrap());
        assert!(!store.backup().unwrap().unwrap().contains(&"acme:a".into()));
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
    fn a_directory_that_cannot_be_looked_at_is_not_gone() {
        let (directory, store) = directory_and_store();
        assert!(!store.has_directory().unwrap());
        put(&store, "acme:a", "one");
        assert!(store.has_directory().unwrap());
        let at = |name: &str| Store::at(directory.path().join(name).join("auth-profiles.json"));
        assert!(!at("none").has_directory().unwrap());
        crate::write_atomic(&directory.path().join("file"), b"").unwrap();
        assert!(!at("file").has_directory().unwrap());
        // A link to itself leads nowhere that could be looked at.
        std::os::unix::fs::symlink("loop", directory.path().join("loop")).unwrap();
        assert!(at("loop").has_directory().is_err());
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
        let backup = store.backup().unwrap().unwrap();
        assert_eq!(key(&backup, "acme:a").as_deref(), Some("ours"));
        assert_eq!(key(&backup, "acme:b").as_deref(), Some("new"));
    }

    #[test]
    #[cfg(unix)]
    fn a_backup_that_cannot_be_read_is_left_as_it_is() {
        let (_directory, store) = directory_and_store();
        put(&store, "acme:a", "ours");
        let backup = atomic::sibling(store.path(), ".bak");
        let aside = store.path().with_file_name("aside");
        fs::rename(&backup, &aside).unwrap();
        // Opening it fails, and not because there is nothing.
        std::os::unix::fs::symlink(&backup, &backup).unwrap();
        put(&store, "acme:b", "new");
        assert!(store.backup().is_err());
        assert!(fs::symlink_metadata(&backup).unwrap().is_symlink());

        // The control: what can be read gets what is committed, and keeps the rest.
        fs::rename(&aside, &backup).unwrap();
        put(&store, "acme:c", "new");
        let kept = store.backup().unwrap().unwrap();
        let ids = kept.profiles().map(|profile| profile.id);
        assert_eq!(ids.collect::<Vec<_>>(), ["acme:a".into(), "acme:c".into()]);
    }
}
