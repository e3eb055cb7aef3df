//! A file whose space is on the disk before its content is known.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::fs::atomic;
use crate::paths;

/// The reserved file, open at its start.
#[derive(Debug)]
pub(crate) struct ReservedFile {
    path: PathBuf,
    file: File,
}

impl ReservedFile {
    /// Puts `length` bytes at `path`, for the owner only, and waits until they and their name are
    /// on the disk. What was there is removed.
    pub(crate) fn create(path: &Path, length: usize) -> Result<Self, StoreError> {
        atomic::remove(path)?;
        let mut file = atomic::create_private(path).map_err(StoreError::io("create", path))?;
        // Back at the start now, so that nothing but the write is between the content and the disk.
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

    /// Puts the content there, once: one write, then wait for the disk. What is left of the
    /// reserved bytes stays behind it.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file
            .write_all(bytes)
            .and_then(|()| self.file.sync_all())
            .map_err(StoreError::io("write", &self.path))
    }

    /// Removes it.
    pub(crate) fn remove(self) -> Result<(), StoreError> {
        atomic::remove(&self.path)
    }
}
