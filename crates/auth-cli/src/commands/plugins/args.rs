//! `plugins …`

use std::time::Duration;

use crate::host::duration::seconds;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `plugins …`
#[derive(Debug, Subcommand)]
pub enum PluginsCommand {
    /// The providers there are, where each comes from, and whether the programs among them work
    List,
    /// Plays the protocol with a plugin, for those who write one
    Check(PluginsCheckArgs),
}

/// `plugins check`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot plugins check ./clawdbot-provider-acme
  clawdbot plugins check ./clawdbot-provider-acme --answers answers.json --json

The answers are a JSON object: the `id` of each question, and what is answered.")]
pub struct PluginsCheckArgs {
    /// The program
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// The provider's id, if the file is not called `clawdbot-provider-ID`
    #[arg(long, value_name = "ID")]
    pub provider: Option<String>,
    /// What to answer, by the `id` of the question; `-` for stdin
    #[arg(long = "answers", value_name = "FILE")]
    pub responses: Option<PathBuf>,
    /// How long the plugin may take for each response; five times as long for a login
    #[arg(long, value_name = "DURATION", default_value = "12s", value_parser = seconds)]
    pub timeout: Duration,
}
