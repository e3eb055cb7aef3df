//! The command line as types. Arguments are validated here; nothing else is touched.

use crate::commands::agents::args::AgentsArgs;
use crate::commands::audit::args::AuditArgs;
use crate::commands::clients::args::ClientsCommand;
use crate::commands::configure::args::ConfigureCommand;
use crate::commands::doctor::args::DoctorArgs;
use crate::commands::login::args::{
    CopilotArgs, ImportArgs, LoginArgs, PasteApiKeyArgs, PasteTokenArgs, SetupTokenArgs,
};
use crate::commands::models::args::{AliasesCommand, FallbacksCommand, ModelArgs};
use crate::commands::onboard::args::OnboardArgs;
use crate::commands::plugins::args::PluginsCommand;
use crate::commands::profiles::args::{
    CooldownCommand, DestinationCommand, ListArgs, LogoutArgs, OrderCommand, RefreshArgs,
    RemoveArgs, UseArgs,
};
use crate::commands::schema::SchemaArgs;
use crate::commands::serve::args::ServeArgs;
use crate::commands::sessions::args::SessionsCommand;
use crate::commands::settings::args::SettingsCommand;
use crate::commands::sink::args::SinkCommand;
use crate::commands::status::args::{ChannelsCommand, StatusArgs};
use crate::commands::token::args::{ExplainArgs, ReportArgs, TokenArgs};
use crate::commands::token::exec_args::{EnvArgs, ExecArgs, GitCredentialArgs};
use crate::host::report::Output;
use clap::{Args, Parser, Subcommand};

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
    /// Show the credentials in use, and which profile comes next
    Status(StatusArgs),
    /// Set the default model; with --agent, that agent's
    Set(ModelArgs),
    /// Set the image model
    SetImage(ModelArgs),
    /// Short names for models
    #[command(subcommand)]
    Aliases(AliasesCommand),
    /// Models to try when the default model cannot be used
    #[command(subcommand)]
    Fallbacks(FallbacksCommand),
    /// The same for images
    #[command(subcommand)]
    ImageFallbacks(FallbacksCommand),
    /// Log in, get tokens, choose between accounts, log out
    #[command(subcommand, help_template = AUTH_HELP)]
    Auth(AuthCommand),
}

/// The help of `models auth`: its commands by what they are for. A test compares it with the commands.
const AUTH_HELP: &str = "\
{about-with-newline}
{usage-heading} {usage}

Log in:
  login                 Log in to a provider
  add                   Choose a provider and a way to log in
  setup-token           Store the token that `claude setup-token` prints
  paste-token           Store a token made elsewhere
  paste-api-key         Store an API key
  import                Copy a credential from another tool
  login-github-copilot  Log in to GitHub Copilot

Use:
  token                 Print a valid token
  exec                  Run a program with tokens in its environment
  env                   Print the lines that put tokens into the environment
  report                Report how a request went, so that routing learns from it

Choose:
  explain               Why which profile comes first
  order                 Which profile of a provider comes first
  cooldown              Profiles in cooldown after a failure

Keep:
  list                  The profiles of an agent
  refresh               Refresh what is about to expire
  logout                Revoke a login where the provider can, then delete it
  remove                Delete a profile; the provider is not told
  destination           Where the secrets of a profile may be sent

Integrate:
  configure             Let another program take its token from here

{options}

Examples:
  clawdbot models auth login --provider openai-codex
  clawdbot models auth token --provider openai-codex";

/// `models auth …`
#[derive(Debug, Subcommand)]
pub enum AuthCommand {
    /// Log in to a provider
    Login(LoginArgs),
    /// Log in to GitHub Copilot with a code on another device
    LoginGithubCopilot(CopilotArgs),
    /// Choose a provider and a way to log in
    Add,
    /// Store the token that `claude setup-token` prints
    SetupToken(SetupTokenArgs),
    /// Store a token made elsewhere
    PasteToken(PasteTokenArgs),
    /// Store an API key
    PasteApiKey(PasteApiKeyArgs),
    /// Copy a credential from another tool
    Import(ImportArgs),
    /// The profiles of an agent, and whether each can be used now
    List(ListArgs),
    /// Revoke a login where the provider can, then delete it
    Logout(LogoutArgs),
    /// Delete a profile; the provider is not told
    Remove(RemoveArgs),
    /// Refresh what is about to expire
    Refresh(RefreshArgs),
    /// Where the secrets of a profile may be sent to
    #[command(subcommand)]
    Destination(DestinationCommand),
    /// Report how a request went, so that routing learns from it
    Report(ReportArgs),
    /// Why which profile comes first
    Explain(ExplainArgs),
    /// Print a valid token
    Token(TokenArgs),
    /// Run a program with tokens in its environment
    Exec(ExecArgs),
    /// Print the lines that put tokens into the environment
    Env(EnvArgs),
    /// Let another program take its token from here
    #[command(subcommand)]
    Configure(ConfigureCommand),
    /// Act as a credential helper of git
    #[command(hide = true)]
    GitCredential(GitCredentialArgs),
    /// Which profile of a provider comes first
    #[command(subcommand)]
    Order(OrderCommand),
    /// Profiles in cooldown after a failure
    #[command(subcommand)]
    Cooldown(CooldownCommand),
}

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
    pub global: GlobalArgs,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The words we own.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set up: find existing logins, log in, check, choose the model
    Onboard(OnboardArgs),
    /// Credentials, models and their state
    Models(ModelsArgs),
    /// List the configured channels and the stored credentials
    #[command(subcommand)]
    Channels(ChannelsCommand),
    /// Agents: isolated sets of credentials and sessions
    Agents(AgentsArgs),
    /// Print a valid token: `models auth token`
    Token(TokenArgs),
    /// Why which profile comes first: `models auth explain`
    Explain(ExplainArgs),
    /// Run a program with tokens in its environment: `models auth exec`
    Exec(ExecArgs),
    /// Print the lines that put tokens into the environment: `models auth env`
    Env(EnvArgs),
    /// Use this profile first from now on
    Use(UseArgs),
    /// Which account each provider uses now
    Whoami,
    /// Which model and profile a conversation uses
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// A proxy with failover, for programs that never see a credential
    Serve(ServeArgs),
    /// The programs that may come in at `serve`
    #[command(subcommand)]
    Clients(ClientsCommand),
    /// The sink on another machine from which this one takes its tokens
    #[command(subcommand)]
    Sink(SinkCommand),
    /// Provider plugins and manifests
    #[command(subcommand)]
    Plugins(PluginsCommand),
    /// Find problems, and the commands that fix them
    Doctor(DoctorArgs),
    /// Print the JSON Schema of an output
    Schema(SchemaArgs),
    /// What happened to the credentials, and who asked
    Audit(AuditArgs),
    /// Our own settings, which never stand in Clawdbot's config
    #[command(subcommand)]
    Settings(SettingsCommand),
    /// Print the completion script of a shell
    Completion(CompletionArgs),
    /// Print the manual page, or write those of all commands
    Man(ManArgs),
}

/// Options of every command.
#[derive(Args, Clone, Debug, Default)]
pub struct GlobalArgs {
    /// The agent to use (default: the default agent)
    #[arg(long, global = true, help_heading = "Global options", value_name = "ID")]
    pub agent: Option<String>,
    /// Print JSON, errors too
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// Log to stderr what is done, with each request
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub verbose: bool,
    /// No colours
    #[arg(long, global = true, help_heading = "Global options")]
    pub no_color: bool,
    /// Times in UTC instead of the local time zone
    #[arg(long, global = true, help_heading = "Global options")]
    pub utc: bool,
}

impl Cli {
    /// The output format.
    pub fn output(&self) -> Output {
        let GlobalArgs { json, verbose, no_color, .. } = self.global;
        let is_status =
            matches!(&self.command, Command::Models(it) if it.status_json && it.command.is_none());
        Output { json: json || is_status, verbose, no_color }
    }
}

/// `completion`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot completion bash --install
  clawdbot completion zsh --install
  clawdbot completion fish > ~/.config/fish/completions/clawdbot.fish")]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
    /// Write it where the shell looks for it
    #[arg(long)]
    pub install: bool,
    /// Remove what --install wrote
    #[arg(long, conflicts_with = "install")]
    pub undo: bool,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_help_of_models_auth_has_each_of_its_commands() {
        let root = Cli::command();
        let auth =
            root.find_subcommand("models").and_then(|it| it.find_subcommand("auth")).unwrap();
        let listed = |name: &str| {
            AUTH_HELP.lines().any(|line| {
                line.strip_prefix("  ").is_some_and(|line| line.split(' ').next() == Some(name))
            })
        };
        let visible = auth.get_subcommands().filter(|it| !it.is_hide_set());
        for command in visible {
            assert!(listed(command.get_name()), "{}", command.get_name());
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
