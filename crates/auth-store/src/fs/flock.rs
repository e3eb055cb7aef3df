//! A kernel lock on a file that is never removed.
//!
//! The kernel releases it when its holder ends. It belongs to the open file, not to the process:
//! two threads exclude each other too, and a child that inherits the descriptor keeps the lock when
//! its parent ends.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use fs4::TryLockError;

use crate::error::{Refused, StoreError};
use crate::fs::atomic;
use crate::fs::open;
use crate::fs::owner;
use crate::paths;

/// A held lock. Dropping it releases it.
#[derive(Debug)]
pub(crate) struct FileLock {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
}

impl FileLock {
    /// Waits at most `timeout` for the lock on `path`, which is created if it does not exist.
    pub(crate) fn acquire(path: &Path, timeout: Duration) -> Result<Self, StoreError> {
        loop {
            if let Some(lock) = Self::try_acquire(path)? {
                return Ok(lock);
            }
            let file = open_or_create(path)?;
            let (send, receive) = mpsc::channel();
            // `flock` has no timeout, so a thread waits. After the timeout the thread goes on
            // waiting, and releases the lock as soon as it gets it.
            let wait = move || {
                let locked = lock_blocking(&file);
                let _ = send.send(locked.map(|()| file));
            };
            let waiting = std::thread::Builder::new().spawn(wait);
            waiting.map_err(StoreError::io("wait for the lock", path))?;
            match receive.recv_timeout(timeout) {
                Ok(Ok(file)) if is_at(&file, path) => {
                    return Ok(Self { file, path: path.to_owned() });
                }
                Ok(Ok(_replaced)) => {}
                Ok(Err(error)) => return Err(StoreError::io("lock", path)(error)),
                Err(_) => {
                    return Err(StoreError::Busy {
                        path: path.to_owned(),
                        seconds: timeout.as_secs(),
                        holder: "another process of ours holds it".to_owned(),
                    });
                }
            }
        }
    }

    /// The lock on `path`, unless it is held.
    pub(crate) fn try_acquire(path: &Path) -> Result<Option<Self>, StoreError> {
        loop {
            match take(open_or_create(path)?, path)? {
                Tried::Taken(lock) => return Ok(Some(lock)),
                Tried::Held => return Ok(None),
                Tried::Replaced => {}
            }
        }
    }

    /// Takes over the lock that `file` already holds, inherited from another process.
    pub(crate) fn inherited(file: File, path: &Path) -> Result<Self, StoreError> {
        believed(&file, path)?;
        match take(file, path)? {
            Tried::Taken(lock) => Ok(lock),
            Tried::Held | Tried::Replaced => Err(StoreError::Unsafe {
                path: path.to_owned(),
                reason: "the lock handed over is not on this file",
            }),
        }
    }
}

impl FileLock {
    /// The content of the locked file.
    pub(crate) fn content(&self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        let mut file = &self.file;
        io::Seek::rewind(&mut file)
            .and_then(|()| file.read_to_end(&mut bytes))
            .map_err(StoreError::io("read", &self.path))?;
        Ok(bytes)
    }

    /// Makes `text` the content of the locked file, without waiting for the disk.
    pub(crate) fn replace_content(&self, text: &str) -> Result<(), StoreError> {
        let write = || -> io::Result<()> {
            let mut file = &self.file;
            file.set_len(0)?;
            io::Seek::rewind(&mut file)?;
            file.write_all(text.as_bytes())
        };
        write().map_err(StoreError::io("write", &self.path))
    }

    /// Appends a line to the locked file, and waits until it and the file's name are on the disk.
    pub(crate) fn append_line(&self, line: &str) -> Result<(), StoreError> {
        let write = || -> io::Result<()> {
            let mut file = &self.file;
            let end = io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
            // Ends a torn line of a crashed process.
            let line = format!("{}{line}\n", if end > 0 { "\n" } else { "" });
            file.write_all(line.as_bytes())?;
            file.sync_all()
        };
        write().map_err(StoreError::io("write", &self.path))?;
        atomic::sync_directory(paths::directory_of(&self.path))
    }

    /// A second descriptor: the lock is held until both are closed.
    pub(crate) fn share(&self) -> Result<File, StoreError> {
        self.file.try_clone().map_err(StoreError::io("share", &self.path))
    }
}

/// Takes the kernel's lock on `file` until it is closed, if `path` leads to it and the lock is
/// free. For lock files of other programs, where the file itself is the lock: our processes can
/// then see whether its holder has ended. Also `false` if the file system has no such locks.
pub fn hold(file: &File, path: &Path) -> bool {
    fs4::FileExt::try_lock(file).is_ok() && is_at(file, path)
}

/// The result of one attempt.
enum Tried {
    Taken(FileLock),
    Held,
    /// The path leads to another file now.
    Replaced,
}

fn take(file: File, path: &Path) -> Result<Tried, StoreError> {
    match fs4::FileExt::try_lock(&file) {
        Ok(()) if is_at(&file, path) => Ok(Tried::Taken(FileLock { file, path: path.to_owned() })),
        Ok(()) => Ok(Tried::Replaced),
        Err(TryLockError::WouldBlock) => Ok(Tried::Held),
        Err(TryLockError::Error(error)) => Err(StoreError::io("lock", path)(error)),
    }
}

fn lock_blocking(file: &File) -> io::Result<()> {
    not_interrupted(|| fs4::FileExt::lock(file))
}

/// Repeats `wait` as long as signals interrupt it.
fn not_interrupted(mut wait: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        match wait() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Opens a file that is there to be locked, and makes it, with its directory, if need be.
///
/// # Errors
/// It cannot be opened, or is not believed.
pub fn open_or_create(path: &Path) -> Result<File, StoreError> {
    let open_it = || atomic::private_options().write(true).create(true).truncate(false).open(path);
    let file = match open_it() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            atomic::create_private_directory(paths::directory_of(path))?;
            open_it()
        }
        result => result,
    };
    let file =
        file.map_err(|error| open::explained(error, path)).map_err(StoreError::io("open", path))?;
    believed(&file, path)?;
    Ok(file)
}

/// Refuses a lock file that others could have written: it is a record, too.
fn believed(file: &File, path: &Path) -> Result<(), StoreError> {
    let refused = |reason| StoreError::Unsafe { path: path.to_owned(), reason };
    let found = file.metadata().map_err(StoreError::io("look at", path))?;
    if let Some(reason) = open::oddity(found.file_type()) {
        return Err(refused(reason));
    }
    owner::check(&found).map_err(|Refused(reason)| refused(reason))
}

/// Whether `path` still leads to `file`. A lock on a replaced file excludes no other process.
fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let (Ok(ours), Ok(there)) = (file.metadata(), fs::symlink_metadata(path)) else {
            return false;
        };
        (ours.dev(), ours.ino()) == (there.dev(), there.ino())
    }
    #[cfg(not(unix))]
    {
        // An open file cannot be replaced on this system.
        let _ = file;
        fs::symlink_metadata(path).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn one_at_a_time_has_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let (inside, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (path, inside, most) = (path.clone(), inside.clone(), most.clone());
                std::thread::spawn(move || {
                    for _ in 0..50 {
                        let lock = FileLock::acquire(&path, Duration::from_mins(1)).unwrap();
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_held_lock_is_busy_after_the_timeout() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = FileLock::acquire(&path, Duration::ZERO).unwrap();
        assert!(FileLock::try_acquire(&path).unwrap().is_none());
        let refused = FileLock::acquire(&path, Duration::from_millis(1));
        assert!(matches!(refused, Err(StoreError::Busy { .. })));
        drop(held);
        FileLock::acquire(&path, Duration::from_mins(1)).unwrap();
    }

    #[test]
    fn a_file_is_held_by_one_and_only_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let (one, other) = (open_or_create(&path).unwrap(), open_or_create(&path).unwrap());
        assert!(hold(&one, &path) && !hold(&other, &path));
        drop(one);
        assert!(!hold(&other, &directory.path().join("elsewhere")));
        assert!(hold(&other, &path));
    }

    #[test]
    fn a_lock_on_a_file_that_was_replaced_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let (path, next) = (directory.path().join("lock"), directory.path().join("next"));
        let (old, same) = (open_or_create(&path).unwrap(), open_or_create(&path).unwrap());
        assert!(matches!(take(same, &path), Ok(Tried::Taken(_))));
        open_or_create(&next).unwrap();
        fs::rename(&next, &path).unwrap();
        let handed_over = old.try_clone().unwrap();
        assert!(matches!(take(old, &path), Ok(Tried::Replaced)));
        let refused = FileLock::inherited(handed_over, &path);
        assert!(matches!(refused, Err(StoreError::Unsafe { .. })));
        fs::remove_file(&path).unwrap();
        FileLock::try_acquire(&path).unwrap().unwrap();
    }

    #[test]
    fn a_signal_ends_no_wait_and_any_other_error_does() {
        let ended = |kinds: &[io::ErrorKind]| {
            let mut kinds = kinds.iter();
            not_interrupted(|| kinds.next().map_or(Ok(()), |kind| Err((*kind).into())))
                .map_err(|error| error.kind())
        };
        let (signal, other) = (io::ErrorKind::Interrupted, io::ErrorKind::StorageFull);
        assert_eq!(ended(&[signal, signal]), Ok(()));
        assert_eq!(ended(&[signal, other]), Err(other));
    }

    #[test]
    fn a_lock_that_somebody_else_has_is_not_handed_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let _held = FileLock::acquire(&path, Duration::ZERO).unwrap();
        let refused = FileLock::inherited(open_or_create(&path).unwrap(), &path);
        assert!(matches!(refused, Err(StoreError::Unsafe { .. })));
    }

    /// Only the kernel's list of locks shows that a thread waits.
    #[cfg(target_os = "linux")]
    #[test]
    fn whose_lock_was_replaced_while_waiting_waits_for_the_new_one() {
        use std::os::unix::fs::MetadataExt as _;
        let directory = tempfile::tempdir().unwrap();
        let (path, next) = (directory.path().join("lock"), directory.path().join("next"));
        let first = FileLock::acquire(&path, Duration::ZERO).unwrap();
        let inode = format!(":{} ", first.file.metadata().unwrap().ino());
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || FileLock::acquire(&path, Duration::from_mins(1)).unwrap()
        });
        let waits = |line: &str| line.contains("->") && line.contains(&inode);
        for _ in 0..30_000 {
            if fs::read_to_string("/proc/locks").unwrap().lines().any(waits) {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        open_or_create(&next).unwrap();
        fs::rename(&next, &path).unwrap();
        drop(first);
        assert!(is_at(&waiting.join().unwrap().file, &path));
    }

    #[cfg(unix)]
    #[test]
    fn the_place_of_a_lock_is_made_and_is_private_and_holds_a_regular_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/lock");
        drop(FileLock::try_acquire(&path).unwrap().unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let above = fs::metadata(path.parent().unwrap()).unwrap();
        assert_eq!(above.permissions().mode() & 0o777, 0o700);
        let blocked = path.join("below");
        assert!(matches!(
            FileLock::try_acquire(&blocked),
            Err(StoreError::Io { action: "open", .. })
        ));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_at_the_place_of_the_lock_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        std::os::unix::fs::symlink(directory.path().join("elsewhere"), &path).unwrap();
        assert!(FileLock::try_acquire(&path).is_err());
    }
}
