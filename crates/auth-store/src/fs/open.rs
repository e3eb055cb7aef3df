//! Reading files without ever waiting for anybody: whoever puts a named pipe, a device, a socket or
//! a directory in the place of a file of ours gets an error that says so.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;

use crate::error::NotRegular;

/// Opens the regular file at `path`, links followed, for reading.
///
/// # Errors
/// Those of opening; and one that says what is there instead of a regular file. Tell the person,
/// who moves it away.
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
    // A limit, though none: without it the file is asked for its length once more.
    file.take(u64::MAX).read_to_end(&mut bytes)?;
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

/// Sets the flags with which opening a named pipe or a terminal waits for nobody and takes
/// nothing over; on a regular file they do nothing.
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

/// An error of opening `path` to which it may say more: a socket cannot be opened at all, a
/// directory not for writing.
pub(crate) fn explained(error: io::Error, path: &Path) -> io::Error {
    if error.kind() == io::ErrorKind::NotFound {
        return error;
    }
    let reason = fs::metadata(path).ok().and_then(|there| oddity(there.file_type()));
    reason.map_or(error, |reason| NotRegular(reason).into())
}

/// What something is that is no regular file.
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

/// The flag that follows no link at the last step.
#[cfg(unix)]
pub(crate) const NO_LINK: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
#[cfg(not(unix))]
pub(crate) const NO_LINK: i32 = 0;

/// The largest file that is taken for a store.
pub(crate) const LARGEST: usize = 64 << 20;

/// A file that says it is larger is read all the same.
const LARGEST_GUESS: usize = 1 << 20;

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// What opening says, in another thread: should it wait, the test fails and does not hang.
    fn said(path: &Path) -> String {
        let (path, (send, receive)) = (path.to_owned(), std::sync::mpsc::channel());
        std::thread::spawn(move || {
            let read = read_regular(&path);
            send.send(read.map_or_else(|error| error.to_string(), |_| "read".to_owned()))
        });
        let patience = std::time::Duration::from_mins(1);
        receive.recv_timeout(patience).unwrap_or_else(|_| "it waits".to_owned())
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
}
