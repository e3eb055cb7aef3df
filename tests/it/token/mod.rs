//! Token output: which token is chosen, and for which programs.

mod failover;
mod formats;
mod helpers;
mod integrations;
mod routing;
