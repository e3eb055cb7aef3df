//! The command line of the token sink, and everything in it that touches the outside world.
//!
//! The binary `clawdbot` is [`run`] on the real [`Context`]; tests call the
//! same function on a context of their own:
//!
//! ```
//! use auth_cli::host::context::{Captured, Context};
//! use auth_store::Timestamp;
//!
//! let home = std::path::Path::new("/nowhere/home");
//! let (stdout, mut context) = (Captured::default(), Context::sealed(home, Timestamp(0)));
//! context.set_stdout(stdout.clone());
//!
//! let exit = auth_cli::run(["clawdbot", "models", "status", "--plain"], &context);
//! assert_eq!(exit, 0);
//! assert_eq!(stdout.text(), "anthropic/claude-opus-4-5\n");
//! ```

pub mod agent;
pub mod cli;
pub mod commands;
pub mod completions;
pub mod config;
pub mod flows;
pub mod host;
pub mod plugin_launcher;
pub mod profiles;

use std::ffi::OsString;

use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _};

use crate::agent::invocation::Invocation;
use crate::cli::AuthCommand;
use crate::cli::Cli;
use crate::cli::Command;
use crate::cli::ModelsArgs;
use crate::cli::ModelsCommand;
use crate::commands::agents::args::AgentsArgs;
use crate::commands::agents::args::AgentsCommand;
use crate::commands::agents::args::AgentsListArgs;
use crate::commands::plugins::args::PluginsCommand;
use crate::commands::profiles::args::CooldownCommand;
use crate::commands::profiles::args::DestinationCommand;
use crate::commands::profiles::args::OrderCommand;
use crate::commands::sessions::args::SessionsCommand;
use crate::commands::status::args::ChannelsCommand;
use crate::commands::status::args::StatusArgs;
use crate::flows::model::Use;
use crate::host::context::{AGENT_VARIABLE, Context};
use crate::host::error::{CliError, Exit};
use crate::host::prompt::suggest;
use crate::host::remedy::Remedy;
use crate::host::report::Report;
use crate::profiles::{remote, runtime_cache};

/// Runs the program with `arguments` (the first is its own name), and returns its exit code.
///
/// Data goes to `context.stdout`, everything else to `context.stderr`; an error is reported there
/// and determines the exit code. A command that is not ours is forwarded to the next `clawdbot` or
/// `moltbot` on PATH: then this function does not return.
pub fn run(arguments: impl IntoIterator<Item = impl Into<OsString>>, context: &Context) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let width = context.terminal.width.unwrap_or(100).clamp(40, 100);
    let parsed = Cli::command().term_width(width).try_get_matches_from(&arguments);
    let parsed = parsed.and_then(|matches| Cli::from_arg_matches(&matches));
    let (json, result) = match parsed {
        Ok(cli) => {
            let output = cli.output();
            context.utc.set(cli.global.utc);
            let named = cli.global.agent.clone();
            let chosen = context.chosen(AGENT_VARIABLE).filter(|_| !names_agents_itself(&cli));
            let named = named.or_else(|| chosen.map(str::to_owned));
            let invocation = Invocation::new(context, output, named);
            let result = dispatch(&cli, &invocation);
            runtime_cache::follow_changes(&invocation);
            let better = |error| agent::shared::with_offer(error, &invocation);
            let result = result.map(|report| report.map_failure(better)).map_err(better);
            let result = result.and_then(|report| report.render(output, context));
            (wants_json(&arguments), result)
        }
        Err(error) => (wants_json(&arguments), not_parsed(&error, &arguments, context)),
    };
    context.say_recoveries();
    let result = result.and_then(|exit| context.flush().map(|()| exit));
    let exit = result.unwrap_or_else(|error| {
        context.report(&error, json);
        error.exit
    });
    exit as u8
}

fn dispatch(cli: &Cli, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    host::process::logging::start(invocation.output.verbose, invocation.context);
    if !matches!(cli.command, Command::Completion(_) | Command::Man(_)) {
        invocation.context.check_paths()?;
        invocation.context.check_state_directory()?;
    }
    if !matches!(cli.command, Command::Doctor(_) | Command::Completion(_) | Command::Man(_)) {
        host::process::state::check(invocation.context)?;
    }
    if !matches!(
        cli.command,
        Command::Agents(_)
            | Command::Plugins(_)
            | Command::Doctor(_)
            | Command::Audit(_)
            | Command::Settings(_)
            | Command::Completion(_)
            | Command::Schema(_)
            | Command::Man(_)
    ) {
        agent::legacy::import_legacy_files(invocation)?;
    }
    check_agent(cli, invocation)?;
    if !works_with_a_remote_sink(&cli.command)
        && let Some(sink) = remote::configured(invocation.context)?
    {
        return Err(remote::not_here(&sink));
    }
    match &cli.command {
        Command::Models(ModelsArgs { command: None, status_plain, .. }) => {
            let args = StatusArgs { plain: *status_plain, ..StatusArgs::default() };
            commands::status::run(&args, invocation)
        }
        Command::Models(ModelsArgs { command: Some(ModelsCommand::Status(args)), .. }) => {
            commands::status::run(args, invocation)
        }
        Command::Models(ModelsArgs { command: Some(ModelsCommand::Set(args)), .. }) => {
            flows::model::set(&args.model, Use::Chat, invocation)
        }
        Command::Models(ModelsArgs { command: Some(ModelsCommand::SetImage(args)), .. }) => {
            flows::model::set(&args.model, Use::Image, invocation)
        }
        Command::Models(ModelsArgs { command: Some(ModelsCommand::Aliases(command)), .. }) => {
            commands::models::aliases(command, invocation)
        }
        Command::Models(ModelsArgs {
            command: Some(ModelsCommand::Fallbacks(command)), ..
        }) => commands::models::fallbacks(command, Use::Chat, invocation),
        Command::Models(ModelsArgs {
            command: Some(ModelsCommand::ImageFallbacks(command)),
            ..
        }) => commands::models::fallbacks(command, Use::Image, invocation),
        Command::Models(ModelsArgs { command: Some(ModelsCommand::Auth(auth)), .. }) => {
            match auth {
                AuthCommand::Login(args) => commands::login::run(args, invocation),
                AuthCommand::LoginGithubCopilot(args) => commands::login::copilot(args, invocation),
                AuthCommand::Add => commands::login::add(invocation),
                AuthCommand::SetupToken(args) => commands::login::setup_token(args, invocation),
                AuthCommand::PasteToken(args) => commands::login::paste_token(args, invocation),
                AuthCommand::PasteApiKey(args) => commands::login::paste_api_key(args, invocation),
                AuthCommand::Import(args) => commands::login::import(args, invocation),
                AuthCommand::List(args) => commands::profiles::list::run(args, invocation),
                AuthCommand::Logout(args) => commands::profiles::logout::run(args, invocation),
                AuthCommand::Remove(args) => commands::profiles::remove::run(args, invocation),
                AuthCommand::Refresh(args) => commands::profiles::refresh::run(args, invocation),
                AuthCommand::Destination(DestinationCommand::Show(args)) => {
                    commands::profiles::destination::show(args, invocation)
                }
                AuthCommand::Destination(DestinationCommand::Accept(args)) => {
                    commands::profiles::destination::accept(args, invocation)
                }
                AuthCommand::Report(args) => commands::token::report::run(args, invocation),
                AuthCommand::Explain(args) => commands::token::explain::run(args, invocation),
                AuthCommand::Token(args) => commands::token::run(args, invocation),
                AuthCommand::Exec(args) => commands::token::exec(args, invocation),
                AuthCommand::Env(args) => commands::token::exec_env::env(args, invocation),
                AuthCommand::Configure(what) => commands::configure::run(what, invocation),
                AuthCommand::GitCredential(args) => {
                    commands::token::git_credential::run(args, invocation)
                }
                AuthCommand::Order(OrderCommand::Get(args)) => {
                    commands::profiles::order::get(args, invocation)
                }
                AuthCommand::Order(OrderCommand::Set(args)) => {
                    commands::profiles::order::set(args, invocation)
                }
                AuthCommand::Order(OrderCommand::Clear(args)) => {
                    commands::profiles::order::clear(args, invocation)
                }
                AuthCommand::Order(OrderCommand::Add(args)) => {
                    commands::profiles::order::change(args, true, invocation)
                }
                AuthCommand::Order(OrderCommand::Remove(args)) => {
                    commands::profiles::order::change(args, false, invocation)
                }
                AuthCommand::Cooldown(CooldownCommand::List(args)) => {
                    commands::profiles::cooldown::list(args, invocation)
                }
                AuthCommand::Cooldown(CooldownCommand::Clear(args)) => {
                    commands::profiles::cooldown::clear(args, invocation)
                }
            }
        }
        Command::Token(args) => commands::token::run(args, invocation),
        Command::Explain(args) => commands::token::explain::run(args, invocation),
        Command::Exec(args) => commands::token::exec(args, invocation),
        Command::Env(args) => commands::token::exec_env::env(args, invocation),
        Command::Use(args) => commands::profiles::order::put_first(args, invocation),
        Command::Whoami => commands::status::whoami(invocation),
        Command::Channels(ChannelsCommand::List(_)) => commands::status::channels::list(invocation),
        Command::Agents(AgentsArgs { command: None }) => {
            commands::agents::list::list(&AgentsListArgs::default(), invocation)
        }
        Command::Agents(AgentsArgs { command: Some(AgentsCommand::List(args)) }) => {
            commands::agents::list::list(args, invocation)
        }
        Command::Agents(AgentsArgs { command: Some(AgentsCommand::Add(args)) }) => {
            commands::agents::add::run(args, invocation)
        }
        Command::Agents(AgentsArgs { command: Some(AgentsCommand::Delete(args)) }) => {
            commands::agents::delete::run(args, invocation)
        }
        Command::Agents(AgentsArgs { command: Some(AgentsCommand::Share(args)) }) => {
            commands::agents::share::run(args, invocation)
        }
        Command::Sessions(SessionsCommand::Model(args)) => {
            commands::sessions::model(args, invocation)
        }
        Command::Sessions(SessionsCommand::List) => commands::sessions::list(invocation),
        Command::Sessions(SessionsCommand::Show(args)) => {
            commands::sessions::show(args, invocation)
        }
        Command::Sessions(SessionsCommand::Clear(args)) => {
            commands::sessions::clear(args, invocation)
        }
        Command::Serve(args) => commands::serve::run(args, invocation),
        Command::Clients(command) => commands::clients::run(command, invocation),
        Command::Sink(command) => commands::sink::run(command, invocation),
        Command::Onboard(args) => commands::onboard::run(args, invocation),
        Command::Schema(args) => commands::schema::run(args),
        Command::Completion(args) => completions::completion(args, invocation.context),
        Command::Audit(args) => commands::audit::run(args, invocation),
        Command::Settings(command) => commands::settings::run(command, invocation),
        Command::Man(args) => completions::man(args, invocation.context),
        Command::Doctor(args) => commands::doctor::command::run(args, invocation),
        Command::Plugins(PluginsCommand::List) => commands::plugins::list(invocation),
        Command::Plugins(PluginsCommand::Check(args)) => {
            commands::plugins::check::run(args, invocation)
        }
    }
}

/// Whether a command works on a machine that takes its tokens from another one.
fn works_with_a_remote_sink(command: &Command) -> bool {
    match command {
        Command::Sink(_) | Command::Completion(_) | Command::Man(_) | Command::Doctor(_) => true,
        Command::Models(ModelsArgs { command, .. }) => match command {
            None | Some(ModelsCommand::Status(_)) => true,
            Some(ModelsCommand::Auth(auth)) => {
                matches!(
                    auth,
                    AuthCommand::Token(_)
                        | AuthCommand::Report(_)
                        | AuthCommand::List(_)
                        | AuthCommand::Explain(_)
                        | AuthCommand::Env(_)
                        | AuthCommand::Configure(_)
                        | AuthCommand::GitCredential(_)
                ) || matches!(auth, AuthCommand::Exec(args) if !args.proxy)
            }
            Some(_) => false,
        },
        _ => false,
    }
}

/// Whether the command is about no certain agent, or names it as an argument.
fn names_agents_itself(cli: &Cli) -> bool {
    matches!(cli.command, Command::Agents(_) | Command::Plugins(_))
}

/// Commands that apply to no particular agent, or name it themselves, must not silently ignore
/// `--agent`.
fn check_agent(cli: &Cli, invocation: &Invocation<'_>) -> Result<(), CliError> {
    if invocation.named().is_none() {
        return Ok(());
    }
    match &cli.command {
        Command::Plugins(_) => invocation.agent().map(|_| ()),
        Command::Agents(AgentsArgs {
            command:
                Some(AgentsCommand::Add(_) | AgentsCommand::Delete(_) | AgentsCommand::Share(_)),
        }) => Err(CliError::usage("--agent does not apply to this command")
            .hint("name the agent without it: clawdbot agents share NAME --from main")),
        _ => Ok(()),
    }
}

/// Handles arguments that are not one of our command lines.
fn not_parsed(
    error: &clap::Error,
    arguments: &[OsString],
    context: &Context,
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
        host::process::forward::to_next_on_path(arguments, context)?;
        let word = value(ContextKind::InvalidSubcommand)
            .or_else(|| value(ContextKind::InvalidArg))
            .unwrap_or_default();
        let failure = CliError::usage(format!("unknown command `{word}`"));
        return Err(match meant(&word) {
            Some(path) => failure
                .remedy(Remedy::new("did you mean this?", format!("clawdbot {path}")))
                .remedy(Remedy::new("list the commands", "clawdbot --help")),
            None => failure.remedy(Remedy::new("list the commands", "clawdbot --help")),
        });
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let failure = CliError::usage("missing subcommand");
        if wants_json(arguments) {
            return Err(failure);
        }
        context.say_lines(text.trim_end());
        return Ok(Exit::Usage);
    }
    let (message, rest) = text.trim_end().split_once("\n\n").unwrap_or((&text, ""));
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let failure = CliError::usage(message.strip_prefix("error: ").unwrap_or(&message));
    Err(if rest.is_empty() { failure } else { failure.hint(rest.trim()) })
}

/// `text` with `…` for each argument that may be a misplaced key, and whether there was one.
fn without_secrets(text: &str, arguments: &[OsString]) -> (String, bool) {
    let words = arguments.iter().skip(1).filter_map(|argument| argument.to_str());
    let values = words.flat_map(|word| word.splitn(2, '=')).filter(|word| looks_secret(word));
    let clean = values.fold(text.to_owned(), |text, word| text.replace(word, "…"));
    let had_secret = clean != text;
    (clean, had_secret)
}

/// Whether the word is long, does not look like a path, an address or a profile name, and is not a
/// lower case word.
fn looks_secret(word: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c == '-';
    word.len() >= 20
        && !word.contains(['/', ':', '@', ' '])
        && !word.trim_start_matches('-').chars().all(is_plain)
}

/// Whether errors are printed as JSON. The arguments may be invalid, so this only searches them.
fn wants_json(arguments: &[OsString]) -> bool {
    let ours = arguments.iter().skip(1).take_while(|argument| *argument != "--");
    ours.into_iter().any(|argument| argument == "--json" || argument == "--status-json")
}

/// The command that was most likely meant by a word that is none: one that ends in it, or the
/// nearest.
fn meant(word: &str) -> Option<String> {
    let paths = command_paths(&Cli::command());
    let last = |path: &str| path.rsplit(' ').next().unwrap_or_default().to_owned();
    if let Some((_, path)) = ELSEWHERE.iter().find(|(known, _)| *known == word) {
        return Some((*path).to_owned());
    }
    let exact = paths.iter().filter(|path| last(path) == word).min_by_key(|path| path.len());
    if let Some(path) = exact {
        return Some(path.clone());
    }
    let names: Vec<String> = paths.iter().map(|path| last(path)).collect();
    let near = suggest::nearest(word, names.iter().map(String::as_str))?;
    paths.iter().filter(|path| last(path) == near).min_by_key(|path| path.len()).cloned()
}

/// Words that people try, and what they mean here.
const ELSEWHERE: [(&str, &str); 4] = [
    ("version", "--version"),
    ("auth", "models auth"),
    ("health", "doctor"),
    ("status", "models status"),
];

fn command_paths(command: &clap::Command) -> Vec<String> {
    let below = command.get_subcommands().filter(|it| !it.is_hide_set());
    below
        .flat_map(|child| {
            let name = child.get_name();
            let more = command_paths(child).into_iter().map(move |path| format!("{name} {path}"));
            std::iter::once(name.to_owned()).chain(more)
        })
        .collect()
}
