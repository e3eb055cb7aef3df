//! The command line as types. Words are validated here; nothing is touched.

use clap::{Args, Parser, Subcommand};

mod agents;
mod auth;
mod duration;
mod hand_out;
mod login;
mod models;
mod onboard;
mod plug_in;
mod plugins;
mod sessions;

pub use agents::{
    AgentsAddArgs, AgentsArgs, AgentsCommand, AgentsDeleteArgs, AgentsListArgs, AgentsShareArgs,
};
pub use auth::{
    AuthCommand, CooldownClearArgs, CooldownCommand, ExplainArgs, ListArgs, LogoutArgs, OrderArgs,
    OrderCommand, OrderSetArgs, RefreshArgs, RemoveArgs,
};
pub use hand_out::{FailureWord, ReportArgs, TokenArgs, TokenFormat};
pub use login::{
    CopilotArgs, ImportArgs, LoginArgs, PasteApiKeyArgs, PasteTokenArgs, SetupTokenArgs,
};
pub use models::{
    AliasesCommand, FallbacksCommand, ListingArgs, ModelArgs, ModelsArgs, ModelsCommand, StatusArgs,
};
pub use onboard::OnboardArgs;
pub use plug_in::{
    ConfigureArgs, ConfigureCommand, ConfigureGitArgs, EnvArgs, ExecArgs, GitCredentialArgs,
    GitVerb, Shell, WantedArgs,
};
pub use plugins::{PluginsCheckArgs, PluginsCommand};
pub use sessions::{SessionArgs, SessionModelArgs, SessionsCommand};

/// One place for your model providers' credentials: logged in once, always fresh, handed out to
/// every tool.
#[derive(Debug, Parser)]
#[command(
    name = "clawdbot",
    bin_name = "clawdbot",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  clawdbot onboard
  clawdbot models auth login --provider openai-codex
  clawdbot models auth token --provider openai-codex
  clawdbot models status

Words that are not listed here go to the next `clawdbot` or `moltbot` on PATH, unchanged."
)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug, Default)]
pub struct Global {
    /// The agent whose credentials are meant; without it, the default agent
    #[arg(long, global = true, value_name = "ID")]
    pub agent: Option<String>,
    /// Data as JSON on stdout, errors too
    #[arg(long, global = true)]
    pub json: bool,
    /// Say on stderr what is done
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// No colours, whatever the terminal can show
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// The words we own.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The first steps: find what is there, log in, check, choose the model
    Onboard(OnboardArgs),
    /// Credentials, models and their state
    Models(ModelsArgs),
    /// What is connected: of the channels, only the credentials are ours
    #[command(subcommand)]
    Channels(ChannelsCommand),
    /// Agents: isolated sets of credentials and sessions
    Agents(AgentsArgs),
    /// Which model and profile a conversation uses
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// Providers that are not compiled in
    #[command(subcommand)]
    Plugins(PluginsCommand),
    /// What is wrong, what it costs, and the command that mends it
    Doctor(DoctorArgs),
    /// Print the completion script of a shell
    Completion(CompletionArgs),
    /// Print the manual page, or write those of all commands
    Man(ManArgs),
}

/// `completion`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot completion bash > ~/.local/share/bash-completion/completions/clawdbot
  clawdbot completion zsh > ~/.zfunc/_clawdbot
  clawdbot completion fish > ~/.config/fish/completions/clawdbot.fish")]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `man`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot man | man -l -
  clawdbot man --dir ~/.local/share/man/man1")]
pub struct ManArgs {
    /// Write a page for each command into this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub dir: Option<String>,
}

/// `doctor`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot doctor
  clawdbot doctor --fix
  clawdbot doctor --offline --json

Exit code 0 if nothing is wrong (notes do not count), 1 if something is left to do.")]
pub struct DoctorArgs {
    /// Do what is safe to do without asking, and say what was done
    #[arg(long)]
    pub fix: bool,
    /// Do not ask the issuers
    #[arg(long)]
    pub offline: bool,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
