//! This process and the programs it becomes.

pub mod forward;
pub mod hardening;
pub mod logging;
pub mod runtime;
