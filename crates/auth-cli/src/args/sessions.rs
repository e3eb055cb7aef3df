//! `sessions …`

use clap::{Args, Subcommand};

/// `sessions …`
#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// Choose the model and profile of a conversation
    #[command(after_help = "\
Examples:
  clawdbot sessions model agent:main:main '/model Opus@anthropic:work'
  clawdbot sessions model agent:main:main default")]
    Model(SessionModelArgs),
    /// The model and profile a conversation uses
    Show(SessionShowArgs),
}

/// `sessions model`
#[derive(Args, Debug)]
pub struct SessionModelArgs {
    /// The key of the session
    pub key: String,
    /// `/model X@profile`, or `X@profile`
    pub directive: String,
}

/// `sessions show`
#[derive(Args, Debug)]
pub struct SessionShowArgs {
    /// The key of the session
    pub key: String,
}
