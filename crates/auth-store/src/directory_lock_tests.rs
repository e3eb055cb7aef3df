//! What the directory lock does beside others, living and dead.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::atomic;
use crate::directory_lock::DirectoryLock;
use crate::error::StoreError;
use crate::lock_memory::{LATELY, LONGEST_TURN, Memory, identity_at};
use crate::time::{Clock as _, SystemClock, Timestamp};

struct Place {
    _directory: tempfile::TempDir,
    path: PathBuf,
    memory: File,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.json.lock");
    let memory = atomic::create_private(&directory.path().join("flock")).unwrap();
    Place { _directory: directory, path, memory }
}

fn acquire(place: &Place) -> Result<DirectoryLock, StoreError> {
    DirectoryLock::acquire(&place.path, &place.memory, Duration::ZERO)
}

fn make_stale(path: &Path) {
    let long_ago = rustix::fs::Timespec { tv_sec: 1_000_000, tv_nsec: 0 };
    let times = rustix::fs::Timestamps { last_access: long_ago, last_modification: long_ago };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::empty()).unwrap();
}

#[test]
fn where_others_want_the_lock_it_stays_free_for_longer() {
    let place = place();
    fs::create_dir(&place.path).unwrap();
    let path = place.path.clone();
    let other = std::thread::spawn(move || {
        std::thread::park_timeout(Duration::from_millis(20));
        fs::remove_dir(path).unwrap();
    });
    let patience = Duration::from_mins(1);
    let acquire = || DirectoryLock::acquire(&place.path, &place.memory, patience).unwrap();
    acquire().release(&place.memory);
    other.join().unwrap();
    acquire().release(&place.memory);
    let memory = Memory { held_ms: 100, ..Memory::read(&place.memory) };
    let now = SystemClock.now();
    assert_eq!(memory.turn(now), Duration::from_millis(300));
    // The controls: nobody for a minute, nobody ever.
    assert_eq!(memory.turn(now.plus(LATELY)), LONGEST_TURN);
    let alone = Memory { met_others_at: Timestamp(0), ..memory };
    assert_eq!(alone.turn(now), LONGEST_TURN);
}

#[test]
fn the_lock_is_an_empty_directory_and_gone_after_release() {
    let place = place();
    let lock = acquire(&place).unwrap();
    assert_eq!(fs::read_dir(&place.path).unwrap().count(), 0);
    assert!(lock.is_ours());
    lock.release(&place.memory);
    assert!(!place.path.exists());
    assert_eq!(fs::read_dir(place.path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_live_foreign_lock_is_left_alone() {
    let place = place();
    fs::create_dir(&place.path).unwrap();
    let before = identity_at(&place.path);
    assert!(matches!(acquire(&place), Err(StoreError::Busy { .. })));
    assert_eq!(identity_at(&place.path), before);
}

#[test]
fn a_stale_foreign_lock_is_taken_over() {
    let place = place();
    fs::create_dir(&place.path).unwrap();
    make_stale(&place.path);
    let lock = acquire(&place).unwrap();
    assert!(lock.is_ours());
    lock.release(&place.memory);
    assert_eq!(fs::read_dir(place.path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_dead_process_of_ours_delays_nobody() {
    let place = place();
    let dead = acquire(&place).unwrap();
    std::mem::forget(dead);
    let lock = acquire(&place).unwrap();
    assert!(lock.is_ours());
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
#[test]
fn a_living_lock_that_a_dead_process_of_ours_had_taken_out_is_given_back() {
    let place = place();
    std::mem::forget(acquire(&place).unwrap());
    let taken_out = atomic::sibling(&place.path, ".new");
    fs::create_dir(&taken_out).unwrap();
    let living = identity_at(&taken_out);
    assert!(matches!(acquire(&place), Err(StoreError::Busy { .. })));
    assert_eq!(identity_at(&place.path), living);
    assert!(!taken_out.exists());
}

#[test]
fn a_dead_lock_that_a_dead_process_of_ours_had_taken_out_is_removed() {
    let place = place();
    std::mem::forget(acquire(&place).unwrap());
    let taken_out = atomic::sibling(&place.path, ".new");
    fs::create_dir(&taken_out).unwrap();
    make_stale(&taken_out);
    assert!(acquire(&place).unwrap().is_ours());
    assert!(!taken_out.exists());
}

#[test]
fn a_directory_that_cannot_be_removed_delays_none_of_us() {
    let place = place();
    let lock = acquire(&place).unwrap();
    let obstacle = place.path.join("obstacle");
    fs::create_dir(&obstacle).unwrap();
    lock.release(&place.memory);
    assert!(place.path.exists());
    let lock = acquire(&place).unwrap();
    fs::remove_dir(&obstacle).unwrap();
    lock.release(&place.memory);
    assert!(!place.path.exists());
}

#[test]
fn what_a_dead_takeover_left_is_removed() {
    let place = place();
    std::mem::forget(acquire(&place).unwrap());
    let came_out = atomic::sibling(&place.path, ".new");
    fs::create_dir(&came_out).unwrap();
    make_stale(&came_out);
    acquire(&place).unwrap().release(&place.memory);
    assert_eq!(fs::read_dir(place.path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_lock_whose_directory_was_replaced_is_not_ours_and_not_removed() {
    let place = place();
    let lock = acquire(&place).unwrap();
    fs::remove_dir(&place.path).unwrap();
    assert!(!lock.is_ours());
    fs::create_dir(&place.path).unwrap();
    assert!(!lock.is_ours());
    lock.release(&place.memory);
    assert!(place.path.exists());
}

#[test]
fn a_link_at_the_path_is_refused() {
    let place = place();
    std::os::unix::fs::symlink("/", &place.path).unwrap();
    assert!(matches!(acquire(&place), Err(StoreError::Unsafe { .. })));
}

#[test]
fn the_file_lock_of_a_live_process_is_honoured_and_that_of_a_dead_one_is_removed() {
    let place = place();
    let write = |pid: u32| {
        atomic::write_atomic(&place.path, format!("{{\"pid\":{pid}}}").as_bytes()).unwrap();
    };
    write(std::process::id());
    assert!(matches!(acquire(&place), Err(StoreError::Busy { .. })));
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    write(child.id());
    assert!(acquire(&place).unwrap().is_ours());
}
