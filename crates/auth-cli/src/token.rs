//! `models auth token`: the hot path.
//!
//! [`try_fast`] serves the common request before the command line is even parsed: a fresh token
//! needs the store, the routing, and one write. Whatever is not plain is left to [`run`], which
//! gives the same answer by the long way.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use auth_providers::refresh::{Force, Wanted};
use auth_routing::selector::ModelRef;
use auth_routing::{Exclusion, Pin};
use auth_store::{Credential, KeyReference, Kind, ProfileId, Secret, Timestamp};

use crate::agent;
use crate::args::{Global, TokenArgs, TokenFormat};
use crate::config_cache;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::handed::Handed;
use crate::reference;
use crate::route::{self, Candidate, Route};
use crate::share;
use crate::shell_words::{command, option};
use crate::text::utc;
use crate::view::{self, View, way_in};
use crate::{runtime_cache, worker};

/// The exit code, if the request could be served by reading the store alone. Nothing was written
/// if it could not.
pub fn try_fast(arguments: &[OsString]) -> Option<u8> {
    let (args, global) = quick_arguments(arguments)?;
    let mut context = Context::quick();
    let text = fast(&args, &global, &context);
    context.say_recoveries();
    let text = text?;
    context.stdout.write_all(text.as_bytes()).ok()?;
    // The process ends here, so nothing need be tidied up.
    std::mem::forget((args, global, context, text));
    Some(Exit::Done as u8)
}

/// The arguments of a plain request for a token: these options, each at most once.
fn quick_arguments(arguments: &[OsString]) -> Option<(TokenArgs, Global)> {
    let mut words = arguments.iter().skip(1).map(|argument| argument.to_str());
    for word in ["models", "auth", "token"] {
        if words.next()?? != word {
            return None;
        }
    }
    let (mut args, mut global) = (TokenArgs::default(), Global::default());
    while let Some(word) = words.next() {
        let (name, value) = match word?.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word?, None),
        };
        if name == "--json" && value.is_none() {
            global.json = true;
            continue;
        }
        let place = match name {
            "--provider" => &mut args.provider,
            "--profile" => &mut args.profile,
            "--agent" => &mut global.agent,
            "--format" if value.or_else(|| words.clone().next()?) == Some("raw") => {
                if value.is_none() {
                    words.next();
                }
                args.format = Some(TokenFormat::Raw);
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
    Some((args, global))
}

/// The output, if the first profile of the plan is fresh.
fn fast(args: &TokenArgs, global: &Global, context: &Context) -> Option<String> {
    let view = View::with(config_cache::load(context)?, global, context).ok()?;
    let route = Route::of(args, None, &view, context).ok()?;
    let first = route.candidates.first()?;
    if !route.warnings.is_empty() || first.resting.is_some() || route.moves_session {
        return None;
    }
    let credential = view.document.credential(&first.profile)?;
    if !credential.is_fresh(view.now, Duration::ZERO) {
        return None;
    }
    if matches!(&credential, Credential::Reference(KeyReference::Exec { .. })) {
        // Another program may take its time, or ask somebody.
        return None;
    }
    let credential = reference::fetched(credential, &first.profile, context).ok()?;
    let handed = handed(&route, &view, &first.profile, &credential);
    let text = handed.rendered(format(args, global), || view::providers(context)).ok();
    std::mem::forget((view, route, credential, handed));
    text
}

/// Prints a valid token of the profile that routing chooses, refreshed first if that is due.
pub fn run(args: &TokenArgs, global: &Global, context: &mut Context) -> Result<Exit, CliError> {
    let handed = obtain(args, global, context)?;
    let text = handed.rendered(format(args, global), || view::providers(context))?;
    context.stdout.write_all(text.as_bytes()).map_err(CliError::stdout)?;
    Ok(Exit::Done)
}

/// A valid token of the profile that routing chooses, refreshed first if that is due; else the
/// environment's.
///
/// # Errors
/// Why there is none, with the exit code for it.
pub(crate) fn obtain(
    args: &TokenArgs,
    global: &Global,
    context: &mut Context,
) -> Result<Handed, CliError> {
    let view = match &args.session {
        Some(key) => View::of_session(key, global, context)?,
        None => View::read(global, context)?,
    };
    let mut models = route::models(args, &view)?.into_iter();
    let Some(asked) = models.next() else { return follow(args, None, &view, context) };
    let failure = match follow(args, Some(&asked), &view, context) {
        Err(error) if is_about_the_model(&error) => error,
        outcome => return outcome,
    };
    for model in models {
        match follow(args, Some(&model), &view, context) {
            Ok(mut handed) => {
                context.say(format_args!(
                    "warning: {}; using the fallback {model} ({}, {})",
                    failure.message,
                    handed.source,
                    handed.mode()
                ));
                handed.fallback_for = Some(asked);
                return Ok(handed);
            }
            Err(error) if is_about_the_model(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Err(failure)
}

/// A token by one route: of the first candidate that has one, else the environment's.
fn follow(
    args: &TokenArgs,
    model: Option<&ModelRef>,
    view: &View,
    context: &mut Context,
) -> Result<Handed, CliError> {
    let route = Route::of(args, model, view, context)?;
    for warning in &route.warnings {
        context.say(format_args!("warning: {warning}"));
    }
    route.move_session(args, view, context);
    let mut failure: Option<CliError> = None;
    for candidate in &route.candidates {
        if let Some(until) = candidate.resting {
            let rests = all_rest(&route, until, candidate, view);
            return Err(failure.unwrap_or(rests));
        }
        let outcome = if args.no_refresh {
            stored(candidate, args, view)
                .and_then(|it| reference::fetched(it, &candidate.profile, context))
        } else {
            let holder = view.holder(&candidate.profile);
            let sink = worker::sink(holder, &view.config, context)?;
            worker::credential(wanted(candidate, args), holder, &sink, context)
        };
        match outcome {
            Ok(credential) => {
                if let Some(failure) = &failure {
                    context.say(format_args!(
                        "warning: {}; using `{}` ({}) instead",
                        failure.message,
                        candidate.profile,
                        credential.kind().as_str()
                    ));
                }
                let before = view.document.credential(&candidate.profile);
                if before.is_none_or(|before| before.bearer() != credential.bearer()) {
                    runtime_cache::follow(&view.agent, &view.config, context);
                }
                return Ok(handed(&route, view, &candidate.profile, &credential));
            }
            // Another account may do; a damaged store or a lock will not get better by it.
            Err(error) if is_about_the_profile(&error) => failure = failure.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    match failure {
        Some(failure) => Err(failure),
        None => from_environment(&route, view, context),
    }
}

fn handed(route: &Route, view: &View, profile: &ProfileId, credential: &Credential) -> Handed {
    // As the profile spells it.
    let found = view.profile(profile).ok();
    let provider = found.map_or(&route.provider, |found| &found.provider);
    let handed = Handed::of(provider, profile, &view.agent.id, credential);
    Handed { model: route.model.clone(), ..handed }
}

fn wanted(candidate: &Candidate, args: &TokenArgs) -> Wanted {
    Wanted {
        profile: candidate.profile.clone(),
        at_least: args.min_ttl.unwrap_or_default(),
        force: if args.force_refresh { Force::Refresh } else { Force::No },
        only_if: args.if_token_sha256.clone(),
    }
}

/// `--no-refresh`: what is stored, if it can be used.
fn stored(candidate: &Candidate, args: &TokenArgs, view: &View) -> Result<Credential, CliError> {
    let credential = view.document.credential(&candidate.profile);
    let usable = |credential: &Credential| {
        credential.is_valid(view.now.plus(args.min_ttl.unwrap_or_default()))
    };
    credential.filter(usable).ok_or_else(|| {
        let message = format!("the token of `{}` has ended, or is about to", candidate.profile);
        CliError::new(Exit::TryLater, "expired", message)
            .hint(format!(
                "renew it: clawdbot models auth token{}{}",
                option("--profile", &candidate.profile),
                view.agent.option()
            ))
            .profile(&candidate.profile)
    })
}

/// Whether a fallback model may do.
fn is_about_the_model(error: &CliError) -> bool {
    error.exit == Exit::AllRest || is_about_the_profile(error)
}

fn is_about_the_profile(error: &CliError) -> bool {
    matches!(error.exit, Exit::NoCredential | Exit::LogInAgain | Exit::TryLater | Exit::Usage)
}

fn all_rest(route: &Route, until: Timestamp, first: &Candidate, view: &View) -> CliError {
    let who = match (&route.pin, &route.model) {
        (Some(Pin::Require(id)), _) => format!("the pinned profile `{id}` rests"),
        (_, Some(model)) => format!("all profiles of {} rest for {model}", route.provider),
        _ => format!("all profiles of {} rest", route.provider),
    };
    let mut hint = format!(
        "see why: clawdbot models auth explain{}{}; end the rest: {}",
        option("--provider", &route.provider),
        view.agent.option(),
        command("models auth cooldown clear", &[&first.profile], &view.agent.option())
    );
    if let Some(unpin) = route.unpin() {
        let _ = write!(hint, "; unpin it: {unpin}");
    }
    CliError::new(
        Exit::AllRest,
        "all_rest",
        format!("{who}; the first, `{}`, is back at {}", first.profile, utc(until)),
    )
    .hint(hint)
    .profile(&first.profile)
}

/// No profile can be used: the environment's key is the last resort, unless somebody asked for a
/// certain profile.
fn from_environment(route: &Route, view: &View, context: &mut Context) -> Result<Handed, CliError> {
    if matches!(route.pin, Some(Pin::Require(_))) {
        return Err(no_credential(route, view, context));
    }
    let handed = |kind, token, source| Handed {
        provider: route.provider.clone(),
        profile: None,
        agent: view.agent.id.clone(),
        kind,
        token,
        expires: None,
        source,
        model: route.model.clone(),
        fallback_for: None,
    };
    let providers = view::providers(context);
    let env = providers.env_key(&route.provider, &|name| context.env(name).map(str::to_owned));
    let (handed, from) = match (env, view.config.described_key(&route.provider)) {
        (Some(key), _) => {
            let kind = if key.is_oauth { Kind::OAuth } else { Kind::ApiKey };
            let from = format!("`{}` from the environment", key.name);
            (handed(kind, key.value, format!("env: {}", key.name)), from)
        }
        (None, Some(key)) => {
            let from = "the `apiKey` in the config's `models.providers`".to_owned();
            (handed(Kind::ApiKey, Secret::new(key), "models.json".to_owned()), from)
        }
        (None, None) => return Err(no_credential(route, view, context)),
    };
    // A subscription that ended must not turn into a bill unseen.
    let ended = route.plan.iter().flat_map(|plan| &plan.excluded).find(|(id, reason)| {
        let is_key = |it: &auth_store::Profile| it.kind == Kind::ApiKey;
        matches!(reason, Exclusion::Expired(_) | Exclusion::NoSecret)
            && !view.profile(id).is_ok_and(is_key)
    });
    match ended {
        Some((id, reason)) => context.say(format_args!(
            "warning: `{id}` cannot be used ({reason}); {from} is used instead ({})",
            handed.mode()
        )),
        None => context.say(format_args!("note: {from} is used ({})", handed.mode())),
    }
    Ok(handed)
}

fn no_credential(route: &Route, view: &View, context: &Context) -> CliError {
    let provider = &route.provider;
    let excluded = route.plan.iter().flat_map(|plan| &plan.excluded);
    let mut message = match &route.pin {
        Some(Pin::Require(id)) => format!("the pinned profile `{id}` cannot be used"),
        _ => format!("there is no credential for {provider} that can be used"),
    };
    for (id, reason) in excluded.filter(|(_, reason)| *reason != Exclusion::NotRequired) {
        // Writing to a string cannot fail.
        let _ = write!(message, "; `{id}`: {reason}");
    }
    let way_in = way_in(provider, &view::providers(context));
    let mut hint = match route.unpin() {
        Some(unpin) => format!("unpin it: {unpin}"),
        None => format!("{way_in}{}", view.agent.option()),
    };
    // Who comes from Clawdbot may have lived on the main agent's login without knowing it.
    let others = agent::others(&view.agent, &view.config, context).unwrap_or_default();
    let holder = others.into_iter().find(|other| {
        let document = other.store_to_change(context).read();
        document.is_ok_and(|it| it.profiles().any(|profile| profile.provider == *provider))
    });
    if let Some(holder) = holder.filter(|_| route.unpin().is_none()) {
        hint = share::offer(&view.agent, &holder, provider.as_str());
    }
    CliError::new(Exit::NoCredential, "no_credential", message).hint(hint)
}

/// How it is printed.
fn format(args: &TokenArgs, global: &Global) -> TokenFormat {
    args.format.unwrap_or(if global.json { TokenFormat::Json } else { TokenFormat::Raw })
}
