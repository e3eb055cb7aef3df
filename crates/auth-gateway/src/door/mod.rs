//! Listeners and the server.

pub(crate) mod listeners;
pub(crate) mod server;
