//! A file whose disk space is reserved before its content is known.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::fs::atomic;
use crate::paths;

/// The file, open at its start.
#[derive(Debug)]
pub(crate) struct ReservedFile {
    path: PathBuf,
    file: File,
}

impl ReservedFile {
    /// Creates it with `length` bytes and mode 0600, and waits until it is on the disk. An existing
    /// file is removed.
    pub(crate) fn create(path: &Path, length: usize) -> Result<Self, StoreError> {
        atomic::remove(path)?;
        let mut file = atomic::create_private(path).map_err(StoreError::io("create", path))?;
        // Rewinds now, so that later a single write is enough to store the content.
        let reserved = atomic::fill_with_zeros(&mut file, length)
            .and_then(|()| io::Seek::rewind(&mut file))
            .map_err(StoreError::io("reserve space in", path))
            .and_then(|()| atomic::sync_directory(paths::directory_of(path)));
        if let Err(error) = reserved {
            let _ = fs::remove_file(path);
            return Err(error);
        }
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes the content, once: one write, then a wait for the disk. The rest of the reserved
    /// bytes remains after it.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file
            .write_all(bytes)
            .and_then(|()| self.file.sync_all())
            .map_err(StoreError::io("write", &self.path))
    }

    pub(crate) fn remove(self) -> Result<(), StoreError> {
        atomic::remove(&self.path)
    }
}
