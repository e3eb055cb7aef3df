//! Which token is given out, and to which programs.

mod failover;
mod integrations;
mod routing;
