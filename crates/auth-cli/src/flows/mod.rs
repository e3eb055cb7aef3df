//! Procedures that several commands run.

pub(crate) mod gateway;
pub mod import;
pub mod login;
pub mod model;
pub mod paste;
