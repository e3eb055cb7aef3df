//! The one door for reading. What a file says is believed only if nobody else could have written it:
//! it is of this user or of the administrator, no other user may write to it, every link on the way
//! is of this user or of the administrator, it is a regular file, and it is not too large.
//!
//! It never waits for another process: a named pipe, a device, a socket or a directory in place of a
//! file is an error that says so.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;

use crate::error::{Refused, StoreError};
use crate::fs::links;
use crate::fs::owner;

/// Opens the file at `path`, links followed, for reading.
///
/// # Errors
/// Those of opening, and one that says why the file is not believed. The user has to look at it.
pub fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    open_at_most(path, LARGEST_FILE)
}

/// All of the file at `path`.
///
/// # Errors
/// Those of [`open_regular`], and those of reading.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    read_at_most(path, LARGEST_FILE)
}

/// The same, if it has at most `largest` bytes.
///
/// # Errors
/// Those of [`read_regular`].
pub fn read_at_most(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    let (mut file, metadata) = open_at_most(path, largest)?;
    read_open(&mut file, &metadata, largest)
}

/// All of the file at `path`, as text.
///
/// # Errors
/// Those of [`read_regular`], and one of the kind `InvalidData` if it is not UTF-8.
pub fn read_regular_text(path: &Path) -> io::Result<String> {
    as_text(read_regular(path)?)
}

/// The same, if it has at most `largest` bytes, with the metadata from before it was read.
///
/// # Errors
/// Those of [`read_regular_text`].
pub fn read_text_at_most(path: &Path, largest: u64) -> io::Result<(String, Metadata)> {
    let (mut file, as_it_was) = open_at_most(path, largest)?;
    Ok((as_text(read_open(&mut file, &as_it_was, largest)?)?, as_it_was))
}

fn as_text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

fn open_at_most(path: &Path, largest: u64) -> io::Result<(File, Metadata)> {
    links::check(path)?;
    let (file, metadata) = open(path, 0)?;
    believed(&metadata, largest)?;
    Ok((file, metadata))
}

/// Refuses a file that others could have written, or that is larger than `largest`.
fn believed(metadata: &Metadata, largest: u64) -> io::Result<()> {
    owner::check(metadata)?;
    if metadata.len() > largest {
        return Err(Refused("it is larger than such a file can be").into());
    }
    Ok(())
}

/// The rest of an open file. It may have grown since, but not beyond `largest`.
fn read_open(file: &mut File, as_it_was: &Metadata, largest: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(as_it_was.len()).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(length.min(LARGEST) + 1);
    // With a limit, the file is not asked for its length once more.
    file.take(largest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > largest {
        return Err(Refused("it grows while it is read").into());
    }
    Ok(bytes)
}

/// Opens a file that is kept or moved and not believed: the regular file of any user at `path`.
pub(crate) fn open_any(path: &Path) -> io::Result<(File, Metadata)> {
    open(path, 0)
}

/// The start of a file of the kernel, which is of whatever user and says no size.
pub(crate) fn read_of_kernel(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path, 0)?.0.take(LARGEST_OF_KERNEL).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A store or a file beside it. The links on the way are looked at only if the last step is one:
/// this is read for every token.
fn open_trusted(path: &Path) -> Result<Option<(File, Metadata)>, StoreError> {
    let opened = match open(path, NO_LINK) {
        Err(error) if is_link(&error, path) => {
            owner::check_way(path)?;
            links::check(path).and_then(|()| open(path, 0))
        }
        opened => opened,
    };
    let opened = opened.and_then(|(file, metadata)| {
        believed(&metadata, LARGEST as u64)?;
        Ok((file, metadata))
    });
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            owner::check_leads(path).map(|()| None)
        }
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}

/// The bytes of a store or of a file beside it; `None` if there is no file. A file that cannot be
/// read is an error, not an empty file.
pub(crate) fn read_trusted(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(read_trusted_open(path)?.map(|(bytes, _file, _as_it_was)| bytes))
}

/// Like [`read_trusted`], with the open file and its metadata from before it was read.
pub(crate) fn read_trusted_open(
    path: &Path,
) -> Result<Option<(Vec<u8>, File, Metadata)>, StoreError> {
    let Some((mut file, as_it_was)) = open_trusted(path)? else { return Ok(None) };
    let bytes =
        read_open(&mut file, &as_it_was, LARGEST as u64).map_err(StoreError::io("read", path))?;
    Ok(Some((bytes, file, as_it_was)))
}

/// The file at `path`, which is no link, if it is of this user alone (mode 0600) and has at most
/// `largest` bytes: one that we wrote and can write anew. As cheap as a file can be read.
pub fn read_private(path: &Path, largest: u64) -> Option<Vec<u8>> {
    let (mut file, metadata) = open(path, NO_LINK).ok()?;
    believed(&metadata, largest).ok()?;
    #[cfg(unix)]
    if !owner::is_ours(&metadata)
        || std::os::unix::fs::MetadataExt::mode(&metadata) & 0o777 != 0o600
    {
        return None;
    }
    read_open(&mut file, &metadata, largest).ok()
}

fn open(path: &Path, flags: i32) -> io::Result<(File, Metadata)> {
    let mut options = OpenOptions::new();
    options.read(true);
    never_wait(&mut options, flags);
    let file = options.open(path).map_err(|error| explained(error, path))?;
    let metadata = file.metadata()?;
    match oddity(metadata.file_type()) {
        None => Ok((file, metadata)),
        Some(reason) => Err(Refused(reason).into()),
    }
}

/// Sets flags so that opening a named pipe or a terminal does not block, and a terminal does not
/// become ours. They have no effect on a regular file.
pub(crate) fn never_wait(options: &mut OpenOptions, flags: i32) {
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        let calm = OFlags::NONBLOCK | OFlags::NOCTTY;
        let calm = calm.bits().cast_signed();
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, calm | flags);
    }
    #[cfg(not(unix))]
    let _ = (options, flags);
}

/// Adds detail to an error of opening `path`: a socket cannot be opened at all, and a directory not
/// for writing.
pub(crate) fn explained(error: io::Error, path: &Path) -> io::Error {
    if error.kind() == io::ErrorKind::NotFound {
        return error;
    }
    let reason = fs::metadata(path).ok().and_then(|there| oddity(there.file_type()));
    reason.map_or(error, |reason| Refused(reason).into())
}

/// Whether opening failed because of a link. The error differs between systems.
fn is_link(error: &io::Error, path: &Path) -> bool {
    error.kind() != io::ErrorKind::NotFound
        && fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink())
}

/// What the path is instead of a regular file.
pub(crate) fn oddity(kind: FileType) -> Option<&'static str> {
    if kind.is_file() {
        return None;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        if kind.is_fifo() {
            return Some("it is a named pipe, not a regular file");
        }
        if kind.is_socket() {
            return Some("it is a socket, not a regular file");
        }
        if kind.is_char_device() || kind.is_block_device() {
            return Some("it is a device, not a regular file");
        }
    }
    Some(if kind.is_dir() {
        "it is a directory, not a regular file"
    } else {
        "it is not a regular file"
    })
}

/// The flag that refuses a link at the end of the path.
#[cfg(unix)]
pub(crate) const NO_LINK: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
#[cfg(not(unix))]
pub(crate) const NO_LINK: i32 = 0;

/// The largest store that is read.
pub(crate) const LARGEST: usize = 512 << 20;

/// The largest of any other file.
const LARGEST_FILE: u64 = 64 << 20;

/// Of a file of `/proc`.
const LARGEST_OF_KERNEL: u64 = 64 << 10;

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// The result of opening, from another thread, so that the test fails instead of hanging.
    fn said(path: &Path) -> String {
        let (path, (send, receive)) = (path.to_owned(), std::sync::mpsc::channel());
        std::thread::spawn(move || {
            let read = read_regular(&path);
            send.send(read.map_or_else(|error| error.to_string(), |_| "read".to_owned()))
        });
        let timeout = std::time::Duration::from_mins(1);
        receive.recv_timeout(timeout).unwrap_or_else(|_| "it waits".to_owned())
    }

    #[test]
    fn only_regular_files_are_read_and_nothing_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        crate::fs::atomic::write_atomic(&at("file"), b"x").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), 0o600.into()).unwrap();
        std::os::unix::fs::symlink(at("pipe"), at("link to the pipe")).unwrap();
        let _listener = UnixListener::bind(at("socket")).unwrap();
        // The controls.
        assert_eq!(read_regular(&at("file")).unwrap(), b"x");
        assert_eq!(read_regular(&at("link")).unwrap(), b"x");
        assert_eq!(read_regular_text(&at("file")).unwrap(), "x");
        crate::fs::atomic::write_atomic(&at("other text"), b"\xff").unwrap();
        let refused = read_regular_text(&at("other text")).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        assert!(open(&at("link"), NO_LINK).is_err());
        assert_eq!(read_regular(&at("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        for (name, kind) in [
            ("pipe", "a named pipe"),
            ("link to the pipe", "a named pipe"),
            ("socket", "a socket"),
            (".", "a directory"),
            ("/dev/zero", "a device"),
        ] {
            assert_eq!(said(&at(name)), format!("it is {kind}, not a regular file"), "{name}");
        }
    }

    #[test]
    fn only_a_link_is_opened_as_one() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        crate::fs::atomic::write_atomic(&file, b"x").unwrap();
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        let error = |kind: io::ErrorKind| io::Error::from(kind);
        assert!(is_link(&error(io::ErrorKind::Other), &link));
        assert!(!is_link(&error(io::ErrorKind::Other), &file));
        assert!(!is_link(&error(io::ErrorKind::NotFound), &link));
        assert!(open_trusted(&link).is_err());
        assert!(open_trusted(&file.join("below")).is_err());
    }

    #[test]
    fn a_file_that_others_may_write_to_or_that_is_too_large_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        crate::fs::atomic::write_atomic(&path, b"12345678").unwrap();
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let said = || {
            let trusted = read_trusted(&path).map(|_| ()).map_err(|error| error.to_string());
            let other = read_regular(&path).map(|_| ()).map_err(|error| error.to_string());
            assert_eq!(trusted.is_ok(), other.is_ok(), "{trusted:?} {other:?}");
            other
        };
        for harmless in [0o600, 0o644, 0o444, 0o700] {
            mode(harmless);
            assert_eq!(said(), Ok(()), "{harmless:o}");
        }
        for open in [0o602, 0o606, 0o646, 0o666, 0o777] {
            mode(open);
            assert_eq!(said().unwrap_err(), owner::ANYONE, "{open:o}");
        }
        mode(0o644);
        assert_eq!(read_private(&path, 8), None);
        mode(0o600);
        assert_eq!(read_private(&path, 8).unwrap(), b"12345678");
        assert_eq!(read_private(&path, 7), None);
        assert!(read_at_most(&path, 8).is_ok() && read_at_most(&path, 7).is_err());
        // Nothing of it is read: its size alone says enough.
        let huge = OpenOptions::new().write(true).open(&path).unwrap();
        huge.set_len(8 << 30).unwrap();
        assert!(said().unwrap_err().contains("larger"));
    }
}
