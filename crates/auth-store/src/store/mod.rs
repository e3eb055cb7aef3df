//! The store: *read*, *update*, *lock for refresh*. No other code writes the file.

pub(crate) mod audit;
pub(crate) mod coexist;
pub(crate) mod legacy_import;
pub(crate) mod lock;
pub(crate) mod model_usage;
pub(crate) mod place;
pub(crate) mod recovery;
pub(crate) mod request;
pub(crate) mod runtime_cache;
pub(crate) mod state_directory;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::document::Document;
use crate::error::StoreError;
use crate::fs::atomic;
use crate::fs::exists::{is_directory, is_there, leads_somewhere, names};
use crate::fs::flock::FileLock;
use crate::fs::locate;
use crate::fs::open::{read_trusted, read_trusted_open};
use crate::fs::{File, Metadata};
use crate::paths;
use crate::refresh_record::response_file::{self, StoredResponse};
use crate::refresh_record::token_key::TokenKey;
use crate::store::coexist::Coexist;
use crate::store::lock::StoreLock;
use crate::store::place::{Place, read_backup};
use crate::store::recovery::Recoveries;

/// The credentials of one agent: the file `auth-profiles.json` and what belongs to it.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    timeout: Duration,
    coexist: Coexist,
    recoveries: Recoveries,
}

impl Store {
    /// The store at `path`. This does not touch the disk. A missing file is an empty store.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let (coexist, recoveries) = (Coexist::default(), Recoveries::default());
        Self { path: path.into(), timeout: LOCK_TIMEOUT, coexist, recoveries }
    }

    /// This store with a lock timeout of `timeout` instead of 60 s.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The same store, with Clawdbot's lock held during requests or not.
    #[must_use]
    pub fn with_coexist(self, coexist: Coexist) -> Self {
        Self { coexist, ..self }
    }

    /// This store; what it recovers is added to `recoveries`.
    #[must_use]
    pub fn telling(self, recoveries: &Recoveries) -> Self {
        Self { recoveries: recoveries.clone(), ..self }
    }

    /// The store at another path, with the same timeout and the same recoveries.
    #[must_use]
    pub fn elsewhere(&self, path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..self.clone() }
    }

    /// The list to which recoveries are added.
    pub fn recoveries(&self) -> &Recoveries {
        &self.recoveries
    }

    /// The path as given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path with links followed, which records use to name the store.
    pub fn canonical_path(&self) -> PathBuf {
        locate::canonical_file(&self.path)
    }

    /// The bytes of the file as they are, damaged or not; `None` if there is no file.
    ///
    /// # Errors
    /// It cannot be read, or is not believed.
    pub fn bytes(&self) -> Result<Option<Vec<u8>>, StoreError> {
        read_trusted(&self.path)
    }

    /// The content. Takes no lock unless the file is damaged. Clawdbot writes in place, so a damaged
    /// file is read again under the lock, and recovered from the backup if it stays damaged.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if there is no backup to recover from. The file stays as it is.
    /// [`StoreError::Busy`] if it looks damaged, and its lock was held until the timeout.
    pub fn read(&self) -> Result<Document, StoreError> {
        Ok(self.read_open()?.0)
    }

    /// Like [`read`](Self::read), with the open file and its metadata from before it was read, to
    /// detect later changes. `None` if there is no file, or if it was damaged.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn read_open(&self) -> Result<(Document, Option<(File, Metadata)>), StoreError> {
        let Some((bytes, file, as_it_was)) = read_trusted_open(&self.path)? else {
            return Ok((Document::empty(), None));
        };
        match Document::parse(&bytes) {
            Ok(document) => Ok((document, Some((file, as_it_was)))),
            Err(error) => match self.lock_for_refresh() {
                Ok(lock) => Ok((lock.read()?, None)),
                // The holder of the lock may be writing the file now.
                Err(busy @ StoreError::Busy { .. }) => Err(busy),
                // There is a backup, and only this error prevents the recovery.
                Err(hindrance @ StoreError::Io { .. }) if self.backup()?.is_some() => {
                    Err(hindrance)
                }
                Err(_) => Err(StoreError::Damaged { path: self.path.clone(), error }),
            },
        }
    }

    /// Checks that a larger store could be written now: before something is fetched that exists only
    /// once.
    ///
    /// # Errors
    /// Fetch nothing, because it could not be saved.
    pub fn check_room(&self) -> Result<(), StoreError> {
        self.lock_for_refresh()?.reserve_next()
    }

    /// Checks that the store may be written at all: before a credential in it is revoked.
    ///
    /// # Errors
    /// Revoke nothing, because it could not be removed.
    pub fn check_writable(&self) -> Result<(), StoreError> {
        self.lock_for_refresh()?.read_to_write().map(drop)
    }

    /// Reads the document, changes it with `edit`, and writes it, all under the lock. If another
    /// program writes meanwhile without the lock, `edit` is called again on that content. So it
    /// must depend on the document only. An unchanged document is not written.
    ///
    /// # Errors
    /// The file is unchanged.
    pub fn update<T>(&self, edit: impl FnMut(&mut Document) -> T) -> Result<T, StoreError> {
        self.lock_for_refresh()?.update(edit)
    }

    /// Locks the store for several steps, against our other processes and against Clawdbot.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if a lock was held until the timeout.
    pub fn lock_for_refresh(&self) -> Result<StoreLock, StoreError> {
        StoreLock::acquire(&self.path, self.timeout, &self.recoveries)
    }

    /// Locks the files beside the store that only we use. Clawdbot does not have to wait.
    pub(crate) fn lock_companions(&self) -> Result<FileLock, StoreError> {
        let place = Place::resolve(&self.path)?;
        atomic::create_private_directory(paths::directory_of(&place.file))?;
        lock::refuse_if_superseded(&place.file)?;
        FileLock::acquire(&place.flock, self.timeout)
    }

    /// Whether none of our processes has ever locked this store. Only then is a legacy file beside
    /// it imported.
    ///
    /// # Errors
    /// It cannot be examined, so the answer is unknown.
    pub fn is_untouched(&self) -> Result<bool, StoreError> {
        Ok(!is_there(&Place::resolve(&self.path)?.flock)?)
    }

    /// Whether the file of this store exists.
    ///
    /// # Errors
    /// It cannot be examined, so the answer is unknown.
    pub fn is_there(&self) -> Result<bool, StoreError> {
        leads_somewhere(&self.path)
    }

    /// Whether the directory of this store exists.
    ///
    /// # Errors
    /// It cannot be examined, so the answer is unknown.
    pub fn has_directory(&self) -> Result<bool, StoreError> {
        is_directory(paths::directory_of(&self.path))
    }

    /// The response file of the token `key` beside this store, if it has a complete response.
    pub fn stored_response(&self, key: TokenKey) -> Result<Option<StoredResponse>, StoreError> {
        response_file::read(&self.response_path(key))
    }

    /// The tokens with a response file beside this store.
    ///
    /// # Errors
    /// The directory cannot be read. Send nothing, because a response may be in it.
    pub fn responses(&self) -> Result<Vec<TokenKey>, StoreError> {
        response_file::keys(paths::directory_of(&self.canonical_path()))
    }

    /// The tokens with a response that could not be read and is kept beside this store, each with the
    /// file.
    pub fn kept_responses(&self) -> Result<Vec<(TokenKey, PathBuf)>, StoreError> {
        let path = self.canonical_path();
        let directory = paths::directory_of(&path);
        let keys = response_file::kept_keys(directory)?.into_iter();
        Ok(keys.map(|key| (key, paths::kept_response(directory, key))).collect())
    }

    /// The backup: the credentials as we last committed them. `None` if it is missing or damaged.
    ///
    /// # Errors
    /// It cannot be read, so it is unknown whether there is one.
    pub fn backup(&self) -> Result<Option<Document>, StoreError> {
        let backup = read_backup(&paths::backup(&self.canonical_path()))?;
        Ok(backup.map(|(document, _)| document))
    }

    /// The kept copies of the store from when it was damaged. They may contain credentials.
    ///
    /// # Errors
    /// The directory cannot be examined, so there may be copies.
    pub fn damaged_copies(&self) -> Result<Vec<PathBuf>, StoreError> {
        let path = self.canonical_path();
        let directory = paths::directory_of(&path);
        let names = names(directory)?.into_iter();
        let mut kept: Vec<_> =
            names.filter(|it| paths::is_damaged_copy_of(&path, &it.to_string_lossy())).collect();
        kept.sort();
        Ok(kept.into_iter().map(|name| directory.join(name)).collect())
    }

    fn response_path(&self, key: TokenKey) -> PathBuf {
        paths::response_file(paths::directory_of(&self.canonical_path()), key)
    }
}

/// How long to wait for the locks of a store.
const LOCK_TIMEOUT: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Map;

    use super::*;
    use crate::document::credential::Credential;
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
        let _response = lock.reserve(TokenKey::new("e", "c", &"r".into())).unwrap();
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
    fn a_file_that_another_program_may_be_writing_is_not_called_damaged() {
        let (_directory, store) = directory_and_store();
        put(&store, "acme:a", "one");
        let whole = fs::read(store.path()).unwrap();
        let lock = Place::resolve(store.path()).unwrap().lock;
        fs::create_dir(&lock).unwrap();
        atomic::write_atomic(store.path(), &whole[..whole.len() / 2]).unwrap();
        let without_waiting = store.clone().with_timeout(Duration::ZERO);
        assert!(matches!(without_waiting.read(), Err(StoreError::Busy { .. })));
        // The control: the lock is free.
        fs::remove_dir(&lock).unwrap();
        assert_eq!(key(&without_waiting.read().unwrap(), "acme:a").as_deref(), Some("one"));
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
        // What is at this path can be neither read nor replaced.
        let backup = Place::resolve(store.path()).unwrap().backup;
        fs::remove_file(&backup).unwrap();
        fs::create_dir(&backup).unwrap();
        let remove = || store.update(|document| document.remove(&"acme:a".into()));
        assert!(matches!(remove(), Err(StoreError::Io { .. })));
        assert_eq!(key(&store.read().unwrap(), "acme:a").as_deref(), Some("one"));
        // The control: the store is written with or without a backup.
        put(&store, "acme:b", "two");
        fs::remove_dir(&backup).unwrap();
        assert!(remove().unwrap());
        assert!(!store.backup().unwrap().unwrap().contains(&"acme:a".into()));
    }

    #[test]
    fn what_a_crashed_process_left_is_gone_with_the_next_lock() {
        let (_directory, store) = directory_and_store();
        put(&store, "acme:a", "one");
        let place = Place::resolve(store.path()).unwrap();
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
    fn a_directory_that_cannot_be_examined_is_not_gone() {
        let (directory, store) = directory_and_store();
        assert!(!store.has_directory().unwrap());
        put(&store, "acme:a", "one");
        assert!(store.has_directory().unwrap());
        let at = |name: &str| Store::at(directory.path().join(name).join("auth-profiles.json"));
        assert!(!at("none").has_directory().unwrap());
        crate::write_atomic(&directory.path().join("file"), b"").unwrap();
        assert!(!at("file").has_directory().unwrap());
        // A link to itself cannot be examined.
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
        let backup = paths::backup(store.path());
        let aside = store.path().with_file_name("aside");
        fs::rename(&backup, &aside).unwrap();
        // Opening it fails, although it exists.
        std::os::unix::fs::symlink(&backup, &backup).unwrap();
        put(&store, "acme:b", "new");
        assert!(store.backup().is_err());
        assert!(fs::symlink_metadata(&backup).unwrap().is_symlink());

        // The control: a readable backup gets the committed profile, and keeps the rest.
        fs::rename(&aside, &backup).unwrap();
        put(&store, "acme:c", "new");
        let kept = store.backup().unwrap().unwrap();
        let ids = kept.profiles().map(|profile| profile.id);
        assert_eq!(ids.collect::<Vec<_>>(), ["acme:a".into(), "acme:c".into()]);
    }
}
