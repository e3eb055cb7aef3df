//! The listener as browsers and attackers see it: raw sockets against the public API.
#![expect(clippy::unwrap_used, reason = "tests, with helpers beside them")]
#![expect(clippy::print_stderr, reason = "what was not tested must be seen")]

mod bind;
mod courier;
mod hostile;
mod load;
mod login;
mod support;
