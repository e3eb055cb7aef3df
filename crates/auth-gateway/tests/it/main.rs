//! The gateway on real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod affinity;
mod entry;
mod failover;
mod http2;
mod looking;
mod secrets;
mod streams;
mod support;
