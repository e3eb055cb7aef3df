//! Which token is given out, and to which programs.

mod failover;
mod plug_in;
mod routing;
