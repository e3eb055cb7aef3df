//! Files that are there whole or not at all, readable by their owner only.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::StoreError;
use crate::open::{self, read_regular};

/// Replaces the file at `path` by `bytes`: a temporary file beside it, mode 0600 from its first
/// instant, fsync, rename, fsync of the directory. After a crash at any point the old or the new
/// content is there.
///
/// # Errors
/// The old content is still there, whatever the error.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut next = NextFile::create(path, &random_sibling(path), 0)?;
    next.fill(bytes)?;
    next.sync()?;
    let written = next.file.metadata().and_then(|metadata| metadata.modified()).ok();
    next.install()?;
    if let Some(written) = written {
        remove_abandoned(directory_of(path), written);
    }
    Ok(())
}

/// Removes the temporary files that processes left which died long before `now`, a time of the
/// same file system. Best effort: the next one to write here tries again.
fn remove_abandoned(directory: &Path, now: SystemTime) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_temporary = name.to_str().and_then(|name| {
            let (_, digits) = name.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('.')?;
            Some(digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        });
        let is_abandoned = || {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > ABANDONED))
        };
        if is_temporary == Some(true) && is_abandoned() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// No process of ours takes that long between creating a file and renaming it.
const ABANDONED: Duration = Duration::from_mins(5);

/// The same, unless the file is no longer what the caller read: `before`, or nothing. It is
/// compared at the last moment, for files that others write without a lock. `false`: it is not,
/// and nothing was done.
///
/// # Errors
/// The old content is still there, whatever the error.
pub fn replace_if_unchanged(
    path: &Path,
    before: Option<&[u8]>,
    bytes: &[u8],
) -> Result<bool, StoreError> {
    let mut next = NextFile::create(path, &random_sibling(path), 0)?;
    next.fill(bytes)?;
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

/// The same without waiting for the disk, for what can be made again: after a power failure the
/// file may be empty or damaged.
///
/// # Errors
/// The old content is still there, whatever the error.
pub fn write_atomic_unsynced(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut next = NextFile::create(path, &random_sibling(path), 0)?;
    next.fill(bytes)?;
    next.install_without_sync()
}

/// Creates a directory and its parents, readable by the owner only, and by the owner whatever the
/// umask. An existing one is left as it is.
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

/// Gives the owner of a directory that was just created what a umask may have taken.
fn open_to_owner(directory: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let _ = directory;
    Ok(())
}

/// Creates a directory that is not there, readable by the owner only.
pub(crate) fn create_lock_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// What became of an [`install_over`](NextFile::install_over).
#[derive(Debug)]
pub(crate) enum Installed {
    /// It is in the place of the content it was made from.
    Done,
    /// It is in the place of something else, which can be [looked at](NextFile::came_out).
    Over(NextFile),
    /// It is not, since the target came or went: look again.
    Not(NextFile),
}

/// The next content of a file, on its way: dropped before [`install`](Self::install), it leaves
/// nothing behind.
#[derive(Debug)]
pub(crate) struct NextFile {
    target: PathBuf,
    temporary: PathBuf,
    file: File,
    installed: bool,
}

impl NextFile {
    /// Opens `temporary`, and puts `reserve` bytes into it and on the disk, so that filling it
    /// later cannot fail for want of space.
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

    /// Makes `bytes` the content, over whatever was there.
    pub(crate) fn fill(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let write = |file: &mut File| {
            io::Seek::rewind(file)?;
            file.write_all(bytes)?;
            file.set_len(bytes.len() as u64)
        };
        write(&mut self.file).map_err(StoreError::io("write", &self.temporary))
    }

    /// Waits until the content is on the disk.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(StoreError::io("sync", &self.temporary))
    }

    /// Puts it in the place of the target, and waits until that is on the disk.
    pub(crate) fn install(self) -> Result<(), StoreError> {
        let directory = directory_of(&self.target).to_owned();
        self.install_without_sync()?;
        sync_directory(&directory)
    }

    /// Puts it in the place of the target, which must have the content `before` (`None`: not be
    /// there), and waits until that is on the disk. The names are exchanged in one step, so
    /// whatever somebody wrote at the last moment comes out and is not lost.
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
            // It came, or went.
            Err(error) if is_occupied(&error) || error.kind() == io::ErrorKind::NotFound => {
                return Ok(Installed::Not(self));
            }
            Err(error) => return Err(StoreError::io("replace", &self.target)(error)),
        }
        sync_directory(directory_of(&self.target))?;
        // Dropping this removes what came out.
        match before {
            // What cannot be read now is not for that what it was.
            Some(before) if !read_regular(&self.temporary).is_ok_and(|found| found == before) => {
                Ok(Installed::Over(self))
            }
            _ => Ok(Installed::Done),
        }
    }

    /// After [`Installed::Over`]: what came out, now. Whoever wrote it may not be done yet.
    pub(crate) fn came_out(&self) -> Result<Vec<u8>, StoreError> {
        read_regular(&self.temporary).map_err(StoreError::io("read", &self.temporary))
    }

    /// The same, kept whole under another name. `temporary` is for systems on which a file has one name.
    pub(crate) fn keep_what_came_out(
        &self,
        copy: &Path,
        temporary: &Path,
    ) -> Result<(), StoreError> {
        keep_whole(&self.temporary, copy, temporary)
    }

    /// After [`Installed::Over`], if nobody can say what came out: puts that back.
    pub(crate) fn put_back(self) -> Result<(), StoreError> {
        exchange(&self.temporary, &self.target)
            .map_err(StoreError::io("put back", &self.target))?;
        sync_directory(directory_of(&self.target))
    }

    /// Puts it in the place of the target.
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
            // Whoever holds the lock next removes what we could not.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Gives what is at `path` another name.
pub(crate) fn set_aside(path: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(path, to).map_err(StoreError::io("set aside", path))
}

/// Gives what is at `path` a second name, so that nothing of it is lost when the first is given to
/// another file: whoever writes in place meanwhile writes there. Where a file cannot have two names, it
/// is copied by way of `temporary`.
pub(crate) fn keep_whole(path: &Path, copy: &Path, temporary: &Path) -> Result<(), StoreError> {
    let file = if fs::hard_link(path, copy).is_ok() {
        open::open_regular(copy).map_err(StoreError::io("open", copy))?.0
    } else {
        let (mut from, _) = open::open_regular(path).map_err(StoreError::io("read", path))?;
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
    sync_directory(directory_of(copy))
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Refuses a file whose name no rename can give to another: a mount point (a single file handed
/// into a container), or one that is marked immutable. What cannot be asked is tried.
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

/// Renames, unless there is something at `to` already.
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

/// Whether a rename failed because there is something in its way.
pub(crate) fn is_occupied(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty)
}

/// Whether a rename failed because the file system does not have that kind.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput)
}

/// Creates a new file with mode 0600; an existing one, or a link, at that place is an error.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
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

/// Writes real bytes, since a hole reserves nothing, and waits for them to be on the disk.
pub(crate) fn fill_with_zeros(file: &mut File, length: usize) -> io::Result<()> {
    file.write_all(&vec![0; length])?;
    file.sync_all()
}

/// Waits until the names in `directory` are on the disk.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    // Elsewhere a directory cannot be opened as a file, and renames are durable by themselves.
    if cfg!(unix) {
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(StoreError::io("sync", directory))?;
    }
    Ok(())
}

/// The directory of a file; `.` for a bare name.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A hidden sibling whose name nobody else makes at the same time.
fn random_sibling(path: &Path) -> PathBuf {
    sibling(path, &format!(".{:016x}.tmp", rand::random::<u64>()))
}

/// The hidden sibling `.name` + `suffix` of a file.
pub(crate) fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{suffix}"))
}

#[cfg(test)]
#[path = "atomic_tests.rs"]
mod tests;
