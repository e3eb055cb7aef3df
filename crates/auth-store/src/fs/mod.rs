//! The only folder besides `clawdbot_lock` that touches the disk.

pub(crate) mod atomic;
pub(crate) mod exists;
pub(crate) mod flock;
pub(crate) mod journal;
pub(crate) mod locate;
pub(crate) mod open;
pub(crate) mod owner;
pub(crate) mod reserved;
pub(crate) mod stamp;

pub(crate) use std::fs::{File, Metadata};
