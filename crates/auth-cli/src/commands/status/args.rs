//! `models status` and `channels`.

use clap::{Args, Subcommand};

/// `models status`
#[derive(Args, Debug, Default)]
#[command(after_help = "\
Examples:
  clawdbot models status
  clawdbot models status --probe
  clawdbot models status --check || echo 'somebody has to log in'
  clawdbot models status --json | jq '.auth.oauth.profiles[] | {profileId, access, refresh}'

With --check the exit code is 1 if a credential expired or is missing, 2 if one expires soon.")]
pub struct StatusArgs {
    /// Only the default model
    #[arg(long)]
    pub plain: bool,
    /// Exit 1 if a credential expired or is missing, 2 if one expires within a day
    #[arg(long)]
    pub check: bool,
    /// Ask the providers whether the credentials work: one request each, that reads and costs
    /// nothing; nothing is renewed
    #[arg(long)]
    pub probe: bool,
    /// Probe this provider only
    #[arg(long, value_name = "NAME")]
    pub probe_provider: Option<String>,
    /// Probe these profiles only (may be repeated, or a list with commas)
    #[arg(long, value_name = "ID")]
    pub probe_profile: Vec<String>,
    /// How long one probe may take, in milliseconds; without it 8000
    #[arg(long, value_name = "MS")]
    pub probe_timeout: Option<u64>,
    /// How many probes at once; without it 2
    #[arg(long, value_name = "N")]
    pub probe_concurrency: Option<u32>,
    /// Accepted for scripts; our probes cost no tokens
    #[arg(long, value_name = "N")]
    pub probe_max_tokens: Option<u32>,
}

/// `channels …`
#[derive(Debug, Subcommand)]
pub enum ChannelsCommand {
    /// The credentials that are stored
    List(ChannelsListArgs),
}

/// `channels list`
#[derive(Args, Debug)]
pub struct ChannelsListArgs {
    /// Do not ask the providers how much was used (we never do)
    #[arg(long)]
    pub no_usage: bool,
}
