//! Where requests come in.

pub(crate) mod listeners;
pub(crate) mod server;
