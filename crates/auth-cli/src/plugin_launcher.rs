//! The start of a plugin: this program, before it becomes the plugin. It leaves the terminal's
//! session, which only a process itself can do, so that a plugin has no access to the terminal.

use std::ffi::OsString;

#[cfg(unix)]
use crate::host::process::launch::Program;

/// The first argument, before the path of the plugin. It is for internal use.
pub const WORD: &str = auth_providers::plugin::LAUNCH;

/// Becomes the plugin. Returns only if that fails.
#[cfg(unix)]
pub fn run(arguments: &[OsString]) -> u8 {
    use std::io::Write as _;
    use std::os::unix::process::CommandExt as _;

    let [_, _, path] = arguments else { return crate::host::error::Exit::Usage as u8 };
    let _ = rustix::process::setsid();
    let program = match Program::at(std::path::Path::new(path)) {
        Ok(program) => program,
        Err(reason) => {
            let _nobody_listens = writeln!(std::io::stderr(), "it is not started: {reason}");
            return crate::host::error::Exit::Usage as u8;
        }
    };
    let mut error = program.command_with_everything().exec();
    for _ in 0..20 {
        if error.kind() != std::io::ErrorKind::ExecutableFileBusy {
            break;
        }
        // Another process still has the file open for writing, if only for a moment.
        std::thread::sleep(std::time::Duration::from_millis(10));
        error = program.command_with_everything().exec();
    }
    let _nobody_listens = writeln!(std::io::stderr(), "it cannot be started: {error}");
    crate::host::error::Exit::Usage as u8
}

/// This platform does not support it.
#[cfg(not(unix))]
pub fn run(_: &[OsString]) -> u8 {
    crate::host::error::Exit::Usage as u8
}
