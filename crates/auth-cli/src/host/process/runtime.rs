//! A runtime for this thread, created when it is needed.

use std::io;

use auth_providers::runtime;

use crate::host::error::{CliError, Exit};

/// Runs `future` on a new runtime.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = runtime().map_err(|error| not_started(&error))?;
    Ok(runtime.block_on(future))
}

pub(crate) fn not_started(error: &io::Error) -> CliError {
    CliError::new(Exit::TryLater, "no_runtime", format!("could not start: {error}"))
}
