//! The one door by which this program starts others, or becomes one.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::Command;

/// A program that sees our environment as it is.
pub(crate) fn program(path: impl AsRef<OsStr>) -> Command {
    Command::new(path)
}

/// A program that sees this environment and nothing else.
pub(crate) fn program_seeing(path: impl AsRef<OsStr>, env: &[(OsString, OsString)]) -> Command {
    let mut command = program(path);
    command.env_clear().envs(env.iter().map(|(name, value)| (name, value)));
    command
}

/// Replaces this process by another program. Returns only if that is not possible.
#[cfg(unix)]
pub(crate) fn become_it(command: &mut Command) -> io::Error {
    crate::host::process::hardening::end();
    std::os::unix::process::CommandExt::exec(command)
}

/// Runs another program to its end, and ends as it did. Returns only if it could not be started.
#[cfg(not(unix))]
#[expect(clippy::exit, reason = "stands for exec: the other program's exit code is ours")]
pub(crate) fn become_it(command: &mut Command) -> io::Error {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}

/// Whether a file can be started.
#[cfg(unix)]
pub(crate) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Whether a file can be started.
#[cfg(not(unix))]
pub(crate) fn is_executable(path: &Path) -> bool {
    path.is_file()
}
