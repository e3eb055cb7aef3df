//! The only folder besides `clawdbot_lock` that touches the disk.

#[cfg(unix)]
pub(crate) mod accounts;
pub(crate) mod atomic;
pub(crate) mod exists;
pub(crate) mod flock;
pub(crate) mod journal;
pub(crate) mod links;
pub(crate) mod locate;
pub(crate) mod open;
pub(crate) mod owner;
pub(crate) mod program;
pub(crate) mod reserved;
pub(crate) mod root;
pub(crate) mod stamp;

pub(crate) use std::fs::{File, Metadata};
