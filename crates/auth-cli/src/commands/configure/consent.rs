//! Whether the user agrees to a change that was shown.

use crate::commands::configure::args::ConfigureArgs;
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::prompt;

/// Asks, unless `--yes` says so already.
pub(super) fn agreed(args: &ConfigureArgs, context: &Context) -> Result<bool, CliError> {
    if args.yes {
        return Ok(true);
    }
    if !context.terminal.stdin {
        return Err(CliError::usage("--yes is required when stdin is not a terminal")
            .hint("nothing was written; say so on the command line: add --yes"));
    }
    let response = prompt::line("Write this? [y/N] ", context)?;
    let agreed = matches!(response.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    if !agreed {
        context.say("Nothing was written.");
    }
    Ok(agreed)
}
