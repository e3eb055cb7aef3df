//! The only module that starts other programs, or replaces this process with one.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::Command;

/// A program with our environment unchanged.
pub(crate) fn program(path: impl AsRef<OsStr>) -> Command {
    Command::new(path)
}

/// A program with only this environment.
pub(crate) fn program_seeing(path: impl AsRef<OsStr>, env: &[(OsString, OsString)]) -> Command {
    let mut command = program(path);
    command.env_clear().envs(env.iter().map(|(name, value)| (name, value)));
    command
}

/// Replaces this process with another program. Returns only if that fails.
#[cfg(unix)]
pub(crate) fn become_it(command: &mut Command) -> io::Error {
    crate::host::process::hardening::end();
    std::os::unix::process::CommandExt::exec(command)
}

/// Runs another program to its end, and exits with its exit code. Returns only if it could not be
/// started.
#[cfg(not(unix))]
#[expect(clippy::exit, reason = "stands for exec: the other program's exit code is ours")]
pub(crate) fn become_it(command: &mut Command) -> io::Error {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}

/// Whether a file is executable.
#[cfg(unix)]
pub(crate) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Whether a file is executable.
#[cfg(not(unix))]
pub(crate) fn is_executable(path: &Path) -> bool {
    path.is_file()
}
