//! `audit`

use std::time::Duration;

use clap::Args;

use crate::host::duration::days;

/// `audit`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot audit
  clawdbot audit --since 7d
  clawdbot audit --json

What is left out is said first; `clawdbot settings set audit all` leaves nothing out.")]
pub struct AuditArgs {
    /// Only what happened since then: `7d`, `12h`; a bare number means days
    #[arg(long, value_name = "DURATION", value_parser = days)]
    pub since: Option<Duration>,
}
