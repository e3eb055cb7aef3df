//! `models auth configure …`.

use clap::{Args, Subcommand};

/// `models auth configure …`
#[derive(Debug, Subcommand)]
pub enum ConfigureCommand {
    /// Claude Code takes its key from here (`apiKeyHelper` in its settings.json)
    #[command(after_help = "\
Examples:
  clawdbot models auth configure claude-code
  clawdbot models auth configure claude-code --undo")]
    ClaudeCode(ConfigureArgs),
    /// The Codex command line takes its token from here (a model provider in its config.toml)
    #[command(after_help = "\
Examples:
  clawdbot models auth configure codex
  clawdbot models auth configure codex --profile openai-codex:work
  clawdbot models auth configure codex --undo")]
    Codex(ConfigureArgs),
    /// OpenClaw takes its keys and tokens from here (an exec secret provider and its references)
    #[command(after_help = "\
Examples:
  clawdbot models auth configure openclaw
  clawdbot models auth configure openclaw --provider anthropic
  clawdbot models auth configure openclaw --undo

OpenClaw asks at its start and at `openclaw secrets reload`, so what lives long suits it best.")]
    Openclaw(ConfigureArgs),
    /// git takes the credential of a host from here
    #[command(after_help = "\
Examples:
  clawdbot models auth configure git --provider acme --host git.acme.example
  clawdbot models auth configure git --host git.acme.example --undo")]
    Git(ConfigureGitArgs),
}

/// What every tool needs.
#[derive(Args, Debug)]
pub struct ConfigureArgs {
    /// The provider, if it is not the tool's own
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
    /// Only this profile
    #[arg(long, value_name = "ID")]
    pub profile: Option<String>,
    /// Take our setting out again
    #[arg(long)]
    pub undo: bool,
    /// Do not ask first
    #[arg(long)]
    pub yes: bool,
}

/// `models auth configure git`
#[derive(Args, Debug)]
pub struct ConfigureGitArgs {
    /// What every tool needs.
    #[command(flatten)]
    pub common: ConfigureArgs,
    /// The host, with its port if it has one
    #[arg(long, value_name = "HOST", value_parser = host)]
    pub host: String,
    /// The user name that goes with the token, for servers that take no bearer tokens
    #[arg(long, value_name = "NAME", value_parser = user_name)]
    pub username: Option<String>,
}

/// A name that can be a line of git's protocol.
fn user_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(auth_store::is_hostile) {
        return Err("use a name without control characters".to_owned());
    }
    Ok(text.to_owned())
}

fn host(text: &str) -> Result<String, String> {
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
    if !text.is_empty() && text.chars().all(is_host) && !text.starts_with('-') {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("use a host alone, such as `git.acme.example` or `git.acme.example:8443`".to_owned())
    }
}
