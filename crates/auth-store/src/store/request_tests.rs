//! What happens to a store while an issuer is asked.

use std::fs;
use std::path::Path;

use serde_json::Map;

use super::*;
use crate::clawdbot_lock::memory::Memory;
use crate::document::Document;
use crate::document::credential::Credential;
use crate::fs::atomic;
use crate::paths;
use crate::refresh_record::token_key::TokenKey;
use crate::store::lock::{ROOM_TO_GROW, WEEK};
use crate::time::{Clock as _, SystemClock, Timestamp};

struct Somewhere {
    _directory: tempfile::TempDir,
    store: Store,
}

/// A store with the profile `acme:a`, which only we wrote.
fn somewhere() -> Somewhere {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::at(directory.path().join("agent/auth-profiles.json"));
    store.update(|document| put(document, "acme:a", "one")).unwrap();
    Somewhere { _directory: directory, store }
}

fn put(document: &mut Document, id: &str, key: &str) {
    document.put(&id.into(), "acme", &Credential::ApiKey(key.into()), &Map::new());
}

fn key() -> TokenKey {
    TokenKey::new("https://issuer.example/token", "client", &"refresh".into())
}

fn content(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

#[test]
fn a_store_that_is_unlocked_for_a_request_can_be_written_meanwhile_and_keeps_its_space() {
    for coexist in [Coexist::Always, Coexist::Never] {
        let Somewhere { store, .. } = &somewhere();
        let store = store.clone().with_timeout(Duration::ZERO).with_coexist(coexist);
        let is_kept = coexist == Coexist::Always;
        let mut lock = store.lock_for_refresh().unwrap();
        let directory = lock.place.lock.clone();
        let _response = lock.reserve(key()).unwrap();
        // The control: while it is locked, nobody writes.
        let write = |id: &str| store.update(|document| put(document, id, "two"));
        assert!(matches!(write("acme:b"), Err(StoreError::Busy { .. })));

        let during = lock.unlock_for_request(&store);
        assert_eq!((directory.exists(), during.keeps_directory()), (is_kept, is_kept));
        let witness = during.witness();
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(1) {}
        assert!(witness() && during.age() >= Duration::from_millis(1));
        // Who gave up above may get the lock for a moment.
        let patient = store.clone().with_timeout(Duration::from_mins(1));
        patient.update(|document| put(document, "acme:b", "two")).unwrap();
        assert_eq!((directory.exists(), witness()), (is_kept, true));
        let space = paths::reserved_store(paths::directory_of(store.path()), key());
        assert!(content(&space).len() >= ROOM_TO_GROW, "the space was cleared away");

        let mut lock = during.lock_again().unwrap();
        assert_eq!(lock.responses().unwrap(), [key()]);
        lock.update(|document| put(document, "acme:c", "three")).unwrap();
        drop(lock);
        assert!(!space.exists() && !directory.exists());
        let document = store.read().unwrap();
        assert!(document.contains(&"acme:b".into()) && document.contains(&"acme:c".into()));
    }
}

#[test]
fn a_request_notices_that_another_program_has_the_lock() {
    for coexist in [Coexist::Always, Coexist::Never] {
        let Somewhere { store, .. } = &somewhere();
        let store = store.clone().with_coexist(coexist);
        let lock = store.lock_for_refresh().unwrap();
        let directory = lock.place.lock.clone();
        let during = lock.unlock_for_request(&store);
        let witness = during.witness();
        assert!(witness());
        let _ = fs::remove_dir(&directory);
        fs::create_dir(&directory).unwrap();
        assert!(!witness());
        drop(during);
        assert!(directory.exists(), "it was not ours to remove");
        fs::remove_dir(&directory).unwrap();
    }
}

#[test]
fn a_request_that_ends_without_a_response_gives_the_lock_back() {
    let Somewhere { store, .. } = &somewhere();
    let store = store.clone().with_coexist(Coexist::Always);
    let mut lock = store.lock_for_refresh().unwrap();
    let directory = lock.place.lock.clone();
    let response = lock.reserve(key()).unwrap();
    let during = lock.unlock_for_request(&store);
    assert!(directory.exists());
    response.remove().unwrap();
    drop(during);
    assert!(!directory.exists());
    assert_eq!(store.lock_for_refresh().unwrap().responses().unwrap(), []);
}

#[test]
fn a_response_is_saved_though_another_program_keeps_the_lock() {
    let Somewhere { store, .. } = &somewhere();
    let lock = store.lock_for_refresh().unwrap();
    let directory = lock.place.lock.clone();
    let during = lock.unlock_for_request(&store.clone().with_coexist(Coexist::Always));
    fs::remove_dir(&directory).unwrap();
    fs::create_dir(&directory).unwrap();
    let mut lock = during.lock_again().unwrap();
    lock.update(|document| put(document, "acme:b", "two")).unwrap();
    drop(lock);
    assert!(store.read().unwrap().contains(&"acme:b".into()) && directory.exists());
}

#[test]
fn clawdbots_lock_is_kept_where_another_program_was_seen_within_a_week() {
    let Somewhere { store, .. } = &somewhere();
    let is_kept = |coexist| {
        let store = store.clone().with_coexist(coexist);
        store.lock_for_refresh().unwrap().unlock_for_request(&store).keeps_directory()
    };
    let remember = |change: &dyn Fn(&mut Memory)| {
        let lock = store.lock_for_refresh().unwrap();
        let mut memory = Memory::read(&lock.flock.file);
        change(&mut memory);
        memory.write(&lock.flock.file);
    };
    // Only we wrote it.
    assert!(!is_kept(Coexist::Auto));
    assert!(is_kept(Coexist::Always) && !is_kept(Coexist::Never));

    // Another program wrote it, without a lock; it is noted once, though we write since.
    let mut document = store.read().unwrap();
    put(&mut document, "acme:theirs", "k");
    atomic::write_atomic(store.path(), &document.to_bytes()).unwrap();
    store.update(|document| put(document, "acme:b", "two")).unwrap();
    assert!(is_kept(Coexist::Auto) && !is_kept(Coexist::Never));
    let now = SystemClock.now();
    remember(&|memory| memory.foreign_write_at = now.minus(WEEK));
    assert!(!is_kept(Coexist::Auto));
    remember(&|memory| memory.foreign_write_at = now.minus(WEEK).plus(Duration::from_mins(1)));
    assert!(is_kept(Coexist::Auto));

    // It had its lock.
    remember(&|memory| memory.foreign_write_at = Timestamp(0));
    assert!(!is_kept(Coexist::Auto));
    remember(&|memory| memory.met_others_at = now);
    assert!(is_kept(Coexist::Auto));
}

#[test]
fn a_store_that_was_there_before_us_is_another_programs() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::at(directory.path().join("auth-profiles.json"));
    atomic::write_atomic(store.path(), br#"{"version":1,"profiles":{}}"#).unwrap();
    let during = store.lock_for_refresh().unwrap().unlock_for_request(&store);
    assert!(during.keeps_directory());
}

#[test]
fn nobody_waits_for_the_store_while_another_program_has_its_lock() {
    let Somewhere { store, .. } = &somewhere();
    let lock = store.lock_for_refresh().unwrap().place.lock.clone();
    fs::create_dir(&lock).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| store.update(|document| put(document, "acme:b", "two")));
        // What lies beside the store needs the kernel's lock only.
        let beside = store.clone().with_timeout(Duration::from_mins(1));
        for _ in 0..30 {
            std::thread::park_timeout(Duration::from_millis(1));
            drop(beside.lock_companions().unwrap());
        }
        assert!(!waiting.is_finished());
        fs::remove_dir(&lock).unwrap();
        waiting.join().unwrap().unwrap();
    });
}
