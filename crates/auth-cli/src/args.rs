//! The command line as types. Words are validated here; nothing is touched.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Accepted, since others have it; nothing here is coloured
    #[arg(long, global = true, hide = true)]
    pub no_color: bool,
}

/// The words we own.
#[derive(Debug, Subcommand)]
pub enum Command {
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
}

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
    /// Log in, hand out, route, log out
    #[command(subcommand)]
    Auth(AuthCommand),
}

/// `models status`
#[derive(Args, Debug, Default)]
#[command(after_help = "\
Examples:
  clawdbot models status
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
    /// Ask the providers whether the credentials work (not covered yet)
    #[arg(long)]
    pub probe: bool,
    /// Probe this provider only
    #[arg(long, value_name = "NAME")]
    pub probe_provider: Option<String>,
    /// Probe these profiles only (may be repeated, or a list with commas)
    #[arg(long, value_name = "ID")]
    pub probe_profile: Vec<String>,
    /// How long one probe may take, in milliseconds
    #[arg(long, value_name = "MS")]
    pub probe_timeout: Option<u64>,
    /// How many probes at once
    #[arg(long, value_name = "N")]
    pub probe_concurrency: Option<u32>,
    /// How many tokens one probe may cost
    #[arg(long, value_name = "N")]
    pub probe_max_tokens: Option<u32>,
}

/// `models auth …`
#[derive(Debug, Subcommand)]
pub enum AuthCommand {
    /// Log in to a provider
    Login(LoginArgs),
    /// Store the token that `claude setup-token` prints
    SetupToken(SetupTokenArgs),
    /// Store a token that somebody else keeps alive
    PasteToken(PasteTokenArgs),
    /// Store an API key
    PasteApiKey(PasteApiKeyArgs),
    /// The profiles of an agent, and whether each can be used now
    List(ListArgs),
    /// Revoke a login where the provider can, then forget it
    Logout(LogoutArgs),
    /// Forget a profile; the provider is not told
    Remove(RemoveArgs),
    /// Renew what is about to expire
    Refresh(RefreshArgs),
    /// Tell how a credential did, so that routing learns from it
    Report(ReportArgs),
    /// Why which profile comes first
    Explain(ExplainArgs),
    /// Print a valid token
    Token(TokenArgs),
    /// Which profile of a provider comes first
    #[command(subcommand)]
    Order(OrderCommand),
    /// Profiles that rest after a failure
    #[command(subcommand)]
    Cooldown(CooldownCommand),
}

/// `models auth login`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot models auth login --provider openai-codex
  clawdbot models auth login --provider openai-codex --profile-id openai-codex:work
  ssh host clawdbot models auth login --provider openai-codex --no-browser

In two steps, from scripts or over chat:
  clawdbot models auth login --provider openai-codex --start --json
  clawdbot models auth login --finish -      (the address the browser ended on, on stdin)")]
pub struct LoginArgs {
    /// The provider: a known one, or one a manifest describes
    #[arg(long, value_name = "ID", required_unless_present = "finish")]
    pub provider: Option<String>,
    /// The way to log in, where the provider has several
    #[arg(long, value_name = "METHOD")]
    pub method: Option<String>,
    /// The profile to store the login as; without it `<provider>:<email>`
    #[arg(long, value_name = "ID")]
    pub profile_id: Option<String>,
    /// Log in with a code on another device
    #[arg(long)]
    pub device_code: bool,
    /// Print the address instead of opening a browser
    #[arg(long)]
    pub no_browser: bool,
    /// Begin a login, print its address and return
    #[arg(long, conflicts_with = "finish")]
    pub start: bool,
    /// Finish a login that was begun with --start: the address the browser ended on, `-` for stdin
    #[arg(long, value_name = "URL")]
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
    /// Do not ask first
    #[arg(long)]
    pub yes: bool,
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
}

/// `models auth paste-api-key`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot models auth paste-api-key --provider openai
  pass show openai | clawdbot models auth paste-api-key --provider openai --profile-id openai:work")]
pub struct PasteApiKeyArgs {
    /// The provider; it need not be a known one
    #[arg(long, value_name = "NAME")]
    pub provider: String,
    /// The profile to store it as; without it `<provider>:default`
    #[arg(long, value_name = "ID")]
    pub profile_id: Option<String>,
}

/// `models auth list`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot models auth list
  clawdbot models auth list --provider anthropic --json")]
pub struct ListArgs {
    /// This provider only
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
}

/// `models auth logout`
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  clawdbot models auth logout openai-codex:me@example.com

The profile is always removed here; exit code 5 says that the provider could not be told.")]
pub struct LogoutArgs {
    /// The profile
    pub profile: String,
    /// Do not ask first (nothing is asked; accepted for scripts)
    #[arg(long, hide = true)]
    pub yes: bool,
}

/// `models auth remove`
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  clawdbot models auth remove anthropic:old-token")]
pub struct RemoveArgs {
    /// The profile
    pub profile: String,
}

/// `models auth refresh`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot models auth refresh
  clawdbot models auth refresh openai-codex:work --force
  clawdbot models auth refresh --all-agents      (from cron)")]
pub struct RefreshArgs {
    /// The profiles; without any, whatever is about to expire
    pub profiles: Vec<String>,
    /// Send the refresh token although the access token is fresh, or the token was refused before
    #[arg(long)]
    pub force: bool,
    /// Every agent's profiles
    #[arg(long, conflicts_with = "agent")]
    pub all_agents: bool,
}

/// `models auth report`
#[derive(Args, Debug)]
#[command(
    group = clap::ArgGroup::new("outcome").required(true).args(["ok", "failed"]),
    after_help = "\
Examples:
  clawdbot models auth report openai-codex:work --ok
  clawdbot models auth report openai-codex:work --failed rate_limit --retry-after 90s"
)]
pub struct ReportArgs {
    /// The profile
    pub profile: String,
    /// It worked
    #[arg(long)]
    pub ok: bool,
    /// It failed
    #[arg(long, value_name = "REASON")]
    pub failed: Option<FailureWord>,
    /// How long the provider wants to be left alone: `90s`, `5m`; a bare number means seconds
    #[arg(long, value_name = "DURATION", value_parser = seconds, requires = "failed")]
    pub retry_after: Option<Duration>,
}

/// Why a request failed, as its caller can tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum FailureWord {
    /// Too many requests, or the plan's limit
    RateLimit,
    /// The credential was refused
    Auth,
    /// No money or no credits
    Billing,
    /// No answer in time
    Timeout,
    /// The request itself was refused
    Format,
    /// Anything else
    Unknown,
}

/// `models auth explain`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot models auth explain --provider anthropic
  clawdbot models auth explain --session agent:main:main --json")]
pub struct ExplainArgs {
    /// The provider; without it, that of the default model
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
    /// As if this profile were pinned
    #[arg(long, value_name = "ID")]
    pub profile: Option<String>,
    /// With the pin of this session
    #[arg(long, value_name = "KEY", conflicts_with = "profile")]
    pub session: Option<String>,
}

/// `models auth token`
#[derive(Args, Debug, Default)]
#[command(after_help = "\
Examples:
  curl -H \"Authorization: Bearer $(clawdbot models auth token --provider openai-codex)\" …
  clawdbot models auth token --profile openai-codex:work --format json
  clawdbot models auth token --provider openai-codex --force-refresh --if-token-sha256 $HASH

stdout is the token and a line feed, nothing else. Exit codes: 3 no credential, 4 log in again,
5 try later, 6 all profiles rest, 7 lock not had in time, 8 store damaged.")]
pub struct TokenArgs {
    /// The provider; without it, that of the default model
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
    /// This profile and no other
    #[arg(long, value_name = "ID")]
    pub profile: Option<String>,
    /// The profile this session uses
    #[arg(long, value_name = "KEY", conflicts_with = "profile")]
    pub session: Option<String>,
    /// How it is printed
    #[arg(long, value_enum)]
    pub format: Option<TokenFormat>,
    /// It must be valid for at least that long: `10m`; a bare number means seconds
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    pub min_ttl: Option<Duration>,
    /// Renew it although it looks valid
    #[arg(long, conflicts_with = "no_refresh")]
    pub force_refresh: bool,
    /// … but only if the token is still the one with this SHA-256 (hexadecimal)
    #[arg(long, value_name = "HASH", requires = "force_refresh")]
    pub if_token_sha256: Option<String>,
    /// Never renew: what is stored and valid, or an error
    #[arg(long)]
    pub no_refresh: bool,
}

/// How a token is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum TokenFormat {
    /// The token and a line feed
    Raw,
    /// `{provider, profileId, agentId, mode, token, expires, source}`
    Json,
}

/// `models auth order …`
#[derive(Debug, Subcommand)]
pub enum OrderCommand {
    /// The agent's own order for a provider
    Get(OrderArgs),
    /// Set the agent's own order: these profiles, in this order, and no others
    #[command(after_help = "\
Example:
  clawdbot models auth order set --provider anthropic anthropic:work anthropic:home")]
    Set(OrderSetArgs),
    /// Go back to the config's order, or to the default one
    Clear(OrderArgs),
}

/// `models auth order get|clear`
#[derive(Args, Debug)]
pub struct OrderArgs {
    /// The provider
    #[arg(long, value_name = "NAME")]
    pub provider: String,
}

/// `models auth order set`
#[derive(Args, Debug)]
pub struct OrderSetArgs {
    /// The provider
    #[arg(long, value_name = "NAME")]
    pub provider: String,
    /// The profiles, the preferred one first
    #[arg(required = true, value_name = "PROFILE")]
    pub profiles: Vec<String>,
}

/// `models auth cooldown …`
#[derive(Debug, Subcommand)]
pub enum CooldownCommand {
    /// Which profiles rest, why and until when
    List(ListArgs),
    /// Let them be used again at once
    Clear(CooldownClearArgs),
}

/// `models auth cooldown clear`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot models auth cooldown clear openai:default
  clawdbot models auth cooldown clear --all")]
pub struct CooldownClearArgs {
    /// The profiles
    #[arg(required_unless_present = "all", value_name = "PROFILE")]
    pub profiles: Vec<String>,
    /// Every profile of the agent
    #[arg(long, conflicts_with = "profiles")]
    pub all: bool,
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

/// `agents …`; alone it is `agents list`.
#[derive(Args, Debug)]
pub struct AgentsArgs {
    /// The command.
    #[command(subcommand)]
    pub command: Option<AgentsCommand>,
}

/// `agents …`
#[derive(Debug, Subcommand)]
pub enum AgentsCommand {
    /// The agents there are
    List(AgentsListArgs),
}

/// `agents list`
#[derive(Args, Debug, Default)]
pub struct AgentsListArgs {
    /// Which messages each of them gets
    #[arg(long)]
    pub bindings: bool,
}

/// `sessions …`
#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// Choose the model and profile of a conversation
    #[command(after_help = "\
Examples:
  clawdbot sessions model agent:main:main '/model Opus@anthropic:work'
  clawdbot sessions model agent:main:main default")]
    Model(SessionModelArgs),
    /// The model and profile a conversation uses
    Show(SessionShowArgs),
}

/// `sessions model`
#[derive(Args, Debug)]
pub struct SessionModelArgs {
    /// The key of the session
    pub key: String,
    /// `/model X@profile`, or `X@profile`
    pub directive: String,
}

/// `sessions show`
#[derive(Args, Debug)]
pub struct SessionShowArgs {
    /// The key of the session
    pub key: String,
}

/// `plugins …`
#[derive(Debug, Subcommand)]
pub enum PluginsCommand {
    /// The providers there are, and where each comes from
    List,
}

fn seconds(text: &str) -> Result<Duration, String> {
    duration(text, 1_000.0)
}

fn days(text: &str) -> Result<Duration, String> {
    duration(text, 86_400_000.0)
}

/// A number and a unit; without a unit, `bare` milliseconds each.
fn duration(text: &str, bare: f64) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" => bare,
        "ms" => 1.0,
        "s" => 1_000.0,
        "m" | "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        "w" => 604_800_000.0,
        _ => return Err("use a number with `ms`, `s`, `m`, `h`, `d` or `w`, such as `90s`".into()),
    };
    let number: f64 = number.parse().map_err(|_| "use a number with a unit, such as `90s`")?;
    Duration::try_from_secs_f64(number * unit / 1_000.0).map_err(|_| "too long".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_a_unit_or_the_options_own() {
        assert_eq!(seconds("90"), Ok(Duration::from_secs(90)));
        assert_eq!(seconds("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(seconds("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(days("30"), days("30d"));
        for text in ["", "s", "-1s", "1 year", "1e400"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
