//! The paths of a store: where the file really is, and what lies beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::{atomic, model_usage, open, record, runtime_cache, trust};

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
        if let Ok(metadata) = fs::metadata(&file) {
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
