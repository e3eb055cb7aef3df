//! Logging in: in a browser, with a device code, or by pasting.

pub(crate) mod authorization;
pub(crate) mod browser;
pub(crate) mod device;
pub(crate) mod device_code;
pub(crate) mod pasted;
pub(crate) mod pending;
pub(crate) mod profile_id;
pub(crate) mod token_exchange;
