//! `completion` and `man`: what shells and `man` want to know of the command line.

use clap::CommandFactory as _;

use crate::cli::{Cli, CompletionArgs, ManArgs};
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};

/// Prints the completion script of a shell.
pub fn completion(args: &CompletionArgs, context: &Context) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "clawdbot", &mut script);
    context.write(&script)?;
    Ok(Exit::Done)
}

/// Prints the page of the program, or writes the pages of all commands into a directory.
pub fn man(args: &ManArgs, context: &Context) -> Result<Exit, CliError> {
    let Some(directory) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(CliError::stdout)?;
        context.write(&page)?;
        return Ok(Exit::Done);
    };
    let directory = context.user_path(directory);
    let written = std::fs::create_dir_all(&directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &directory));
    written.map_err(|error| {
        let message = format!("{}: {error}", directory.display());
        CliError::new(Exit::CannotWrite, "cannot_write", message).path(&directory)
    })?;
    context.print(format_args!("Written to {}.", context.display(&directory)))?;
    Ok(Exit::Done)
}
