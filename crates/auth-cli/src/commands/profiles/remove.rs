//! `models auth remove`: removes a profile.

use auth_providers::refresh::{self, Revocation};
use auth_store::{AuditKind, Document, OAuthCredential, ProfileId, Store, paths};
use serde_json::json;

use crate::agent::Agent;
use crate::agent::invocation::Invocation;
use crate::agent::shared;
use crate::commands::profiles::args::RemoveArgs;
use crate::commands::profiles::logout::forget_companions;
use crate::config::edit;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::prompt;
use crate::host::report::Report;
use crate::host::shell_quote::command;
use crate::profiles::audit;
use crate::profiles::refresh_error;
use crate::profiles::sink;
use crate::profiles::view::no_profile;

/// Removes the profile, its usage and every reference to it. Nothing is revoked, so other copies of
/// the login stay valid.
pub fn run(args: &RemoveArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let (config, agent, context) = (invocation.config()?, invocation.agent()?, invocation.context);
    let id = ProfileId::new(args.profile.as_str());
    if args.undo {
        return bring_back(&id, agent, invocation);
    }
    let sink = sink::for_agent(agent, &config, context)?;
    let document = sink.store.read()?;
    if !document.contains(&id) {
        // A process that crashed while removing it may have left a copy.
        refresh::clear_up(sink.refresh_context());
        let holder = shared::holder(agent, &id, &config, context)?;
        return Err(if holder == *agent {
            no_profile(&id, &document, agent)
        } else {
            shared::not_ours(&id, agent, &holder, "remove")
        });
    }
    let has_user = context.terminal.stdin && context.terminal.stderr;
    if has_user && !args.yes {
        let question = format!("Remove `{id}` from agent `{}`?", agent.id);
        if !prompt::yes(&question, context)? {
            return Err(prompt::interrupted());
        }
    }
    // A script means what it says, and the secret is to be gone.
    let kept = has_user && keep_for_a_day(&id, &document, agent, context)?;
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
    // The config is for all agents, so the reference stays if another agent has a profile of that
    // id.
    let is_used = sink.siblings.iter().any(|it| it.read().map_or(true, |it| it.contains(&id)));
    if !is_used && let Err(error) = invocation.change_config(|path| edit::forget_profile(path, &id))
    {
        context.say(format_args!("warning: {error}"));
    }

    let others: Vec<_> = removed.others.iter().map(|path| path.display().to_string()).collect();
    let mut report =
        Report::from_data(json!({ "agentId": agent.id, "removed": id, "alsoIn": others }));
    report.line(format_args!("Removed `{id}` from the agent `{}`.", agent.id));
    if kept {
        report.note(format_args!(
            "note: kept for a day; to undo: {}",
            command("models auth remove", &[&id], &format!(" --undo{}", agent.option()))
        ));
    }
    for path in others {
        report.note(format_args!("note: the same login is still in `{path}`"));
    }
    Ok(report)
}

/// Keeps what is removed in a store of its own, for `--undo`. Whether there was anything to keep.
fn keep_for_a_day(
    id: &ProfileId,
    document: &Document,
    agent: &Agent,
    context: &Context,
) -> Result<bool, CliError> {
    let Some(entry) = document.entry(id) else { return Ok(false) };
    let store = removed_profiles(agent);
    forget_old(&store, context);
    store.update(|kept| kept.put_copy(id, &entry, None))?;
    Ok(true)
}

/// `--undo`: the profile is stored again as it was.
fn bring_back(
    id: &ProfileId,
    agent: &Agent,
    invocation: &Invocation<'_>,
) -> Result<Report, CliError> {
    let store = removed_profiles(agent);
    forget_old(&store, invocation.context);
    let Some(entry) = store.read()?.entry(id) else {
        let message = format!("`{id}` was not removed within the last day");
        return Err(CliError::new(Exit::NoCredential, "nothing_to_undo", message).profile(id));
    };
    let is_back = invocation.change(agent, |document| {
        let is_free = !document.contains(id);
        if is_free {
            document.put_copy(id, &entry, None);
        }
        is_free
    })?;
    if !is_back {
        let message =
            format!("agent `{}` has a profile `{id}` again; nothing was changed", agent.id);
        return Err(CliError::usage(message).profile(id));
    }
    store.update(|kept| kept.remove(id))?;
    let mut report = Report::from_data(json!({ "agentId": agent.id, "restored": id }));
    report.line(format_args!("Restored `{id}` in agent `{}`.", agent.id));
    Ok(report)
}

/// What was removed longer than a day ago goes. Best effort: the next removal tries again.
fn forget_old(store: &Store, context: &Context) {
    let Ok(found) = std::fs::symlink_metadata(store.path()).and_then(|it| it.modified()) else {
        return;
    };
    let age = found.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = std::time::Duration::from_millis(u64::try_from(context.now().0).unwrap_or_default());
    if now.checked_sub(age).is_some_and(|age| age > A_DAY) {
        let _ = store.update(|kept| {
            let ids: Vec<_> = kept.profiles().map(|it| it.id).collect();
            for id in &ids {
                kept.remove(id);
            }
        });
    }
}

/// The store of what was removed from an agent.
fn removed_profiles(agent: &Agent) -> Store {
    Store::at(paths::store(&paths::removed(&agent.directory)))
}

const A_DAY: std::time::Duration = std::time::Duration::from_hours(24);
