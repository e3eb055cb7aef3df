//! Which conversation a request belongs to, and which account has it.

pub(crate) mod affinity;
pub(crate) mod facts;
pub(crate) mod learn;
