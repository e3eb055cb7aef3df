//! What commands share about profiles.

pub mod cooldowns;
pub mod key_reference;
pub mod login_method;
pub mod obtain;
pub mod route;
pub mod runtime_cache;
pub mod save;
pub mod table;
pub mod token_output;
pub mod view;
pub mod worker;
