//! What commands share about profiles.

pub mod key_reference;
pub mod login_method;
pub mod route;
pub mod runtime_cache;
pub mod save;
pub mod table;
pub mod view;
pub mod worker;
