//! `models auth remove`: forgets a profile.

use auth_providers::refresh::{self, Revocation};
use auth_store::{AuditKind, OAuthCredential, ProfileId};
use serde_json::json;

use crate::agent::invocation::Invocation;
use crate::agent::shared;
use crate::commands::profiles::args::RemoveArgs;
use crate::commands::profiles::logout::forget_companions;
use crate::config::edit;
use crate::host::error::CliError;
use crate::host::report::Report;
use crate::profiles::audit;
use crate::profiles::refresh_error;
use crate::profiles::sink;
use crate::profiles::view::no_profile;

/// Removes the profile, its usage and every mention of it. The issuer is not told, so other
/// copies of the login live on.
pub fn run(args: &RemoveArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let (config, agent, context) = (invocation.config()?, invocation.agent()?, invocation.context);
    let id = ProfileId::new(args.profile.as_str());
    let sink = sink::for_agent(agent, &config, context)?;
    let document = sink.store.read()?;
    if !document.contains(&id) {
        // Whoever died while removing it may have left a copy.
        refresh::clear_up(sink.refresh_context());
        let holder = shared::holder(agent, &id, &config, context)?;
        return Err(if holder == *agent {
            no_profile(&id, &document, agent)
        } else {
            shared::not_ours(&id, agent, &holder, "remove")
        });
    }
    let profile = document.profile(&id);
    let provider = profile.as_ref().and_then(|profile| sink.provider_of(profile));
    let not_told = async |_: &OAuthCredential| Revocation::NotOffered;
    let removed =
        refresh::block_on(refresh::logout(&id, provider, not_told, sink.refresh_context()));
    let removed = removed.and_then(|result| result);
    let removed =
        removed.map_err(|error| refresh_error::explain(error, provider, agent, context))?;
    forget_companions(&id, agent, invocation);
    if let Some(profile) = &profile {
        let detail = Some("removed, not revoked".to_owned());
        audit::note(AuditKind::Logout, &profile.provider, &id, agent, detail, context);
    }
    // The config is for all agents, so an agent that has a profile of that id keeps its mention.
    let is_used = sink.siblings.iter().any(|it| it.read().map_or(true, |it| it.contains(&id)));
    if !is_used && let Err(error) = invocation.change_config(|path| edit::forget_profile(path, &id))
    {
        context.say(format_args!("warning: {error}"));
    }

    let others: Vec<_> = removed.others.iter().map(|path| path.display().to_string()).collect();
    let mut report =
        Report::from_data(json!({ "agentId": agent.id, "removed": id, "alsoIn": others }));
    report.line(format_args!("Removed `{id}` from the agent `{}`.", agent.id));
    for path in others {
        report.note(format_args!("note: the same login is still in `{path}`"));
    }
    Ok(report)
}
