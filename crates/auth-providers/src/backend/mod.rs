//! An endpoint or a plugin: what is asked of either.

pub(crate) mod response;
pub(crate) mod revoke;
pub(crate) mod target;
