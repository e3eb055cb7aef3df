//! What a run does first if it does more than hand out a fresh token: nobody else may look into
//! its memory, and no limit on file sizes may end it in the middle of a write.
//!
//! The hot path does only [`close_memory`].

#[cfg(unix)]
use std::sync::{Arc, OnceLock};

#[cfg(unix)]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How much of us a crash could have put on the disk before [`start`].
#[cfg(unix)]
static CORE: OnceLock<Rlimit> = OnceLock::new();

/// No core dump; on Linux no debugger and no reading of `/proc/<pid>` by other processes of the
/// same user either (prctl(2), `PR_SET_DUMPABLE`). A write beyond a limit is an error (`EFBIG`)
/// from now on and not the end of the process. Best effort: a system that has no such thing is
/// no reason to fail.
pub fn start() {
    close_memory();
    #[cfg(unix)]
    {
        let before = getrlimit(Resource::Core);
        let none = Rlimit { current: Some(0), maximum: before.maximum };
        if setrlimit(Resource::Core, none).is_ok() {
            // A second start finds its own limit.
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

/// Gives the next program its limit back, right before we become it. The rest of what
/// [`start`] does ends with this program.
pub(crate) fn end() {
    #[cfg(unix)]
    if let Some(before) = CORE.get() {
        let _ = setrlimit(Resource::Core, *before);
    }
}

/// Hears SIGXFSZ, whose default is to end the process.
#[cfg(unix)]
fn survive_file_limits() {
    handle_signals([signal_hook::consts::SIGXFSZ]);
}

/// From now on these signals do not end this process; a program that it starts or becomes has the
/// defaults again. It takes no descriptor, and what cannot be had is no reason to fail.
#[cfg(unix)]
pub(crate) fn handle_signals(signals: impl IntoIterator<Item = i32>) {
    for signal in signals {
        let _ = signal_hook::flag::register(signal, Arc::default());
    }
}
