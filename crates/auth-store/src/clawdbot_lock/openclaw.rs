//! The holder of OpenClaw's later lock, which is a regular file: who it is, and whether it lives.

use std::path::Path;

use serde::Deserialize;

use crate::fs::open::read_regular;

/// Who holds a lock of that kind, if the file says it.
#[doc(hidden)]
pub fn holder_of_lock(bytes: &[u8]) -> Option<LockHolder> {
    serde_json::from_slice(bytes).ok()
}

/// What OpenClaw writes into such a lock.
#[doc(hidden)]
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockHolder {
    pub(crate) pid: i32,
    /// In clock ticks since the machine started, on Linux only: another process that was given the
    /// same id later has another one.
    #[serde(default)]
    start_time: serde_json::Value,
}

impl LockHolder {
    /// Whether the process that wrote it still runs.
    pub(crate) fn is_alive(&self) -> bool {
        let is_another = |process: &Process| {
            let recorded = self.start_time.as_u64();
            recorded.is_some_and(|recorded| recorded != process.start_time)
        };
        is_alive(self.pid)
            && Process::of(self.pid).is_none_or(|it| !it.has_ended && !is_another(&it))
    }
}

/// What Linux tells about a process (`proc_pid_stat(5)`).
pub(crate) struct Process {
    pub(crate) has_ended: bool,
    pub(crate) start_time: u64,
}

impl Process {
    /// `None` where nothing is told: another system, or a process that is hidden from us.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        if !cfg!(target_os = "linux") {
            return None;
        }
        let stat = read_regular(Path::new(&format!("/proc/{pid}/stat"))).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        // The name, in parentheses, may have any characters in it.
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
