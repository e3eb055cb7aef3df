//! The whole-program tests: the real binary against the test issuer and against a certified one.
//! There is one folder for each folder of `commands/` in the command line; `program/` has the tests
//! that concern all commands.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod agents;
mod configure;
mod doctor;
mod login;
#[cfg(unix)]
mod plugins;
mod profiles;
mod program;
#[cfg(unix)]
mod security;
#[cfg(unix)]
mod serve;
mod sessions;
mod token;
