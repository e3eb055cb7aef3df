//! Atomic writes, for files that only their owner may read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::StoreError;
use crate::fs::open::{self, read_regular};
use crate::fs::stamp::Stamp;
use crate::paths;

/// Replaces the file at `path` with `bytes`: a temporary file beside it, mode 0600 from the start,
/// fsync, rename, fsync of the directory. After a crash at any point the old or the new content is
/// there.
///
/// # Errors
/// The old content is still there.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut next = NextFile::create(path, &random_sibling(path), 0)?;
    next.fill(bytes)?;
    next.sync()?;
    let written = next.file.metadata().and_then(|metadata| metadata.modified()).ok();
    next.install()?;
    if let Some(written) = written {
        remove_abandoned(paths::directory_of(path), written);
    }
    Ok(())
}

/// Removes the temporary files of crashed processes that are much older than `now`, a time of the
/// same file system. Best effort: the next write here tries again.
fn remove_abandoned(directory: &Path, now: SystemTime) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_temporary = name.to_str().is_some_and(paths::is_temporary);
        let is_abandoned = || {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > ABANDONED))
        };
        if is_temporary && is_abandoned() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Longer than any process of ours needs between creating a file and renaming it.
const ABANDONED: Duration = Duration::from_mins(5);

/// The same for a file of other programs too, which write it without a lock: only if the content is
/// still `before` (`None`: there is no file), and with the owner, the group and the rights that the
/// file has. `false`: it changed, and nothing was written.
///
/// # Errors
/// The old content is still there. Owner and group may be such that this process cannot give them.
pub fn replace_if_unchanged(
    path: &Path,
    before: Option<&[u8]>,
    bytes: &[u8],
) -> Result<bool, StoreError> {
    let mut next = NextFile::create(path, &random_sibling(path), 0)?;
    next.fill(bytes)?;
    if before.is_some() {
        next.be_like(path)?;
    }
    next.sync()?;
    let now = match read_regular(path) {
        Ok(now) => Some(now),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(StoreError::io("read", path)(error)),
    };
    if now.as_deref() != before {
        return Ok(false);
    }
    next.install()?;
    Ok(true)
}

/// Like [`write_atomic`], but without waiting for the disk, for content that can be recreated.
/// After a power failure the file may be empty or damaged.
///
/// # Errors
/// The old content is still there.
pub fn write_atomic_unsynced(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut next = NextFile::create(path, &random_sibling(path), 0)?;
    next.fill(bytes)?;
    next.install_without_sync()
}

/// Creates a directory and its parents with mode 0700, whatever the umask. An existing one is left
/// as it is.
pub fn create_private_directory(path: &Path) -> Result<(), StoreError> {
    let create = || match create_lock_directory(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Ok(()) => open_to_owner(path),
        created => created,
    };
    let created = match (create(), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            create_private_directory(parent)?;
            create()
        }
        (created, _) => created,
    };
    created.map_err(StoreError::io("create", path))
}

/// Gives the owner of a new directory the rights that a umask may have removed.
fn open_to_owner(directory: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let _ = directory;
    Ok(())
}

/// Creates a directory, readable by the owner only. An existing one is an error.
pub(crate) fn create_lock_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// The result of [`install_over`](NextFile::install_over).
#[derive(Debug)]
pub(crate) enum Installed {
    /// It replaced the content that it was made from.
    Done,
    /// It replaced other content, which [`came_out`](NextFile::came_out) reads.
    Over(NextFile),
    /// It was not installed, because the target appeared or disappeared. Look again.
    Not(NextFile),
}

/// The next content of a file, in a temporary file that is removed on drop unless it was
/// [installed](Self::install).
#[derive(Debug)]
pub(crate) struct NextFile {
    target: PathBuf,
    temporary: PathBuf,
    file: File,
    installed: bool,
}

impl NextFile {
    /// Creates `temporary` with `reserve` bytes on the disk, so that a later write cannot run out of
    /// space.
    pub(crate) fn create(
        target: &Path,
        temporary: &Path,
        reserve: usize,
    ) -> Result<Self, StoreError> {
        let file = create_private(temporary).map_err(StoreError::io("create", temporary))?;
        let mut next = Self {
            target: target.to_owned(),
            temporary: temporary.to_owned(),
            file,
            installed: false,
        };
        if reserve > 0 {
            fill_with_zeros(&mut next.file, reserve)
                .map_err(StoreError::io("reserve space in", temporary))?;
        }
        Ok(next)
    }

    /// This, under another name: `temporary`, where a file of a crashed process is replaced.
    pub(crate) fn renamed(mut self, temporary: &Path) -> Result<Self, StoreError> {
        if self.temporary != temporary {
            fs::rename(&self.temporary, temporary)
                .map_err(StoreError::io("rename", &self.temporary))?;
            temporary.clone_into(&mut self.temporary);
        }
        Ok(self)
    }

    /// Sets the content to `bytes`.
    pub(crate) fn fill(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let write = |file: &mut File| {
            io::Seek::rewind(file)?;
            file.write_all(bytes)?;
            file.set_len(bytes.len() as u64)
        };
        write(&mut self.file).map_err(StoreError::io("write", &self.temporary))
    }

    /// Gives it the owner, the group and the rights of the file at `path`, if that exists.
    fn be_like(&self, path: &Path) -> Result<(), StoreError> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
            let Ok(found) = fs::metadata(path) else { return Ok(()) };
            let copy = || -> io::Result<()> {
                let own = self.file.metadata()?;
                if (own.uid(), own.gid()) != (found.uid(), found.gid()) {
                    fchown(&self.file, Some(found.uid()), Some(found.gid()))?;
                }
                copy_access_list(path, &self.file);
                self.file.set_permissions(fs::Permissions::from_mode(found.mode() & 0o7777))
            };
            copy().map_err(StoreError::io("keep owner, group and rights of", path))?;
        }
        #[cfg(not(unix))]
        let _ = path;
        Ok(())
    }

    /// Waits until the content is on the disk.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(StoreError::io("sync", &self.temporary))
    }

    /// Replaces the target, and waits until that is on the disk.
    pub(crate) fn install(self) -> Result<(), StoreError> {
        let directory = paths::directory_of(&self.target).to_owned();
        self.install_without_sync()?;
        sync_directory(&directory)
    }

    /// Replaces the target, which must have the content `before` (`None`: not exist), and waits
    /// until that is on the disk. The names are exchanged in one step, so a write of another
    /// program at the last moment is not lost: its content comes out.
    pub(crate) fn install_over(self, before: Option<&[u8]>) -> Result<Installed, StoreError> {
        let put = match before {
            Some(_) => exchange(&self.temporary, &self.target),
            None => rename_to_free(&self.temporary, &self.target),
        };
        self.after_put(put, before)
    }

    fn after_put(
        self,
        put: io::Result<()>,
        before: Option<&[u8]>,
    ) -> Result<Installed, StoreError> {
        match put {
            Ok(()) => {}
            Err(error) if is_unsupported(&error) => {
                return self.install().map(|()| Installed::Done);
            }
            // The target appeared or disappeared.
            Err(error) if is_occupied(&error) || error.kind() == io::ErrorKind::NotFound => {
                return Ok(Installed::Not(self));
            }
            Err(error) => return Err(StoreError::io("replace", &self.target)(error)),
        }
        sync_directory(paths::directory_of(&self.target))?;
        // Dropping this removes the content that came out.
        match before {
            // Content that cannot be read counts as changed.
            Some(before)
                if !open::read_at_most(&self.temporary, open::LARGEST as u64)
                    .is_ok_and(|found| found == before) =>
            {
                Ok(Installed::Over(self))
            }
            _ => Ok(Installed::Done),
        }
    }

    /// The stamp of the temporary file; after [`Installed::Over`] that of the replaced content.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        Stamp::at(&self.temporary)
    }

    /// After [`Installed::Over`]: the replaced content. Its writer may still be writing.
    pub(crate) fn came_out(&self) -> Result<Vec<u8>, StoreError> {
        open::read_at_most(&self.temporary, open::LARGEST as u64)
            .map_err(StoreError::io("read", &self.temporary))
    }

    /// Keeps the complete content that came out under another name. `temporary` is for file systems
    /// on which a file has only one name.
    pub(crate) fn keep_what_came_out(
        &self,
        copy: &Path,
        temporary: &Path,
    ) -> Result<(), StoreError> {
        keep_whole(&self.temporary, copy, temporary)
    }

    /// After [`Installed::Over`]: puts back content that cannot be read.
    pub(crate) fn put_back(self) -> Result<(), StoreError> {
        exchange(&self.temporary, &self.target)
            .map_err(StoreError::io("put back", &self.target))?;
        sync_directory(paths::directory_of(&self.target))
    }

    /// Replaces the target.
    pub(crate) fn install_without_sync(mut self) -> Result<(), StoreError> {
        fs::rename(&self.temporary, &self.target)
            .map_err(StoreError::io("replace", &self.target))?;
        self.installed = true;
        Ok(())
    }
}

impl Drop for NextFile {
    fn drop(&mut self) {
        if !self.installed {
            // If this fails, the next holder of the lock removes it.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Removes a file. Best effort.
pub(crate) fn discard(path: &Path) {
    let _ = fs::remove_file(path);
}

/// Removes a file that must exist, and waits until that is on the disk.
pub(crate) fn remove_durably(path: &Path) -> Result<(), StoreError> {
    fs::remove_file(path).map_err(StoreError::io("remove", path))?;
    sync_directory(paths::directory_of(path))
}

/// Renames a file, if it still exists.
pub(crate) fn set_aside(path: &Path, aside: &Path) -> Result<(), StoreError> {
    match fs::rename(path, aside) {
        // Another process did the same.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(StoreError::io("set aside", path)),
    }
}

/// Gives the file at `path` a second name, so that none of its content is lost when another file
/// takes its first name: a write in place meanwhile goes to the second name. If the file system
/// allows only one name, the file is copied by way of `temporary`.
pub(crate) fn keep_whole(path: &Path, copy: &Path, temporary: &Path) -> Result<(), StoreError> {
    let file = if fs::hard_link(path, copy).is_ok() {
        open::open_any(copy).map_err(StoreError::io("open", copy))?.0
    } else {
        let (mut from, _) = open::open_any(path).map_err(StoreError::io("read", path))?;
        remove(temporary)?;
        let mut next = NextFile::create(copy, temporary, 0)?;
        io::copy(&mut from, &mut next.file).map_err(StoreError::io("write", temporary))?;
        let file = next.file.try_clone().map_err(StoreError::io("write", temporary))?;
        next.install_without_sync()?;
        file
    };
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .map_err(StoreError::io("change the rights of", copy))?;
    file.sync_all().map_err(StoreError::io("sync", copy))?;
    sync_directory(paths::directory_of(copy))
}

/// Removes a file, if it exists.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Refuses a file that no rename can replace: a mount point (a single file mounted into a
/// container), or a file that is marked immutable. If the system cannot tell, this accepts it.
pub(crate) fn refuse_if_fixed(path: &Path) -> Result<(), StoreError> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
        let Ok(found) = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty()) else {
            return Ok(());
        };
        let is = |attribute| found.stx_attributes.contains(attribute);
        let refused = |reason| Err(StoreError::Unsafe { path: path.to_owned(), reason });
        if is(StatxAttributes::MOUNT_ROOT) {
            return refused(
                "a file that is mounted by itself cannot be replaced; mount its directory",
            );
        }
        if is(StatxAttributes::IMMUTABLE) || is(StatxAttributes::APPEND) {
            return refused("it is marked immutable or append-only (chattr -i -a)");
        }
    }
    let _ = path;
    Ok(())
}

/// Gives `file` the list of users and groups with rights of their own that the file at `path` has,
/// if it has one: without it, the rights of its group would mean more.
#[cfg(target_os = "linux")]
fn copy_access_list(path: &Path, file: &File) {
    use rustix::fs::{XattrFlags, fsetxattr, getxattr};
    const NAME: &str = "system.posix_acl_access";
    let mut list = vec![0; 64 << 10];
    if let Ok(length) = getxattr(path, NAME, &mut list) {
        // Where the file system cannot do it, the file did not have one.
        let _ = fsetxattr(file, NAME, &list[..length], XattrFlags::empty());
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
fn copy_access_list(_path: &Path, _file: &File) {}

/// Renames, unless `to` exists.
pub(crate) fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags};
        Ok(rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
    }
    #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
    {
        let _ = (from, to);
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

/// Exchanges two names in one step.
pub(crate) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags};
        Ok(rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
    }
    #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
    {
        let _ = (one, other);
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

/// Whether a rename failed because the target exists.
pub(crate) fn is_occupied(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty)
}

/// Whether a rename failed because the file system does not support that kind.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput)
}

/// Creates a file with mode 0600. An existing file or link at that path is an error.
///
/// # Errors
/// Those of the operating system.
pub fn create_private(path: &Path) -> io::Result<File> {
    private_options().write(true).create_new(true).open(path)
}

/// Options that create with mode 0600, never follow a link at the last step, and never wait.
pub(crate) fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    open::never_wait(&mut options, open::NO_LINK);
    options
}

/// Writes real bytes, because a hole reserves no space, and waits until they are on the disk.
pub(crate) fn fill_with_zeros(file: &mut File, length: usize) -> io::Result<()> {
    file.write_all(&vec![0; length])?;
    file.sync_all()
}

/// Waits until the names in `directory` are on the disk.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    // On Windows a directory cannot be opened as a file, and renames are durable by themselves.
    if cfg!(unix) {
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(StoreError::io("sync", directory))?;
    }
    Ok(())
}

/// A hidden sibling with a random name.
fn random_sibling(path: &Path) -> PathBuf {
    paths::temporary(path, rand::random())
}

#[cfg(test)]
#[path = "atomic_tests.rs"]
mod tests;
