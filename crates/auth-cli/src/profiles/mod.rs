//! Code about profiles that commands share.

pub mod audit;
pub mod cooldowns;
pub(crate) mod kept;
pub mod key_reference;
pub mod login_method;
pub mod obtain;
pub mod refresh_child;
pub mod refresh_error;
pub(crate) mod remote;
pub mod route;
pub mod runtime_cache;
pub mod save;
pub mod sink;
pub mod standing;
pub mod table;
pub mod token_output;
pub mod view;
