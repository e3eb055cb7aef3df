//! `models status` and `channels`.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::host::duration::seconds;

/// `models status`
#[derive(Args, Debug, Default)]
#[command(after_help = "\
Examples:
  clawdbot models status
  clawdbot models status --probe
  clawdbot models status --check --within 7d || echo 'log in again'
  clawdbot models status --json | jq '.auth.oauth.profiles[] | {profileId, access, refresh}'

With --check the exit code is 0 if every provider that the config or an order names can hand out a
token now, 1 if one cannot, 2 if a credential that cannot renew itself expires within 24 hours.")]
pub struct StatusArgs {
    /// Only the default model
    #[arg(long)]
    pub plain: bool,
    /// Exit 1 if a provider in use has no usable credential, 2 if one that cannot renew itself expires soon
    #[arg(long)]
    pub check: bool,
    /// What "soon" means for --check: `24h`, `7d`; a bare number means seconds
    #[arg(long, value_name = "DURATION", value_parser = seconds, requires = "check")]
    pub within: Option<Duration>,
    /// One word for a shell prompt: the profile in use, or the provider with `!` if there is none
    #[arg(long, conflicts_with_all = ["plain", "probe"])]
    pub short: bool,
    /// Show the status again whenever it changes, until Ctrl-C
    #[arg(long, conflicts_with_all = ["plain", "check", "short", "probe"])]
    pub watch: bool,
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
