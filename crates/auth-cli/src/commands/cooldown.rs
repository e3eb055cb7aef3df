//! `models auth cooldown`.

use crate::args::{CooldownClearArgs, Global, ListArgs};
use crate::context::Context;
use crate::error::{CliError, Exit};

/// Not written yet.
pub fn list(_: &ListArgs, _: &Global, _: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::new(Exit::Usage, "not_covered", "this command is not written yet"))
}

/// Not written yet.
pub fn clear(_: &CooldownClearArgs, _: &Global, _: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::new(Exit::Usage, "not_covered", "this command is not written yet"))
}
