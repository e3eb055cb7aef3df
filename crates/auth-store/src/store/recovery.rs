//! What was recovered, for those who tell the user: damage is never fixed in silence.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// A damaged store that something else took the place of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    /// The store.
    pub store: PathBuf,
    /// Where the damaged bytes are kept, all of them.
    pub copy: PathBuf,
    /// What was wrong, and where.
    pub reason: String,
    /// Whether the backup took its place. If not, another program wrote damaged bytes at the moment of
    /// our own write, and that is there now.
    pub is_from_backup: bool,
}

/// What was recovered through the stores that [tell it](crate::Store::telling) here. Clones are one
/// list.
#[derive(Clone, Debug, Default)]
pub struct Recoveries(Arc<Mutex<Vec<Recovery>>>);

impl Recoveries {
    /// Adds one, of this process or of another of ours.
    pub fn add(&self, recovery: Recovery) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(recovery);
    }

    /// Those that nobody took yet.
    pub fn take(&self) -> Vec<Recovery> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
