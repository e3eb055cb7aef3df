//! A store while an issuer is asked: it is not locked, and what its response needs is kept.

use std::time::{Duration, Instant};

use crate::clawdbot_lock::{self, DirectoryLock};
use crate::error::StoreError;
use crate::fs::atomic::NextFile;
use crate::fs::flock::FileLock;
use crate::store::Store;
use crate::store::coexist::Coexist;
use crate::store::lock::StoreLock;
use crate::store::place::Place;
use crate::store::recovery::Recoveries;

/// A store that was unlocked for a request. Our other processes may write it. The space for the next
/// store stays reserved, and Clawdbot's lock stays ours where that is needed.
#[derive(Debug)]
pub struct StoreDuringRequest {
    place: Place,
    timeout: Duration,
    recoveries: Recoveries,
    since: Instant,
    reserved: Option<NextFile>,
    directory: Option<DirectoryLock>,
}

impl StoreLock {
    /// Unlocks the store for a request that the holder of the refresh token's lock makes. The space
    /// for the response must be [reserved](Self::reserve), and the intent recorded. `store` is the
    /// one that was locked.
    pub fn unlock_for_request(mut self, store: &Store) -> StoreDuringRequest {
        let is_wanted = match store.coexist {
            Coexist::Auto => self.was_shared_lately(),
            Coexist::Always => true,
            Coexist::Never => false,
        };
        // A lock that is not kept is released with this one.
        let directory = if is_wanted && self.directory.as_mut().is_some_and(DirectoryLock::keep) {
            self.directory.take()
        } else {
            None
        };
        StoreDuringRequest {
            place: self.place.clone(),
            timeout: store.timeout,
            recoveries: self.recoveries().clone(),
            since: Instant::now(),
            reserved: self.reserved.take(),
            directory,
        }
    }
}

impl StoreDuringRequest {
    /// How long the request has taken.
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Answers later, from any thread and without waiting, whether Clawdbot's lock is still ours, or
    /// nobody's if it was not kept.
    pub fn witness(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let held = self.directory.as_ref().map(DirectoryLock::witness);
        let (lock, flock) = (self.place.lock.clone(), self.place.flock.clone());
        move || match &held {
            Some(held) => held.is_ours(),
            None => clawdbot_lock::is_free_of_others(&lock, &flock),
        }
    }

    /// Whether Clawdbot's lock was kept.
    pub fn keeps_directory(&self) -> bool {
        self.directory.is_some()
    }

    /// Locks the store again, to save a response. It is not lost for want of Clawdbot's lock.
    ///
    /// # Errors
    /// [`StoreError::Busy`]: the response is in its file, and the next caller finishes it.
    pub fn lock_again(mut self) -> Result<StoreLock, StoreError> {
        let directory = self.directory.take();
        let (place, recoveries) = (self.place.clone(), &self.recoveries);
        let mut store = StoreLock::acquire_again(place, self.timeout, directory, recoveries)?;
        store.reserved = self.reserved.take();
        Ok(store)
    }
}

impl Drop for StoreDuringRequest {
    fn drop(&mut self) {
        let Some(directory) = self.directory.take() else { return };
        // Should it fail, our next process knows the directory, and takes it.
        if let Ok(flock) = FileLock::acquire(&self.place.flock, LEAVE) {
            directory.release(&flock.file);
        }
    }
}

/// The kernel lock is held for a write at most.
const LEAVE: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
