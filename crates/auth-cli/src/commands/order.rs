//! `models auth order`.

use crate::args::{Global, OrderArgs, OrderSetArgs};
use crate::context::Context;
use crate::error::{CliError, Exit};

/// Not written yet.
pub fn get(_: &OrderArgs, _: &Global, _: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::new(Exit::Usage, "not_covered", "this command is not written yet"))
}

/// Not written yet.
pub fn set(_: &OrderSetArgs, _: &Global, _: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::new(Exit::Usage, "not_covered", "this command is not written yet"))
}

/// Not written yet.
pub fn clear(_: &OrderArgs, _: &Global, _: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::new(Exit::Usage, "not_covered", "this command is not written yet"))
}
