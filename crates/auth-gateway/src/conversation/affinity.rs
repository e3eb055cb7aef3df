//! A bounded memory of which profile a conversation, or an id bound to an account, belongs to.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hash};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use auth_store::ProfileId;

/// Remembers at most [`MOST`] entries, each for a time after its last use. The least recently used
/// are dropped first.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Keys are kept as hashes with a random seed, so that a client cannot choose collisions.
    hasher: RandomState,
    lifetime: Duration,
    generations: Mutex<Generations>,
}

/// The young generation has the entries used since the last swap. When it is full, the old
/// generation is dropped and the young one takes its place.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<u64, Entry>,
    old: HashMap<u64, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    profile: ProfileId,
    used: Instant,
}

impl Memory {
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self { hasher: RandomState::new(), lifetime, generations: Mutex::default() }
    }

    /// The profile that `key` belongs to.
    pub(crate) fn get(&self, key: impl Hash, now: Instant) -> Option<ProfileId> {
        let hash = self.hasher.hash_one(key);
        let mut generations = self.lock();
        if let Some(entry) = generations.old.remove(&hash) {
            generations.make_room();
            generations.young.insert(hash, entry);
        }
        let entry = generations.young.get_mut(&hash)?;
        if now.saturating_duration_since(entry.used) > self.lifetime {
            generations.young.remove(&hash);
            return None;
        }
        entry.used = now;
        Some(entry.profile.clone())
    }

    /// Like [`get`](Self::get), without counting as a use.
    pub(crate) fn peek(&self, key: impl Hash, now: Instant) -> Option<ProfileId> {
        let hash = self.hasher.hash_one(key);
        let generations = self.lock();
        let entry = generations.young.get(&hash).or_else(|| generations.old.get(&hash))?;
        let is_over = now.saturating_duration_since(entry.used) > self.lifetime;
        (!is_over).then(|| entry.profile.clone())
    }

    /// Records that `key` belongs to `profile`.
    pub(crate) fn put(&self, key: impl Hash, profile: &ProfileId, now: Instant) {
        let hash = self.hasher.hash_one(key);
        let mut generations = self.lock();
        generations.old.remove(&hash);
        generations.make_room();
        generations.young.insert(hash, Entry { profile: profile.clone(), used: now });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn make_room(&mut self) {
        if self.young.len() >= MOST / 2 {
            self.old = std::mem::take(&mut self.young);
        }
    }
}

/// The maximum number of entries.
const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(name: &str) -> ProfileId {
        ProfileId::from(name)
    }

    #[test]
    fn what_was_put_is_there_for_an_hour_after_its_last_use() {
        let memory = Memory::new(Duration::from_hours(1));
        let start = Instant::now();
        memory.put("a", &profile("acme:one"), start);
        let later = start + Duration::from_mins(50);
        assert_eq!(memory.get("a", later), Some(profile("acme:one")));
        let last = later + Duration::from_mins(59);
        assert_eq!(memory.get("a", last), Some(profile("acme:one")));
        assert_eq!(memory.get("a", last + Duration::from_mins(61)), None);
        assert_eq!(memory.get("b", start), None);
    }

    #[test]
    fn the_memory_is_bounded_and_what_is_used_stays() {
        let memory = Memory::new(Duration::from_hours(1));
        let now = Instant::now();
        for number in 0..100_000 {
            memory.put(number, &profile("acme:one"), now);
            if number > 0 {
                assert!(memory.get(0, now).is_some(), "after {number}");
            }
        }
        let held = memory.lock();
        assert!(held.young.len() + held.old.len() <= MOST);
        drop(held);
        // The control: an unused entry is dropped.
        assert_eq!(memory.get(1, now), None);
    }
}
