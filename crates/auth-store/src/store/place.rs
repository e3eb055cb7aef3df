//! Where a store really is, and what lies beside it.

use std::path::{Path, PathBuf};

use crate::document::Document;
use crate::error::StoreError;
use crate::fs::exists;
use crate::fs::locate;
use crate::fs::open::read_trusted;
use crate::paths;

/// Where a store and its siblings really are.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The store itself.
    pub(crate) file: PathBuf,
    /// Clawdbot's lock, a directory.
    pub(crate) lock: PathBuf,
    /// The kernel's lock, among processes of ours.
    pub(crate) flock: PathBuf,
    /// The credentials as they were last committed by us.
    pub(crate) backup: PathBuf,
}

impl Place {
    /// Resolves the path once. What could be under the control of others is refused.
    pub(crate) fn of(path: &Path) -> Result<Self, StoreError> {
        let file = locate::resolve(path)?;
        Ok(Self {
            lock: paths::lock(&file),
            flock: paths::flock(&file),
            backup: paths::backup(&file),
            file,
        })
    }

    /// The files that exist only while somebody holds the lock.
    pub(crate) fn temporaries(&self) -> [PathBuf; 5] {
        let directory = paths::directory_of(&self.file);
        [
            paths::next(&self.file),
            paths::next(&self.backup),
            paths::next_beside_reserved(&self.file),
            paths::next(&paths::runtime_cache(directory)),
            paths::next_model_usage(directory),
        ]
    }
}

/// The backup at `path`, if one is there and whole: what it says, and its bytes. What others could
/// have made is none.
///
/// # Errors
/// It cannot be read: that is not to say that there is none.
pub(crate) fn read_backup(path: &Path) -> Result<Option<(Document, Vec<u8>)>, StoreError> {
    let bytes = match read_trusted(path) {
        Err(StoreError::Unsafe { .. }) => None,
        read => read?,
    };
    Ok(bytes.and_then(|bytes| Some((Document::parse(&bytes).ok()?, bytes))))
}

/// What shows that a later OpenClaw keeps the credentials elsewhere now, and only left the store
/// `file` behind: its database, or the copy of the file that it made when it took it over.
///
/// # Errors
/// The directory cannot be looked at, which is not to say that there is nothing: write nothing.
pub fn superseded_by(file: &Path) -> Result<Option<PathBuf>, StoreError> {
    let is_sign = |name: &str| paths::is_sign_of_a_database(name, file);
    let directory = paths::directory_of(file);
    let sign =
        exists::names(directory)?.into_iter().find(|name| name.to_str().is_some_and(is_sign));
    Ok(sign.map(|name| directory.join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_looked_into_supersedes_nothing_and_says_so() {
        let directory = tempfile::tempdir().unwrap();
        // No file system has such a name.
        let unknowable = directory.path().join("n".repeat(5000));
        assert!(superseded_by(&unknowable.join("auth-profiles.json")).is_err());
        // The control: one that is not there holds nothing.
        let missing = directory.path().join("missing/auth-profiles.json");
        assert_eq!(superseded_by(&missing).unwrap(), None);
    }

    #[test]
    fn a_database_or_the_copy_of_an_import_supersedes_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("auth-profiles.json");
        let write = |name: &str| {
            let path = directory.path().join(name);
            crate::write_atomic(&path, b"").unwrap();
            path
        };
        for harmless in [
            "auth-profiles.json",
            ".auth-profiles.json.bak",
            "auth-profiles.json.bak",
            "auth-profiles.json.sqlite-import.part",
            "other.json.sqlite-import.1.bak",
        ] {
            write(harmless);
            assert_eq!(superseded_by(&file).unwrap(), None, "{harmless}");
        }
        for name in ["auth-profiles.json.sqlite-import.1769644800000.bak", "openclaw-agent.sqlite"]
        {
            let path = write(name);
            assert_eq!(superseded_by(&file).unwrap(), Some(path));
        }
    }
}
