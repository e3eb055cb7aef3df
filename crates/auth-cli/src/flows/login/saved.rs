//! The steps after a login is saved: its entry in the config, the default model, the report.

use auth_providers::{Login, Provider};
use auth_store::{ProfileId, ProviderId};
use serde_json::json;

use crate::agent::Agent;
use crate::agent::invocation::Invocation;
use crate::agent::shared;
use crate::config::edit;
use crate::host::error::CliError;
use crate::host::report::Report;
use crate::host::shell_quote::command;
use crate::host::text::printable;
use crate::profiles::audit;
use crate::profiles::save;

/// The saved profile, and messages about it.
pub(crate) fn report(
    id: &ProfileId,
    login: &Login,
    agent: &Agent,
    provider: &Provider,
    set_default: bool,
    invocation: &Invocation<'_>,
) -> Result<Report, CliError> {
    let context = invocation.context;
    for warning in &login.warnings {
        context.say(format_args!("warning: {}", printable(warning)));
    }
    let agent = &shared::holder(agent, id, &*invocation.config()?, context)?;
    let kind = login.credential.kind();
    audit::login(id, login, provider, agent, context);
    save::declare(id, &login.provider, kind, login.email.as_deref(), invocation);
    invocation.store_changed(agent);
    append_to_order(id, &login.provider, agent, invocation)?;
    let default = if set_default { set_default_model(provider, invocation)? } else { None };
    let mut report = Report::from_data(json!({
        "agentId": agent.id,
        "profileId": id,
        "provider": login.provider,
        "type": kind.as_str(),
        "accountId": login.account_id,
        "email": login.email,
        "expires": login.credential.expires(),
        "defaultModel": default,
        "warnings": login.warnings,
    }));
    let who = match &login.email {
        Some(email) => format!(" as {}", printable(email)),
        None => String::new(),
    };
    report.line(format_args!(
        "Logged in to {}{who}: profile `{id}` of the agent `{}`.",
        printable(&provider.label),
        agent.id
    ));
    if let Some(model) = default {
        report.line(format_args!("The default model is {model}."));
    }
    Ok(report)
}

/// A new login is added to the agent's own order of its provider, where there is one: a login that
/// an order leaves out would never be used.
fn append_to_order(
    id: &ProfileId,
    provider: &ProviderId,
    agent: &Agent,
    invocation: &Invocation<'_>,
) -> Result<(), CliError> {
    let order = agent.store_to_change(invocation.context).read()?.order(provider);
    if let Some(order) = order {
        if !order.contains(id) {
            let order: Vec<_> = order.into_iter().chain([id.clone()]).collect();
            invocation.change(agent, |document| document.set_order(provider, Some(&order)))?;
            invocation
                .context
                .say(format_args!("note: `{id}` was added to the order of {provider}"));
        }
        return Ok(());
    }
    let routing = invocation.config()?.routing();
    if routing.order(provider).is_some_and(|order| !order.contains(id)) {
        invocation.context.say(format_args!(
            "note: `{id}` is not in auth.order in the config, so it is not used; to add it: {}",
            command("models auth order add", &[id], &agent.option())
        ));
    }
    Ok(())
}

/// Sets the default model, and returns it.
fn set_default_model(
    provider: &Provider,
    invocation: &Invocation<'_>,
) -> Result<Option<String>, CliError> {
    let Some(model) = provider.default_model.clone() else {
        invocation.context.say(format_args!(
            "warning: no model is suggested for `{}`; set `agents.defaults.model.primary` in the config",
            provider.id
        ));
        return Ok(None);
    };
    invocation.change_config(|path| edit::set_default_model(path, &model))?;
    Ok(Some(model))
}
