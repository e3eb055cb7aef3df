//! The paths of a store: where the file really is, and what lies beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::document::Document;
use crate::error::StoreError;
use crate::time::{Clock as _, SystemClock};
use crate::{atomic, model_usage, open, presence, record, runtime_cache, trust};

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
    /// Resolves the path once: a store may be a symbolic link, and everything that belongs to it
    /// lies beside the target. What could be under the control of others is refused.
    pub(crate) fn of(path: &Path) -> Result<Self, StoreError> {
        let unsafe_because =
            |path: &Path, reason| StoreError::Unsafe { path: path.to_owned(), reason };
        trust::check_way(path)?;
        let file = match fs::canonicalize(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if fs::symlink_metadata(path).is_ok() {
                    return Err(unsafe_because(path, "it is a link that leads nowhere"));
                }
                let directory = record::canonical(atomic::directory_of(path));
                directory.join(path.file_name().unwrap_or_default())
            }
            Err(error) => return Err(StoreError::io("find", path)(error)),
        };
        let there = match fs::metadata(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            found => Some(found.map_err(StoreError::io("look at", &file))?),
        };
        if let Some(metadata) = there {
            if let Some(reason) = open::oddity(metadata.file_type()) {
                return Err(unsafe_because(&file, reason));
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

    /// The next content of the store.
    pub(crate) fn next(&self) -> PathBuf {
        atomic::sibling(&self.file, ".new")
    }

    /// The next content of the backup.
    pub(crate) fn next_backup(&self) -> PathBuf {
        atomic::sibling(&self.backup, ".new")
    }

    /// A file on its way to its place without having been reserved.
    pub(crate) fn put(&self) -> PathBuf {
        atomic::sibling(&self.file, ".put")
    }

    /// The files that exist only while somebody holds the lock.
    pub(crate) fn temporaries(&self) -> [PathBuf; 5] {
        let companion = |name: &str| self.file.with_file_name(name);
        [
            self.next(),
            self.next_backup(),
            self.put(),
            companion(runtime_cache::TEMPORARY),
            companion(model_usage::TEMPORARY),
        ]
    }
}

/// The name under which something damaged is kept that lay at `path`.
pub(crate) fn corrupt(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let suffix: u32 = rand::random();
    path.with_file_name(format!("{name}{CORRUPT}{}.{suffix:08x}", SystemClock.now()))
}

/// What is kept since it was damaged of the file that is or was at `path`, in the order of the names.
///
/// # Errors
/// The directory cannot be looked at.
pub(crate) fn corrupt_copies(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let start = path.file_name().unwrap_or_default().to_string_lossy().into_owned() + CORRUPT;
    let entries = presence::entries(atomic::directory_of(path))?.into_iter();
    let kept = entries.filter(|it| it.file_name().to_string_lossy().starts_with(&start));
    let mut kept: Vec<_> = kept.map(|it| it.path()).collect();
    kept.sort();
    Ok(kept)
}

/// What is in the name of something damaged that is kept.
const CORRUPT: &str = ".corrupt.";

/// The backup at `path`, if one is there and whole: what it says, and its bytes. What others could
/// have made is none.
///
/// # Errors
/// It cannot be read: that is not to say that there is none.
pub(crate) fn read_backup(path: &Path) -> Result<Option<(Document, Vec<u8>)>, StoreError> {
    let bytes = match trust::read(path) {
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
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let start = format!("{name}.sqlite-import");
    let is_sign = |name: &str| {
        let stem = name.strip_suffix(".bak");
        name == DATABASE || stem.is_some_and(|stem| stem.starts_with(&start))
    };
    let entries = presence::entries(atomic::directory_of(file))?;
    let mut signs = entries.into_iter().map(|entry| entry.path());
    Ok(signs.find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_sign)))
}

/// Where a later OpenClaw keeps the credentials of an agent.
const DATABASE: &str = "openclaw-agent.sqlite";

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
            atomic::write_atomic(&path, b"").unwrap();
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
