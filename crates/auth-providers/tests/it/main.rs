//! The login and refresh drivers through the public API: a real listener, and a fake issuer that is
//! a closure.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod catalogue;
mod device;
mod identity;
mod issuers;
mod login;
mod naming;
mod pending;
#[cfg(unix)]
mod plugin;
mod refresh;
mod revoke;
mod support;
mod token_source;
