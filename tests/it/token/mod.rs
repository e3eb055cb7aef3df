//! Which token is given out, and to which programs.

mod failover;
mod formats;
mod helpers;
mod integrations;
mod routing;
