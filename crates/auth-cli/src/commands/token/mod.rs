//! `models auth token`: the hot path.
//!
//! [`try_fast`] serves the common request before the command line is even parsed: a fresh token
//! needs the store, the routing, and one write. All other requests are left to [`run`], which gives
//! the same output on the slow path.

pub mod args;
pub mod exec_args;
pub mod exec_env;
mod exec_proxy;
pub mod explain;
pub mod git_credential;
pub mod openclaw;
pub mod output;
pub mod report;

use std::ffi::OsString;
use std::rc::Rc;
use std::time::Duration;

use auth_store::{Credential, KeyReference};

use crate::agent::invocation::Invocation;
use crate::commands::token::args::{HelperVerb, TokenArgs, TokenFormat};
use crate::commands::token::exec_args::ExecArgs;
use crate::commands::token::git_credential::Question;
use crate::config::cache;
use crate::host::context::{AGENT_VARIABLE, Context};
use crate::host::error::{CliError, Exit};
use crate::host::prompt;
use crate::host::report::Report;
use crate::host::text::printable;
use crate::profiles::audit;
use crate::profiles::key_reference;
use crate::profiles::obtain::{TokenRequest, obtain, output_of};
use crate::profiles::remote;
use crate::profiles::route::{self, Route, RouteRequest};
use crate::profiles::view::{self, View};

/// The exit code, if the request could be served by reading the store alone. Otherwise nothing was
/// written.
pub fn try_fast(arguments: &[OsString]) -> Option<u8> {
    let Quick { request, format, agent } = quick_arguments(arguments)?;
    let context = Context::quick();
    let text = fast(&request, format, agent.as_deref(), &context);
    context.say_recoveries();
    let text = text?;
    context.write(text.as_bytes()).ok()?;
    // The process ends here, so destructors are skipped.
    std::mem::forget((request, agent, context, text));
    Some(Exit::Done as u8)
}

/// A plain request for a token.
struct Quick {
    request: RouteRequest,
    format: TokenFormat,
    agent: Option<String>,
}

/// The arguments of a plain request for a token: only these options, each at most once.
fn quick_arguments(arguments: &[OsString]) -> Option<Quick> {
    let mut words = arguments.iter().skip(1).map(|argument| argument.to_str());
    match words.next()?? {
        "token" => {}
        "models" if words.next()?? == "auth" && words.next()?? == "token" => {}
        _ => return None,
    }
    let mut request = RouteRequest::default();
    let (mut agent, mut json, mut chosen) = (None, false, None);
    while let Some(word) = words.next() {
        let (name, value) = match word?.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word?, None),
        };
        if name == "--json" && value.is_none() {
            json = true;
            continue;
        }
        if !name.starts_with('-') && value.is_none() {
            if request.provider.replace(name.to_owned()).is_some() {
                return None;
            }
            continue;
        }
        let place = match name {
            "--provider" => &mut request.provider,
            "--profile" => &mut request.profile,
            "--agent" => &mut agent,
            "--format" if value.or_else(|| words.clone().next()?) == Some("raw") => {
                if value.is_none() {
                    words.next();
                }
                chosen = Some(TokenFormat::Raw);
                continue;
            }
            _ => return None,
        };
        let value = match value {
            Some(value) => value,
            None => words.next()??,
        };
        if value.is_empty() || value.starts_with('-') || place.replace(value.to_owned()).is_some() {
            return None;
        }
    }
    Some(Quick { request, format: format(chosen, json), agent })
}

/// The output, if the first profile of the plan is fresh.
fn fast(
    request: &RouteRequest,
    format: TokenFormat,
    agent: Option<&str>,
    context: &Context,
) -> Option<String> {
    context.check_paths().ok()?;
    let agent = agent.or_else(|| context.chosen(AGENT_VARIABLE));
    let view = View::with(Rc::new(cache::load(context)?), agent, context).ok()?;
    let request = route::with_variable(request, &view, context).ok()?;
    let route = Route::for_request(&request, None, &view, context).ok()?;
    let Some(first) = route.candidates.first() else {
        return from_before(&request, format, agent, context);
    };
    if !route.warnings.is_empty() || first.in_cooldown.is_some() || route.moves_session {
        return None;
    }
    let credential = view.document.credential(&first.profile)?;
    if !credential.is_fresh(view.now, Duration::ZERO) {
        return None;
    }
    if matches!(&credential, Credential::Reference(KeyReference::Exec { .. })) {
        // Another program may be slow, or prompt the user.
        return None;
    }
    let credential = key_reference::fetched(credential, &first.profile, context).ok()?;
    let output = output_of(&route, &view, &first.profile, &credential);
    let text = output.rendered(format, || view::providers(context)).ok();
    if text.is_some() {
        audit::fresh_token(&output, context);
    }
    std::mem::forget((view, route, credential, output));
    text
}

/// A machine without profiles may have a token from another one.
fn from_before(
    request: &RouteRequest,
    format: TokenFormat,
    agent: Option<&str>,
    context: &Context,
) -> Option<String> {
    if agent.is_some() {
        return None;
    }
    let request = TokenRequest { route: request.clone(), ..TokenRequest::default() };
    let output = remote::cached(&request, context)?;
    output.rendered(format, || view::providers(context)).ok()
}

/// Runs another program with tokens, or beside a proxy of its own.
pub fn exec(args: &ExecArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    if args.proxy { exec_proxy::run(args, invocation) } else { exec_env::exec(args, invocation) }
}

/// Prints a valid token of the profile that routing chooses, refreshed first if it is due.
pub fn run(args: &TokenArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    if args.copy && !context.terminal.stderr {
        return Err(CliError::usage("--copy requires a terminal"));
    }
    let format = format(args.format, invocation.output.json);
    if format == TokenFormat::Openclaw {
        return openclaw::run(invocation);
    }
    let server = match question(args, format, context)? {
        Asked::OfUs(server) => server,
        Asked::Else(report) => return Ok(report),
    };
    // Before anything is renewed for whom it is of no use.
    let version = output::exec_credential_version(
        context.env("KUBERNETES_EXEC_INFO").filter(|_| format == TokenFormat::ExecCredential),
    )?;
    let output = obtain(&args.request(), invocation)?;
    if args.copy {
        if !output.is_one_line() {
            return Err(output.not_one_line());
        }
        context.copy(output.token.expose());
        let mut report = Report::default();
        report.note(format_args!("Copied the token of {}.", output.source));
        return Ok(report);
    }
    Ok(Report::raw(match format {
        TokenFormat::ExecCredential if output.is_one_line() => output.exec_credential(version),
        TokenFormat::Docker if output.is_one_line() => {
            output.docker(&server, args.username.as_deref())
        }
        _ => output.rendered(format, || view::providers(context))?,
    }))
}

/// What a program that asks helpers wants.
enum Asked {
    /// The token, for this server.
    OfUs(String),
    /// What is not ours to give: this is the answer.
    Else(Report),
}

/// What git, Bazel or Docker asks: they append a verb, and say what it is for on stdin.
///
/// # Errors
/// Bazel asks for another host.
fn question(args: &TokenArgs, format: TokenFormat, context: &Context) -> Result<Asked, CliError> {
    let is_helper = matches!(format, TokenFormat::Git | TokenFormat::Bazel | TokenFormat::Docker);
    let verb = args.helper_verb()?;
    if !is_helper && (verb.is_some() || args.host.is_some()) {
        let message = "a verb and --host are for `--format git`, `bazel` and `docker`";
        return Err(CliError::usage(message).hint("leave them out"));
    }
    match verb {
        None | Some(HelperVerb::Get) => {}
        Some(HelperVerb::List) => return Ok(Asked::Else(Report::raw("{}\n".to_owned()))),
        Some(HelperVerb::Store | HelperVerb::Erase) => return Ok(Asked::Else(Report::default())),
    }
    let Some(host) = &args.host else {
        if format == TokenFormat::Docker {
            return Err(CliError::usage("--host is required with --format docker")
                .hint("add the name of the registry, such as --host registry.acme.example"));
        }
        return Ok(Asked::OfUs(String::new()));
    };
    let asked = prompt::everything(context)?;
    match format {
        TokenFormat::Git if Question::read(&asked).is_for(host) => Ok(Asked::OfUs(String::new())),
        TokenFormat::Git => Ok(Asked::Else(Report::default())),
        TokenFormat::Docker => {
            let server = asked.trim();
            let name = server.strip_prefix("https://").unwrap_or(server);
            if name.split('/').next().unwrap_or_default().eq_ignore_ascii_case(host) {
                return Ok(Asked::OfUs(server.to_owned()));
            }
            // The words by which Docker knows that it has to ask without one.
            let none = Report::raw("credentials not found in native keychain\n".to_owned());
            Ok(Asked::Else(none.ending(Exit::NoCredential)))
        }
        _ => {
            let asked: serde_json::Value = serde_json::from_str(&asked).unwrap_or_default();
            let uri = asked["uri"].as_str().unwrap_or_default();
            let rest = uri.strip_prefix("https://").unwrap_or_default();
            let named = rest.split(['/', '?', '#']).next().unwrap_or_default();
            if named.eq_ignore_ascii_case(host) {
                return Ok(Asked::OfUs(String::new()));
            }
            let message =
                format!("`{}` is not on `{host}`, which alone is answered", printable(uri));
            Err(CliError::usage(message).hint("name the host that it is on with --host"))
        }
    }
}

/// The output format.
fn format(chosen: Option<TokenFormat>, json: bool) -> TokenFormat {
    chosen.unwrap_or(if json { TokenFormat::Json } else { TokenFormat::Raw })
}
