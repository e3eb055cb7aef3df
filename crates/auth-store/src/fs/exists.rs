//! Checks whether something exists. An error is not an answer: a path that cannot be examined may
//! exist.

use std::ffi::OsString;
use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;

use crate::error::StoreError;

/// Whether there is anything at `path`, even a broken link.
///
/// # Errors
/// It cannot be examined.
pub(crate) fn is_there(path: &Path) -> Result<bool, StoreError> {
    known(fs::symlink_metadata(path).map(|_| true)).map_err(StoreError::io("look at", path))
}

/// Whether there is a directory at `path`.
///
/// # Errors
/// It cannot be examined.
pub(crate) fn is_directory(path: &Path) -> Result<bool, StoreError> {
    known(fs::metadata(path).map(|found| found.is_dir())).map_err(StoreError::io("look at", path))
}

/// Whether `path` leads to anything, links followed.
///
/// # Errors
/// It cannot be examined.
pub(crate) fn leads_somewhere(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().map_err(StoreError::io("look at", path))
}

/// The names in a directory; empty if it does not exist.
///
/// # Errors
/// It cannot be read to its end, or it is not a directory.
pub(crate) fn names(directory: &Path) -> Result<Vec<OsString>, StoreError> {
    Ok(entries(directory)?.into_iter().map(|entry| entry.file_name()).collect())
}

/// The names of the directories in a directory, links followed; empty if it does not exist.
///
/// # Errors
/// Those of [`names`].
pub(crate) fn directories(directory: &Path) -> Result<Vec<OsString>, StoreError> {
    let directories = entries(directory)?.into_iter().filter(|entry| entry.path().is_dir());
    Ok(directories.map(|entry| entry.file_name()).collect())
}

fn entries(directory: &Path) -> Result<Vec<DirEntry>, StoreError> {
    match fs::read_dir(directory).and_then(Iterator::collect) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries.map_err(StoreError::io("look into", directory)),
    }
}

/// Turns "not found" into `false`.
fn known(found: io::Result<bool>) -> io::Result<bool> {
    match found {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(false)
        }
        found => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_is_a_response_and_an_error_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let nothing = directory.path().join("nothing");
        let below_a_file = directory.path().join("file/below");
        crate::write_atomic(&directory.path().join("file"), b"").unwrap();
        for absent in [&nothing, &below_a_file] {
            assert!(!is_there(absent).unwrap() && !is_directory(absent).unwrap());
        }
        assert_eq!(names(&nothing).unwrap().len(), 0);
        assert!(names(&below_a_file).is_err(), "it is no directory");
        assert!(is_there(directory.path()).unwrap() && is_directory(directory.path()).unwrap());
        assert_eq!(names(directory.path()).unwrap(), ["file"]);
        assert!(directories(directory.path()).unwrap().is_empty());

        // No file system allows such a name, so the result is unknown.
        let unknowable = directory.path().join("n".repeat(5000));
        assert!(is_there(&unknowable).is_err() && is_directory(&unknowable).is_err());
        assert!(names(&unknowable).is_err() && leads_somewhere(&unknowable).is_err());
    }

    #[test]
    #[cfg(unix)]
    fn a_link_that_leads_nowhere_is_something() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(is_there(&link).unwrap() && !leads_somewhere(&link).unwrap());
        assert!(!is_directory(&link).unwrap());
    }
}
