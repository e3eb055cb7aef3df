//! What several commands run.

pub mod import;
pub mod paste;
