//! This process and the programs it becomes.

pub mod forward;
pub mod hardening;
pub mod launch;
pub mod logging;
pub mod runtime;
