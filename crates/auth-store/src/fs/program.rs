//! Whether others can change a program, or put another in its place: the file, and every directory
//! above it.

use std::io;
use std::path::{Path, PathBuf};

/// Why a program is not started.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnsafeProgram {
    /// It cannot be found or examined.
    #[error("`{}` is not there: {reason}", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// It is no program.
    #[error("`{}` is not executable", path.display())]
    NotExecutable {
        /// The path.
        path: PathBuf,
    },
    /// Another user could have put it there or changed it.
    #[error("`{}` {reason}", path.display())]
    Open {
        /// The file, or the directory above it.
        path: PathBuf,
        /// What is wrong with that.
        reason: &'static str,
    },
}

/// The file of a program, links followed, if nobody but this user and the administrator could have
/// put it there or changed it: neither the file, nor a link on the way, nor a directory above.
///
/// # Errors
/// Why it is not started.
pub fn check_program(path: &Path) -> Result<PathBuf, UnsafeProgram> {
    let missing = |error: io::Error| UnsafeProgram::Missing {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    if !path.is_absolute() {
        return Err(UnsafeProgram::Open {
            path: path.to_owned(),
            reason: "depends on the working directory",
        });
    }
    let file = std::fs::canonicalize(path).map_err(missing)?;
    let metadata = std::fs::metadata(&file).map_err(missing)?;
    if !metadata.is_file() || !is_executable(&metadata) {
        return Err(UnsafeProgram::NotExecutable { path: path.to_owned() });
    }
    // Both ways: a link that others can change leads where they like.
    check_up_to_the_root(path)?;
    check_up_to_the_root(&file)?;
    crate::fs::links::check(path).map_err(|_| UnsafeProgram::Open {
        path: path.to_owned(),
        reason: "is reached through a link of another user",
    })?;
    Ok(file)
}

/// Whether only we and the administrator can change what `path` leads to.
///
/// # Errors
/// What others can change.
#[cfg(unix)]
pub fn check_up_to_the_root(path: &Path) -> Result<(), UnsafeProgram> {
    use std::os::unix::fs::MetadataExt as _;

    use crate::fs::{accounts, owner};

    for (depth, step) in path.ancestors().enumerate() {
        let open = |reason| UnsafeProgram::Open { path: step.to_owned(), reason };
        let found = std::fs::symlink_metadata(step).map_err(|error| UnsafeProgram::Missing {
            path: step.to_owned(),
            reason: error.to_string(),
        })?;
        let mode = found.mode();
        if !owner::is_trusted(&found) && !is_of_unseen_administrator(&found) {
            return Err(open("belongs to another user"));
        }
        // The mode of a link means nothing. Others may add files to a sticky directory, and not
        // change ours.
        if found.is_symlink() || (depth > 0 && mode & 0o1000 != 0) {
            continue;
        }
        let group_may = mode & 0o020 != 0;
        if mode & 0o002 != 0
            || (group_may
                && !is_of_administrators(found.gid())
                && !accounts::is_nobody_elses(found.gid()))
        {
            return Err(open("can be changed by others"));
        }
    }
    Ok(())
}

/// There is no such mode here.
#[cfg(not(unix))]
pub fn check_up_to_the_root(_: &Path) -> Result<(), UnsafeProgram> {
    Ok(())
}

/// On macOS the group `admin` has the rights of the administrator, and Homebrew's directories.
#[cfg(unix)]
fn is_of_administrators(group: u32) -> bool {
    cfg!(target_os = "macos") && group == 80
}

/// In a user namespace without the administrator (a sandbox), what is the system's shows as a user
/// that the namespace does not know.
#[cfg(unix)]
fn is_of_unseen_administrator(found: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    use crate::fs::open;

    let text = |path: &str| {
        let bytes = open::read_of_kernel(Path::new(path)).ok()?;
        String::from_utf8(bytes).ok()
    };
    let Some(map) = text("/proc/self/uid_map") else { return false };
    let starts = map.lines().filter_map(|line| line.split_whitespace().next());
    let unknown = text("/proc/sys/kernel/overflowuid").and_then(|it| it.trim().parse().ok());
    let knows_the_administrator = starts.into_iter().any(|start| start == "0");
    !knows_the_administrator && unknown == Some(found.uid())
}

#[cfg(unix)]
fn is_executable(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &std::fs::Metadata) -> bool {
    true
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

    use super::*;

    #[test]
    fn only_a_program_that_nobody_else_can_change_is_safe() {
        let home = tempfile::tempdir().unwrap();
        let bin = home.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let path = bin.join("program");
        let mode = |path: &Path, mode: u32| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        assert!(matches!(check_program(&path), Err(UnsafeProgram::Missing { .. })));
        fs::copy("/bin/sh", &path).unwrap();
        mode(&bin, 0o755);
        mode(&path, 0o755);
        assert_eq!(check_program(&path).unwrap(), fs::canonicalize(&path).unwrap());
        assert!(matches!(check_program(Path::new("sh")), Err(UnsafeProgram::Open { .. })));
        mode(&path, 0o644);
        assert!(matches!(check_program(&path), Err(UnsafeProgram::NotExecutable { .. })));
        assert!(matches!(check_program(&bin), Err(UnsafeProgram::NotExecutable { .. })));
        for (file, directory) in [(0o757, 0o755), (0o755, 0o757), (0o755, 0o777)] {
            mode(&path, file);
            mode(&bin, directory);
            let judged = check_program(&path);
            assert!(matches!(judged, Err(UnsafeProgram::Open { .. })), "{file:o} {directory:o}");
        }
        mode(&path, 0o755);
        mode(&bin, 0o755);
        // A link is as good as the directories on both of its ends.
        let elsewhere = home.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        mode(&elsewhere, 0o755);
        let link = elsewhere.join("program");
        symlink(&path, &link).unwrap();
        assert!(check_program(&link).is_ok());
        mode(&elsewhere, 0o777);
        assert!(matches!(check_program(&link), Err(UnsafeProgram::Open { .. })));
        mode(&elsewhere, 0o755);

        if !rustix::process::geteuid().is_root() {
            println!("NOT RUN: only the administrator can make files of another user");
            return;
        }
        lchown(&link, Some(65_534), None).unwrap();
        assert!(matches!(check_program(&link), Err(UnsafeProgram::Open { .. })));
        for step in [&path, &bin] {
            chown(step, Some(65_534), None).unwrap();
            assert!(matches!(check_program(&path), Err(UnsafeProgram::Open { .. })));
            chown(step, Some(0), None).unwrap();
        }
        assert!(check_program(&path).is_ok());
    }
}
