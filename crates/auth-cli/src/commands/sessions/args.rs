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
    /// The conversations of an agent, and the model and profile of each
    List,
    /// The model and profile a conversation uses
    Show(SessionArgs),
    /// End what was chosen for a conversation: its model, and its pin to a profile
    Clear(SessionArgs),
}

/// `sessions model`
#[derive(Args, Debug)]
pub struct SessionModelArgs {
    /// The key of the session
    pub key: String,
    /// `/model X@profile`, or `X@profile`; `@profile` keeps the model, `default` ends the choice
    pub directive: String,
}

/// `sessions show|clear`
#[derive(Args, Debug)]
pub struct SessionArgs {
    /// The key of the session
    pub key: String,
}
