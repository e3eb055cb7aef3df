//! `settings …`

use clap::{Args, Subcommand};

/// `settings …`
#[derive(Debug, Subcommand)]
pub enum SettingsCommand {
    /// One setting, or all of them
    #[command(after_help = "\
Examples:
  clawdbot settings get
  clawdbot settings get audit")]
    Get(GetArgs),
    /// Change a setting
    #[command(after_help = "\
Examples:
  clawdbot settings set audit all
  clawdbot settings set coexist never

`audit` is all, slow or off; `coexist` is auto, always or never.")]
    Set(SetArgs),
    /// Go back to the default of a setting
    #[command(after_help = "\
Example:
  clawdbot settings unset audit")]
    Unset(UnsetArgs),
}

/// `settings get`
#[derive(Args, Debug)]
pub struct GetArgs {
    /// The setting; without it all of them
    pub key: Option<String>,
}

/// `settings set`
#[derive(Args, Debug)]
pub struct SetArgs {
    /// The setting, such as `audit` or `gateway.NAME`
    pub key: String,
    /// Its value
    pub value: String,
}

/// `settings unset`
#[derive(Args, Debug)]
pub struct UnsetArgs {
    /// The setting
    pub key: String,
}
