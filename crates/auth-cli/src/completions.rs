//! `completion` and `man`: what shells and `man` want to know of the command line.

use clap::CommandFactory as _;

use crate::cli::{Cli, CompletionArgs, ManArgs};
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::report::Report;

/// Prints the completion script of a shell.
pub fn completion(args: &CompletionArgs) -> Report {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "clawdbot", &mut script);
    Report::raw(String::from_utf8_lossy(&script).into_owned())
}

/// Prints the page of the program, or writes the pages of all commands into a directory.
pub fn man(args: &ManArgs, context: &Context) -> Result<Report, CliError> {
    let Some(directory) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(CliError::stdout)?;
        return Ok(Report::raw(String::from_utf8_lossy(&page).into_owned()));
    };
    let directory = context.user_path(directory);
    auth_store::create_private_directory(&directory)?;
    let written = clap_mangen::generate_to(Cli::command(), &directory);
    written.map_err(|error| {
        let message = format!("{}: {error}", directory.display());
        CliError::new(Exit::CannotWrite, "cannot_write", message).path(&directory)
    })?;
    let mut report = Report::default();
    report.line(format_args!("Written to {}.", context.display(&directory)));
    Ok(report)
}
