//! The command line of the token sink, and everything in it that touches the outside world.
//!
//! The binary `clawdbot` is [`run`] on the real [`Context`]; tests call the
//! same function on a context of their own:
//!
//! ```
//! use auth_cli::context::{Captured, Context};
//! use auth_store::Timestamp;
//!
//! let home = std::path::Path::new("/nowhere/home");
//! let (stdout, mut context) = (Captured::default(), Context::sealed(home, Timestamp(0)));
//! context.stdout = Box::new(stdout.clone());
//!
//! let exit = auth_cli::run(["clawdbot", "models", "status", "--plain"], &mut context);
//! assert_eq!(exit, 0);
//! assert_eq!(stdout.text(), "anthropic/claude-opus-4-5\n");
//! ```

pub mod agent;
pub mod args;
mod browser;
pub mod commands;
pub mod config;
mod config_cache;
mod config_change;
mod config_check;
pub mod config_edit;
mod config_include;
mod config_parts;
mod config_splice;
mod config_variables;
pub mod context;
pub mod doctor;
pub mod error;
mod hand_on;
pub mod handed;
pub mod hardening;
mod json5_tree;
pub mod launch;
mod logging;
mod login_person;
mod login_way;
mod onboard_found;
mod other_tools;
pub mod overview;
pub mod paths;
mod person;
pub mod probe;
mod qr;
pub mod reference;
mod rescue;
mod route;
mod runtime_cache;
mod save;
pub mod sessions;
mod sessions_text;
pub mod share;
mod shell_words;
pub mod sink;
pub mod stamp;
mod style;
mod table;
pub mod text;
pub mod token;
pub mod view;
pub mod warm;
pub mod worker;

use std::ffi::OsString;

use clap::Parser as _;
use clap::error::{ContextKind, ErrorKind};

use crate::args::{
    AgentsArgs, AgentsCommand, AgentsListArgs, AuthCommand, ChannelsCommand, Cli, Command,
    CooldownCommand, ModelsArgs, ModelsCommand, OrderCommand, PluginsCommand, SessionsCommand,
    StatusArgs,
};
use crate::commands::models::Use;
use crate::context::Context;
use crate::error::{CliError, Exit};

/// Runs the program with `arguments` (the first is its own name), and returns its exit code.
///
/// Data goes to `context.stdout`, everything else to `context.stderr`; an error is reported there
/// and becomes the exit code. A word that is not ours is handed on to the next `clawdbot` or
/// `moltbot` on PATH: then this function does not return.
pub fn run(arguments: impl IntoIterator<Item = impl Into<OsString>>, context: &mut Context) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let (json, result) = match Cli::try_parse_from(&arguments) {
        Ok(cli) => {
            let result = dispatch(&cli, context);
            let result = result.map_err(|error| share::with_offer(error, &cli.global, context));
            (wants_json(&arguments), result)
        }
        Err(error) => (wants_json(&arguments), not_parsed(&error, &arguments, context)),
    };
    context.say_recoveries();
    let result = result.and_then(|exit| context.flush().map(|()| exit));
    let exit = result.unwrap_or_else(|error| {
        error.report(json, context);
        error.exit
    });
    exit as u8
}

fn dispatch(cli: &Cli, context: &mut Context) -> Result<Exit, CliError> {
    logging::start(cli.global.verbose, context);
    let global = &cli.global;
    if !matches!(
        cli.command,
        Command::Agents(_)
            | Command::Plugins(_)
            | Command::Doctor(_)
            | Command::Completion(_)
            | Command::Man(_)
    ) {
        agent::import_legacy_files(global, context)?;
    }
    check_agent(cli, context)?;
    match &cli.command {
        Command::Models(ModelsArgs { command: None, status_plain, status_json }) => {
            let args = StatusArgs { plain: *status_plain, ..StatusArgs::default() };
            let global = args::Global { json: global.json || *status_json, ..global.clone() };
            commands::status::run(&args, &global, context)
        }
        Command::Models(ModelsArgs { command: Some(ModelsCommand::Status(args)), .. }) => {
            commands::status::run(args, global, context)
        }
        Command::Models(ModelsArgs { command: Some(ModelsCommand::Set(args)), .. }) => {
            commands::models::set(args, Use::Chat, global, context)
        }
        Command::Models(ModelsArgs { command: Some(ModelsCommand::SetImage(args)), .. }) => {
            commands::models::set(args, Use::Image, global, context)
        }
        Command::Models(ModelsArgs { command: Some(ModelsCommand::Aliases(command)), .. }) => {
            commands::models::aliases(command, global, context)
        }
        Command::Models(ModelsArgs {
            command: Some(ModelsCommand::Fallbacks(command)), ..
        }) => commands::models::fallbacks(command, Use::Chat, global, context),
        Command::Models(ModelsArgs {
            command: Some(ModelsCommand::ImageFallbacks(command)),
            ..
        }) => commands::models::fallbacks(command, Use::Image, global, context),
        Command::Models(ModelsArgs { command: Some(ModelsCommand::Auth(auth)), .. }) => {
            match auth {
                AuthCommand::Login(args) => commands::login::run(args, global, context),
                AuthCommand::LoginGithubCopilot(args) => {
                    commands::login::copilot(args, global, context)
                }
                AuthCommand::Add => commands::login::add(global, context),
                AuthCommand::SetupToken(args) => {
                    commands::paste::setup_token(args, global, context)
                }
                AuthCommand::PasteToken(args) => {
                    commands::paste::paste_token(args, global, context)
                }
                AuthCommand::PasteApiKey(args) => {
                    commands::paste::paste_api_key(args, global, context)
                }
                AuthCommand::Import(args) => commands::import::run(args, global, context),
                AuthCommand::List(args) => commands::list::run(args, global, context),
                AuthCommand::Logout(args) => commands::logout::run(args, global, context),
                AuthCommand::Remove(args) => commands::remove::run(args, global, context),
                AuthCommand::Refresh(args) => commands::refresh::run(args, global, context),
                AuthCommand::Report(args) => commands::report::run(args, global, context),
                AuthCommand::Explain(args) => commands::explain::run(args, global, context),
                AuthCommand::Token(args) => token::run(args, global, context),
                AuthCommand::Exec(args) => commands::inject::exec(args, global, context),
                AuthCommand::Env(args) => commands::inject::env(args, global, context),
                AuthCommand::Configure(what) => commands::configure::run(what, global, context),
                AuthCommand::GitCredential(args) => {
                    commands::git_credential::run(args, global, context)
                }
                AuthCommand::Order(OrderCommand::Get(args)) => {
                    commands::order::get(args, global, context)
                }
                AuthCommand::Order(OrderCommand::Set(args)) => {
                    commands::order::set(args, global, context)
                }
                AuthCommand::Order(OrderCommand::Clear(args)) => {
                    commands::order::clear(args, global, context)
                }
                AuthCommand::Cooldown(CooldownCommand::List(args)) => {
                    commands::cooldown::list(args, global, context)
                }
                AuthCommand::Cooldown(CooldownCommand::Clear(args)) => {
                    commands::cooldown::clear(args, global, context)
                }
            }
        }
        Command::Channels(ChannelsCommand::List(args)) => {
            commands::channels::list(args, global, context)
        }
        Command::Agents(AgentsArgs { command: None }) => {
            commands::agents::list(&AgentsListArgs::default(), global, context)
        }
        Command::Agents(AgentsArgs { command: Some(AgentsCommand::List(args)) }) => {
            commands::agents::list(args, global, context)
        }
        Command::Agents(AgentsArgs { command: Some(AgentsCommand::Add(args)) }) => {
            commands::agent_add::run(args, global, context)
        }
        Command::Agents(AgentsArgs { command: Some(AgentsCommand::Delete(args)) }) => {
            commands::agent_delete::run(args, global, context)
        }
        Command::Agents(AgentsArgs { command: Some(AgentsCommand::Share(args)) }) => {
            commands::agent_share::run(args, global, context)
        }
        Command::Sessions(SessionsCommand::Model(args)) => {
            commands::sessions::model(args, global, context)
        }
        Command::Sessions(SessionsCommand::List) => commands::sessions::list(global, context),
        Command::Sessions(SessionsCommand::Show(args)) => {
            commands::sessions::show(args, global, context)
        }
        Command::Sessions(SessionsCommand::Clear(args)) => {
            commands::sessions::clear(args, global, context)
        }
        Command::Onboard(args) => commands::onboard::run(args, global, context),
        Command::Completion(args) => commands::shell::completion(args, context),
        Command::Man(args) => commands::shell::man(args, context),
        Command::Doctor(args) => commands::doctor::run(args, global, context),
        Command::Plugins(PluginsCommand::List) => commands::plugins::list(global, context),
        Command::Plugins(PluginsCommand::Check(args)) => {
            commands::plugins_check::run(args, global, context)
        }
    }
}

/// Commands that are about no certain agent, or name it themselves, do not pass over `--agent`.
fn check_agent(cli: &Cli, context: &Context) -> Result<(), CliError> {
    let Some(name) = &cli.global.agent else { return Ok(()) };
    match &cli.command {
        Command::Plugins(_) => {
            let config = config::Config::load(context)?;
            agent::Agent::of(&cli.global, &config, context).map(|_| ())
        }
        Command::Agents(AgentsArgs {
            command:
                Some(AgentsCommand::Add(_) | AgentsCommand::Delete(_) | AgentsCommand::Share(_)),
        }) => Err(CliError::usage(format!("`--agent {name}` means nothing here"))
            .hint("name the agent without it: clawdbot agents share NAME --from main")),
        _ => Ok(()),
    }
}

/// What to do with arguments that are not a command line of ours.
fn not_parsed(
    error: &clap::Error,
    arguments: &[OsString],
    context: &mut Context,
) -> Result<Exit, CliError> {
    let (text, had_secret) = without_secrets(&error.render().to_string(), arguments);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            context.print_lines(text.trim_end())?;
            return Ok(Exit::Done);
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if arguments.len() <= 1 => {
            context.print_lines(text.trim_end())?;
            return Ok(Exit::Done);
        }
        _ => {}
    }
    if had_secret {
        let message = text.lines().next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(message);
        return Err(CliError::usage(message).hint(
            "if that is a key or a token: no argument takes one, since others see arguments; give it on standard input",
        ));
    }
    let value = |kind| error.get(kind).map(ToString::to_string);
    let first_is_foreign = error.kind() == ErrorKind::UnknownArgument
        && arguments.get(1).and_then(|first| first.to_str()).is_some_and(|first| {
            first.starts_with('-')
                && value(ContextKind::InvalidArg).is_some_and(|arg| first.starts_with(&arg))
        });
    if error.kind() == ErrorKind::InvalidSubcommand || first_is_foreign {
        hand_on::to_next_on_path(arguments, context)?;
        let word = value(ContextKind::InvalidSubcommand)
            .or_else(|| value(ContextKind::InvalidArg))
            .unwrap_or_default();
        let similar = value(ContextKind::SuggestedSubcommand);
        let hint = match similar {
            Some(similar) => format!("did you mean `{similar}`? {COVERED}"),
            None => COVERED.to_owned(),
        };
        return Err(CliError::usage(format!(
            "`{word}` is not a word of this program, and there is no other `clawdbot` or `moltbot` on PATH to hand it on to"
        ))
        .hint(hint));
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Err(CliError::usage("a word is missing").hint(text.trim_end()));
    }
    let (message, rest) = text.trim_end().split_once("\n\n").unwrap_or((&text, ""));
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let failure = CliError::usage(message.strip_prefix("error: ").unwrap_or(&message));
    Err(if rest.is_empty() { failure } else { failure.hint(rest.trim()) })
}

/// `text` with `…` for each argument that may be a key somebody typed where none belongs, and
/// whether there was one.
fn without_secrets(text: &str, arguments: &[OsString]) -> (String, bool) {
    let words = arguments.iter().skip(1).filter_map(|argument| argument.to_str());
    let values = words.flat_map(|word| word.splitn(2, '=')).filter(|word| looks_secret(word));
    let clean = values.fold(text.to_owned(), |text, word| text.replace(word, "…"));
    let had_secret = clean != text;
    (clean, had_secret)
}

/// Long, without a part of a path, an address or a profile's name, and not a word in small letters.
fn looks_secret(word: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c == '-';
    word.len() >= 20
        && !word.contains(['/', ':', '@', ' '])
        && !word.trim_start_matches('-').chars().all(is_plain)
}

/// Whether errors are data too. The arguments may not have been understood, so this only looks.
fn wants_json(arguments: &[OsString]) -> bool {
    let ours = arguments.iter().skip(1).take_while(|argument| *argument != "--");
    ours.into_iter().any(|argument| argument == "--json" || argument == "--status-json")
}

const COVERED: &str = "it covers `onboard`, `models status|set|aliases|fallbacks`, `models auth …`, `channels list`, \
     `agents list|add|delete|share`, \
     `sessions model|list|show|clear`, `plugins list`, `doctor`, `completion` and `man`; see `clawdbot --help`";
