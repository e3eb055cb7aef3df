//! `models auth order get|set|clear`: the agent's own order of a provider's profiles.

use auth_store::{ProfileId, ProviderId, paths};
use serde_json::json;

use crate::agent::Agent;
use crate::agent::invocation::Invocation;
use crate::commands::profiles::args::OrderArgs;
use crate::commands::profiles::args::{OrderChangeArgs, OrderSetArgs, UseArgs};
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::prompt;
use crate::host::remedy::Remedy;
use crate::host::report::Report;
use crate::host::shell_quote::option;
use crate::profiles::table;
use crate::profiles::view::View;

/// Shows the stored order, and warnings about the order in use.
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

/// Stores an order, after checking that every id in it is a profile of the provider.
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

/// Adds profiles to the order that is in force, or removes them; the result is the agent's own.
pub fn change(
    args: &OrderChangeArgs,
    is_added: bool,
    invocation: &Invocation<'_>,
) -> Result<Report, CliError> {
    let view = View::read(invocation)?;
    let ids: Vec<_> = args.profiles.iter().map(|id| ProfileId::new(auth_store::trim(id))).collect();
    let provider = match (&args.provider, is_added) {
        (Some(name), _) => ProviderId::new(name),
        (None, _) => view.profile(&ids[0])?.provider.clone(),
    };
    if is_added {
        check(&view, &provider, &ids)?;
    }
    let plan = view.plan(&provider, None);
    let configured = view.routing.order(&provider).map(<[_]>::to_vec);
    let usual = || plan.candidates.iter().map(|it| it.id.clone()).collect();
    let now = view.document.order(&provider).or(configured).unwrap_or_else(usual);
    let others = now.into_iter().filter(|id| !ids.contains(id));
    let order: Vec<ProfileId> = match (is_added, args.first) {
        (false, _) => others.collect(),
        (true, true) => ids.iter().cloned().chain(others).collect(),
        (true, false) => others.chain(ids.iter().cloned()).collect(),
    };
    invocation.change(&view.agent, |document| document.set_order(&provider, Some(&order)))?;
    let mut report = begun(&view.agent, &provider, Some(&order), invocation.context);
    report.line(format_args!("Order override: {}", list(Some(&order))));
    Ok(report)
}

/// `use`: puts a profile first. At a terminal, without a name, the user chooses one.
pub fn put_first(args: &UseArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let profile = match args.profile.clone() {
        Some(id) => id,
        None => chosen(invocation)?,
    };
    let args = OrderChangeArgs { provider: None, profiles: vec![profile], first: true };
    change(&args, true, invocation)
}

/// The profile that the user chooses from the list.
fn chosen(invocation: &Invocation<'_>) -> Result<String, CliError> {
    let context = invocation.context;
    let view = View::read(invocation)?;
    let mut ids: Vec<_> = view.profiles.iter().map(|it| it.id.to_string()).collect();
    if ids.is_empty() {
        let error = CliError::new(Exit::NoCredential, "no_credential", "there are no profiles");
        return Err(error.remedy(Remedy::new("log in", "clawdbot onboard")));
    }
    if !(context.terminal.stdin && context.terminal.stderr) {
        return Err(CliError::usage("PROFILE is required when stdin is not a terminal")
            .hint(format!("the profiles are: {}", ids.join(", "))));
    }
    let at = prompt::choose("Use which profile?", &ids, context)?;
    Ok(ids.swap_remove(at))
}

/// Removes the stored order.
pub fn clear(args: &OrderArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let (view, provider) = subject(&args.provider, invocation)?;
    // A damaged store must be an error here: it may have an order, so "cleared" would be wrong.
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

/// Checks that every id of `order` is a profile of `provider`.
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

/// A report about the order, with the first lines that all of them share.
fn begun(
    agent: &Agent,
    provider: &ProviderId,
    order: Option<&[ProfileId]>,
    context: &Context,
) -> Report {
    let mut report = Report::from_data(json!({
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
