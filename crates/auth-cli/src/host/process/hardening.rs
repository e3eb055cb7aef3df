//! Process hardening for every run that does more than print a fresh token: no other process may
//! read its memory, and no limit on file sizes may end it in the middle of a write.
//!
//! The hot path does only [`close_memory`].

#[cfg(unix)]
use std::sync::{Arc, OnceLock};

#[cfg(unix)]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The core dump limit before [`start`].
#[cfg(unix)]
static CORE: OnceLock<Rlimit> = OnceLock::new();

/// Disables core dumps; on Linux also debuggers and reading `/proc/<pid>` by other processes of the
/// same user (prctl(2), `PR_SET_DUMPABLE`). From now on a write beyond a limit is an error
/// (`EFBIG`) and does not end the process. Best effort: a system without these features is not an
/// error.
pub fn start() {
    close_memory();
    #[cfg(unix)]
    {
        let before = getrlimit(Resource::Core);
        let none = Rlimit { current: Some(0), maximum: before.maximum };
        if setrlimit(Resource::Core, none).is_ok() {
            // A second start must not record its own limit.
            let _ = CORE.set(before);
        }
        survive_file_limits();
    }
}

/// On Linux no core dump, no debugger and no reading of `/proc/<pid>` by other processes of the same
/// user (prctl(2), `PR_SET_DUMPABLE`): one system call, so the hot path has it too.
pub fn close_memory() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Restores the limit right before this process becomes another program. The other effects of
/// [`start`] end with this program.
pub(crate) fn end() {
    #[cfg(unix)]
    if let Some(before) = CORE.get() {
        let _ = setrlimit(Resource::Core, *before);
    }
}

/// Handles SIGXFSZ, whose default is to end the process.
#[cfg(unix)]
fn survive_file_limits() {
    handle_signals([signal_hook::consts::SIGXFSZ]);
}

/// From now on these signals do not end this process; a program that it starts or becomes has the
/// defaults again. This uses no file descriptor, and a signal that cannot be handled is not an
/// error.
#[cfg(unix)]
pub(crate) fn handle_signals(signals: impl IntoIterator<Item = i32>) {
    for signal in signals {
        let _ = signal_hook::flag::register(signal, Arc::default());
    }
}
