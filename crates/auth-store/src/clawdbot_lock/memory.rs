//! The content of the flock file: the lock directory that one of our processes made last, and how
//! long it held the lock.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fs::stamp::Stamp;
use crate::time::{Clock as _, SystemClock, Timestamp};

/// Identifies a directory. The birth time distinguishes it from a later one with the same inode
/// number.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    /// Nanoseconds since the epoch; 0 where the file system does not know it.
    born: u64,
}

impl Identity {
    pub(crate) fn from_file(directory: &File) -> Option<Self> {
        directory.metadata().ok().map(|metadata| Self::new(&metadata))
    }

    pub(crate) fn new(metadata: &fs::Metadata) -> Self {
        #[cfg(unix)]
        let (device, inode) = {
            use std::os::unix::fs::MetadataExt as _;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let (device, inode) = (0, 0);
        let born = metadata.created().ok();
        let born = born.and_then(|born| born.duration_since(std::time::UNIX_EPOCH).ok());
        let born = born.and_then(|born| u64::try_from(born.as_nanos()).ok()).unwrap_or(0);
        Self { device, inode, born }
    }
}

pub(crate) fn identity_at(path: &Path) -> Option<Identity> {
    fs::symlink_metadata(path).ok().map(|metadata| Identity::new(&metadata))
}

/// The content of the flock file.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Memory {
    /// The directory we last made, if we have not released it.
    pub(crate) directory: Option<Identity>,
    /// When it was made, or taken from a process that crashed.
    pub(crate) made_at: Timestamp,
    pub(crate) held_ms: u64,
    pub(crate) released_at: Timestamp,
    /// When one of our processes last found another program holding the lock.
    pub(crate) met_others_at: Timestamp,
    /// The store as we last wrote it.
    pub(crate) written: Option<Stamp>,
    /// When another program last wrote the store.
    pub(crate) foreign_write_at: Timestamp,
}

impl Memory {
    /// This, with a directory that is ours from now on.
    pub(crate) fn with(self, directory: &File) -> Self {
        let (directory, made_at) = (Identity::from_file(directory), SystemClock.now());
        Self { directory, made_at, ..self }
    }

    /// This, after another program wrote the store, which was `found` then. It is noted once.
    pub(crate) fn noticing(self, found: Stamp) -> Self {
        let foreign_write_at = found.modified_at().max(self.foreign_write_at);
        Self { foreign_write_at, written: Some(found), ..self }
    }

    /// When another program last held the lock or wrote the store.
    pub(crate) fn others_at(&self) -> Timestamp {
        self.met_others_at.max(self.foreign_write_at)
    }

    /// How long to leave the lock free after we held it: as long as we held it. If other programs
    /// wanted it recently, three times as long: then each of Clawdbot's eleven attempts finds it
    /// free more often than not, no matter how many of our processes there are.
    pub(crate) fn turn(&self, now: Timestamp) -> Duration {
        let held = Duration::from_millis(self.held_ms);
        if self.met_others_at.0 > 0 && now.since(self.met_others_at) < LATELY {
            (held * 3).min(LONGEST_TURN_AMONG_OTHERS)
        } else {
            held.min(LONGEST_TURN)
        }
    }

    /// Reads the content; empty if it is not readable. A directory without a birth time is ignored,
    /// because another directory may have its inode number now.
    pub(crate) fn read(file: &File) -> Self {
        let mut text = String::new();
        let mut file = file;
        let read = io::Seek::rewind(&mut file)
            .and_then(|()| io::Read::read_to_string(&mut io::Read::take(file, 1024), &mut text));
        let mut memory: Self =
            read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default();
        memory.directory = memory.directory.filter(|directory| directory.born != 0);
        memory
    }

    /// Best effort: without it, the next process waits until the directory is stale.
    pub(crate) fn write(&self, file: &File) {
        let mut file = file;
        let text = serde_json::to_string(self).unwrap_or_default();
        let _ = io::Seek::rewind(&mut file)
            .and_then(|()| io::Write::write_all(&mut file, text.as_bytes()))
            .and_then(|()| file.set_len(text.len() as u64));
    }
}

/// The longest time for which the lock is left free.
pub(crate) const LONGEST_TURN: Duration = Duration::from_millis(50);
/// The same limit if other programs want the lock.
const LONGEST_TURN_AMONG_OTHERS: Duration = Duration::from_secs(1);
/// The meaning of "recently".
pub(crate) const LATELY: Duration = Duration::from_mins(1);
