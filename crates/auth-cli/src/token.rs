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
use auth_routing::session;
use auth_routing::{Exclusion, Pin, Plan, Why, unusable_until};
use auth_store::{Credential, KeyReference, Kind, ProfileId, ProviderId, Secret, Timestamp};

use crate::agent;
use crate::args::{Global, TokenArgs, TokenFormat};
use crate::config_cache;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::handed::Handed;
use crate::reference;
use crate::sessions::Sessions;
use crate::text::utc;
use crate::view::{self, View, way_in};
use crate::worker;

/// The exit code, if the request could be served by reading the store alone. Nothing was written
/// if it could not.
pub fn try_fast(arguments: &[OsString]) -> Option<u8> {
    let (args, global) = quick_arguments(arguments)?;
    let mut context = Context::quick();
    let text = fast(&args, &global, &context)?;
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
    let choice = choose(args, &view, context).ok()?;
    let first = choice.candidates.first()?;
    if !choice.warnings.is_empty() || first.resting.is_some() {
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
    let handed = handed(&choice, &view, &first.profile, &credential);
    let text = handed.rendered(format(args, global), || view::providers(context)).ok();
    std::mem::forget((view, choice, credential, handed));
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
    let view = View::read(global, context)?;
    let choice = choose(args, &view, context)?;
    for warning in &choice.warnings {
        context.say(format_args!("warning: {warning}"));
    }
    let mut sink = None;
    let mut failure: Option<CliError> = None;
    for candidate in &choice.candidates {
        if let Some(until) = candidate.resting {
            let rests = all_rest(&choice, until, candidate, &view);
            return Err(failure.unwrap_or(rests));
        }
        let outcome = if args.no_refresh {
            stored(candidate, args, &view)
                .and_then(|it| reference::fetched(it, &candidate.profile, context))
        } else {
            let sink = sink.get_or_insert_with(|| worker::sink(&view.agent, &view.config, context));
            worker::credential(wanted(candidate, args), &view.agent, sink, context)
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
                return Ok(handed(&choice, &view, &candidate.profile, &credential));
            }
            // Another account may do; a damaged store or a lock will not get better by it.
            Err(error) if is_about_the_profile(&error) => failure = failure.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    match failure {
        Some(failure) => Err(failure),
        None => from_environment(&choice, &view, context),
    }
}

fn handed(choice: &Choice, view: &View, profile: &ProfileId, credential: &Credential) -> Handed {
    // As the profile spells it.
    let found = view.profile(profile).ok();
    let provider = found.map_or(&choice.provider, |found| &found.provider);
    Handed::of(provider, profile, &view.agent.id, credential)
}

/// What there is to choose from.
struct Choice {
    provider: ProviderId,
    pin: Option<Pin>,
    candidates: Vec<Candidate>,
    plan: Option<Plan>,
    warnings: Vec<String>,
}

struct Candidate {
    profile: ProfileId,
    /// It is not to be used before then.
    resting: Option<Timestamp>,
}

fn choose(args: &TokenArgs, view: &View, context: &Context) -> Result<Choice, CliError> {
    if let Some(id) = &args.profile {
        let profile = view.profile(&ProfileId::new(id.as_str()))?;
        // Who names a profile gets it, resting or not.
        let candidate = Candidate { profile: profile.id.clone(), resting: None };
        return Ok(Choice {
            provider: profile.provider.clone(),
            pin: None,
            candidates: vec![candidate],
            plan: None,
            warnings: Vec::new(),
        });
    }
    let entry = match &args.session {
        Some(key) => Sessions::of(&view.agent, &view.config, context).entry(key)?,
        None => None,
    };
    let pin = entry.as_ref().and_then(session::pin);
    let session_provider = entry.as_ref().and_then(|entry| entry.get("providerOverride")?.as_str());
    let provider = match (&args.provider, session_provider, &pin) {
        (Some(provider), _, _) => ProviderId::new(provider),
        (None, Some(provider), _) => ProviderId::new(provider),
        (None, None, Some(Pin::Prefer(id) | Pin::Require(id))) => {
            view.profile(id)?.provider.clone()
        }
        (None, None, None) => view.default_model().provider,
    };
    let plan = view.plan(&provider, pin.as_ref());
    let candidates = plan.candidates.iter().map(|candidate| {
        let resting = match &candidate.why {
            Why::Resting { until, .. } => Some(*until),
            // A pinned profile keeps its place, and may rest all the same.
            Why::Pinned => view
                .profile(&candidate.id)
                .ok()
                .and_then(|profile| unusable_until(&profile.usage))
                .filter(|until| view.now < *until),
            _ => None,
        };
        Candidate { profile: candidate.id.clone(), resting }
    });
    let mut candidates: Vec<_> = candidates.collect();
    candidates.sort_by_key(|candidate| candidate.resting);
    let warnings = plan.warnings.iter().map(|warning| format!("{provider}: {warning}")).collect();
    Ok(Choice { provider, pin, candidates, plan: Some(plan), warnings })
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
            .hint(format!("renew it: clawdbot models auth token --profile {}", candidate.profile))
            .profile(&candidate.profile)
    })
}

fn is_about_the_profile(error: &CliError) -> bool {
    matches!(error.exit, Exit::NoCredential | Exit::LogInAgain | Exit::TryLater | Exit::Usage)
}

fn all_rest(choice: &Choice, until: Timestamp, first: &Candidate, view: &View) -> CliError {
    let who = match &choice.pin {
        Some(Pin::Require(id)) => format!("the pinned profile `{id}` rests"),
        _ => format!("all profiles of {} rest", choice.provider),
    };
    CliError::new(
        Exit::AllRest,
        "all_rest",
        format!("{who}; the first, `{}`, is back at {}", first.profile, utc(until)),
    )
    .hint(format!(
        "see why: clawdbot models auth explain --provider {0}; end the rest: clawdbot models auth cooldown clear {1}{2}",
        choice.provider,
        first.profile,
        of_agent(view)
    ))
    .profile(&first.profile)
}

/// No profile can be used: the environment's key is the last resort, unless somebody asked for a
/// certain profile.
fn from_environment(
    choice: &Choice,
    view: &View,
    context: &mut Context,
) -> Result<Handed, CliError> {
    if matches!(choice.pin, Some(Pin::Require(_))) {
        return Err(no_credential(choice, view, context));
    }
    let handed = |kind, token, source| Handed {
        provider: choice.provider.clone(),
        profile: None,
        agent: view.agent.id.clone(),
        kind,
        token,
        expires: None,
        source,
    };
    let providers = view::providers(context);
    let env = providers.env_key(&choice.provider, &|name| context.env(name).map(str::to_owned));
    let (handed, from) = match (env, view.config.described_key(&choice.provider)) {
        (Some(key), _) => {
            let kind = if key.is_oauth { Kind::OAuth } else { Kind::ApiKey };
            let from = format!("`{}` from the environment", key.name);
            (handed(kind, key.value, format!("env: {}", key.name)), from)
        }
        (None, Some(key)) => {
            let from = "the `apiKey` in the config's `models.providers`".to_owned();
            (handed(Kind::ApiKey, Secret::new(key), "models.json".to_owned()), from)
        }
        (None, None) => return Err(no_credential(choice, view, context)),
    };
    // A subscription that ended must not turn into a bill unseen.
    let ended = choice.plan.iter().flat_map(|plan| &plan.excluded).find(|(id, reason)| {
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

fn no_credential(choice: &Choice, view: &View, context: &Context) -> CliError {
    let provider = &choice.provider;
    let excluded = choice.plan.iter().flat_map(|plan| &plan.excluded);
    let mut message = match &choice.pin {
        Some(Pin::Require(id)) => format!("the pinned profile `{id}` cannot be used"),
        _ => format!("there is no credential for {provider} that can be used"),
    };
    for (id, reason) in excluded.filter(|(_, reason)| *reason != Exclusion::NotRequired) {
        // Writing to a string cannot fail.
        let _ = write!(message, "; `{id}`: {reason}");
    }
    let way_in = way_in(provider, &view::providers(context));
    let mut hint = format!("{way_in}{}", of_agent(view));
    // Who comes from Clawdbot may have lived on the main agent's login without knowing it.
    let holder = agent::others(&view.agent, &view.config, context).find(|other| {
        let document = other.store().read();
        document.is_ok_and(|it| it.profiles().any(|profile| profile.provider == *provider))
    });
    if let Some(holder) = holder {
        let _ = write!(
            hint,
            "; the agent `{0}` has one, but agents do not share: use it with --agent {0}",
            holder.id
        );
    }
    CliError::new(Exit::NoCredential, "no_credential", message).hint(hint)
}

fn of_agent(view: &View) -> String {
    match view.agent.id.as_str() {
        crate::paths::MAIN_AGENT => String::new(),
        id => format!(" --agent {id}"),
    }
}

/// How it is printed.
fn format(args: &TokenArgs, global: &Global) -> TokenFormat {
    args.format.unwrap_or(if global.json { TokenFormat::Json } else { TokenFormat::Raw })
}
