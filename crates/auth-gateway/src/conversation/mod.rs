//! The conversation of a request, and the account it belongs to.

pub(crate) mod affinity;
pub(crate) mod facts;
pub(crate) mod learn;
