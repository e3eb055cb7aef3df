//! The real location of a file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::fs::open;
use crate::fs::owner;
use crate::paths;

/// The file of the store `path`, links followed. A store may be a symbolic link, and everything
/// that belongs to it lies beside the target.
///
/// # Errors
/// Another user could control it, or it is not a regular file.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, StoreError> {
    let unsafe_because = |path: &Path, reason| StoreError::Unsafe { path: path.to_owned(), reason };
    owner::check_way(path)?;
    let file = match fs::canonicalize(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if fs::symlink_metadata(path).is_ok() {
                return Err(unsafe_because(path, "it is a link that leads nowhere"));
            }
            let directory = canonical(paths::directory_of(path));
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
        if !owner::is_ours(&metadata) {
            return Err(unsafe_because(&file, "it belongs to another user"));
        }
    }
    owner::check_directory(paths::directory_of(&file), &file)?;
    Ok(file)
}

/// The path by which records name a store: links followed, as far as the path exists.
pub(crate) fn canonical_file(path: &Path) -> PathBuf {
    match fs::canonicalize(path) {
        Ok(path) => path,
        Err(_) => match path.file_name() {
            Some(name) => canonical(paths::directory_of(path)).join(name),
            None => path.to_owned(),
        },
    }
}

/// Whether the file at `path` is in the directory `state`, all links followed. A missing file is in
/// no directory.
pub(crate) fn is_within(path: &Path, state: &Path) -> Result<bool, StoreError> {
    let real = |path: &Path| match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some).map_err(StoreError::io("find", path)),
    };
    match real(path)? {
        Some(path) => Ok(real(state)?.is_some_and(|state| path.starts_with(state))),
        None => Ok(false),
    }
}

fn canonical(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
