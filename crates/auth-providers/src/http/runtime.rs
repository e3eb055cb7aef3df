//! A runtime for requests in a thread that has none.

use std::io;

/// Creates a runtime for this thread.
///
/// # Errors
/// The process has no file descriptors left.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    // tokio panics if it cannot create such a pair for its signals, so try it first.
    #[cfg(unix)]
    drop(std::os::unix::net::UnixStream::pair()?);
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
