//! Integrations with other programs: `exec`, `env`, `git-credential`, `configure`.

use std::ffi::OsString;

use auth_store::VariableName;
use clap::{Args, ValueEnum};

/// `models auth exec`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot models auth exec --provider openai -- python agent.py
  clawdbot models auth exec --provider openai --provider anthropic -- make eval
  clawdbot models auth exec --profile openai-codex:work --name CODEX_TOKEN -- ./tool
  clawdbot models auth exec --proxy --provider anthropic -- python agent.py

This process becomes the program. The token it gets is the one of now; a program that runs for
longer asks `clawdbot models auth token` again. With --proxy it runs beside a server of its own,
which fails over and ends with it.")]
pub struct ExecArgs {
    /// Whose credentials it gets.
    #[command(flatten)]
    pub wanted: WantedArgs,
    /// Give it a base URL and a token that is worth nothing elsewhere, and keep the credentials here
    #[arg(long)]
    pub proxy: bool,
    /// The program and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// `models auth env`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eval \"$(clawdbot models auth env --provider openai)\"
  clawdbot models auth env --provider openai --shell fish | source
  clawdbot models auth env --provider openai --shell dotenv > .env
  clawdbot models auth env --provider openai --shell github-actions >> \"$GITHUB_ENV\"")]
pub struct EnvArgs {
    /// Whose credentials it gets.
    #[command(flatten)]
    pub wanted: WantedArgs,
    /// Whose words the lines are in
    #[arg(long, value_enum, default_value_t = Shell::Sh)]
    pub shell: Shell,
}

/// Whose credentials are put into variables.
#[derive(Args, Debug)]
pub struct WantedArgs {
    /// A provider; may be repeated. Without one, that of the default model
    #[arg(long, value_name = "NAME")]
    pub provider: Vec<String>,
    /// A profile; may be repeated
    #[arg(long, value_name = "ID")]
    pub profile: Vec<String>,
    /// The profile that this session uses
    #[arg(long, value_name = "KEY", conflicts_with_all = ["provider", "profile"])]
    pub session: Option<String>,
    /// The variable, instead of the one that the provider's tools read
    #[arg(long, value_name = "VARIABLE", value_parser = VariableName::parse)]
    pub name: Option<VariableName>,
}

/// In whose words variables are set.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Shell {
    /// sh, bash, zsh, dash
    Sh,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
    /// A `.env` file
    Dotenv,
    /// The file `$GITHUB_ENV`; the token is masked in the log
    GithubActions,
    /// An object
    Json,
}

/// `models auth git-credential`
#[derive(Args, Debug)]
#[command(after_help = "\
git runs it; see `clawdbot models auth configure git --help`.
It speaks the protocol of git-credential(1), and answers for one host only.")]
pub struct GitCredentialArgs {
    /// The provider
    #[arg(long, value_name = "NAME", required_unless_present = "profile")]
    pub provider: Option<String>,
    /// Only this profile
    #[arg(long, value_name = "ID")]
    pub profile: Option<String>,
    /// The only host that gets the token, with its port if it has one
    #[arg(long, value_name = "HOST")]
    pub host: String,
    /// The user name that goes with the token, for servers that take no bearer tokens
    #[arg(long, value_name = "NAME", value_parser = user_name)]
    pub username: Option<String>,
    /// What git wants
    #[arg(value_enum)]
    pub verb: GitVerb,
}

/// What git asks of a credential helper.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum GitVerb {
    /// A credential
    Get,
    /// Keep this one (we do not: it is ours)
    Store,
    /// Forget this one (we do not: `logout` does)
    Erase,
    /// What the helper can do
    Capability,
}

/// A name that can be a line of git's protocol.
fn user_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(auth_store::is_hostile) {
        return Err("use a name without control characters".to_owned());
    }
    Ok(text.to_owned())
}
