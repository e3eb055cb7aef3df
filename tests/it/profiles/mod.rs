//! What becomes of stored profiles.

mod crash;
mod logout;
mod refresh;
mod runtime_cache;
mod silent;
