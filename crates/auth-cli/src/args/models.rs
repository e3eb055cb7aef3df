//! `models …`, but for its credentials.

use clap::{Args, Subcommand};

use super::AuthCommand;

/// `models …`; alone it is `models status`.
#[derive(Args, Debug)]
pub struct ModelsArgs {
    /// The same as `models status --json`
    #[arg(long)]
    pub status_json: bool,
    /// The same as `models status --plain`
    #[arg(long)]
    pub status_plain: bool,
    /// The command.
    #[command(subcommand)]
    pub command: Option<ModelsCommand>,
}

/// `models …`
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Whether every credential in use is there, valid and able to stay so
    Status(StatusArgs),
    /// The model that is used first; with --agent, by that agent
    Set(ModelArgs),
    /// The model for pictures
    SetImage(ModelArgs),
    /// Short names for models
    #[command(subcommand)]
    Aliases(AliasesCommand),
    /// What is used when the first model cannot be
    #[command(subcommand)]
    Fallbacks(FallbacksCommand),
    /// The same for pictures
    #[command(subcommand)]
    ImageFallbacks(FallbacksCommand),
    /// Log in, hand out, route, log out
    #[command(subcommand)]
    Auth(AuthCommand),
}

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

/// A model.
#[derive(Args, Debug)]
pub struct ModelArgs {
    /// `provider/model`, or an alias
    pub model: String,
}

/// How a list is printed.
#[derive(Args, Debug)]
pub struct ListingArgs {
    /// One a line, and nothing else
    #[arg(long)]
    pub plain: bool,
}

/// `models aliases …`
#[derive(Debug, Subcommand)]
pub enum AliasesCommand {
    /// The names there are
    List(ListingArgs),
    /// Give a model a name
    Add(AliasArgs),
    /// Take a name away
    Remove(AliasNameArgs),
}

/// `models aliases add`
#[derive(Args, Debug)]
pub struct AliasArgs {
    /// The name
    pub alias: String,
    /// `provider/model`
    pub model: String,
}

/// `models aliases remove`
#[derive(Args, Debug)]
pub struct AliasNameArgs {
    /// The name
    pub alias: String,
}

/// `models fallbacks …`
#[derive(Debug, Subcommand)]
pub enum FallbacksCommand {
    /// The models, in the order in which they are tried
    List(ListingArgs),
    /// Add a model at the end
    Add(ModelArgs),
    /// Take a model away
    Remove(ModelArgs),
    /// Take all away
    Clear,
}
