//! `models auth setup-token`, `paste-token` and `paste-api-key`.

use crate::args::{Global, PasteApiKeyArgs, PasteTokenArgs, SetupTokenArgs};
use crate::context::Context;
use crate::error::{CliError, Exit};

/// Not written yet.
pub fn setup_token(_: &SetupTokenArgs, _: &Global, _: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::new(Exit::Usage, "not_covered", "this command is not written yet"))
}

/// Not written yet.
pub fn paste_token(_: &PasteTokenArgs, _: &Global, _: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::new(Exit::Usage, "not_covered", "this command is not written yet"))
}

/// Not written yet.
pub fn paste_api_key(_: &PasteApiKeyArgs, _: &Global, _: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::new(Exit::Usage, "not_covered", "this command is not written yet"))
}
