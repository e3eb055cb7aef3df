//! One file per command.

pub mod add;
pub mod args;
pub mod bindings;
pub mod delete;
pub mod list;
pub mod share;
