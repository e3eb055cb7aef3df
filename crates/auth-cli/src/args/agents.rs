//! `agents …`

use clap::{Args, Subcommand};

/// `agents …`; alone it is `agents list`.
#[derive(Args, Debug)]
pub struct AgentsArgs {
    /// The command.
    #[command(subcommand)]
    pub command: Option<AgentsCommand>,
}

/// `agents …`
#[derive(Debug, Subcommand)]
pub enum AgentsCommand {
    /// The agents there are
    List(AgentsListArgs),
}

/// `agents list`
#[derive(Args, Debug, Default)]
pub struct AgentsListArgs {
    /// Which messages each of them gets
    #[arg(long)]
    pub bindings: bool,
}
