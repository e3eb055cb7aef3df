//! The process that asks: our parent. Best effort; only Linux tells.

use std::fs;

use crate::host::context::Context;

/// The executable of the process that started this one; its name where the path is hidden. Our own
/// process that sends a refresh is told by its parent who asked.
pub(crate) fn program(context: &Context) -> Option<String> {
    if let Some(program) = context.env(ASKED_BY) {
        return Some(program.to_owned());
    }
    let process = format!("/proc/{}", parent()?);
    let path = fs::read_link(format!("{process}/exe")).ok();
    path.map(|path| path.to_string_lossy().into_owned())
        .or_else(|| auth_store::read_regular_text(format!("{process}/comm").as_ref()).ok())
        .map(|name| name.trim_end().to_owned())
}

/// The user who asks.
#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere users have no number")]
pub(crate) fn user() -> Option<u32> {
    Some(rustix::process::getuid().as_raw())
}

/// The user who asks.
#[cfg(not(unix))]
pub(crate) fn user() -> Option<u32> {
    None
}

#[cfg(unix)]
fn parent() -> Option<i32> {
    rustix::process::getppid().map(|id| id.as_raw_nonzero().get())
}

#[cfg(not(unix))]
fn parent() -> Option<i32> {
    None
}

/// By which the process that sends a refresh is told who asked for it.
pub(crate) const ASKED_BY: &str = "CLAWDBOT_ASKED_BY";
