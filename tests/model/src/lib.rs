//! The refresh protocol and Clawdbot's directory lock as state machines, explored exhaustively:
//! every order in which three of our processes and two Clawdbots can act, with a kill between any
//! two steps.
//!
//! [`refresh`] is one model and [`directory`] the other; together they would have too many states,
//! and they meet in one place only: in the first, the directory is a lock that can be taken away.
//! [`mistakes`] are possible protocol errors, each of which must be found. `README.md` in this
//! crate lists the function of the code for each step, `docs/reliability.md` has the bounds and the
//! figures.

#![allow(clippy::cast_possible_truncation, reason = "small numbers, in states of few bytes")]

pub mod checks;
pub mod directory;
pub mod mistakes;
pub mod refresh;
pub mod report;
