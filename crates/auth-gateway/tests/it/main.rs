//! The gateway on real sockets.

mod affinity;
mod entry;
mod failover;
mod secrets;
mod streams;
mod support;
