//! Stored profiles: refresh, logout, crashes, the runtime cache.

mod crash;
mod logout;
mod refresh;
mod runtime_cache;
