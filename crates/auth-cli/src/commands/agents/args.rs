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
    /// Make an agent: its entry in the config, its folders, the messages it gets
    Add(AgentsAddArgs),
    /// Delete an agent; a copy of its credentials and sessions is kept
    Delete(AgentsDeleteArgs),
    /// Let an agent use the profiles of another one, or end that
    Share(AgentsShareArgs),
}

/// `agents list`
#[derive(Args, Debug, Default)]
pub struct AgentsListArgs {
    /// Which messages each of them gets
    #[arg(long)]
    pub bindings: bool,
}

/// `agents add`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot agents add work --workspace ~/clawd-work
  clawdbot agents add work --workspace ~/clawd-work --bind telegram:biz --model openai/gpt-5.2
  clawdbot agents add work --workspace ~/clawd-work --login openai-codex

Without --workspace it asks, if stdin is a terminal.")]
pub struct AgentsAddArgs {
    /// Its name; the id is made of it
    pub name: Option<String>,
    /// The folder it works in
    #[arg(long, value_name = "DIR")]
    pub workspace: Option<String>,
    /// The model it uses, instead of the default one
    #[arg(long, value_name = "ID")]
    pub model: Option<String>,
    /// Where its credentials are, if not in the state directory
    #[arg(long, value_name = "DIR")]
    pub agent_dir: Option<String>,
    /// The messages it gets: a channel, or one account of it (may be repeated)
    #[arg(long, value_name = "CHANNEL[:ACCOUNT]")]
    pub bind: Vec<String>,
    /// Log in to this provider right away
    #[arg(long, value_name = "PROVIDER")]
    pub login: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub non_interactive: bool,
}

/// `agents delete`
#[derive(Args, Debug)]
#[command(after_help = "\
Its entry in the config, its rules, its credentials and its sessions go; its workspace stays.
What is deleted is kept beside the agents, and the output says how to bring it back.")]
pub struct AgentsDeleteArgs {
    /// The agent
    pub id: String,
    /// Do not ask
    #[arg(long, visible_alias = "yes")]
    pub force: bool,
    /// Tell the providers that its logins have ended
    #[arg(long)]
    pub revoke: bool,
}

/// `agents share`
#[derive(Args, Debug)]
#[command(after_help = "\
Nothing is copied: the agent reads the other's profiles, and they are refreshed there. An agent
that does not share sees its own profiles only.

Examples:
  clawdbot agents share work --from main
  clawdbot agents share work --none
  clawdbot agents share work            whom it reads from now")]
pub struct AgentsShareArgs {
    /// The agent that shall see them
    pub id: String,
    /// The agent that has them
    #[arg(long, value_name = "AGENT", conflicts_with = "none")]
    pub from: Option<String>,
    /// Its own profiles only
    #[arg(long)]
    pub none: bool,
}
