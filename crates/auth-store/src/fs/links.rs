//! The links on the way to a file. Who makes a link chooses what is read through it.

use std::io;
use std::path::Path;

/// Refuses a path if a link on it, or on the way that a link takes, is neither of this user nor of
/// the administrator. What does not exist or cannot be examined is left to whoever opens it.
#[cfg(unix)]
pub(crate) fn check(path: &Path) -> io::Result<()> {
    use std::ffi::OsString;
    use std::fs;
    use std::path::{Component, PathBuf};

    use crate::error::Refused;
    use crate::fs::owner;

    let steps = |path: &Path| -> Vec<OsString> {
        path.components().rev().map(|step| step.as_os_str().to_owned()).collect()
    };
    let (mut place, mut left, mut links) = (PathBuf::new(), steps(path), 0);
    while let Some(step) = left.pop() {
        match Path::new(&step).components().next() {
            Some(Component::ParentDir) if place.file_name().is_some() => {
                place.pop();
                continue;
            }
            Some(Component::Normal(_)) => {}
            _ => {
                place.push(step);
                continue;
            }
        }
        let next = place.join(&step);
        let Ok(found) = fs::symlink_metadata(&next) else { return Ok(()) };
        if !found.is_symlink() {
            place = next;
            continue;
        }
        if !owner::is_trusted(&found) {
            return Err(Refused("a link on the way to it belongs to another user").into());
        }
        links += 1;
        let Ok(target) = fs::read_link(&next) else { return Ok(()) };
        if links > MOST_LINKS {
            return Ok(());
        }
        // An absolute target begins with the root, which replaces the place.
        left.extend(steps(&target));
    }
    Ok(())
}

/// There is no such owner here.
#[cfg(not(unix))]
pub(crate) fn check(_: &Path) -> io::Result<()> {
    Ok(())
}

/// The kernel follows no more.
#[cfg(unix)]
const MOST_LINKS: u32 = 40;

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    #[test]
    fn every_link_on_the_way_counts_also_those_that_links_lead_to() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir_all(at("real/deep")).unwrap();
        crate::fs::atomic::write_atomic(&at("real/deep/file"), b"x").unwrap();
        symlink("real", at("direct")).unwrap();
        symlink(at("direct/deep/../deep"), at("winding")).unwrap();
        symlink("file", at("real/deep/last")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let paths = ["real/deep/file", "direct/deep/file", "winding/last", "loop", "none/x"];
        // The control: all of them are ours.
        for path in paths {
            check(&at(path)).unwrap();
        }
        if !rustix::process::geteuid().is_root() {
            println!("NOT RUN: only the administrator can make links of another user");
            return;
        }
        for (link, refused) in [
            ("direct", &["direct/deep/file", "winding/last"][..]),
            ("winding", &["winding/last"]),
            ("real/deep/last", &["winding/last"]),
        ] {
            lchown(at(link), Some(65_534), None).unwrap();
            for path in paths {
                assert_eq!(check(&at(path)).is_err(), refused.contains(&path), "{link}: {path}");
            }
            lchown(at(link), Some(0), None).unwrap();
        }
    }
}
