//! The file of a store, and the files beside it.

use std::path::{Path, PathBuf};

use crate::document::Document;
use crate::error::StoreError;
use crate::fs::exists;
use crate::fs::locate;
use crate::fs::open::read_trusted;
use crate::paths;

/// The paths of a store and of its siblings.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    /// Clawdbot's lock, a directory.
    pub(crate) lock: PathBuf,
    /// The kernel's lock, for our processes.
    pub(crate) flock: PathBuf,
    /// The credentials as we last committed them.
    pub(crate) backup: PathBuf,
}

impl Place {
    /// Follows links once. A path that another user could control is refused.
    pub(crate) fn resolve(path: &Path) -> Result<Self, StoreError> {
        let file = locate::resolve(path)?;
        Ok(Self {
            lock: paths::lock(&file),
            flock: paths::flock(&file),
            backup: paths::backup(&file),
            file,
        })
    }

    /// The files that exist only while the lock is held.
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

/// The backup at `path` and its bytes. `None` if it is missing, damaged, or could belong to another
/// user.
///
/// # Errors
/// It cannot be read, so it is unknown whether there is one.
pub(crate) fn read_backup(path: &Path) -> Result<Option<(Document, Vec<u8>)>, StoreError> {
    let bytes = match read_trusted(path) {
        Err(StoreError::Unsafe { .. }) => None,
        read => read?,
    };
    Ok(bytes.and_then(|bytes| Some((Document::parse(&bytes).ok()?, bytes))))
}

/// The file that shows that a later OpenClaw keeps the credentials in a database and no longer in the
/// store `file`: a database, the copy of the store that it made when it imported it, or its config.
///
/// # Errors
/// The directory cannot be read. Write nothing.
pub fn superseded_by(file: &Path) -> Result<Option<PathBuf>, StoreError> {
    let is_sign = |name: &str| paths::is_sign_of_a_database(name, file);
    let directory = paths::directory_of(file);
    let sign =
        exists::names(directory)?.into_iter().find(|name| name.to_str().is_some_and(is_sign));
    if let Some(name) = sign {
        return Ok(Some(directory.join(name)));
    }
    for sign in paths::signs_of_openclaw(file) {
        if exists::is_there(&sign)? {
            return Ok(Some(sign));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_read_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        // No file system allows such a name.
        let unknowable = directory.path().join("n".repeat(5000));
        assert!(superseded_by(&unknowable.join("auth-profiles.json")).is_err());
        // The control: a missing directory has no such file.
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
        for name in [
            "auth-profiles.json.sqlite-import.1769644800000.bak",
            "auth-profiles.json.openai-provider-unification.1769644800000.bak",
            "auth-profiles.json.migrated-2026-11-29T05-49-02.331Z-23f2a2a2-2170-4264-bc07-8121c6c13a12",
            "auth-state.json",
            "openclaw-agent.sqlite",
        ] {
            let path = write(name);
            assert_eq!(superseded_by(&file).unwrap(), Some(path.clone()));
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn the_state_directory_of_a_later_openclaw_is_known_by_its_own_files() {
        for name in ["state/openclaw.sqlite", "openclaw.json"] {
            let state = tempfile::tempdir().unwrap();
            let file = paths::store(&paths::agent_directory(state.path(), "main"));
            let elsewhere = state.path().join("a/b/c/auth-profiles.json");
            assert_eq!(superseded_by(&file).unwrap(), None);
            let sign = state.path().join(name);
            std::fs::create_dir_all(sign.parent().unwrap()).unwrap();
            crate::write_atomic(&sign, b"").unwrap();
            assert_eq!(superseded_by(&file).unwrap(), Some(sign));
            assert_eq!(superseded_by(&elsewhere).unwrap(), None);
        }
    }
}
