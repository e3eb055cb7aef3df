//! The foundation of the whole-program tests.
//!
//! - [`issuer`]: a test authorization server that forgets nothing and fails on command;
//! - [`user`]: a scripted user who reads an authorization server's pages, logs in and consents or
//!   refuses;
//! - [`sandbox`]: a temporary home in which the real binary runs;
//! - [`peer`]: the certified server of `tests/peers/oidc-provider`;
//! - [`upstream`]: a model provider that fails on command;
//! - [`clawdbot`]: a writer that behaves like Clawdbot, with its lock;
//! - [`transcript`]: recorded commands and their output, replayed;
//! - [`recording`]: a transcript as an animated picture;
//! - [`mod@reference`]: the commands as a page of documentation;
//! - [`browser`]: a real Chromium;
//! - [`tmux`]: a real terminal;
//! - `two_users`: two users of one machine, one of whom attacks the other;
//! - [`http`]: the minimal HTTP/1.1 that the others need.
//!
//! Nothing here sleeps: every wait is for an event, with a deadline that only a hang can reach.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on stops, and says where"
)]

use sha2::{Digest, Sha256};
use std::time::{Duration, SystemTime};

pub mod browser;
pub mod clawdbot;
pub mod html;
pub mod http;
pub mod issuer;
#[cfg(doctest)]
mod pages;
pub mod peer;
pub mod recording;
pub mod reference;
pub mod sandbox;
pub mod tmux;
pub mod transcript;
#[cfg(unix)]
pub mod two_users;
pub mod upstream;
pub mod user;

/// The deadline after which we assume a hang. Otherwise no test depends on it.
pub const TIMEOUT: Duration = Duration::from_secs(90);

/// The wall clock in milliseconds since the epoch, as the binary under test sees it.
#[expect(clippy::disallowed_methods, reason = "the one place the tests ask what time it is")]
pub fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    u64::try_from(elapsed.as_millis()).expect("a time that fits 64 bits")
}

/// The SHA-256 of a text in lower-case hexadecimal.
pub fn sha256_hex(text: &str) -> String {
    let digits = Sha256::digest(text).into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}
