//! `channels list`.

use crate::args::{ChannelsListArgs, Global};
use crate::context::Context;
use crate::error::{CliError, Exit};

/// Not written yet.
pub fn list(_: &ChannelsListArgs, _: &Global, _: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::new(Exit::Usage, "not_covered", "this command is not written yet"))
}
