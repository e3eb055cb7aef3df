//! A request on its way to a provider, and the response on its way back.

mod admission;
pub(crate) mod failover;
pub(crate) mod order;
pub(crate) mod passing_on;
pub(crate) mod relay;
