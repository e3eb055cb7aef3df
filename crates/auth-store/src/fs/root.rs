//! The state directory itself: who may put files into it. Checked at the start of every command but
//! a quick token, as sshd does with what it believes (`StrictModes`).

use std::path::Path;

use crate::error::StoreError;
#[cfg(unix)]
use crate::fs::{links, owner};

/// What the state directory is like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Root {
    /// No other user can put files into it, or it does not exist.
    Private,
    /// It had this mode, and now others may no longer write to it.
    Tightened {
        /// The mode before.
        from: u32,
    },
    /// It is the administrator's, and a group of ours may write to it: a volume of Kubernetes with an
    /// `fsGroup`.
    OfAdministrator,
}

/// Takes the right to write to `root` away from others.
///
/// # Errors
/// [`StoreError::Unsafe`] if it is another user's, or others may write to it and we cannot change
/// that.
#[cfg(unix)]
pub(crate) fn tighten(root: &Path) -> Result<Root, StoreError> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    let refused = |reason| StoreError::Unsafe { path: root.to_owned(), reason };
    links::check(root).map_err(StoreError::io("use", root))?;
    // What cannot be examined cannot be read either.
    let Ok(found) = std::fs::metadata(root) else { return Ok(Root::Private) };
    let from = found.mode() & 0o7777;
    let others = owner::writers(&found);
    if owner::is_ours(&found) {
        if others.is_none() {
            return Ok(Root::Private);
        }
        std::fs::set_permissions(root, std::fs::Permissions::from_mode(from & !0o022))
            .map_err(|_| refused("others may write to it, and that cannot be changed"))?;
        return Ok(Root::Tightened { from });
    }
    if !owner::is_trusted(&found) {
        return Err(refused(owner::FOREIGN));
    }
    let is_sticky = from & 0o1000 != 0;
    match others {
        _ if from & 0o002 != 0 && !is_sticky => Err(refused(owner::ANYONE)),
        Some(owner::GROUP) if !is_sticky && !is_our_group(found.gid()) => {
            Err(refused(owner::GROUP))
        }
        _ if from & 0o020 != 0 => Ok(Root::OfAdministrator),
        _ => Ok(Root::Private),
    }
}

/// Other systems have no such modes.
#[cfg(not(unix))]
pub(crate) fn tighten(_: &Path) -> Result<Root, StoreError> {
    Ok(Root::Private)
}

#[cfg(unix)]
fn is_our_group(group: u32) -> bool {
    let own = rustix::process::getegid().as_raw() == group;
    let mut others = rustix::process::getgroups().unwrap_or_default().into_iter();
    own || others.any(|other| other.as_raw() == group)
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};

    use super::*;

    #[test]
    fn a_state_directory_that_others_may_write_to_is_tightened_and_a_foreign_one_refused() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("state");
        assert_eq!(tighten(&root).unwrap(), Root::Private, "it does not exist");
        fs::create_dir(&root).unwrap();
        let set = |mode| fs::set_permissions(&root, fs::Permissions::from_mode(mode)).unwrap();
        for harmless in [0o700, 0o755, 0o750] {
            set(harmless);
            assert_eq!(tighten(&root).unwrap(), Root::Private, "{harmless:o}");
        }
        for open in [0o777, 0o707, 0o1777, 0o702] {
            set(open);
            assert_eq!(tighten(&root).unwrap(), Root::Tightened { from: open });
            assert_eq!(fs::metadata(&root).unwrap().mode() & 0o7777, open & !0o022);
        }
        if !rustix::process::geteuid().is_root() {
            println!("NOT RUN: only the administrator can make directories of another user");
            return;
        }
        let link = home.path().join("link");
        symlink(&root, &link).unwrap();
        assert!(tighten(&link).is_ok());
        std::os::unix::fs::lchown(&link, Some(65_534), None).unwrap();
        assert!(matches!(tighten(&link), Err(StoreError::Unsafe { .. })));
        chown(&root, Some(65_534), None).unwrap();
        assert!(matches!(tighten(&root), Err(StoreError::Unsafe { .. })));
    }
}
