//! What comes after a login is saved: its mention in the config, the default model, the answer.

use auth_providers::{Login, Provider};
use auth_store::ProfileId;
use serde_json::json;

use crate::agent::Agent;
use crate::agent::shared;
use crate::config::Config;
use crate::config::edit;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::global::Global;
use crate::host::text::printable;
use crate::profiles::runtime_cache;
use crate::profiles::save;

/// Says what was saved, and what the person should know about it.
pub(crate) fn report(
    id: &ProfileId,
    login: &Login,
    agent: &Agent,
    provider: &Provider,
    set_default: bool,
    global: &Global,
    context: &Context,
) -> Result<Exit, CliError> {
    for warning in &login.warnings {
        context.say(format_args!("warning: {}", printable(warning)));
    }
    let agent = &shared::holder(agent, id, &Config::load(context)?, context)?;
    let kind = login.credential.kind();
    save::declare(id, &login.provider, kind, login.email.as_deref(), context);
    runtime_cache::follow_anew(agent, context);
    let default = if set_default { set_default_model(provider, context)? } else { None };
    if global.json {
        context.print_json(&json!({
            "agentId": agent.id,
            "profileId": id,
            "provider": login.provider,
            "type": kind.as_str(),
            "accountId": login.account_id,
            "email": login.email,
            "expires": login.credential.expires(),
            "defaultModel": default,
            "warnings": login.warnings,
        }))?;
        return Ok(Exit::Done);
    }
    let who = match &login.email {
        Some(email) => format!(" as {}", printable(email)),
        None => String::new(),
    };
    context.print(format_args!(
        "Logged in to {}{who}: profile `{id}` of the agent `{}`.",
        printable(&provider.label),
        agent.id
    ))?;
    if let Some(model) = default {
        context.print(format_args!("The default model is {model}."))?;
    }
    Ok(Exit::Done)
}

/// The model that is the default one now.
fn set_default_model(provider: &Provider, context: &Context) -> Result<Option<String>, CliError> {
    let Some(model) = provider.default_model.clone() else {
        context.say(format_args!(
            "warning: no model is suggested for `{}`; set `agents.defaults.model.primary` in the config",
            provider.id
        ));
        return Ok(None);
    };
    edit::set_default_model(&context.paths().config, &model)?;
    Ok(Some(model))
}
