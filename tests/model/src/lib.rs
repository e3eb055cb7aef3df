//! The protocols as state machines.

pub mod mistakes;
pub mod refresh;
pub mod report;
