//! The whole-program tests: the real binary against our issuer and against a certified one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod agents;
mod canary;
mod certified;
mod codex;
mod config;
mod crash;
mod django;
mod doctor;
mod failover;
mod files;
mod goldens;
#[cfg(unix)]
mod hints;
mod import;
mod injection;
mod login;
mod login_page;
mod logout;
mod mistakes;
#[cfg(unix)]
mod odd_files;
#[cfg(unix)]
mod pages;
mod paste;
mod plug_in;
#[cfg(unix)]
mod plugins;
mod providers;
mod refresh;
mod routing;
mod runtime_cache;
mod sessions;
mod shell;
mod terminal;
mod tools;
mod written;
