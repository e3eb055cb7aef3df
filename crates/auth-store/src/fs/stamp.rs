//! Detects without reading whether a file changed.

use std::fs::{self, Metadata};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The identity, size and times of a file. Equal stamps mean the same content, if the first one was
/// [stable](Self::is_stable) when it was taken.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds of the last change of the content.
    modified: (i64, i64),
    /// Seconds and nanoseconds of the last change of any kind. No program can set it.
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of a file that was opened and not read yet. `None` if the system does not report
    /// enough.
    pub fn from_metadata(metadata: &Metadata) -> Option<Self> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            Some(Self {
                device: metadata.dev(),
                inode: metadata.ino(),
                size: metadata.size(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            })
        }
        #[cfg(not(unix))]
        {
            let _ = metadata;
            None
        }
    }

    /// The stamp of the file at `path`, if there is one.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        Self::from_metadata(&fs::metadata(path).ok()?)
    }

    /// When the content was last changed.
    pub(crate) fn modified_at(&self) -> Timestamp {
        let (seconds, nanoseconds) = self.modified;
        Timestamp(seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000))
    }

    /// Whether the last change was so long before `now` that any later one gives another stamp:
    /// file systems count time in steps, and two changes in one step look like one.
    pub fn is_stable(&self, now: Timestamp) -> bool {
        let (seconds, nanoseconds) = self.modified.max(self.changed);
        let last = seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000);
        now.since(Timestamp(last)) > STEP
    }
}

/// Longer than a step of any known file system.
const STEP: Duration = Duration::from_millis(10);
