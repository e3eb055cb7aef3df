//! The Rust examples of the pages, compiled as examples of this crate. `cargo xtask tidy` finds a page that is missing.

#[doc = include_str!("../../docs/library.md")]
mod library {}
