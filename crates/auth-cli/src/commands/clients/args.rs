//! `clients …`

use clap::{Args, Subcommand};
use std::time::Duration;

use crate::host::duration::days;

/// `clients …`
#[derive(Debug, Subcommand)]
pub enum ClientsCommand {
    /// Grant a program the use of accounts; prints its token, once
    #[command(after_help = "\
Examples:
  clawdbot clients add codex --provider openai-codex --subscription
  clawdbot clients add ci --provider openai --provider anthropic --expires 30d
  clawdbot clients add laptop --provider openai --may token,report,status

With `proxy`, the default, a program can use an account and never sees its credential.")]
    Add(AddArgs),
    /// The clients, and what each may do
    List,
    /// Give a client a new token; the old one is worth nothing from then on
    Rotate(NameArgs),
    /// Take a client's grant away
    #[command(alias = "remove")]
    Revoke(NameArgs),
}

/// A client by its name.
#[derive(Args, Debug)]
pub struct NameArgs {
    /// The client
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// `clients add`
#[derive(Args, Debug)]
pub struct AddArgs {
    /// What it is called, such as `codex` or `laptop`
    #[arg(value_name = "NAME", value_parser = name)]
    pub name: String,
    /// A provider whose accounts it may use; may be repeated
    #[arg(long, value_name = "NAME", required = true)]
    pub provider: Vec<String>,
    /// What it may do: `proxy` (the default), `token`, `report`, `status`, `login`
    #[arg(long, value_name = "RIGHT", value_delimiter = ',')]
    pub may: Vec<String>,
    /// Only this profile
    #[arg(long, value_name = "ID")]
    pub profile: Option<String>,
    /// The session whose pin counts for it
    #[arg(long, value_name = "KEY")]
    pub session: Option<String>,
    /// When the grant ends, such as `30d`
    #[arg(long, value_name = "DURATION", value_parser = days)]
    pub expires: Option<Duration>,
    /// How many requests it may make in a minute
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_per_minute: Option<u32>,
    /// It may use the login of a subscription through the proxy
    #[arg(long)]
    pub subscription: bool,
}

fn name(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_name = !text.is_empty() && text.len() <= 64 && text.chars().all(is_plain);
    if is_name && !text.starts_with(['-', '.']) {
        Ok(text.to_owned())
    } else {
        Err("use letters, digits, `-`, `_` and `.`, such as `laptop`".to_owned())
    }
}
