//! Reports of recoveries for the user: damage is never fixed silently.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// A damaged store that was replaced.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    /// The store.
    pub store: PathBuf,
    /// The copy with all of the damaged bytes.
    pub copy: PathBuf,
    /// What was damaged, and where.
    pub reason: String,
    /// Whether the backup replaced it. If not, another program wrote damaged bytes at the moment of
    /// our own write, and our content is there now.
    pub is_from_backup: bool,
}

/// The recoveries of all stores that [report](crate::Store::telling) here. Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Recoveries(Arc<Mutex<Vec<Recovery>>>);

impl Recoveries {
    /// Adds a recovery of this process or of another of our processes.
    pub fn add(&self, recovery: Recovery) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(recovery);
    }

    /// Removes and returns the recoveries in the list.
    pub fn take(&self) -> Vec<Recovery> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
