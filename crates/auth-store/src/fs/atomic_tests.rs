//! Tests that files are written completely or not at all.

use super::*;

#[test]
fn a_write_replaces_the_whole_file_and_leaves_nothing_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    write_atomic(&path, b"a longer first content").unwrap();
    write_atomic(&path, b"second").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn the_file_is_private_whatever_it_was() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    write_atomic(&path, b"x").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    write_atomic(&path, b"y").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn an_unlocked_write_between_our_last_look_and_our_rename_is_merged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let next = |text: &str| {
        let mut next = NextFile::create(&path, &directory.path().join(".file.new"), 0).unwrap();
        next.fill(text.as_bytes()).unwrap();
        next
    };
    let left = || fs::read_dir(directory.path()).unwrap().count();
    assert!(matches!(next("one").install_over(None).unwrap(), Installed::Done));
    assert!(matches!(next("two").install_over(Some(b"one")).unwrap(), Installed::Done));
    assert_eq!((fs::read(&path).unwrap(), left()), (b"two".to_vec(), 1));
    let Installed::Over(over) = next("three").install_over(Some(b"one")).unwrap() else {
        panic!("the change was not noticed")
    };
    assert_eq!(over.came_out().unwrap(), b"two");
    drop(over);
    assert_eq!((fs::read(&path).unwrap(), left()), (b"three".to_vec(), 1));
    assert!(matches!(next("four").install_over(None).unwrap(), Installed::Not(_)));
    fs::remove_file(&path).unwrap();
    assert!(matches!(next("five").install_over(Some(b"three")).unwrap(), Installed::Not(_)));
    assert_eq!(left(), 0);
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
#[test]
fn what_came_out_and_cannot_be_read_is_put_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    // Under its other name the link leads to itself, so it cannot be read.
    std::os::unix::fs::symlink(".file.new", &path).unwrap();
    let mut next = NextFile::create(&path, &directory.path().join(".file.new"), 0).unwrap();
    next.fill(b"two").unwrap();
    let Installed::Over(over) = next.install_over(Some(b"one")).unwrap() else {
        panic!("it was taken for what was there before")
    };
    assert!(over.came_out().is_err() && !path.is_symlink());
    over.put_back().unwrap();
    assert!(path.is_symlink());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn what_crashed_processes_left_is_removed_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str| {
        let path = directory.path().join(name);
        create_private(&path).unwrap();
        path
    };
    let left = put(".file.0123456789abcdef.tmp");
    let others = [
        ".file.0123456789abcdeg.tmp",
        ".file.0123456789abcdef0.tmp",
        ".file.0123456789abcde.tmp",
        ".file.0123456789abcdef",
        "file.0123456789abcdef.tmp",
        ".file.tmp",
        "file",
    ]
    .map(put);
    let modified = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let latest = others.iter().map(|path| modified(path)).max().unwrap();
    remove_abandoned(directory.path(), modified(&left) + ABANDONED);
    assert!(left.exists());
    remove_abandoned(directory.path(), latest + ABANDONED + Duration::from_secs(1));
    assert!(!left.exists());
    assert!(others.iter().all(|path| path.exists()));
}

#[cfg(unix)]
#[test]
fn a_write_removes_what_crashed_processes_left() {
    let directory = tempfile::tempdir().unwrap();
    let left = directory.path().join(".file.0123456789abcdef.tmp");
    create_private(&left).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    write_atomic(&directory.path().join("file"), b"x").unwrap();
    assert!(!left.exists());
}

#[test]
fn only_what_is_as_it_was_read_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let replace = |before: Option<&[u8]>| replace_if_unchanged(&path, before, b"ours");
    assert!(!replace(Some(b"before")).unwrap());
    assert!(!path.exists());
    assert!(replace(None).unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"ours");
    write_atomic(&path, b"theirs").unwrap();
    assert!(!replace(None).unwrap() && !replace(Some(b"before")).unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"theirs");
    assert!(replace(Some(b"theirs")).unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"ours");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(replace(None), Err(StoreError::Unsafe { .. })));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn what_can_be_made_again_is_whole_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    write_atomic_unsynced(&path, b"a longer first content").unwrap();
    write_atomic_unsynced(&path, b"second").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn a_directory_is_for_its_owner_only_and_an_existing_one_is_left() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (outer, inner) = (directory.path().join("a"), directory.path().join("a/b"));
    create_private_directory(&inner).unwrap();
    assert_eq!((mode(&outer), mode(&inner)), (0o700, 0o700));
    fs::set_permissions(&outer, fs::Permissions::from_mode(0o755)).unwrap();
    create_private_directory(&inner).unwrap();
    assert_eq!(mode(&outer), 0o755);
}

#[test]
fn what_cannot_be_waited_for_is_not_on_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    assert!(sync_directory(&directory.path().join("none")).is_err() || !cfg!(unix));
    // A file that cannot be synced.
    #[cfg(target_os = "linux")]
    {
        let (target, temporary) = (directory.path().join("a"), directory.path().join("b"));
        let file = OpenOptions::new().write(true).open("/dev/null").unwrap();
        let mut next = NextFile { target, temporary, file, installed: false };
        assert!(matches!(next.sync(), Err(StoreError::Io { action: "sync", .. })));
    }
}

#[test]
fn removing_ends_with_nothing_there_or_with_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    create_private(&path).unwrap();
    remove(&path).unwrap();
    assert!(!path.exists());
    remove(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(remove(&path).is_err());
}

#[test]
fn a_target_that_cannot_be_is_an_error_and_no_reason_to_look_again() {
    let directory = tempfile::tempdir().unwrap();
    let (file, next) = (directory.path().join("file"), directory.path().join("next"));
    create_private(&file).unwrap();
    let next = NextFile::create(&file.join("below"), &next, 0).unwrap();
    assert!(next.install_over(None).is_err());
}

#[test]
fn where_names_cannot_be_exchanged_the_file_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let (path, next) = (directory.path().join("file"), directory.path().join("next"));
    for kind in [io::ErrorKind::Unsupported, io::ErrorKind::InvalidInput] {
        write_atomic(&path, b"one").unwrap();
        let mut two = NextFile::create(&path, &next, 0).unwrap();
        two.fill(b"two").unwrap();
        let installed = two.after_put(Err(kind.into()), Some(b"one")).unwrap();
        assert!(matches!(installed, Installed::Done));
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert!(!next.exists());
    }
}

#[test]
fn a_file_that_was_not_installed_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let (path, next) = (directory.path().join("file"), directory.path().join("next"));
    drop(NextFile::create(&path, &next, 10).unwrap());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_reserved_file_holds_exactly_what_it_is_filled_with() {
    let directory = tempfile::tempdir().unwrap();
    let (path, next) = (directory.path().join("file"), directory.path().join("next"));
    let mut reserved = NextFile::create(&path, &next, 100).unwrap();
    assert_eq!(fs::read(&next).unwrap(), [0; 100]);
    reserved.fill(b"short").unwrap();
    reserved.install().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"short");
}
