//! The Rust examples of the documentation pages, compiled as examples of this crate. `cargo xtask
//! tidy` finds a missing page.

#[doc = include_str!("../../docs/library.md")]
mod library {}
