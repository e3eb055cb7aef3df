//! `models auth token`.

use std::ffi::OsString;

use crate::args::{Global, TokenArgs};
use crate::context::Context;
use crate::error::{CliError, Exit};

/// The exit code, if the request could be served without anything but the store.
pub fn try_fast(_: &[OsString]) -> Option<u8> {
    None
}

/// Not written yet.
pub fn run(_: &TokenArgs, _: &Global, _: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::new(Exit::Usage, "not_covered", "this command is not written yet"))
}
