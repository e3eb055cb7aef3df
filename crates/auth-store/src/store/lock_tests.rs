//! What a locked store does when others write, take its lock, or leave things behind.

use std::fs;

use serde_json::Map;

use super::*;
use crate::document::credential::Credential;
use crate::store::Store;
use crate::time::Timestamp;

struct Somewhere {
    _directory: tempfile::TempDir,
    store: Store,
}

/// A store with the profile `acme:a`.
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

/// What `text` is when it came out of a rename over the store.
fn over(lock: &StoreLock, text: &str) -> NextFile {
    let mut next = NextFile::create(&lock.place.file, &paths::next(&lock.place.file), 0).unwrap();
    next.fill(text.as_bytes()).unwrap();
    next
}

#[test]
fn what_is_reserved_is_enough_for_the_store_and_an_answer_and_goes_with_the_lock() {
    let Somewhere { store, .. } = &somewhere();
    let mut lock = store.lock_for_refresh().unwrap();
    let answer = lock.reserve(key()).unwrap();
    let next = paths::next(&lock.place.file);
    let size = content(store.path()).len();
    assert_eq!(content(&next).len(), size + (64 << 10));
    assert_eq!((lock.answers().unwrap(), store.answers().unwrap()), (vec![key()], vec![key()]));
    assert!(store.stored_answer(key()).unwrap().is_none());
    drop(answer);
    drop(lock);
    assert!(!next.exists());
    store.check_room().unwrap();
    assert!(!next.exists());
}

#[test]
fn an_answer_is_found_beside_its_store_until_it_is_removed() {
    let Somewhere { store, .. } = &somewhere();
    let mut lock = store.lock_for_refresh().unwrap();
    let answer = StoredAnswer {
        status: 200,
        received_at: Timestamp(1),
        headers: Vec::new(),
        body: b"body".to_vec(),
    };
    lock.reserve(key()).unwrap().store(&answer).unwrap();
    assert_eq!(lock.stored_answer(key()).unwrap().unwrap().body, b"body");
    assert_eq!(store.stored_answer(key()).unwrap().unwrap().body, b"body");
    lock.remove_answer(key()).unwrap();
    assert!(lock.stored_answer(key()).unwrap().is_none());
    assert_eq!((lock.answers().unwrap(), store.answers().unwrap()), (vec![], vec![]));

    lock.reserve(key()).unwrap().store(&answer).unwrap();
    lock.keep_answer(key()).unwrap();
    assert!(lock.stored_answer(key()).unwrap().is_none());
    assert_eq!(lock.kept_answer(key()).unwrap().unwrap().body, b"body");
    let kept = store.kept_answers().unwrap();
    assert!(matches!(&kept[..], [(of, path)] if *of == key() && path.exists()), "{kept:?}");
    lock.remove_kept_answer(key()).unwrap();
    assert_eq!(store.kept_answers().unwrap(), []);
}

#[test]
fn a_store_that_a_database_took_over_from_is_read_only() {
    let Somewhere { store, .. } = &somewhere();
    let before = content(store.path());
    let database = store.path().with_file_name("openclaw-agent.sqlite");
    atomic::write_atomic(&database, b"").unwrap();
    let refused = store.update(|document| document.remove(&"acme:a".into()));
    assert!(matches!(refused, Err(StoreError::Superseded { .. })));
    assert!(matches!(store.check_room(), Err(StoreError::Superseded { .. })));
    let mut lock = store.lock_for_refresh().unwrap();
    assert!(matches!(lock.reserve(key()), Err(StoreError::Superseded { .. })));
    assert_eq!(content(store.path()), before);
    assert!(store.read().unwrap().contains(&"acme:a".into()));
}

#[test]
fn nothing_is_reserved_for_a_newer_store() {
    let Somewhere { store, .. } = &somewhere();
    atomic::write_atomic(store.path(), br#"{"version":2,"profiles":{}}"#).unwrap();
    assert!(matches!(store.check_room(), Err(StoreError::Newer { .. })));
}

#[test]
fn whoever_asks_is_told_whether_the_directory_is_still_ours() {
    let Somewhere { store, .. } = &somewhere();
    let mut lock = store.lock_for_refresh().unwrap();
    let witness = lock.witness();
    assert!(witness() && lock.is_directory_ours());
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(1) {}
    assert!(lock.age() >= Duration::from_millis(1));
    let is_kept_alive = |lock: &StoreLock| lock.directory.as_ref().unwrap().keeper.is_some();
    assert!(!is_kept_alive(&lock));
    lock.keep_alive();
    assert!(is_kept_alive(&lock));
    fs::remove_dir(&lock.place.lock).unwrap();
    assert!(!witness() && !lock.is_directory_ours());
}

#[test]
fn a_lock_that_was_removed_is_taken_again_and_the_edit_made_again() {
    let Somewhere { store, .. } = &somewhere();
    let mut lock = store.lock_for_refresh().unwrap();
    fs::remove_dir(&lock.place.lock).unwrap();
    let mut calls = 0;
    lock.update(|document| {
        calls += 1;
        put(document, "acme:b", "two");
    })
    .unwrap();
    assert!(lock.is_directory_ours());
    assert_eq!(calls, 2);
    assert!(store.read().unwrap().contains(&"acme:b".into()));
}

#[test]
fn a_lock_that_somebody_else_has_now_stops_a_commit_unless_a_token_is_at_stake() {
    let Somewhere { store, .. } = &somewhere();
    let before = content(store.path());
    let mut lock = store.lock_for_refresh().unwrap();
    let path = lock.place.lock.clone();
    fs::remove_dir(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let refused = lock.update(|document| put(document, "acme:b", "two"));
    assert!(matches!(refused, Err(StoreError::Busy { .. })));
    assert_eq!(content(store.path()), before);
    lock.commit_whatever_happens();
    lock.update(|document| put(document, "acme:b", "two")).unwrap();
    assert!(store.read().unwrap().contains(&"acme:b".into()));
    drop(lock);
    assert!(path.exists(), "it was not ours to remove");
}

#[test]
fn what_came_out_is_read_or_kept_or_put_back() {
    let Somewhere { store, .. } = &somewhere();
    let lock = store.lock_for_refresh().unwrap();
    let ours = content(store.path());

    let theirs = r#"{"version":1,"profiles":{"acme:theirs":{"type":"api_key","provider":"acme","key":"k"}}}"#;
    let document = lock.came_out(&over(&lock, theirs)).unwrap().unwrap();
    assert!(document.contains(&"acme:theirs".into()));
    assert_eq!(content(store.path()), ours);

    let damaged = "{\"version\":1,\"profi";
    assert!(lock.came_out(&over(&lock, damaged)).unwrap().is_none());
    assert_eq!(content(store.path()), ours);
    let names = fs::read_dir(store.path().parent().unwrap()).unwrap();
    let mut names = names.map(|entry| entry.unwrap().path());
    let kept = names.find(|path| path.to_string_lossy().contains(".corrupt.")).unwrap();
    assert_eq!(content(&kept), damaged.as_bytes());

    let newer = r#"{"version":2,"profiles":{}}"#;
    let refused = lock.came_out(&over(&lock, newer));
    assert!(matches!(refused, Err(StoreError::Newer { .. })));
    assert_eq!(content(store.path()), newer.as_bytes());
}

/// Another program finishes writing `text` in place, some time after we began to read.
fn finish_writing<T>(path: &Path, text: &str, read: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::park_timeout(Duration::from_millis(20));
            let mut file = fs::OpenOptions::new().write(true).truncate(true).open(path).unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        });
        read()
    })
}

#[test]
fn what_is_being_written_is_waited_for() {
    let Somewhere { store, .. } = &somewhere();
    let lock = store.lock_for_refresh().unwrap();
    let theirs = r#"{"version":1,"profiles":{"acme:theirs":{"type":"api_key","provider":"acme","key":"k"}}}"#;
    atomic::write_atomic(store.path(), &theirs.as_bytes()[..20]).unwrap();
    let document = finish_writing(store.path(), theirs, || lock.read()).unwrap();
    assert!(document.contains(&"acme:theirs".into()) && document.recovered_from().is_none());

    let over = over(&lock, &theirs[..20]);
    let document =
        finish_writing(&paths::next(&lock.place.file), theirs, || lock.came_out(&over)).unwrap();
    assert!(document.unwrap().contains(&"acme:theirs".into()));
}

#[cfg(unix)]
#[test]
fn a_damaged_store_that_cannot_be_locked_says_what_is_in_the_way() {
    let Somewhere { store, .. } = &somewhere();
    atomic::write_atomic(store.path(), b"{").unwrap();
    let flock = store.path().with_file_name(".auth-profiles.flock");
    fs::remove_file(&flock).unwrap();
    // Something the lock's file cannot be opened for: not for want of a right, the administrator
    // has them all.
    let blocked = flock.with_file_name("none/none");
    std::os::unix::fs::symlink(blocked, &flock).unwrap();
    assert!(matches!(store.read(), Err(StoreError::Io { .. })));
    fs::remove_file(store.path().with_file_name(".auth-profiles.json.bak")).unwrap();
    assert!(matches!(store.read(), Err(StoreError::Damaged { .. })));
}

#[test]
fn what_touches_no_credential_leaves_the_backup() {
    let Somewhere { store, .. } = &somewhere();
    let backup = store.lock_for_refresh().unwrap().place.backup.clone();
    let before = content(&backup);
    atomic::write_atomic(&backup, b"not touched").unwrap();
    store
        .update(|document| document.set_order(&"acme".to_owned().into(), Some(&["acme:a".into()])))
        .unwrap();
    assert_eq!(content(&backup), b"not touched");
    store.update(|document| put(document, "acme:a", "two")).unwrap();
    assert_ne!(content(&backup), before);
    assert!(store.backup().unwrap().unwrap().contains(&"acme:a".into()));
}

#[test]
fn what_lies_beside_the_store_is_locked_without_clawdbots_lock() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::at(directory.path().join("made/auth-profiles.json"));
    let store = store.with_patience(Duration::ZERO);
    assert!(store.is_untouched().unwrap());
    let lock = store.lock_companions().unwrap();
    assert!(!store.is_untouched().unwrap());
    assert!(!directory.path().join("made/auth-profiles.json.lock").exists());
    assert!(matches!(store.lock_companions(), Err(StoreError::Busy { .. })));
    assert!(matches!(store.lock_for_refresh(), Err(StoreError::Busy { .. })));
    drop(lock);
    // Who gave up may get the lock for a moment, and lets it go.
    store.with_patience(Duration::from_mins(1)).lock_for_refresh().unwrap();
}

#[cfg(unix)]
#[test]
fn a_store_that_is_no_file_or_somebody_elses_is_refused() {
    let Somewhere { store, .. } = &somewhere();
    let directory = store.path().with_file_name("directory.json");
    fs::create_dir(&directory).unwrap();
    assert!(matches!(Store::at(&directory).check_room(), Err(StoreError::Unsafe { .. })));
    let below = store.path().join("below");
    assert!(matches!(Store::at(&below).check_room(), Err(StoreError::Io { action: "find", .. })));
    if !rustix::process::geteuid().is_root() {
        println!("NOT RUN: only the administrator can make files of another user");
        return;
    }
    std::os::unix::fs::chown(store.path(), Some(65_534), None).unwrap();
    assert!(matches!(store.check_room(), Err(StoreError::Unsafe { .. })));
}
