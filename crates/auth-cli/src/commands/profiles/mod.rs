//! One file per command.

pub mod args;
pub mod cooldown;
pub mod destination;
pub mod list;
pub mod logout;
pub mod order;
pub mod refresh;
pub mod remove;
mod retry_merge;
