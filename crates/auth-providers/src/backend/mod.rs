//! The operations that work with an endpoint or with a plugin: refresh and revocation.

pub(crate) mod response;
pub(crate) mod revoke;
pub(crate) mod target;
