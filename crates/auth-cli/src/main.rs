//! The binary `clawdbot`.

use std::ffi::OsString;
use std::process::ExitCode;

use auth_cli::context::Context;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let exit = auth_cli::token::try_fast(&arguments)
        .unwrap_or_else(|| auth_cli::run(arguments, &mut Context::real()));
    ExitCode::from(exit)
}
