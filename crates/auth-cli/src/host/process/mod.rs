//! This process, and the programs it starts or becomes.

pub mod browser;
pub mod forward;
pub mod hardening;
pub mod launch;
pub mod logging;
pub mod runtime;
