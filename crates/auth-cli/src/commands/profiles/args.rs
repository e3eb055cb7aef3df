//! `models auth …`: what is stored, in which order, and why.

use clap::{Args, Subcommand};

/// `models auth list`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot models auth list
  clawdbot models auth list --provider anthropic --json")]
pub struct ListArgs {
    /// This provider only
    #[arg(value_name = "PROVIDER", conflicts_with = "provider")]
    pub named: Option<String>,
    /// This provider only
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
}

/// `models auth logout`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot models auth logout openai-codex:me@example.com
  clawdbot models auth logout --all

The profile is always removed here; exit code 5 says that the provider could not be told.")]
pub struct LogoutArgs {
    /// The profile
    #[arg(required_unless_present = "all")]
    pub profile: Option<String>,
    /// Every profile of the agent
    #[arg(long, conflicts_with = "profile")]
    pub all: bool,
    /// Do not ask first (nothing is asked; accepted for scripts)
    #[arg(long, hide = true)]
    pub yes: bool,
}

/// `models auth remove`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot models auth remove anthropic:old-token
  clawdbot models auth remove anthropic:old-token --undo     (within a day)")]
pub struct RemoveArgs {
    /// The profile
    pub profile: String,
    /// Do not ask first
    #[arg(long)]
    pub yes: bool,
    /// Bring back a profile that was removed within a day
    #[arg(long)]
    pub undo: bool,
}

/// `models auth refresh`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot models auth refresh
  clawdbot models auth refresh openai-codex:work --force
  clawdbot models auth refresh openai-codex:work --retry-merge
  clawdbot models auth refresh --all-agents      (from cron)")]
pub struct RefreshArgs {
    /// The profiles; without any, whatever is about to expire
    pub profiles: Vec<String>,
    /// Only what is about to expire, which is what happens without any of these
    #[arg(long, conflicts_with = "force")]
    pub due: bool,
    /// Send the refresh token although the access token is fresh, or the token was refused before
    #[arg(long)]
    pub force: bool,
    /// Send nothing: show what is known of a response that could not be read and is kept, and merge
    /// it if it can be read by now
    #[arg(long, requires = "profiles", conflicts_with_all = ["due", "force", "all_agents"])]
    pub retry_merge: bool,
    /// Say nothing unless a refresh failed: for cron
    #[arg(long, short)]
    pub quiet: bool,
    /// Every agent's profiles
    #[arg(long, conflicts_with = "agent")]
    pub all_agents: bool,
}

/// `models auth order …`
#[derive(Debug, Subcommand)]
pub enum OrderCommand {
    /// The agent's own order for a provider
    Get(OrderArgs),
    /// Set the agent's own order: these profiles, in this order, and no others
    #[command(after_help = "\
Example:
  clawdbot models auth order set --provider anthropic anthropic:work anthropic:home")]
    Set(OrderSetArgs),
    /// Add profiles at the end of the agent's own order, or with --first at its start
    #[command(after_help = "\
Example:
  clawdbot models auth order add openai-codex:home")]
    Add(OrderChangeArgs),
    /// Remove profiles from the agent's own order
    #[command(after_help = "\
Example:
  clawdbot models auth order remove openai-codex:home")]
    Remove(OrderChangeArgs),
    /// Go back to the config's order, or to the default one
    Clear(OrderArgs),
}

/// `models auth order get|clear`
#[derive(Args, Debug)]
pub struct OrderArgs {
    /// The provider
    #[arg(long, value_name = "NAME")]
    pub provider: String,
}

/// `models auth order set`
#[derive(Args, Debug)]
pub struct OrderSetArgs {
    /// The provider
    #[arg(long, value_name = "NAME")]
    pub provider: String,
    /// The profiles, the preferred one first
    #[arg(required = true, value_name = "PROFILE")]
    pub profiles: Vec<String>,
}

/// `models auth destination …`
#[derive(Debug, Subcommand)]
pub enum DestinationCommand {
    /// Where its secrets may be sent to, and what the provider's entry names beside that
    #[command(after_help = "\
Example:
  clawdbot models auth destination show acme:me")]
    Show(DestinationArgs),
    /// Let its secrets be sent to every origin that the provider's entry names now
    #[command(after_help = "\
Example:
  clawdbot models auth destination accept acme:me

Look at them first: clawdbot models auth destination show acme:me")]
    Accept(DestinationArgs),
}

/// `models auth destination show|accept`
#[derive(Args, Debug)]
pub struct DestinationArgs {
    /// The profile
    pub profile: String,
}

/// `models auth order add|remove`
#[derive(Args, Debug)]
pub struct OrderChangeArgs {
    /// The provider; without it, that of the first profile
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
    /// The profiles
    #[arg(required = true, value_name = "PROFILE")]
    pub profiles: Vec<String>,
    /// At the start of the order
    #[arg(long)]
    pub first: bool,
}

/// `use`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot use openai-codex:work
  clawdbot use                      (choose from a list)

The profile is put first in the agent's own order of its provider; the others follow as before.")]
pub struct UseArgs {
    /// The profile
    pub profile: Option<String>,
}

/// `models auth cooldown …`
#[derive(Debug, Subcommand)]
pub enum CooldownCommand {
    /// List the profiles in cooldown, why and until when
    List(ListArgs),
    /// End the cooldown of profiles, for every model
    Clear(CooldownClearArgs),
}

/// `models auth cooldown clear`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot models auth cooldown clear openai:default
  clawdbot models auth cooldown clear openai:default --model gpt-5
  clawdbot models auth cooldown clear --all")]
pub struct CooldownClearArgs {
    /// The profiles
    #[arg(required_unless_present = "all", value_name = "PROFILE")]
    pub profiles: Vec<String>,
    /// Every profile of the agent
    #[arg(long, conflicts_with = "profiles")]
    pub all: bool,
    /// Only the cooldown of this model
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
}
