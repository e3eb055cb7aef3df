//! The gateway on real sockets.

mod failover;
mod support;
