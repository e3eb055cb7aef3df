//! The one door for reading. It never waits for another process: a named pipe, a device, a socket or
//! a directory in place of a file is an error that says so.
//!
//! `…_regular` reads a file of any user, `…_trusted` only a file of this user or of the
//! administrator.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;

use crate::error::{NotRegular, StoreError};
use crate::fs::owner;

/// Opens the regular file at `path`, links followed, for reading.
///
/// # Errors
/// Those of opening, and one that says what is there instead of a regular file. The user has to
/// move that away.
pub fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    open(path, 0)
}

/// The same, unless it is a link.
pub(crate) fn open_regular_unless_link(path: &Path) -> io::Result<(File, Metadata)> {
    open(path, NO_LINK)
}

/// All of the regular file at `path`.
///
/// # Errors
/// Those of [`open_regular`], and those of reading.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let (file, metadata) = open_regular(path)?;
    let length = usize::try_from(metadata.len()).unwrap_or_default();
    let mut bytes = Vec::with_capacity(length.min(LARGEST_GUESS) + 1);
    // Without a limit, the file would be asked for its length once more.
    file.take(u64::MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The start of the regular file at `path`: one byte more than a store may have.
///
/// # Errors
/// Those of [`open_regular`], and those of reading.
pub(crate) fn read_regular_start(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.0.take(LARGEST as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// All of the regular file at `path`, as text.
///
/// # Errors
/// Those of [`read_regular`], and one of the kind `InvalidData` if it is not UTF-8.
pub fn read_regular_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read_regular(path)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// Opens a file of this user or of the administrator. A link is followed only if it is theirs too.
fn open_trusted(path: &Path) -> Result<Option<(File, Metadata)>, StoreError> {
    let opened = match open_regular_unless_link(path) {
        Err(error) if is_link(&error, path) => {
            owner::check_way(path)?;
            open_regular(path)
        }
        opened => opened,
    };
    match opened {
        Ok((_, metadata)) if !owner::is_trusted(&metadata) => Err(owner::foreign(path)),
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}

/// The bytes of a file of this user or of the administrator; `None` if there is no file. A file that
/// cannot be read is an error, not an empty file.
pub(crate) fn read_trusted(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(read_trusted_open(path)?.map(|(bytes, _file, _as_it_was)| bytes))
}

/// The same, with the open file and its metadata from before it was read.
pub(crate) fn read_trusted_open(
    path: &Path,
) -> Result<Option<(Vec<u8>, File, Metadata)>, StoreError> {
    let Some((mut file, as_it_was)) = open_trusted(path)? else { return Ok(None) };
    let length = usize::try_from(as_it_was.len()).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(length.min(LARGEST) + 1);
    let limit = LARGEST as u64 + 1;
    match (&mut file).take(limit).read_to_end(&mut bytes) {
        Ok(_) => Ok(Some((bytes, file, as_it_was))),
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}

fn open(path: &Path, flags: i32) -> io::Result<(File, Metadata)> {
    let mut options = OpenOptions::new();
    options.read(true);
    never_wait(&mut options, flags);
    let file = options.open(path).map_err(|error| explained(error, path))?;
    let metadata = file.metadata()?;
    match oddity(metadata.file_type()) {
        None => Ok((file, metadata)),
        Some(reason) => Err(NotRegular(reason).into()),
    }
}

/// Sets the flags with which opening a named pipe or a terminal does not wait, and a terminal does
/// not become ours. They have no effect on a regular file.
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

/// Says more about an error of opening `path`: a socket cannot be opened at all, and a directory not
/// for writing.
pub(crate) fn explained(error: io::Error, path: &Path) -> io::Error {
    if error.kind() == io::ErrorKind::NotFound {
        return error;
    }
    let reason = fs::metadata(path).ok().and_then(|there| oddity(there.file_type()));
    reason.map_or(error, |reason| NotRegular(reason).into())
}

/// Whether opening failed because of a link. Systems have different errors for that.
fn is_link(error: &io::Error, path: &Path) -> bool {
    error.kind() != io::ErrorKind::NotFound
        && fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink())
}

/// What it is instead of a regular file.
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
pub(crate) const LARGEST: usize = 64 << 20;

/// At most this much memory is reserved before a file is read.
const LARGEST_GUESS: usize = 1 << 20;

#[cfg(unix)]
#[cfg(test)]
mod tests {
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
        assert!(open_regular_unless_link(&at("link")).is_err());
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
        assert!(open_trusted(&link).unwrap().is_none());
        assert!(open_trusted(&file.join("below")).is_err());
    }
}
