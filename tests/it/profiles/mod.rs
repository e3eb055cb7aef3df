//! Stored profiles: refresh, logout, crashes, the runtime cache.

mod crash;
mod dead_logins;
mod logout;
mod refresh;
mod runtime_cache;
mod silent;
