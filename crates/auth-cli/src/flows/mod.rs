//! Procedures that several commands run.

pub mod import;
pub mod login;
pub mod model;
pub mod paste;
