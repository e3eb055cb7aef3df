//! A request on its way to a provider, and its response on the way back.

mod admission;
pub(crate) mod failover;
pub(crate) mod order;
pub(crate) mod passing_on;
pub(crate) mod relay;
