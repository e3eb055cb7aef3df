//! A file that only grows, line by line, until it becomes an old one.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::error::StoreError;
use crate::fs::atomic::create_private_directory;
use crate::fs::flock::FileLock;
use crate::fs::open::read_trusted;
use crate::paths;

/// Adds `line` to the file at `path`, which is made for its owner only. A file that would be larger
/// than `largest` is renamed first: `kept` old ones stay.
pub(crate) fn append(
    path: &Path,
    line: &str,
    largest: u64,
    kept: u32,
    timeout: Duration,
) -> Result<(), StoreError> {
    create_private_directory(paths::directory_of(path))?;
    let mut lock = FileLock::acquire(path, timeout)?;
    let length = line.len() as u64 + 1;
    let size = lock.file.metadata().map_err(StoreError::io("write", path))?.len();
    if size > 0 && size + length > largest {
        rotate(path, kept)?;
        drop(lock);
        lock = FileLock::acquire(path, timeout)?;
    }
    let write = || -> io::Result<()> {
        let mut file = &lock.file;
        let end = file.seek(SeekFrom::End(0))?;
        let is_torn = end > 0 && {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            last != *b"\n"
        };
        let text = format!("{}{line}\n", if is_torn { "\n" } else { "" });
        file.write_all(text.as_bytes())
    };
    write().map_err(StoreError::io("write", path))
}

/// Renames the file to the first old one, that to the second, and so on. The last is replaced.
fn rotate(path: &Path, kept: u32) -> Result<(), StoreError> {
    for number in (0..kept).rev() {
        let (from, to) =
            (paths::old_audit_log(path, number), paths::old_audit_log(path, number + 1));
        match fs::rename(&from, &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("rename", &from)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The contents of all files, the oldest first.
pub(crate) fn read(path: &Path, kept: u32) -> Result<Vec<Vec<u8>>, StoreError> {
    let numbers = (0..=kept).rev();
    let files = numbers.map(|number| read_trusted(&paths::old_audit_log(path, number)));
    Ok(files.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}
