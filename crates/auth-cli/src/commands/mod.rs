//! One file per command. Each takes its arguments and the outside world, and returns how the
//! program ends.

pub mod agents;
pub mod channels;
pub mod configure;
pub mod cooldown;
pub mod doctor;
pub mod explain;
pub mod git_credential;
pub mod import;
pub mod inject;
pub mod list;
pub mod login;
pub mod logout;
pub mod order;
pub mod paste;
pub(crate) mod plugin_login;
pub mod plugins;
pub mod plugins_check;
pub mod refresh;
pub mod remove;
pub mod report;
pub mod sessions;
pub mod status;
