//! The protocols as state machines.

pub mod directory;
pub mod mistakes;
pub mod refresh;
pub mod report;
