//! The owner of files and directories, and which other users could change them. Nothing of another
//! user is read as ours, and nothing is written to a place that another user controls.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;

use crate::error::{Refused, StoreError};
#[cfg(unix)]
use crate::fs::accounts;
use crate::paths;

/// Refuses a file that is of another user, or that another user may write to.
pub(crate) fn check(found: &Metadata) -> Result<(), Refused> {
    if !is_trusted(found) {
        return Err(Refused(FOREIGN));
    }
    writers(found).map_or(Ok(()), |writers| Err(Refused(writers)))
}

/// Which others may write to a file or directory.
pub(crate) fn writers(found: &Metadata) -> Option<&'static str> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let mode = found.mode();
        if mode & 0o002 != 0 {
            return Some(ANYONE);
        }
        if mode & 0o020 != 0 && !accounts::is_nobody_elses(found.gid()) {
            return Some(GROUP);
        }
    }
    let _ = found;
    None
}

/// Whether a file was refused only because others may write to it, by the text of the error: then the
/// user looks at it and takes their right away.
pub fn is_open_to_others(reason: &str) -> bool {
    [ANYONE, GROUP].iter().any(|known| reason.ends_with(known))
}

/// Why a file is refused.
pub(crate) const FOREIGN: &str = "it belongs to another user";
/// The same.
pub(crate) const ANYONE: &str = "anyone may write to it";
/// The same.
pub(crate) const GROUP: &str = "its group may write to it";

/// Refuses the store `path` if it, or one of the agent's directories above it, belongs to another
/// user.
pub(crate) fn check_way(path: &Path) -> Result<(), StoreError> {
    let own = if paths::is_below_agents(path) { 5 } else { 2 };
    for step in path.ancestors().take(own).filter(|step| !step.as_os_str().is_empty()) {
        if fs::symlink_metadata(step).is_ok_and(|found| !is_trusted(&found)) {
            return Err(foreign(step));
        }
    }
    Ok(())
}

/// Refuses the store `path`, which does not exist, if a link on the way to it leads nowhere: to a disk
/// that is not mounted, say. What is there has to be found, not to be replaced.
pub(crate) fn check_leads(path: &Path) -> Result<(), StoreError> {
    let own = if paths::is_below_agents(path) { 5 } else { 2 };
    for step in path.ancestors().take(own).filter(|step| !step.as_os_str().is_empty()) {
        match fs::symlink_metadata(step) {
            Ok(found) if found.is_symlink() && fs::metadata(step).is_err() => {
                let reason = "it is a link that leads nowhere";
                return Err(StoreError::Unsafe { path: step.to_owned(), reason });
            }
            Ok(_) => return Ok(()),
            Err(_) => {}
        }
    }
    Ok(())
}

/// Checks the directory of a store before a write: it must be ours, and no other user may be able
/// to replace files in it. Write permission of its group is removed.
pub(crate) fn check_directory(directory: &Path, file: &Path) -> Result<(), StoreError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let metadata = match fs::metadata(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            found => found.map_err(StoreError::io("look at", directory))?,
        };
        let refused = |reason| StoreError::Unsafe { path: file.to_owned(), reason };
        if !is_ours(&metadata) {
            return Err(refused("its directory belongs to another user"));
        }
        let mode = metadata.mode() & 0o7777;
        if mode & 0o1002 == 0o002 {
            return Err(refused("anyone may write in its directory"));
        }
        if mode & 0o1020 == 0o020 {
            let tight = fs::Permissions::from_mode(mode & !0o020);
            fs::set_permissions(directory, tight)
                .map_err(|_| refused("its group may write in its directory"))?;
        }
    }
    #[cfg(not(unix))]
    let _ = (directory, file);
    Ok(())
}

/// Whether a directory is ours alone, and no other user can replace it. A directory below one that
/// we may not enter is not.
///
/// # Errors
/// It cannot be examined, so the result is unknown.
pub(crate) fn is_private(directory: &Path) -> io::Result<bool> {
    let look =
        || Ok((fs::symlink_metadata(directory)?, fs::metadata(paths::directory_of(directory))?));
    let (found, parent) = match look() {
        Err(error) if is_elsewhere(&error) => return Ok(false),
        found => found?,
    };
    #[cfg(unix)]
    let is_open = {
        use std::os::unix::fs::MetadataExt as _;
        let is_sticky = parent.mode() & 0o1000 != 0;
        found.mode() & 0o077 != 0 || (parent.mode() & 0o022 != 0 && !is_sticky) || !is_ours(&found)
    };
    #[cfg(not(unix))]
    let is_open = false;
    Ok(found.is_dir() && is_trusted(&parent) && !is_open)
}

/// Whether the error shows that nothing of ours is there.
fn is_elsewhere(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}

/// Whether a file belongs to this user.
#[cfg(unix)]
pub(crate) fn is_ours(metadata: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::uid(metadata) == rustix::process::geteuid().as_raw()
}

/// Whether a file belongs to this user or to root, who can do everything anyway.
pub(crate) fn is_trusted(metadata: &Metadata) -> bool {
    #[cfg(unix)]
    {
        let user = rustix::process::geteuid().as_raw();
        is_user_trusted(std::os::unix::fs::MetadataExt::uid(metadata), user)
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        true
    }
}

#[cfg(unix)]
fn is_user_trusted(owner: u32, user: u32) -> bool {
    owner == 0 || owner == user
}

pub(crate) fn foreign(path: &Path) -> StoreError {
    StoreError::Unsafe { path: path.to_owned(), reason: FOREIGN }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

    use super::*;
    use crate::fs::open::read_trusted;

    const ANOTHER_USER: Option<u32> = Some(65_534);

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_directory_that_others_can_change_is_tightened_or_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (path, file) = (directory.path(), directory.path().join("auth-profiles.json"));
        for (before, after) in [
            (0o770, 0o750),
            (0o775, 0o755),
            (0o720, 0o700),
            (0o700, 0o700),
            (0o755, 0o755),
            // Other users may add files, but cannot replace ours.
            (0o1777, 0o1777),
            (0o1770, 0o1770),
        ] {
            fs::set_permissions(path, fs::Permissions::from_mode(before)).unwrap();
            check_directory(path, &file).unwrap();
            assert_eq!(mode(path), after, "{before:o}");
        }
        for mode in [0o777, 0o702, 0o722] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(check_directory(path, &file), Err(StoreError::Unsafe { .. })));
        }
    }

    #[test]
    fn this_user_and_the_administrator_are_trusted_and_no_other() {
        assert!(is_user_trusted(1000, 1000) && is_user_trusted(0, 1000) && is_user_trusted(0, 0));
        assert!(!is_user_trusted(1001, 1000) && !is_user_trusted(1000, 0));
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_the_same_as_nothing_there() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        crate::fs::atomic::write_atomic(&file, b"x").unwrap();
        check_directory(&directory.path().join("none"), &file).unwrap();
        assert!(check_directory(&file.join("below"), &file).is_err());
    }

    #[test]
    fn nothing_of_another_user_is_read_or_followed() {
        if !rustix::process::geteuid().is_root() {
            println!("NOT RUN: only the administrator can make files of another user");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let agent = directory.path().join("agents/main/agent");
        fs::create_dir_all(&agent).unwrap();
        let (file, link) = (agent.join("file"), agent.join("link"));
        crate::fs::atomic::write_atomic(&file, b"x").unwrap();
        symlink(&file, &link).unwrap();
        assert!(read_trusted(&file).unwrap().is_some() && read_trusted(&link).unwrap().is_some());
        assert!(read_trusted(&agent.join("none")).unwrap().is_none());

        lchown(&link, ANOTHER_USER, None).unwrap();
        assert!(
            matches!(read_trusted(&link), Err(StoreError::Unsafe { path, .. }) if path == link)
        );
        chown(&file, ANOTHER_USER, None).unwrap();
        assert!(
            matches!(read_trusted(&file), Err(StoreError::Unsafe { path, .. }) if path == file)
        );
        chown(&file, Some(0), None).unwrap();
        let agents = directory.path().join("agents");
        chown(&agents, ANOTHER_USER, None).unwrap();
        assert!(matches!(check_way(&file), Err(StoreError::Unsafe { path, .. }) if path == agents));
        // Outside `agents` only the directory itself is checked.
        let elsewhere = agents.join("a/b/c");
        fs::create_dir_all(&elsewhere).unwrap();
        check_way(&elsewhere.join("file")).unwrap();
        check_way(Path::new("file")).unwrap();
        chown(&elsewhere, ANOTHER_USER, None).unwrap();
        let foreign = check_directory(&elsewhere, &elsewhere.join("file"));
        assert!(matches!(foreign, Err(StoreError::Unsafe { .. })));
        let foreign = check_way(&elsewhere.join("file"));
        assert!(matches!(foreign, Err(StoreError::Unsafe { path, .. }) if path == elsewhere));
    }
}
