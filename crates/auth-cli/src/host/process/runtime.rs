//! Where futures run: a runtime for this thread, made when it is needed.

use std::io;

use crate::host::error::{CliError, Exit};

/// Runs `future` on a runtime of its own.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = runtime().map_err(|error| not_started(&error))?;
    Ok(runtime.block_on(future))
}

/// A runtime for this thread.
pub(crate) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    // tokio panics where it cannot have such a pair for its signals. A process without a free
    // descriptor gets an error instead.
    #[cfg(unix)]
    drop(std::os::unix::net::UnixStream::pair()?);
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

pub(crate) fn not_started(error: &io::Error) -> CliError {
    CliError::new(Exit::TryLater, "no_runtime", format!("could not start: {error}"))
}
