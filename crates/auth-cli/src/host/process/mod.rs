//! This process, and the programs it starts or becomes.

pub mod browser;
pub(crate) mod environment;
pub mod forward;
pub mod hardening;
pub mod launch;
pub mod logging;
pub(crate) mod notify;
pub mod parent;
pub mod runtime;
pub(crate) mod state;
