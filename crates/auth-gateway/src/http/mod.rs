//! Requests and responses as bytes: checks, kept bodies, and inspection.

pub(crate) mod decode;
pub(crate) mod entry;
pub(crate) mod headers;
pub(crate) mod idle;
pub(crate) mod keep;
pub(crate) mod peek;
pub(crate) mod stall;
pub(crate) mod unpack;
pub(crate) mod veil;
