//! What becomes of stored profiles.

mod crash;
mod dead_logins;
mod logout;
mod refresh;
mod runtime_cache;
mod silent;
