//! `models auth remove`.

use crate::args::{Global, RemoveArgs};
use crate::context::Context;
use crate::error::{CliError, Exit};

/// Not written yet.
pub fn run(_: &RemoveArgs, _: &Global, _: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::new(Exit::Usage, "not_covered", "this command is not written yet"))
}
