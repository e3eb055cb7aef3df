//! The binary `clawdbot`.

use std::ffi::OsString;
use std::process::ExitCode;

use auth_cli::commands::token;
use auth_cli::completions;
use auth_cli::host::context::Context;
use auth_cli::host::process::hardening;
use auth_cli::plugin_launcher;
use auth_cli::profiles::refresh_child;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Before anything is read. A program that we become (a plugin) is dumpable again.
    hardening::close_memory();
    let exit = match arguments.get(1) {
        Some(word) if word == refresh_child::WORD => {
            hardening::start();
            refresh_child::run(&arguments, &Context::real())
        }
        Some(word) if word == completions::WORD => {
            completions::answer(&arguments, &Context::real())
        }
        Some(word) if word == plugin_launcher::WORD => plugin_launcher::run(&arguments),
        _ => token::try_fast(&arguments).unwrap_or_else(|| {
            hardening::start();
            auth_cli::run(arguments, &Context::real())
        }),
    };
    ExitCode::from(exit)
}
