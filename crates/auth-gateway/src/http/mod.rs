//! Requests and responses as bytes: what may come in, what is kept, what is looked at.

pub(crate) mod decode;
pub(crate) mod entry;
pub(crate) mod headers;
pub(crate) mod idle;
pub(crate) mod keep;
pub(crate) mod peek;
pub(crate) mod stall;
pub(crate) mod unpack;
pub(crate) mod veil;
