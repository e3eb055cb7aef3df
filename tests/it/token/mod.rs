//! Token output: which token is chosen, and for which programs.

mod failover;
mod integrations;
mod routing;
