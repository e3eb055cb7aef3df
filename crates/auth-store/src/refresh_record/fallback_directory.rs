//! Fallback directories for a token response that cannot be written beside its store. They are on
//! other disks, ideally in memory. A directory that another user could access is not used.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::fs::atomic;
use crate::fs::exists;
use crate::fs::owner;
use crate::paths;
use crate::refresh_record::response_file::{self, ResponseFile, StoredResponse};
use crate::refresh_record::token_key::TokenKey;

/// The directories, the best first. A reader checks all of them, because the process that wrote the
/// response may have had another environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct FallbackDirectories {
    directories: Vec<PathBuf>,
}

impl FallbackDirectories {
    pub(crate) fn add(&mut self, directory: PathBuf) {
        if !self.directories.contains(&directory) {
            self.directories.push(directory);
        }
    }

    /// Writes a response to the first writable directory.
    pub(crate) fn write(&self, key: TokenKey, response: &StoredResponse) -> Result<(), StoreError> {
        let mut refused = None;
        for directory in &self.directories {
            let path = paths::response_file(directory, key);
            let written =
                make(directory).and_then(|()| ResponseFile::reserve(&path)?.store(response));
            match written {
                Ok(()) => return Ok(()),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(|| {
            let source = io::Error::from(io::ErrorKind::NotFound);
            StoreError::io("find another disk for the answer of", Path::new(&key.to_string()))(
                source,
            )
        }))
    }

    /// The response, if a complete one is in any of the directories.
    pub(crate) fn read(&self, key: TokenKey) -> Result<Option<StoredResponse>, StoreError> {
        for directory in self.safe()? {
            if let Some(found) = response_file::read(&paths::response_file(directory, key))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Removes the response from all directories.
    pub(crate) fn remove(&self, key: TokenKey) -> Result<(), StoreError> {
        self.safe()?
            .into_iter()
            .try_for_each(|directory| atomic::remove(&paths::response_file(directory, key)))
    }

    /// The tokens with a response here, as far as the directories can be read.
    pub(crate) fn keys(&self) -> Vec<TokenKey> {
        let directories = self.directories.iter();
        let safe = directories.filter(|directory| owner::is_private(directory).unwrap_or(false));
        let keys = safe.flat_map(|directory| response_file::keys(directory).unwrap_or_default());
        let mut keys: Vec<_> = keys.collect();
        keys.dedup();
        keys
    }

    /// The directories that no other user can access.
    ///
    /// # Errors
    /// One of them cannot be examined, and may have the response.
    fn safe(&self) -> Result<Vec<&PathBuf>, StoreError> {
        let mut safe = Vec::new();
        for directory in &self.directories {
            if owner::is_private(directory).map_err(StoreError::io("look at", directory))? {
                safe.push(directory);
            }
        }
        Ok(safe)
    }
}

/// Creates the directory if it does not exist, but none above it. An existing one must be ours
/// alone: in a shared directory, another user may have been faster.
fn make(directory: &Path) -> Result<(), StoreError> {
    if !exists::is_directory(paths::directory_of(directory)).unwrap_or(false) {
        let source = io::Error::from(io::ErrorKind::NotFound);
        return Err(StoreError::io("create", directory)(source));
    }
    atomic::create_private_directory(directory)?;
    if owner::is_private(directory).map_err(StoreError::io("look at", directory))? {
        return Ok(());
    }
    let reason = "others can reach into it, or it is not a directory of yours";
    Err(StoreError::Unsafe { path: directory.to_owned(), reason })
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;
    use crate::time::Timestamp;

    fn key() -> TokenKey {
        TokenKey::new("https://issuer.example/token", "client", &"refresh".into())
    }

    fn response() -> StoredResponse {
        StoredResponse {
            status: 200,
            received_at: Timestamp(7),
            headers: Vec::new(),
            body: b"{}".to_vec(),
        }
    }

    fn places(directories: &[&Path]) -> FallbackDirectories {
        let mut fallbacks = FallbackDirectories::default();
        for directory in directories {
            fallbacks.add((*directory).to_owned());
        }
        fallbacks
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A directory in which every user may write, like `/tmp`.
    fn shared_by_all_users() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        set_mode(directory.path(), 0o1777);
        directory
    }

    #[test]
    fn a_response_is_found_and_removed_whatever_the_next_environment_is() {
        let (first, second) = (shared_by_all_users(), shared_by_all_users());
        let (a, b) = (first.path().join("clawdbot-1"), second.path().join("clawdbot-1"));
        places(&[&b]).write(key(), &response()).unwrap();
        assert_eq!(fs::metadata(&b).unwrap().permissions().mode() & 0o777, 0o700);
        let later = places(&[&a, &b]);
        assert_eq!(later.read(key()).unwrap().unwrap().body, b"{}");
        assert_eq!(later.keys(), [key()]);
        later.remove(key()).unwrap();
        assert!(later.read(key()).unwrap().is_none() && later.keys().is_empty());
        assert_eq!(fs::read_dir(&b).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_another_user_prepared_is_not_used() {
        let (shared, last) = (shared_by_all_users(), shared_by_all_users());
        let (place, last) = (shared.path().join("clawdbot-1"), last.path().join("clawdbot-1"));
        let goes_on = |what: &str| {
            let fallbacks = places(&[&place, &last]);
            fallbacks.write(key(), &response()).unwrap();
            assert!(paths::response_file(&last, key()).exists(), "{what}");
            fallbacks.remove(key()).unwrap();
        };
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), &place).unwrap();
        goes_on("a link");
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
        fs::remove_file(&place).unwrap();

        fs::create_dir(&place).unwrap();
        set_mode(&place, 0o770);
        goes_on("its group may write");
        set_mode(&place, 0o700);
        set_mode(shared.path(), 0o777);
        goes_on("every user can replace it");
        set_mode(shared.path(), 0o1777);

        if rustix::process::geteuid().is_root() {
            chown(&place, Some(65_534), None).unwrap();
            goes_on("of another user");
            // A response of another user is not read either.
            places(&[&last]).write(key(), &response()).unwrap();
            let theirs = paths::response_file(&place, key());
            fs::rename(paths::response_file(&last, key()), &theirs).unwrap();
            assert!(places(&[&place, &last]).read(key()).unwrap().is_none());
            fs::remove_file(theirs).unwrap();
            chown(&place, Some(0), None).unwrap();
        } else {
            println!("NOT RUN: only the administrator can make a directory of another user");
        }
        // The control: now it is ours alone, and the first one.
        let fallbacks = places(&[&place, &last]);
        fallbacks.write(key(), &response()).unwrap();
        assert_eq!(fs::read_dir(&place).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_cannot_be_examined_is_an_error() {
        let directory = shared_by_all_users();
        // No file system allows such a name.
        let unknowable = directory.path().join("n".repeat(5000));
        assert!(places(&[&unknowable]).read(key()).is_err());
        assert!(places(&[&unknowable]).remove(key()).is_err());
        // The control: a missing directory has no response.
        let missing = directory.path().join("missing");
        assert!(places(&[&missing]).read(key()).unwrap().is_none());

        let good = directory.path().join("good");
        let fallbacks = places(&[&unknowable, &good]);
        fallbacks.write(key(), &response()).unwrap();
        assert_eq!(fallbacks.keys(), [key()]);
    }

    #[test]
    fn no_directory_is_made_above_a_fallback_directory() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("0/clawdbot");
        assert!(places(&[&place]).write(key(), &response()).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
