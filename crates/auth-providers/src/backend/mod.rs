//! An endpoint or a plugin: what is asked of either.

pub(crate) mod revoke;
