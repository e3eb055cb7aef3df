//! How the directory lock behaves next to other processes, running or crashed.

use super::*;
use crate::clawdbot_lock::memory::LONGEST_TURN;
#[cfg(target_os = "linux")]
use crate::clawdbot_lock::openclaw::Process;

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
    let timeout = Duration::from_mins(1);
    let acquire = || DirectoryLock::acquire(&place.path, &place.memory, timeout).unwrap();
    acquire().release(&place.memory);
    other.join().unwrap();
    acquire().release(&place.memory);
    let memory = Memory { held_ms: 100, ..Memory::read(&place.memory) };
    assert_eq!(memory.turn(SystemClock.now()), Duration::from_millis(300));
    // The controls: no other program for a minute, and never any.
    let memory = Memory { met_others_at: Timestamp(1), ..memory };
    assert_eq!(memory.turn(Timestamp(60_000)), Duration::from_millis(300));
    assert_eq!(memory.turn(Timestamp(60_001)), LONGEST_TURN);
    let alone = Memory { met_others_at: Timestamp(0), ..memory };
    assert_eq!(alone.turn(Timestamp(1)), LONGEST_TURN);
    let shortly = Memory { held_ms: 7, ..alone };
    assert_eq!(shortly.turn(Timestamp(1)), Duration::from_millis(7));
}

#[test]
fn the_lock_is_an_empty_directory_and_gone_after_release() {
    let place = place();
    let lock = acquire(&place).unwrap();
    assert_eq!(fs::read_dir(&place.path).unwrap().count(), 0);
    assert!(lock.is_ours());
    // No other user can put a file into it, which would make it impossible to remove.
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&place.path).unwrap());
    assert_eq!(mode & 0o777, 0o700);
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
fn a_crashed_process_of_ours_delays_no_other() {
    let place = place();
    let crashed = acquire(&place).unwrap();
    std::mem::forget(crashed);
    let lock = acquire(&place).unwrap();
    assert!(lock.is_ours());
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
#[test]
fn a_live_lock_that_a_crashed_process_took_out_is_given_back() {
    let place = place();
    std::mem::forget(acquire(&place).unwrap());
    let taken_out = paths::next(&place.path);
    fs::create_dir(&taken_out).unwrap();
    let living = identity_at(&taken_out);
    assert!(matches!(acquire(&place), Err(StoreError::Busy { .. })));
    assert_eq!(identity_at(&place.path), living);
    assert!(!taken_out.exists());
}

#[test]
fn a_stale_lock_that_a_crashed_process_took_out_is_removed() {
    let place = place();
    std::mem::forget(acquire(&place).unwrap());
    let taken_out = paths::next(&place.path);
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
fn what_a_crashed_takeover_left_is_removed() {
    let place = place();
    std::mem::forget(acquire(&place).unwrap());
    let came_out = paths::next(&place.path);
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
fn the_file_lock_of_a_running_process_is_honoured_and_that_of_an_ended_one_is_removed() {
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

/// A directory of another program, and how the lock would judge it now.
fn of_another_program(path: &Path) -> (Option<Identity>, Timestamp) {
    fs::create_dir(path).unwrap();
    judge(path)
}

fn judge(path: &Path) -> (Option<Identity>, Timestamp) {
    (identity_at(path), modified(&fs::symlink_metadata(path).unwrap()))
}

fn names(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.path.parent().unwrap()).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn only_what_was_judged_is_taken_over() {
    for take_over in [take_over, take_over_aside] {
        let place = place();
        let (identity, touched) = of_another_program(&place.path);
        let later = touched.plus(Duration::from_millis(1));
        let of_another = Identity::from_file(&place.memory);
        for (identity, touched) in [(identity, later), (of_another, touched), (None, touched)] {
            let attempt = take_over(&place.path, identity, touched, &place.memory).unwrap();
            assert!(matches!(attempt, Attempt::Occupied(_)));
        }
        // It was moved back each time, and nothing is left beside it.
        assert_eq!(judge(&place.path), (identity, touched));
        assert_eq!(names(&place), ["flock", "store.json.lock"]);

        let attempt = take_over(&place.path, identity, touched, &place.memory).unwrap();
        let Attempt::Taken(directory) = attempt else { panic!("it is the one that was judged") };
        assert_ne!(identity_at(&place.path), identity);
        assert_eq!(identity_at(&place.path), Identity::from_file(&directory));
        assert_eq!(Memory::read(&place.memory).directory, Identity::from_file(&directory));
        assert_eq!(names(&place), ["flock", "store.json.lock"]);
    }
}

#[test]
fn a_lock_that_is_gone_is_not_taken_over() {
    for take_over in [take_over, take_over_aside] {
        let place = place();
        let attempt = take_over(&place.path, None, Timestamp(0), &place.memory).unwrap();
        assert!(matches!(attempt, Attempt::Occupied(_)));
        assert_eq!(names(&place), ["flock"]);
    }
}

#[test]
fn a_lock_that_is_in_use_is_given_back() {
    let place = place();
    let (identity, _) = of_another_program(&place.path);
    fs::create_dir(place.path.join("something")).unwrap();
    make_stale(&place.path);
    let Err(StoreError::Busy { holder, .. }) = acquire(&place) else { panic!() };
    // Only the user can remove it, so the error must say so.
    assert!(holder.contains("not empty"), "{holder}");
    assert_eq!(identity_at(&place.path), identity);
    assert_eq!(names(&place), ["flock", "store.json.lock"]);
}

#[test]
fn whoever_is_ousted_while_settling_does_not_have_the_lock() {
    let place = place();
    let held = |directory| Held { path: place.path.clone(), directory, taken: Instant::now() };
    let Attempt::Taken(directory) = super::place(&place.path, &place.memory).unwrap() else {
        panic!("the lock is free")
    };
    let Attempt::Taken(directory) = wait_for_rivals(held(directory)) else { panic!("it is ours") };
    fs::remove_dir(&place.path).unwrap();
    of_another_program(&place.path);
    assert!(matches!(wait_for_rivals(held(directory)), Attempt::Occupied(_)));
}

#[test]
fn only_the_directory_that_is_remembered_is_adopted() {
    let place = place();
    let (identity, _) = of_another_program(&place.path);
    let of_another = Identity::from_file(&place.memory);
    for (identity, is_adopted) in [(of_another, false), (None, false), (identity, true)] {
        make_stale(&place.path);
        let attempt = adopt(&place.path, identity, &place.memory).unwrap();
        assert_eq!(matches!(attempt, Attempt::Taken(_)), is_adopted);
        // A lock that was adopted must not look stale to others.
        let (_, touched) = judge(&place.path);
        assert_eq!(SystemClock.now().since(touched) < STALE, is_adopted);
    }
    fs::remove_dir(&place.path).unwrap();
    assert!(matches!(adopt(&place.path, identity, &place.memory).unwrap(), Attempt::Occupied(_)));
}

#[test]
fn where_nothing_can_be_renamed_the_lock_is_made_in_its_place() {
    let place = place();
    let Attempt::Taken(directory) = place_without_rename(&place.path, &place.memory).unwrap()
    else {
        panic!("the lock is free")
    };
    let ours = Identity::from_file(&directory);
    assert_eq!((identity_at(&place.path), Memory::read(&place.memory).directory), (ours, ours));
    let attempt = place_without_rename(&place.path, &place.memory).unwrap();
    assert!(matches!(attempt, Attempt::Occupied(_)));
    assert_eq!(identity_at(&place.path), ours);
    let nowhere = place.path.join("none/lock");
    assert!(place_without_rename(&nowhere, &place.memory).is_err());
}

#[test]
fn a_place_where_no_lock_can_be_is_an_error() {
    let place = place();
    let below = place.path.with_file_name("flock").join("lock");
    let refused = DirectoryLock::acquire(&below, &place.memory, Duration::ZERO);
    assert!(matches!(refused, Err(StoreError::Io { action: "look at", .. })));
}

#[test]
fn what_a_crashed_process_left_beside_a_free_path_is_replaced() {
    let place = place();
    fs::create_dir(paths::next(&place.path)).unwrap();
    acquire(&place).unwrap().release(&place.memory);
    assert_eq!(names(&place), ["flock"]);
    assert_eq!(Memory::read(&place.memory).directory, None);
}

#[test]
fn a_lock_that_is_kept_alive_is_touched_and_counts_its_age() {
    let place = place();
    let mut lock = acquire(&place).unwrap();
    let since = Instant::now();
    make_stale(&place.path);
    lock.touch_every(Duration::from_millis(1));
    let is_touched = || SystemClock.now().since(judge(&place.path).1) < STALE;
    let looks = std::iter::repeat_with(is_touched).take(10_000);
    let mut looks = looks.inspect(|_| std::thread::park_timeout(Duration::from_millis(1)));
    assert!(looks.any(|is_touched| is_touched));
    let since = since.elapsed();
    assert!(lock.age() >= since && since > Duration::ZERO);
    lock.keeper = None;
    assert!(lock.keep() && lock.keeper.is_some());
    lock.release(&place.memory);
}

#[test]
fn a_lock_is_left_free_for_as_long_as_it_was_held() {
    let place = place();
    let now = SystemClock.now();
    Memory { held_ms: 40, released_at: now, ..Memory::default() }.write(&place.memory);
    acquire(&place).unwrap();
    assert!(SystemClock.now().since(now) >= Duration::from_millis(40));
}

#[test]
fn a_lock_file_is_believed_for_some_time_only() {
    let place = place();
    let old = |age: Duration| {
        let file = File::options().write(true).open(&place.path).unwrap();
        let now = std::time::UNIX_EPOCH + SystemClock.now().since(Timestamp(0));
        file.set_modified(now - age).unwrap();
    };
    let ours = format!("{{\"pid\":{}}}", std::process::id());
    let unnamed = "{}".to_owned();
    for (text, longest) in [(ours, FILE_STALE), (unnamed, STALE)] {
        atomic::write_atomic(&place.path, text.as_bytes()).unwrap();
        old(longest.checked_sub(Duration::from_secs(20)).unwrap());
        assert!(matches!(acquire(&place), Err(StoreError::Busy { .. })), "{text}");
        old(longest + Duration::from_secs(20));
        acquire(&place).unwrap().release(&place.memory);
    }
}

#[test]
fn only_a_directory_itself_is_opened_and_no_child_inherits_it() {
    let place = place();
    fs::create_dir(&place.path).unwrap();
    let opened = open_directory(&place.path).unwrap();
    let flags = rustix::io::fcntl_getfd(&opened).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    let link = place.path.with_file_name("link");
    std::os::unix::fs::symlink(&place.path, &link).unwrap();
    assert!(open_directory(&link).is_err());
    assert!(open_directory(&place.path.with_file_name("flock")).is_err());
}

#[test]
fn each_reason_why_nothing_was_renamed_has_its_end() {
    let kinds = [io::ErrorKind::AlreadyExists, io::ErrorKind::DirectoryNotEmpty];
    for kind in kinds {
        let place = place();
        let attempt = not_placed(kind.into(), &place.path, &place.memory).unwrap();
        assert!(matches!(attempt, Attempt::Occupied(_)));
        assert_eq!(names(&place), ["flock"]);
    }
    let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
    for kind in [io::ErrorKind::Unsupported, io::ErrorKind::InvalidInput] {
        let place = place();
        assert!(not_placed(refused(), &place.path, &place.memory).is_err());
        let attempt = not_placed(kind.into(), &place.path, &place.memory).unwrap();
        assert!(matches!(attempt, Attempt::Taken(_)));

        let (identity, touched) = judge(&place.path);
        let taken_over =
            |error| not_exchanged(error, &place.path, identity, touched, &place.memory);
        assert!(taken_over(refused()).is_err());
        let gone = taken_over(io::ErrorKind::NotFound.into()).unwrap();
        assert!(matches!(gone, Attempt::Occupied(_)));
        assert_eq!(judge(&place.path), (identity, touched));
        assert!(matches!(taken_over(kind.into()).unwrap(), Attempt::Taken(_)));
        assert_ne!(identity_at(&place.path), identity);
    }
}

#[test]
fn a_lock_never_replaces_the_lock_of_a_faster_process() {
    let place = place();
    let theirs = of_another_program(&place.path);
    let attempt = super::place(&place.path, &place.memory).unwrap();
    assert!(matches!(attempt, Attempt::Occupied(_)));
    assert_eq!(judge(&place.path), theirs);
    assert_eq!(names(&place), ["flock", "store.json.lock"]);
}

/// Process ids are reused. The start times tell two processes apart.
#[cfg(target_os = "linux")]
#[test]
fn the_file_lock_of_a_process_whose_id_was_reused_is_removed() {
    let place = place();
    let ours = Process::with_id(std::process::id().cast_signed()).unwrap();
    let write = |start: serde_json::Value| {
        let lock = serde_json::json!({
            "pid": std::process::id(), "createdAt": "2026-02-01T00:00:00Z", "startTime": start,
        });
        atomic::write_atomic(&place.path, lock.to_string().as_bytes()).unwrap();
    };
    // The controls: it is that process, or the start time is unknown.
    for start in [ours.start_time.into(), serde_json::Value::Null, "soon".into()] {
        write(start);
        assert!(matches!(acquire(&place), Err(StoreError::Busy { .. })));
    }
    write((ours.start_time + 1).into());
    acquire(&place).unwrap().release(&place.memory);
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_that_has_ended_and_was_not_waited_for_holds_no_file_lock() {
    let place = place();
    let mut child = std::process::Command::new("true").stdout(std::process::Stdio::piped()).spawn();
    let child = child.as_mut().unwrap();
    // Its output is closed when it has ended.
    io::Read::read_to_end(&mut child.stdout.take().unwrap(), &mut Vec::new()).unwrap();
    let id = child.id().cast_signed();
    while Process::with_id(id).is_some_and(|it| !it.has_ended) {
        std::thread::yield_now();
    }
    atomic::write_atomic(&place.path, format!("{{\"pid\":{id}}}").as_bytes()).unwrap();
    acquire(&place).unwrap().release(&place.memory);
    child.wait().unwrap();
}

#[test]
fn a_kept_lock_is_used_by_our_others_and_removed_by_the_last_to_leave() {
    let place = place();
    let mut kept = acquire(&place).unwrap();
    assert!(kept.keep());
    let mut another = acquire(&place).unwrap();
    assert!(another.is_ours() && another.keep());
    acquire(&place).unwrap().release(&place.memory);
    kept.release(&place.memory);
    assert!(another.is_ours());
    assert_eq!(Memory::read(&place.memory).directory, identity_at(&place.path));
    another.release(&place.memory);
    assert_eq!(names(&place), ["flock"]);
    // The control: one that is not kept is taken from a crashed process, and removed.
    let crashed = acquire(&place).unwrap();
    acquire(&place).unwrap().release(&place.memory);
    assert!(!crashed.is_ours() && !place.path.exists());
}

#[test]
fn a_kept_lock_whose_keeper_crashed_is_taken_at_once_and_removed() {
    let place = place();
    let crashed = acquire(&place).unwrap();
    assert!(crashed.held.share());
    // The kernel closes what it had open.
    drop(crashed);
    let lock = acquire(&place).unwrap();
    assert!(lock.is_ours());
    lock.release(&place.memory);
    assert_eq!(names(&place), ["flock"]);
}

#[test]
fn a_kept_lock_that_was_taken_is_left_and_so_is_what_ours_remember() {
    let place = place();
    let mut kept = acquire(&place).unwrap();
    assert!(kept.keep());
    fs::remove_dir(&place.path).unwrap();
    let later = acquire(&place).unwrap();
    let ours = identity_at(&place.path);
    kept.release(&place.memory);
    assert!(later.is_ours());
    assert_eq!(Memory::read(&place.memory).directory, ours);
    // Should it crash, the next one still knows it.
    drop(later);
    acquire(&place).unwrap().release(&place.memory);
    assert_eq!(names(&place), ["flock"]);
}

#[test]
fn ours_together_keep_a_lock_no_longer_than_clawdbot_waits() {
    let place = place();
    let mut kept = acquire(&place).unwrap();
    assert!(kept.keep());
    let made_ago = |age: Duration| {
        let made_at = SystemClock.now().minus(age);
        Memory { made_at, ..Memory::read(&place.memory) }.write(&place.memory);
        acquire(&place).unwrap()
    };
    let mut another = made_ago(LONGEST_BEFORE_REQUEST + Duration::from_secs(1));
    assert!(another.is_ours() && !another.keep());
    another.release(&place.memory);
    // The control.
    let mut another = made_ago(Duration::ZERO);
    assert!(another.keep());
    kept.release(&place.memory);
    assert!(another.is_ours());
}

#[test]
fn only_a_foreign_lock_is_seen_in_the_way_of_a_request() {
    let place = place();
    let flock = place.path.with_file_name("flock");
    let is_free = || is_free_of_others(&place.path, &flock);
    assert!(is_free());
    let lock = acquire(&place).unwrap();
    assert!(is_free(), "it is ours");
    lock.release(&place.memory);
    fs::create_dir(&place.path).unwrap();
    assert!(!is_free());
}
