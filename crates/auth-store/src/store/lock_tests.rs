//! The locked store when other programs write, take its lock, or leave stale files.

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

/// The result for `text` after it came out of a rename over the store.
fn over(lock: &StoreLock, text: &str) -> NextFile {
    let mut next = NextFile::create(&lock.place.file, &paths::next(&lock.place.file), 0).unwrap();
    next.fill(text.as_bytes()).unwrap();
    next
}

#[test]
fn what_is_reserved_is_enough_for_the_store_and_a_response_and_goes_with_the_lock() {
    let Somewhere { store, .. } = &somewhere();
    let mut lock = store.lock_for_refresh().unwrap();
    let response = lock.reserve(key()).unwrap();
    let next = lock.reserved_path(key());
    let size = content(store.path()).len();
    assert_eq!(content(&next).len(), size + (64 << 10));
    assert_eq!((lock.responses().unwrap(), store.responses().unwrap()), (vec![key()], vec![key()]));
    assert!(store.stored_response(key()).unwrap().is_none());
    drop(response);
    drop(lock);
    assert!(!next.exists());
    store.check_room().unwrap();
    assert!(!next.exists());
}

#[test]
fn a_response_is_found_beside_its_store_until_it_is_removed() {
    let Somewhere { store, .. } = &somewhere();
    let mut lock = store.lock_for_refresh().unwrap();
    let response = StoredResponse {
        status: 200,
        received_at: Timestamp(1),
        headers: Vec::new(),
        body: b"body".to_vec(),
    };
    lock.reserve(key()).unwrap().store(&response).unwrap();
    assert_eq!(lock.stored_response(key()).unwrap().unwrap().body, b"body");
    assert_eq!(store.stored_response(key()).unwrap().unwrap().body, b"body");
    lock.remove_response(key()).unwrap();
    assert!(lock.stored_response(key()).unwrap().is_none());
    assert_eq!((lock.responses().unwrap(), store.responses().unwrap()), (vec![], vec![]));

    lock.reserve(key()).unwrap().store(&response).unwrap();
    lock.keep_response(key()).unwrap();
    assert!(lock.stored_response(key()).unwrap().is_none());
    assert_eq!(lock.kept_response(key()).unwrap().unwrap().body, b"body");
    let kept = store.kept_responses().unwrap();
    assert!(matches!(&kept[..], [(of, path)] if *of == key() && path.exists()), "{kept:?}");
    lock.remove_kept_response(key()).unwrap();
    assert_eq!(store.kept_responses().unwrap(), []);
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
    let refused = store.lock_for_refresh();
    assert!(matches!(refused, Err(StoreError::Superseded { .. })));
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

/// Another program finishes writing `text` in place, some time after we started reading.
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
    // A path at which the lock file cannot be opened. Missing permissions would not do, because
    // root has them all.
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
    let store = store.with_timeout(Duration::ZERO);
    assert!(store.is_untouched().unwrap());
    let lock = store.lock_companions().unwrap();
    assert!(!store.is_untouched().unwrap());
    assert!(!directory.path().join("made/auth-profiles.json.lock").exists());
    assert!(matches!(store.lock_companions(), Err(StoreError::Busy { .. })));
    assert!(matches!(store.lock_for_refresh(), Err(StoreError::Busy { .. })));
    drop(lock);
    // A waiter that timed out may get the lock for a moment, and releases it.
    store.with_timeout(Duration::from_mins(1)).lock_for_refresh().unwrap();
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

/// The copies of damaged files beside a store.
fn copies(store: &Store) -> Vec<PathBuf> {
    store.damaged_copies().unwrap()
}

#[test]
fn damaged_bytes_are_kept_whole_however_many_and_are_told() {
    let Somewhere { store, .. } = &somewhere();
    let told = Recoveries::default();
    let store = store.clone().telling(&told);
    let file = fs::OpenOptions::new().write(true).open(store.path()).unwrap();
    // More than an earlier read limit; all of it is zeros.
    let length = (65 << 20) + 1;
    file.set_len(0).unwrap();
    file.set_len(length).unwrap();
    assert!(store.read().unwrap().contains(&"acme:a".into()));
    let [copy] = &copies(&store)[..] else { panic!("there is one") };
    assert_eq!(fs::metadata(copy).unwrap().len(), length);
    let [recovery] = &told.take()[..] else { panic!("there is one") };
    assert_eq!((&recovery.copy, recovery.is_from_backup), (copy, true));
    assert!(recovery.store.ends_with("auth-profiles.json"), "{recovery:?}");
    assert!(told.take().is_empty());
}

#[cfg(unix)]
#[test]
fn whoever_still_writes_what_is_damaged_writes_into_the_copy() {
    use std::os::unix::fs::PermissionsExt as _;

    let Somewhere { store, .. } = &somewhere();
    let mut theirs = fs::OpenOptions::new().write(true).truncate(true).open(store.path()).unwrap();
    fs::set_permissions(store.path(), fs::Permissions::from_mode(0o644)).unwrap();
    store.read().unwrap();
    std::io::Write::write_all(&mut theirs, b"late").unwrap();
    let [copy] = &copies(store)[..] else { panic!("there is one") };
    assert_eq!(content(copy), b"late");
    assert_eq!(fs::metadata(copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(store.read().unwrap().contains(&"acme:a".into()));
}

#[test]
fn where_a_file_has_one_name_it_is_copied() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    atomic::write_atomic(&at("file"), b"damaged").unwrap();
    // A second name is impossible if the path is occupied.
    for copied in [false, true] {
        if copied {
            atomic::write_atomic(&at("copy"), b"in the way").unwrap();
        }
        atomic::keep_whole(&at("file"), &at("copy"), &at("temporary")).unwrap();
        assert_eq!(content(&at("copy")), b"damaged");
        fs::OpenOptions::new().write(true).open(at("file")).unwrap().set_len(3).unwrap();
        assert_eq!(content(&at("copy")).len(), if copied { 7 } else { 3 });
        atomic::write_atomic(&at("file"), b"damaged").unwrap();
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn what_is_json_is_never_replaced_by_the_backup() {
    for text in
        ["null", "[]", "5", "\"x\"", "{\"profiles\":[]}", "{\"version\":1,\"profiles\":\"x\"} "]
    {
        let Somewhere { store, .. } = &somewhere();
        atomic::write_atomic(store.path(), text.as_bytes()).unwrap();
        assert!(matches!(store.read(), Err(StoreError::Damaged { .. })), "{text}");
        assert_eq!(content(store.path()), text.as_bytes());
        assert!(copies(store).is_empty());
        // Nor is it replaced by our own write.
        atomic::write_atomic(store.path(), b"{\"profiles\":{}}").unwrap();
        let lock = store.lock_for_refresh().unwrap();
        let refused = lock.came_out(&over(&lock, text));
        assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{text}");
        assert_eq!(content(store.path()), text.as_bytes());
        // The control: half of the file is damaged.
        drop(lock);
        atomic::write_atomic(store.path(), b"{\"profiles\":[").unwrap();
        assert!(store.read().unwrap().contains(&"acme:a".into()));
        assert_eq!(copies(store).len(), 1);
    }
}

#[test]
fn a_change_of_what_is_no_section_is_refused_and_names_the_file() {
    let Somewhere { store, .. } = &somewhere();
    let text = "{\"version\":1,\"profiles\":{},\"usageStats\":[{\"a\":1}]}";
    atomic::write_atomic(store.path(), text.as_bytes()).unwrap();
    let usage = crate::Usage { error_count: Some(1), ..crate::Usage::default() };
    let refused = store.update(|document| document.set_usage(&"acme:a".into(), &usage));
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("auth-profiles.json") && said.contains("`usageStats`"), "{said}");
    assert_eq!(content(store.path()), text.as_bytes());
    // Another section can be changed, and this one stays unchanged.
    store.update(|document| put(document, "acme:b", "two")).unwrap();
    let written = String::from_utf8(content(store.path())).unwrap();
    assert!(
        written.contains("\"usageStats\":[{\"a\":1}]") && written.contains("acme:b"),
        "{written}"
    );
}

#[test]
fn a_version_is_read_as_javascript_reads_a_number() {
    for (version, writable) in [
        ("1", true),
        ("1.0", true),
        ("\"1\"", true),
        ("true", true),
        ("null", true),
        ("\"\"", true),
        ("[]", true),
        ("2", false),
        ("\"0x10\"", false),
        ("1e999", false),
        ("\"x\"", false),
        ("{}", false),
    ] {
        let text = format!("{{\"version\":{version},\"profiles\":{{}}}}");
        let document = Document::parse(text.as_bytes()).unwrap();
        assert_eq!(document.is_writable(), writable, "{version}");
        assert_eq!(document.check_writable(Path::new("f")).is_ok(), writable, "{version}");
    }
    let said = |text: &str| {
        let document = Document::parse(text.as_bytes()).unwrap();
        document.check_writable(Path::new("f")).unwrap_err().to_string()
    };
    assert!(said("{\"version\":\"0x10\"}").contains("version 16,"));
    assert!(said("{\"version\":2.5}").contains("version 2.5,"));
    assert!(said("{\"version\":{}}").contains("`version` is not a number"));
}
