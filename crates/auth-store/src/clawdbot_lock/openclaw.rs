//! The lock file of later OpenClaw versions: reads its holder, and checks whether that process is
//! alive.

use std::path::Path;

use serde::Deserialize;

use crate::fs::open::read_of_kernel;

/// The holder that the lock file names.
#[doc(hidden)]
pub fn holder_of_lock(bytes: &[u8]) -> Option<LockHolder> {
    serde_json::from_slice(bytes).ok()
}

/// The content of such a lock file.
#[doc(hidden)]
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockHolder {
    pub(crate) pid: i32,
    /// In clock ticks since boot, on Linux only. A later process with the same id has another start
    /// time.
    #[serde(default, alias = "starttime")]
    start_time: serde_json::Value,
}

impl LockHolder {
    /// Whether the process is still running.
    pub(crate) fn is_alive(&self) -> bool {
        let is_another = |process: &Process| {
            let recorded = self.start_time.as_u64();
            recorded.is_some_and(|recorded| recorded != process.start_time)
        };
        is_alive(self.pid)
            && Process::with_id(self.pid).is_none_or(|it| !it.has_ended && !is_another(&it))
    }
}

/// What Linux reports about a process (`proc_pid_stat(5)`).
pub(crate) struct Process {
    pub(crate) has_ended: bool,
    pub(crate) start_time: u64,
}

impl Process {
    /// `None` on other systems, and for a process that we cannot see.
    pub(crate) fn with_id(pid: i32) -> Option<Self> {
        if !cfg!(target_os = "linux") {
            return None;
        }
        let stat = read_of_kernel(Path::new(&format!("/proc/{pid}/stat"))).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        // The name, in parentheses, may contain any characters.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let has_ended = matches!(fields.next()?, "Z" | "X");
        // Field 22; the third was the state.
        Some(Self { has_ended, start_time: fields.nth(18)?.parse().ok()? })
    }
}

fn is_alive(pid: i32) -> bool {
    #[cfg(unix)]
    {
        rustix::process::Pid::from_raw(pid).is_some_and(|pid| {
            rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
        })
    }
    #[cfg(not(unix))]
    {
        let _ = pid;
        true
    }
}
