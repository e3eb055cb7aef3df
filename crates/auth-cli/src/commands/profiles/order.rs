//! `models auth order get|set|clear`: the agent's own order of a provider's profiles.

use auth_store::{ProfileId, ProviderId, paths};
use serde_json::json;

use crate::agent::Agent;
use crate::commands::profiles::args::OrderArgs;
use crate::commands::profiles::args::OrderSetArgs;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::global::Global;
use crate::host::shell_quote::option;
use crate::profiles::runtime_cache;
use crate::profiles::table;
use crate::profiles::view::View;

/// Shows the stored order, and says what is odd about the one that is followed.
pub fn get(args: &OrderArgs, global: &Global, context: &Context) -> Result<Exit, CliError> {
    let (view, provider) = subject(&args.provider, global, context)?;
    for warning in table::warnings(&view.plan(&provider, None), &provider) {
        context.say(warning);
    }
    let order = view.document.order(&provider);
    if !global.json {
        context.print(format_args!("Agent: {}", view.agent.id))?;
        context.print(format_args!("Provider: {provider}"))?;
        let file = context.display(&paths::store(&view.agent.directory));
        context.print(format_args!("Auth file: {file}"))?;
        context.print(format_args!("Order override: {}", list(order.as_deref())))?;
        return Ok(Exit::Done);
    }
    print_json(&view.agent, &provider, order.as_deref(), context)
}

/// Stores an order, once every id in it is known to be a profile of the provider.
pub fn set(args: &OrderSetArgs, global: &Global, context: &Context) -> Result<Exit, CliError> {
    let (view, provider) = subject(&args.provider, global, context)?;
    let mut order: Vec<ProfileId> = Vec::new();
    for id in args.profiles.iter().map(|id| ProfileId::new(auth_store::trim(id))) {
        if !id.as_str().is_empty() && !order.contains(&id) {
            order.push(id);
        }
    }
    if order.is_empty() {
        return Err(CliError::usage("name at least one profile").hint(format!(
            "to drop the order: clawdbot models auth order clear{}",
            option("--provider", &provider)
        )));
    }
    check(&view, &provider, &order)?;
    let store = view.agent.store_to_change(context);
    store.update(|document| document.set_order(&provider, Some(&order)))?;
    runtime_cache::follow_anew(&view.agent, context);
    tell(&view.agent, &provider, Some(&order), global, context)
}

/// Drops the stored order.
pub fn clear(args: &OrderArgs, global: &Global, context: &Context) -> Result<Exit, CliError> {
    let (view, provider) = subject(&args.provider, global, context)?;
    // A damaged store has no order to drop either, but saying "cleared" would be a lie.
    let store = view.agent.store_to_change(context);
    store.update(|document| document.set_order(&provider, None))?;
    runtime_cache::follow_anew(&view.agent, context);
    tell(&view.agent, &provider, None, global, context)
}

fn subject(
    provider: &str,
    global: &Global,
    context: &Context,
) -> Result<(View, ProviderId), CliError> {
    let view = View::read(global, context)?;
    let provider = ProviderId::new(provider);
    if provider.as_str().is_empty() {
        return Err(CliError::usage("the provider is empty"));
    }
    Ok((view, provider))
}

/// Whether every id of `order` is a profile of `provider`.
fn check(view: &View, provider: &ProviderId, order: &[ProfileId]) -> Result<(), CliError> {
    let hint = format!("see `clawdbot models auth list{}`", option("--provider", provider));
    for id in order {
        if view.document.contains(id) && view.document.profile(id).is_none() {
            let message = format!("the profile `{id}` is stored, but its entry is malformed");
            return Err(CliError::new(Exit::NoCredential, "unknown_profile", message)
                .hint(hint)
                .profile(id));
        }
        let profile = view.profile(id)?;
        if profile.provider != *provider {
            let message = format!(
                "the profile `{id}` belongs to the provider `{}`, not `{provider}`",
                profile.provider
            );
            return Err(CliError::new(Exit::Usage, "wrong_provider", message)
                .hint(hint)
                .profile(id));
        }
    }
    Ok(())
}

/// What the order is now.
fn tell(
    agent: &Agent,
    provider: &ProviderId,
    order: Option<&[ProfileId]>,
    global: &Global,
    context: &Context,
) -> Result<Exit, CliError> {
    if global.json {
        return print_json(agent, provider, order, context);
    }
    context.print(format_args!("Agent: {}", agent.id))?;
    context.print(format_args!("Provider: {provider}"))?;
    match order {
        Some(_) => context.print(format_args!("Order override: {}", list(order)))?,
        None => context.print("Cleared per-agent order override.")?,
    }
    Ok(Exit::Done)
}

fn print_json(
    agent: &Agent,
    provider: &ProviderId,
    order: Option<&[ProfileId]>,
    context: &Context,
) -> Result<Exit, CliError> {
    context.print_json(&json!({
        "agentId": agent.id,
        "agentDir": agent.directory.display().to_string(),
        "provider": provider.as_str(),
        "authStorePath": context.display(&paths::store(&agent.directory)),
        "order": order,
    }))?;
    Ok(Exit::Done)
}

fn list(order: Option<&[ProfileId]>) -> String {
    match order {
        None => "(none)".to_owned(),
        Some([]) => "(empty: no profile is used)".to_owned(),
        Some(ids) => ids.iter().map(ProfileId::as_str).collect::<Vec<_>>().join(", "),
    }
}
