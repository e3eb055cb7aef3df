//! `clients.json` in the state directory: the clients, readable by the owner only.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use auth_store::{StoreError, paths, read_regular, write_atomic};
use serde::{Deserialize, Serialize};

use crate::client::Client;

/// The clients of a state directory. The next request sees a change on the disk.
#[derive(Debug)]
pub struct Clients {
    path: PathBuf,
    warm: Mutex<Warm>,
}

/// The clients as they were last read, and the stamp of the file at that time.
#[derive(Debug, Default)]
struct Warm {
    stamp: Option<Stamp>,
    clients: Arc<[Arc<Client>]>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
struct Content {
    version: u32,
    clients: Vec<Client>,
}

/// The clients cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ClientsError {
    /// The file is damaged. Look at it.
    #[error("`{path}` is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process is changing it; try again.
    #[error("`{path}` is being changed by another process")]
    Busy {
        /// The lock file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("could not {action} `{path}`: {source}")]
    Io {
        /// The verb.
        action: &'static str,
        /// Its object.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The write failed; the old content is still there.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Clients {
    /// The clients of the state directory at `root`. The file need not exist.
    pub fn in_state_directory(root: &Path) -> Self {
        Self { path: paths::clients(root), warm: Mutex::default() }
    }

    /// The current clients.
    pub fn read(&self) -> Result<Arc<[Arc<Client>]>, ClientsError> {
        let stamp = Stamp::at(&self.path);
        let mut warm = self.warm.lock().unwrap_or_else(PoisonError::into_inner);
        if stamp.is_some() && warm.stamp == stamp {
            return Ok(Arc::clone(&warm.clients));
        }
        let clients = self.load()?.clients.into_iter().map(Arc::new).collect();
        // If it changed meanwhile, the next check sees another stamp.
        *warm = Warm { stamp, clients };
        Ok(Arc::clone(&warm.clients))
    }

    /// Changes the clients, while no other process does.
    pub fn update<T>(&self, change: impl FnOnce(&mut Vec<Client>) -> T) -> Result<T, ClientsError> {
        let _lock = self.lock()?;
        let mut content = self.load()?;
        let result = change(&mut content.clients);
        content.version = VERSION;
        let mut text = serde_json::to_vec_pretty(&content).map_err(|error| self.damaged(&error))?;
        text.push(b'\n');
        write_atomic(&self.path, &text)?;
        Ok(result)
    }

    fn load(&self) -> Result<Content, ClientsError> {
        let bytes = match read_regular(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::default()),
            Err(source) => {
                return Err(ClientsError::Io { action: "read", path: self.path.clone(), source });
            }
        };
        let content: Content =
            serde_json::from_slice(&bytes).map_err(|error| self.damaged(&error))?;
        if content.version > VERSION {
            return Err(self.damaged(&"it was written by a newer version"));
        }
        Ok(content)
    }

    /// The lock, which the kernel releases when the file is closed.
    fn lock(&self) -> Result<File, ClientsError> {
        let path = paths::clients_lock(&self.path);
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| ClientsError::Io { action, path, source }
        };
        if let Some(directory) = path.parent() {
            auth_store::create_private_directory(directory)?;
        }
        let file = open_private(&path).map_err(io("open", &path))?;
        for _ in 0..TRIES {
            if auth_store::hold(&file, &path) {
                return Ok(file);
            }
            std::thread::park_timeout(PAUSE);
        }
        Err(ClientsError::Busy { path: self.path.clone() })
    }

    fn damaged(&self, reason: &dyn ToString) -> ClientsError {
        ClientsError::Damaged { path: self.path.clone(), reason: reason.to_string() }
    }
}

/// Opens a lock file, and creates it if necessary.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.mode(0o600).custom_flags(flags.bits().cast_signed());
    }
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// The metadata of a file. Every atomic write creates another inode.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp([i64; 5]);

impl Stamp {
    #[cfg(unix)]
    fn at(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let it = fs::metadata(path).ok()?;
        let (inode, size) = (it.ino().cast_signed(), it.size().cast_signed());
        Some(Self([inode, size, it.mtime(), it.mtime_nsec(), it.ctime_nsec() ^ it.ctime()]))
    }

    #[cfg(not(unix))]
    fn at(_path: &Path) -> Option<Self> {
        None
    }
}

const VERSION: u32 = 1;
/// How often the lock is tried, at what interval: five seconds in total.
const TRIES: u32 = 500;
const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u8) -> Client {
        Client::new(&format!("c{number}"), &[], [number; 32]).0
    }

    #[test]
    fn a_change_is_seen_at_once_and_the_file_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (
            Clients::in_state_directory(directory.path()),
            Clients::in_state_directory(directory.path()),
        );
        assert!(one.read().unwrap().is_empty());
        other.update(|clients| clients.push(client(1))).unwrap();
        assert_eq!(one.read().unwrap()[0].name, "c1");
        other.update(Vec::clear).unwrap();
        assert!(one.read().unwrap().is_empty());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(paths::clients(directory.path())).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn no_change_of_many_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for number in 0..16 {
                let root = directory.path();
                scope.spawn(move || {
                    Clients::in_state_directory(root).update(|all| all.push(client(number)))
                });
            }
        });
        assert_eq!(Clients::in_state_directory(directory.path()).read().unwrap().len(), 16);
    }

    #[test]
    fn a_damaged_or_newer_file_admits_nobody_and_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = paths::clients(directory.path());
        for text in ["{", "{\"version\": 2, \"clients\": []}"] {
            write_atomic(&path, text.as_bytes()).unwrap();
            let clients = Clients::in_state_directory(directory.path());
            assert!(matches!(clients.read(), Err(ClientsError::Damaged { .. })));
            assert!(clients.update(|all| all.push(client(1))).is_err());
            assert_eq!(read_regular(&path).unwrap(), text.as_bytes());
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_place_of_the_lock_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("elsewhere");
        std::os::unix::fs::symlink(
            &target,
            paths::clients_lock(&directory.path().join("clients.json")),
        )
        .unwrap();
        let refused = Clients::in_state_directory(directory.path()).update(|_| ());
        assert!(matches!(refused, Err(ClientsError::Io { action: "open", .. })));
        assert!(!target.exists());
    }
}
