//! The arguments of login, paste and import.

use std::time::Duration;

use clap::Args;

use crate::host::duration::days;

/// `models auth login`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot models auth login --provider openai-codex
  clawdbot models auth login --provider openai-codex --profile-id openai-codex:work
  ssh host clawdbot models auth login --provider openai-codex --no-browser
  clawdbot models auth login --provider openai-codex --device-code

In two steps, from scripts or over chat:
  clawdbot models auth login --provider openai-codex --start --json
  clawdbot models auth login --finish -      (the address the browser ended on, on stdin)")]
pub struct LoginArgs {
    /// The provider; without it you are asked
    #[arg(long, value_name = "ID")]
    pub provider: Option<String>,
    /// The way to log in, where the provider has several: `browser`, `device-code`, `token`,
    /// `api-key`
    #[arg(long, value_name = "METHOD")]
    pub method: Option<String>,
    /// The host, for a provider that has one for each customer: `acme.ghe.com`
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// The profile to store the login as; without it `<provider>:<email>`
    #[arg(long, value_name = "ID")]
    pub profile_id: Option<String>,
    /// Log in with a code on another device
    #[arg(long, conflicts_with = "method")]
    pub device_code: bool,
    /// Print the address instead of opening a browser
    #[arg(long)]
    pub no_browser: bool,
    /// Begin a login, print its address or code and return
    #[arg(long, conflicts_with = "finish")]
    pub start: bool,
    /// Finish a login that --start started: the address the browser ended on, or the login's
    /// id where there is a code; `-` for stdin
    #[arg(long, value_name = "URL|ID")]
    pub finish: Option<String>,
    /// Make the provider's suggested model the default one
    #[arg(long)]
    pub set_default: bool,
    /// Replace a profile although it belongs to another account
    #[arg(long)]
    pub force: bool,
}

/// `models auth setup-token`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  claude setup-token     (in another terminal; then)
  clawdbot models auth setup-token
  clawdbot models auth setup-token --yes < token.txt")]
pub struct SetupTokenArgs {
    /// The provider
    #[arg(long, value_name = "NAME", default_value = "anthropic")]
    pub provider: String,
    /// The profile to store it as; without it `<provider>:manual`
    #[arg(long, value_name = "ID")]
    pub profile_id: Option<String>,
    /// Do not ask whether to replace: a second one is stored beside the first
    #[arg(long)]
    pub yes: bool,
    /// Replace what the profile holds
    #[arg(long)]
    pub force: bool,
}

/// `models auth paste-token`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot models auth paste-token --provider anthropic
  pass show anthropic | clawdbot models auth paste-token --provider anthropic --expires-in 365d")]
pub struct PasteTokenArgs {
    /// The provider; it need not be a known one
    #[arg(long, value_name = "NAME")]
    pub provider: String,
    /// The profile to store it as; without it `<provider>:manual`
    #[arg(long, value_name = "ID")]
    pub profile_id: Option<String>,
    /// When it ends, from now: `365d`, `12h`; a bare number means days
    #[arg(long, value_name = "DURATION", value_parser = days)]
    pub expires_in: Option<Duration>,
    /// Replace what the profile holds
    #[arg(long)]
    pub force: bool,
    /// Do not ask whether to replace: a second one is stored beside the first
    #[arg(long)]
    pub yes: bool,
}

/// `models auth paste-api-key`
#[derive(Args, Debug)]
#[command(
    group = clap::ArgGroup::new("place").args(["from_env", "from_file", "from_command"]),
    after_help = "\
Examples:
  clawdbot models auth paste-api-key --provider openai
  pass show openai | clawdbot models auth paste-api-key --provider openai --profile-id openai:work
  clawdbot models auth paste-api-key --provider openai --from-env OPENAI_WORK_KEY
  clawdbot models auth paste-api-key --provider groq --from-command 'op read op://work/groq/key'

With --from-… the key is not copied: the profile remembers the place, and the key is fetched from
there each time it is handed out.

A second key is stored beside the first, as `<provider>:default-2`; --force replaces."
)]
pub struct PasteApiKeyArgs {
    /// The provider; it need not be a known one
    #[arg(long, value_name = "NAME")]
    pub provider: String,
    /// The profile to store it as; without it `<provider>:default`
    #[arg(long, value_name = "ID")]
    pub profile_id: Option<String>,
    /// The key stays in this variable of the environment
    #[arg(long, value_name = "NAME")]
    pub from_env: Option<String>,
    /// The key stays in this file: its first line
    #[arg(long, value_name = "PATH")]
    pub from_file: Option<String>,
    /// The key stays where this command prints it from: its first line. No shell is involved
    #[arg(long, value_name = "COMMAND")]
    pub from_command: Option<String>,
    /// The address of the API that the key is for, if it is not the provider's own: a gateway of your
    /// company. The key is sent to no other
    #[arg(long, value_name = "URL")]
    pub api_base: Option<String>,
    /// Replace what the profile holds
    #[arg(long)]
    pub force: bool,
    /// Do not ask whether to replace: a second one is stored beside the first
    #[arg(long)]
    pub yes: bool,
}

/// `models auth login-github-copilot`
#[derive(Args, Debug)]
#[command(after_help = "\
The same as `models auth login --provider github-copilot`.")]
pub struct CopilotArgs {
    /// The profile to store the login as; without it `github-copilot:github`
    #[arg(long, value_name = "ID")]
    pub profile_id: Option<String>,
    /// Do not ask first (nothing is asked; accepted for scripts)
    #[arg(long)]
    pub yes: bool,
}

/// `models auth import`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot models auth import --from codex
  clawdbot models auth import --from claude --access-only
  clawdbot models auth import --from openclaw --access-only
  clawdbot models auth import --from ~/old/.clawdbot/agents/main/agent/auth-profiles.json --take-over

Two tools with one refresh token log each other out. A login of its own for each is best:
  clawdbot models auth login --provider openai-codex")]
pub struct ImportArgs {
    /// `codex`, `claude`, `qwen`, `gemini`, `openclaw`, or the path of a file of one of them, of
    /// opencode, pi, `CLIProxyAPI` or Clawdbot
    #[arg(long, value_name = "TOOL|PATH")]
    pub from: String,
    /// Import only the access token: it works until it expires
    #[arg(long, conflicts_with = "take_over")]
    pub access_only: bool,
    /// Import the refresh token too: the other tool must not use it any more
    #[arg(long)]
    pub take_over: bool,
    /// The provider, where the file does not tell
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
    /// The profile to store it as
    #[arg(long, value_name = "ID")]
    pub profile_id: Option<String>,
    /// Replace a profile of that name
    #[arg(long)]
    pub force: bool,
    /// Do not ask about the commands in the file that print keys: they are run whenever a key is needed
    #[arg(long)]
    pub accept_commands: bool,
}
