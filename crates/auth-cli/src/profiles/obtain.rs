//! A token for a request: the profiles of its route are tried in turn, each refreshed first if it
//! is due; the environment's key is the last resort.

use std::fmt::Write as _;

use std::time::Duration;

use auth_providers::refresh::{Force, Wanted};
use auth_routing::session::selector::ModelRef;
use auth_routing::{Exclusion, Pin};
use auth_store::{AuditKind, Credential, Kind, ProfileId, Secret, Timestamp};

use crate::agent;
use crate::agent::invocation::Invocation;
use crate::agent::shared;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::remedy::Remedy;
use crate::host::shell_quote::{command, option};
use crate::host::text::one_line;
use crate::profiles::audit;
use crate::profiles::key_reference;
use crate::profiles::refresh_child;
use crate::profiles::remote;
use crate::profiles::route::{self, Candidate, Route};
use crate::profiles::sink;
use crate::profiles::token_output::TokenOutput;
use crate::profiles::view::{self, View, way_in};

pub use crate::profiles::route::TokenRequest;

/// A valid token of the profile that routing chooses, refreshed first if it is due; else the
/// environment's.
///
/// # Errors
/// Why there is none, with the exit code for it.
pub(crate) fn obtain(
    request: &TokenRequest,
    invocation: &Invocation<'_>,
) -> Result<TokenOutput, CliError> {
    if let Some(sink) = remote::configured(invocation.context)? {
        return sink.token(request, invocation.context);
    }
    let output = obtained(request, invocation)?;
    audit::token(&output, invocation.context);
    Ok(output)
}

fn obtained(request: &TokenRequest, invocation: &Invocation<'_>) -> Result<TokenOutput, CliError> {
    let view = match &request.route.session {
        Some(key) => View::of_session(key, invocation)?,
        None => View::read(invocation)?,
    };
    let route = route::with_variable(&request.route, &view, invocation.context)?.into_owned();
    let request = &TokenRequest { route, ..request.clone() };
    let mut models = route::models(&request.route, &view)?.into_iter();
    let Some(asked) = models.next() else { return follow(request, None, &view, invocation) };
    let failure = match follow(request, Some(&asked), &view, invocation) {
        Err(error) if is_about_the_model(&error) => error,
        outcome => return outcome,
    };
    for model in models {
        match follow(request, Some(&model), &view, invocation) {
            Ok(mut output) => {
                invocation.context.say(format_args!(
                    "warning: {}; using the fallback {model} ({}, {})",
                    failure.message,
                    output.source,
                    output.mode()
                ));
                output.fallback_for = Some(asked);
                return Ok(output);
            }
            Err(error) if is_about_the_model(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Err(failure)
}

/// A token for one route: of the first candidate that has one, else the environment's.
fn follow(
    request: &TokenRequest,
    model: Option<&ModelRef>,
    view: &View,
    invocation: &Invocation<'_>,
) -> Result<TokenOutput, CliError> {
    let context = invocation.context;
    let route = Route::for_request(&request.route, model, view, context)?;
    for warning in &route.warnings {
        context.say(format_args!("warning: {warning}"));
    }
    route.move_session(&request.route, view, context);
    let mut failure: Option<CliError> = None;
    for candidate in &route.candidates {
        if let Some(until) = candidate.in_cooldown {
            let cooldowns = all_in_cooldown(&route, until, candidate, view, context);
            return Err(failure.unwrap_or(cooldowns));
        }
        let outcome = if request.no_refresh {
            stored(candidate, request, view)
                .and_then(|it| key_reference::fetched(it, &candidate.profile, context))
        } else {
            let holder = view.holder(&candidate.profile);
            let sink = sink::for_agent(holder, &view.config, context)?;
            let before = view.document.credential(&candidate.profile);
            let min_ttl = possible_ttl(request.min_ttl, before.as_ref(), candidate, context);
            let wanted = Wanted { at_least: min_ttl, ..wanted(candidate, request) };
            refresh_child::credential(&wanted, holder, &sink, context)
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
                    let first = failure.profile.as_ref().map(ToString::to_string);
                    let detail =
                        format!("instead of {}: {}", first.unwrap_or_default(), failure.code);
                    let (provider, profile) = (&route.provider, &candidate.profile);
                    let what = AuditKind::Failover;
                    audit::note(what, provider, profile, &view.agent, Some(detail), context);
                }
                let before = view.document.credential(&candidate.profile);
                if before.is_none_or(|before| before.bearer() != credential.bearer()) {
                    invocation.store_changed(&view.agent);
                }
                return Ok(output_of(&route, view, &candidate.profile, &credential));
            }
            // Another account may work; another profile does not help with a damaged store or a
            // lock.
            Err(error) if is_about_the_profile(&error) => failure = failure.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    match failure {
        Some(failure) => Err(failure),
        None => from_environment(&route, view, context),
    }
}

pub(crate) fn output_of(
    route: &Route,
    view: &View,
    profile: &ProfileId,
    credential: &Credential,
) -> TokenOutput {
    // With the profile's own spelling.
    let found = view.profile(profile).ok();
    let provider = found.map_or(&route.provider, |found| &found.provider);
    let output = TokenOutput::for_profile(provider, profile, &view.agent.id, credential);
    TokenOutput { model: route.model.clone(), ..output }
}

fn wanted(candidate: &Candidate, request: &TokenRequest) -> Wanted {
    Wanted {
        profile: candidate.profile.clone(),
        at_least: request.min_ttl,
        force: if request.force_refresh { Force::Refresh } else { Force::No },
        only_if: request.if_token_sha256.clone(),
    }
}

/// The time for which a token must be valid: what is asked for, unless the issuer's tokens never
/// last that long. Then each request would refresh, and none would help.
fn possible_ttl(
    asked: Duration,
    before: Option<&Credential>,
    candidate: &Candidate,
    context: &Context,
) -> Duration {
    let Some(Credential::OAuth(login)) = before else { return asked };
    let (Some(obtained), Some(expires)) = (login.obtained_at, login.expires) else { return asked };
    let lifetime = expires.since(obtained);
    if asked.is_zero() || lifetime.is_zero() || asked < lifetime.mul_f32(0.9) {
        return asked;
    }
    context.say(format_args!(
        "warning: --min-ttl {} s is more than the tokens of `{}` last ({} s)",
        asked.as_secs(),
        candidate.profile,
        lifetime.as_secs()
    ));
    Duration::ZERO
}

/// `--no-refresh`: the stored token, if it can be used.
fn stored(
    candidate: &Candidate,
    request: &TokenRequest,
    view: &View,
) -> Result<Credential, CliError> {
    let credential = view.document.credential(&candidate.profile);
    let usable = |credential: &Credential| credential.is_valid(view.now.plus(request.min_ttl));
    credential.filter(usable).ok_or_else(|| {
        let message = format!("the token of `{}` has expired, or is about to", candidate.profile);
        let of = format!("{}{}", option("--profile", &candidate.profile), view.agent.option());
        CliError::new(Exit::TryLater, "expired", message)
            .remedy(Remedy::new("refresh it", format!("clawdbot models auth token{of}")))
            .profile(&candidate.profile)
    })
}

/// Whether a fallback model may work.
fn is_about_the_model(error: &CliError) -> bool {
    error.exit == Exit::AllRest || is_about_the_profile(error)
}

fn is_about_the_profile(error: &CliError) -> bool {
    matches!(error.exit, Exit::NoCredential | Exit::LogInAgain | Exit::TryLater | Exit::Usage)
}

fn all_in_cooldown(
    route: &Route,
    until: Timestamp,
    first: &Candidate,
    view: &View,
    context: &Context,
) -> CliError {
    let who = match (&route.pin, &route.model) {
        (Some(Pin::Require(id)), _) => format!("the pinned profile `{id}` is in cooldown"),
        (_, Some(model)) => {
            format!("all profiles of {} are in cooldown for {model}", route.provider)
        }
        _ => format!("all profiles of {} are in cooldown", route.provider),
    };
    let of = view.agent.option();
    let explain =
        format!("clawdbot models auth explain{}{of}", option("--provider", &route.provider));
    let model = route.model.as_ref().map(|model| option("--model", model)).unwrap_or_default();
    let clear = command("models auth cooldown clear", &[&first.profile], &format!("{model}{of}"));
    let error = CliError::new(
        Exit::AllRest,
        "all_rest",
        format!("{who}; the first to be back is `{}`, at {}", first.profile, context.time(until)),
    )
    .remedy(Remedy::new("end the cooldown", clear))
    .remedy(Remedy::new("see why", explain));
    let error = match route.unpin() {
        Some(unpin) => error.remedy(Remedy::new("unpin it", unpin)),
        None => error,
    };
    error.profile(&first.profile)
}

/// No profile can be used: the environment's key is the last resort, unless the request names a
/// profile.
fn from_environment(
    route: &Route,
    view: &View,
    context: &Context,
) -> Result<TokenOutput, CliError> {
    if matches!(route.pin, Some(Pin::Require(_))) {
        return Err(no_credential(route, view, context));
    }
    let output = |kind, token, source| TokenOutput {
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
    let (output, from) = match (env, view.config.described_key(&route.provider)) {
        (Some(key), _) => {
            let kind = if key.is_oauth { Kind::OAuth } else { Kind::ApiKey };
            let from = format!("`{}` from the environment", key.name);
            (output(kind, key.value, format!("env: {}", key.name)), from)
        }
        (None, Some(key)) => {
            let from = "the `apiKey` in the config's `models.providers`".to_owned();
            (output(Kind::ApiKey, Secret::new(key), "models.json".to_owned()), from)
        }
        (None, None) => return Err(no_credential(route, view, context)),
    };
    // An expired subscription must not silently be replaced by a metered key.
    let ended = route.plan.iter().flat_map(|plan| &plan.excluded).find(|(id, reason)| {
        let is_key = |it: &auth_store::Profile| it.kind == Kind::ApiKey;
        matches!(reason, Exclusion::Expired(_) | Exclusion::NoSecret)
            && !view.profile(id).is_ok_and(is_key)
    });
    match ended {
        Some((id, reason)) => context.say(format_args!(
            "warning: `{id}` cannot be used ({reason}); {from} is used instead ({})",
            output.mode()
        )),
        None => context.say(format_args!("note: {from} is used ({})", output.mode())),
    }
    Ok(output)
}

fn no_credential(route: &Route, view: &View, context: &Context) -> CliError {
    let provider = &route.provider;
    let excluded = route.plan.iter().flat_map(|plan| &plan.excluded);
    let mut message = match &route.pin {
        Some(Pin::Require(id)) => format!("the pinned profile `{id}` cannot be used"),
        _ => format!("no usable credential for {provider}"),
    };
    for (id, reason) in excluded.filter(|(_, reason)| *reason != Exclusion::NotRequired) {
        // Writing to a string cannot fail.
        let _ = write!(message, "; `{id}`: {reason}");
    }
    let providers = view::providers(context);
    if let Err(nearest) = view::known_provider(provider, &providers, view) {
        let message = format!("there is no provider `{provider}`");
        let error = CliError::new(Exit::NoCredential, "no_credential", message);
        let error = match nearest {
            Some(name) => error.remedy(Remedy::new(
                format!("did you mean `{}`?", one_line(&name)),
                format!("clawdbot models auth token{}", option("--provider", &name)),
            )),
            None => error,
        };
        let list = Remedy::new("list the providers", "clawdbot plugins list");
        return error.remedy(list).remedy(Remedy::new(
            "store a key",
            format!("{}{}", way_in(provider, &providers), view.agent.option()),
        ));
    }
    let way_in = way_in(provider, &providers);
    let mut hint = match route.unpin() {
        Some(unpin) => format!("unpin it: {unpin}"),
        None => format!("{way_in}{}", view.agent.option()),
    };
    // A user who comes from Clawdbot may have used the main agent's login without knowing it.
    let others = agent::others(&view.agent, &view.config, context).unwrap_or_default();
    let holder = others.into_iter().find(|other| {
        let document = other.store_to_change(context).read();
        document.is_ok_and(|it| it.profiles().any(|profile| profile.provider == *provider))
    });
    if let Some(holder) = holder.filter(|_| route.unpin().is_none()) {
        hint = shared::offer(&view.agent, &holder, provider.as_str());
    }
    CliError::new(Exit::NoCredential, "no_credential", message).hint(hint)
}
