//! What runs a request in a thread that has no runtime.

use std::io;

/// A runtime for this thread.
///
/// # Errors
/// The process has no descriptors left.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    // tokio panics where it cannot have such a pair for its signals.
    #[cfg(unix)]
    drop(std::os::unix::net::UnixStream::pair()?);
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
