//! `models auth order get|set|clear`: the agent's own order of a provider's profiles.

use auth_store::{ProfileId, ProviderId, paths};
use serde_json::json;

use crate::agent::Agent;
use crate::agent::invocation::Invocation;
use crate::commands::profiles::args::OrderArgs;
use crate::commands::profiles::args::OrderSetArgs;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::report::Report;
use crate::host::shell_quote::option;
use crate::profiles::table;
use crate::profiles::view::View;

/// Shows the stored order, and says what is odd about the one that is followed.
pub fn get(args: &OrderArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    let (view, provider) = subject(&args.provider, invocation)?;
    for warning in table::warnings(&view.plan(&provider, None), &provider) {
        context.say(warning);
    }
    let order = view.document.order(&provider);
    let mut report = begun(&view.agent, &provider, order.as_deref(), context);
    let file = context.display(&paths::store(&view.agent.directory));
    report.line(format_args!("Auth file: {file}"));
    report.line(format_args!("Order override: {}", list(order.as_deref())));
    Ok(report)
}

/// Stores an order, once every id in it is known to be a profile of the provider.
pub fn set(args: &OrderSetArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let (view, provider) = subject(&args.provider, invocation)?;
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
    invocation.change(&view.agent, |document| document.set_order(&provider, Some(&order)))?;
    let mut report = begun(&view.agent, &provider, Some(&order), invocation.context);
    report.line(format_args!("Order override: {}", list(Some(&order))));
    Ok(report)
}

/// Drops the stored order.
pub fn clear(args: &OrderArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let (view, provider) = subject(&args.provider, invocation)?;
    // A damaged store has no order to drop either, but saying "cleared" would be a lie.
    invocation.change(&view.agent, |document| document.set_order(&provider, None))?;
    let mut report = begun(&view.agent, &provider, None, invocation.context);
    report.line("Cleared per-agent order override.");
    Ok(report)
}

fn subject(provider: &str, invocation: &Invocation<'_>) -> Result<(View, ProviderId), CliError> {
    let view = View::read(invocation)?;
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

/// An answer about the order, with the lines that each begins with.
fn begun(
    agent: &Agent,
    provider: &ProviderId,
    order: Option<&[ProfileId]>,
    context: &Context,
) -> Report {
    let mut report = Report::of(json!({
        "agentId": agent.id,
        "agentDir": agent.directory.display().to_string(),
        "provider": provider.as_str(),
        "authStorePath": context.display(&paths::store(&agent.directory)),
        "order": order,
    }));
    report.line(format_args!("Agent: {}", agent.id));
    report.line(format_args!("Provider: {provider}"));
    report
}

fn list(order: Option<&[ProfileId]>) -> String {
    match order {
        None => "(none)".to_owned(),
        Some([]) => "(empty: no profile is used)".to_owned(),
        Some(ids) => ids.iter().map(ProfileId::as_str).collect::<Vec<_>>().join(", "),
    }
}
