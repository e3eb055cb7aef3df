//! The process, the terminal and the operating system.

pub mod context;
pub mod duration;
pub mod error;
pub mod fallback_directories;
pub mod network;
pub mod other_tools;
pub mod paths;
pub mod process;
pub mod prompt;
pub mod remedy;
pub mod report;
pub mod settings;
pub mod shell_quote;
pub mod style;
pub mod text;
