//! Where an answer goes that cannot be written beside its store: directories on other disks, best
//! in memory, each of which is used only if nobody else can reach into it.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::fs::atomic;
use crate::fs::exists;
use crate::fs::owner;
use crate::paths;
use crate::refresh_record::response_file::{self, AnswerFile, StoredAnswer};
use crate::refresh_record::token_key::TokenKey;

/// The places, the best first. Whoever looks for an answer looks in all: who left it may have had
/// another environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rescue {
    directories: Vec<PathBuf>,
}

impl Rescue {
    pub(crate) fn add(&mut self, directory: PathBuf) {
        if !self.directories.contains(&directory) {
            self.directories.push(directory);
        }
    }

    /// Writes an answer to the first place that takes it.
    pub(crate) fn write(&self, key: TokenKey, answer: &StoredAnswer) -> Result<(), StoreError> {
        let mut refused = None;
        for directory in &self.directories {
            let path = paths::response_file(directory, key);
            let written = make(directory).and_then(|()| AnswerFile::reserve(&path)?.store(answer));
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

    /// The answer that was left, if a whole one is in any of the places.
    pub(crate) fn read(&self, key: TokenKey) -> Result<Option<StoredAnswer>, StoreError> {
        for directory in self.safe()? {
            if let Some(found) = response_file::read(&paths::response_file(directory, key))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Removes it, wherever it is.
    pub(crate) fn remove(&self, key: TokenKey) -> Result<(), StoreError> {
        self.safe()?
            .into_iter()
            .try_for_each(|directory| atomic::remove(&paths::response_file(directory, key)))
    }

    /// The tokens whose answers were left, as far as the places can be read.
    pub(crate) fn keys(&self) -> Vec<TokenKey> {
        let directories = self.directories.iter();
        let safe = directories.filter(|directory| owner::is_private(directory).unwrap_or(false));
        let keys = safe.flat_map(|directory| response_file::keys(directory).unwrap_or_default());
        let mut keys: Vec<_> = keys.collect();
        keys.dedup();
        keys
    }

    /// The places that are for us alone.
    ///
    /// # Errors
    /// One of them cannot be looked at, and may have what is looked for.
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

/// Makes the directory, should it not be there, in one that is. Whatever is there already must be
/// for us alone: in a directory for everybody, somebody may have been faster.
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

    fn answer() -> StoredAnswer {
        StoredAnswer {
            status: 200,
            received_at: Timestamp(7),
            headers: Vec::new(),
            body: b"{}".to_vec(),
        }
    }

    fn places(directories: &[&Path]) -> Rescue {
        let mut rescue = Rescue::default();
        for directory in directories {
            rescue.add((*directory).to_owned());
        }
        rescue
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A directory in which everybody may write, as `/tmp`.
    fn for_everybody() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        set_mode(directory.path(), 0o1777);
        directory
    }

    #[test]
    fn an_answer_is_found_and_removed_whatever_the_next_environment_is() {
        let (first, second) = (for_everybody(), for_everybody());
        let (a, b) = (first.path().join("clawdbot-1"), second.path().join("clawdbot-1"));
        places(&[&b]).write(key(), &answer()).unwrap();
        assert_eq!(fs::metadata(&b).unwrap().permissions().mode() & 0o777, 0o700);
        let later = places(&[&a, &b]);
        assert_eq!(later.read(key()).unwrap().unwrap().body, b"{}");
        assert_eq!(later.keys(), [key()]);
        later.remove(key()).unwrap();
        assert!(later.read(key()).unwrap().is_none() && later.keys().is_empty());
        assert_eq!(fs::read_dir(&b).unwrap().count(), 0);
    }

    #[test]
    fn a_place_that_somebody_else_prepared_is_not_used() {
        let (everybody, last) = (for_everybody(), for_everybody());
        let (place, last) = (everybody.path().join("clawdbot-1"), last.path().join("clawdbot-1"));
        let goes_on = |what: &str| {
            let rescue = places(&[&place, &last]);
            rescue.write(key(), &answer()).unwrap();
            assert!(paths::response_file(&last, key()).exists(), "{what}");
            rescue.remove(key()).unwrap();
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
        set_mode(everybody.path(), 0o777);
        goes_on("anybody can exchange it");
        set_mode(everybody.path(), 0o1777);

        if rustix::process::geteuid().is_root() {
            chown(&place, Some(65_534), None).unwrap();
            goes_on("of another user");
            // Nor is anything of theirs believed.
            places(&[&last]).write(key(), &answer()).unwrap();
            let theirs = paths::response_file(&place, key());
            fs::rename(paths::response_file(&last, key()), &theirs).unwrap();
            assert!(places(&[&place, &last]).read(key()).unwrap().is_none());
            fs::remove_file(theirs).unwrap();
            chown(&place, Some(0), None).unwrap();
        } else {
            println!("NOT RUN: only the administrator can make a directory of another user");
        }
        // The control: now it is ours alone, and the first one.
        let rescue = places(&[&place, &last]);
        rescue.write(key(), &answer()).unwrap();
        assert_eq!(fs::read_dir(&place).unwrap().count(), 1);
    }

    #[test]
    fn a_place_that_cannot_be_looked_at_is_no_place_without_an_answer() {
        let directory = for_everybody();
        // No file system has such a name.
        let unknowable = directory.path().join("n".repeat(5000));
        assert!(places(&[&unknowable]).read(key()).is_err());
        assert!(places(&[&unknowable]).remove(key()).is_err());
        // The control: one that is not there is without.
        let missing = directory.path().join("missing");
        assert!(places(&[&missing]).read(key()).unwrap().is_none());

        let good = directory.path().join("good");
        let rescue = places(&[&unknowable, &good]);
        rescue.write(key(), &answer()).unwrap();
        assert_eq!(rescue.keys(), [key()]);
    }

    #[test]
    fn no_directory_is_made_above_a_place() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("0/clawdbot");
        assert!(places(&[&place]).write(key(), &answer()).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
