//! `onboard`: each of its questions as an option.

use clap::Args;

/// `onboard`
#[derive(Args, Debug, Default)]
#[command(after_help = "\
Examples:
  clawdbot onboard
  clawdbot onboard --auth-choice openai-codex --set-default
  clawdbot onboard --auth-choice setup-token < token.txt
  clawdbot onboard --auth-choice api-key --provider openrouter < key.txt
  clawdbot onboard --auth-choice import --from codex --access-only
  clawdbot onboard --auth-choice env --provider openai --non-interactive

Choices: the name of a provider with a login, `setup-token`, `token`, `api-key`, `PROVIDER-api-key`,
`env`, `import`, `keep`, `skip`.")]
pub struct OnboardArgs {
    /// How to get a credential: `openai-codex` or another provider to log in to, `setup-token`,
    /// `token`, `api-key`, `env`, `import`, `keep`, `skip`
    #[arg(long, value_name = "CHOICE")]
    pub auth_choice: Option<String>,
    /// The provider, for `token`, `api-key` and `env`
    #[arg(long, value_name = "ID")]
    pub provider: Option<String>,
    /// The profile to store the credential as
    #[arg(long, value_name = "ID")]
    pub profile_id: Option<String>,
    /// Replace what that profile holds
    #[arg(long)]
    pub force: bool,
    /// Where to import from: `codex`, `claude`, `qwen`, `gemini` or a file
    #[arg(long, value_name = "TOOL|PATH")]
    pub from: Option<String>,
    /// Import only the access token
    #[arg(long, conflicts_with = "take_over")]
    pub access_only: bool,
    /// Import the refresh token too: the other tool must not use it any more
    #[arg(long)]
    pub take_over: bool,
    /// Log in with a code on another device
    #[arg(long)]
    pub device_code: bool,
    /// Print the address instead of opening a browser
    #[arg(long)]
    pub no_browser: bool,
    /// Make the provider's suggested model the default one
    #[arg(long)]
    pub set_default: bool,
    /// Make this model the default one
    #[arg(long, value_name = "MODEL", conflicts_with = "set_default")]
    pub model: Option<String>,
    /// Ask nothing: a missing option is an error, or left as it is
    #[arg(long, visible_alias = "yes")]
    pub non_interactive: bool,
}
