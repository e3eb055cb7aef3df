//! `sessions`.

use crate::args::{Global, SessionModelArgs, SessionShowArgs};
use crate::context::Context;
use crate::error::{CliError, Exit};

/// Not written yet.
pub fn model(_: &SessionModelArgs, _: &Global, _: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::new(Exit::Usage, "not_covered", "this command is not written yet"))
}

/// Not written yet.
pub fn show(_: &SessionShowArgs, _: &Global, _: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::new(Exit::Usage, "not_covered", "this command is not written yet"))
}
