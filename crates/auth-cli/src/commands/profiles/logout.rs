//! `models auth logout`: revokes a login if its issuer supports it, then removes it.

use auth_providers::refresh::{self, Revocation};
use auth_store::{AuditKind, OAuthCredential, ProfileId};
use serde_json::json;

use crate::agent::Agent;
use crate::agent::invocation::Invocation;
use crate::agent::shared;
use crate::commands::profiles::args::LogoutArgs;
use crate::host::error::{CliError, Exit};
use crate::host::process::runtime;
use crate::host::report::Report;
use crate::host::shell_quote::word;
use crate::host::text::printable;
use crate::profiles::audit;
use crate::profiles::refresh_error;
use crate::profiles::sink;
use crate::profiles::view::no_profile;

/// Removes the files beside the store that belong to the profile, or names them. Best effort: the
/// profile is already removed.
pub(crate) fn forget_companions(id: &ProfileId, agent: &Agent, invocation: &Invocation<'_>) {
    let store = agent.store_to_change(invocation.context);
    if !store.model_usage().models(id).is_empty()
        && let Err(error) = store.update_model_usage(|usage| usage.forget(id))
    {
        invocation.context.say(format_args!("warning: {}", CliError::from(error)));
    }
    invocation.store_changed(agent);
    for copy in store.damaged_copies().unwrap_or_default() {
        invocation.context.say(format_args!(
            "note: `{}` is a damaged store that was kept; what was in `{id}` may still be in it; remove it: rm {}",
            invocation.context.display(&copy),
            word(copy.display())
        ));
    }
}

/// Logs out of one profile, or of all of the agent. The first failure is the exit code, after all
/// were tried.
pub fn run(args: &LogoutArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    if let Some(profile) = &args.profile {
        return one(profile, invocation);
    }
    let (agent, context) = (invocation.agent()?, invocation.context);
    let document = agent.store_to_change(context).read()?;
    let (mut data, mut lines, mut failure) = (Vec::new(), Vec::new(), None);
    for profile in document.profiles() {
        match one(profile.id.as_str(), invocation) {
            Ok(report) => {
                lines.push(format!("Logged out of `{}`.", profile.id));
                data.push(report.quietly(context));
            }
            Err(error) => {
                lines.push(format!("`{}`: {}", profile.id, error.message));
                data.push(json!({ "removed": profile.id, "error": error.to_json() }));
                failure = failure.or(Some(error));
            }
        }
    }
    let mut report = Report::from_data(json!({ "agentId": agent.id, "profiles": data }));
    if lines.is_empty() {
        report.line(format_args!("Agent `{}` has no profiles.", agent.id));
    }
    for line in lines {
        report.line(line);
    }
    Ok(match failure {
        Some(failure) => report.failed(failure),
        None => report,
    })
}

/// Logs out of one profile. It is removed here whatever the issuer's response; a failed revocation
/// is exit code 5.
fn one(profile: &str, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let (config, agent, context) = (invocation.config()?, invocation.agent()?, invocation.context);
    let sink = sink::for_agent(agent, &config, context)?;
    let id = ProfileId::new(profile);
    let holder = shared::holder(agent, &id, &config, context)?;
    if holder != *agent {
        return Err(shared::not_ours(&id, agent, &holder, "logout"));
    }
    let document = sink.store.read()?;
    if !document.contains(&id) {
        // A process that crashed while removing it may have left a copy.
        refresh::clear_up(sink.refresh_context());
        return Err(no_profile(&id, &document, agent));
    }
    let expires = document.credential(&id).and_then(|credential| credential.expires());
    let profile = document.profile(&id);
    let provider = profile.as_ref().and_then(|profile| sink.provider_of(profile).cloned());

    let revoke = async |login: &OAuthCredential| match &provider {
        Some(provider) => provider.revoke(login, &*sink.http, sink.clock.now()).await,
        None => Revocation::NotOffered,
    };
    let outcome =
        runtime::run(refresh::logout(&id, provider.as_ref(), revoke, sink.refresh_context()))?
            .map_err(|error| refresh_error::explain(error, provider.as_ref(), agent, context))?;
    forget_companions(&id, agent, invocation);
    if let Some(profile) = &profile {
        let detail = match &outcome.revocation {
            Revocation::Done => "revoked",
            Revocation::Failed(_) => "not revoked: it failed",
            _ => "not revoked: no way is known",
        };
        let detail = Some(detail.to_owned());
        audit::note(AuditKind::Logout, &profile.provider, &id, agent, detail, context);
    }

    let is_revoked = outcome.revocation == Revocation::Done;
    for path in &outcome.others {
        let consequence = if is_revoked { "it is dead there too" } else { "it lives on there" };
        context.say(format_args!(
            "warning: `{}` has the same refresh token: {consequence}",
            context.display(path)
        ));
    }
    if let Revocation::Failed(reason) = &outcome.revocation {
        let until = match expires {
            Some(end) => format!("the access token may work until {}", context.time(end)),
            None => "it is not known when the tokens expire".to_owned(),
        };
        let message =
            format!("`{id}` is removed here, but was not revoked: {}; {until}", printable(reason));
        return Err(CliError::new(Exit::TryLater, "not_revoked", message)
            .hint("end the session on the provider's web page")
            .profile(&id));
    }
    let others = outcome.others.iter().map(|path| path.display().to_string());
    let others: Vec<_> = others.collect();
    let mut report = Report::from_data(json!({
        "agentId": agent.id,
        "removed": id,
        "revoked": is_revoked,
        "otherHolders": others,
    }));
    if is_revoked {
        report.line(format_args!(
            "Logged out of `{id}`: revoked, and removed from the agent `{}`.",
            agent.id
        ));
    } else {
        report.line(format_args!(
            "Removed `{id}` from the agent `{}`; its provider offers no way to revoke it.",
            agent.id
        ));
    }
    Ok(report)
}
