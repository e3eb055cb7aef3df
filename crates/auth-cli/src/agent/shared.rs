//! Sharing: an agent also reads another agent's profiles, because the user asked for it (`agents
//! share`). Nothing is copied; a write goes to the file that has the profile.

use std::io;
use std::path::Path;

use auth_store::{Document, ProfileId, paths};
use serde_json::{Value, json};

use crate::agent::invocation::Invocation;
use crate::agent::{self, Agent};
use crate::config::{self, Config};
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::shell_quote::{command, option};

/// The view of an agent: its own profiles, and the shared ones.
#[derive(Clone, Debug)]
pub struct Seen {
    /// All profiles, read-only.
    pub document: Document,
    /// The agent whose profiles it shares, with the profiles that belong to that agent.
    pub shared: Option<(Agent, Vec<ProfileId>)>,
}

impl Seen {
    /// The view of `agent`. For an agent that shares nothing, this costs one check for a file.
    ///
    /// # Errors
    /// A store cannot be read, or the sharing note is damaged.
    pub fn by(agent: &Agent, config: &Config, context: &Context) -> Result<Self, CliError> {
        let own = agent.store_to_change(context).read()?;
        let Some(owner) = owner_of(agent, config, context)? else {
            return Ok(Self { document: own, shared: None });
        };
        let theirs = owner.store_to_change(context).read()?;
        let ids = theirs.profiles().map(|profile| profile.id);
        let ids = ids.filter(|id| own.is_of_owner(id, &theirs)).collect();
        Ok(Self { document: own.reading_through(&theirs), shared: Some((owner, ids)) })
    }

    /// The agent whose file has the profile `id`, in this view of `agent`.
    pub fn holder<'a>(&'a self, id: &ProfileId, agent: &'a Agent) -> &'a Agent {
        match &self.shared {
            Some((owner, ids)) if ids.contains(id) => owner,
            _ => agent,
        }
    }
}

/// The agent whose file has the profile `id`, in the view of `agent`; `agent` itself, if no file
/// has it.
pub fn holder(
    agent: &Agent,
    id: &ProfileId,
    config: &Config,
    context: &Context,
) -> Result<Agent, CliError> {
    Ok(Seen::by(agent, config, context)?.holder(id, agent).clone())
}

/// The agent whose profiles `agent` shares, if there is one.
pub fn owner_of(
    agent: &Agent,
    config: &Config,
    context: &Context,
) -> Result<Option<Agent>, CliError> {
    let path = paths::sharing_note(&agent.directory);
    let text = match auth_store::read_regular_text(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(damaged(&path, &error.to_string(), agent)),
    };
    let note: Value = serde_json::from_str(&text)
        .map_err(|error| damaged(&path, &format!("it is not JSON: {error}"), agent))?;
    let from = note["from"].as_str().filter(|id| !id.is_empty() && config::agent_id(id) == **id);
    let Some(id) = from else { return Err(damaged(&path, "it names no agent", agent)) };
    let owner = Agent::of(id, config, context)?;
    Ok(Some(owner).filter(|owner| owner.directory != agent.directory))
}

/// Records that `agent` shares the profiles of `owner`, or no longer shares any.
pub fn set(agent: &Agent, owner: Option<&Agent>) -> Result<(), CliError> {
    let path = paths::sharing_note(&agent.directory);
    let Some(owner) = owner else {
        return match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let message = format!("could not remove `{}`: {error}", path.display());
                Err(CliError::new(Exit::CannotWrite, "cannot_write", message).path(&path))
            }
            _ => Ok(()),
        };
    };
    auth_store::create_private_directory(&agent.directory)?;
    let text = format!("{:#}\n", json!({ "version": 1, "from": owner.id }));
    Ok(auth_store::write_atomic(&path, text.as_bytes())?)
}

fn damaged(path: &Path, reason: &str, agent: &Agent) -> CliError {
    let message = format!("could not read `{}`: {reason}", path.display());
    CliError::new(Exit::Store, "share_damaged", message)
        .hint(format!(
            "share again: {}; or not at all: {}",
            command("agents share", &[&agent.id], " --from main"),
            command("agents share", &[&agent.id], " --none")
        ))
        .path(path)
}

/// The error for a profile of another agent, which only that agent may remove.
pub fn not_ours(id: &ProfileId, agent: &Agent, holder: &Agent, verb: &str) -> CliError {
    let message = format!(
        "`{id}` belongs to the agent `{}`, which `{}` only reads through to",
        holder.id, agent.id
    );
    CliError::new(Exit::NoCredential, NOT_OURS, message)
        .hint(format!(
            "there: {}; or stop sharing: {}",
            command(&format!("models auth {verb}"), &[id], &option("--agent", &holder.id)),
            command("agents share", &[&agent.id], " --none")
        ))
        .profile(id)
        .path(&paths::store(&holder.directory))
}

/// Adds a way to a profile that the agent lacks and another agent has: agents do not share
/// automatically, and a user who comes from Clawdbot may have used another agent's login.
pub fn with_offer(error: CliError, invocation: &Invocation<'_>) -> CliError {
    let missing = error.profile.as_ref().filter(|_| error.exit == Exit::NoCredential);
    let offer = missing.filter(|_| error.code != NOT_OURS).and_then(|id| {
        let (config, agent) = (invocation.config().ok()?, invocation.agent().ok()?);
        let (profile, other) = agent::others(agent, &config, invocation.context)
            .ok()?
            .into_iter()
            .find_map(|other| {
                Some((other.store_to_change(invocation.context).read().ok()?.profile(id)?, other))
            })?;
        Some(offer(agent, &other, profile.provider.as_str()))
    });
    let Some(offer) = offer else { return error };
    let hint = match &error.hint {
        Some(hint) => format!("{offer}; {hint}"),
        None => offer,
    };
    error.hint(hint)
}

/// How `agent` can use a profile of `other`.
pub fn offer(agent: &Agent, other: &Agent, provider: &str) -> String {
    if agent.id == other.id {
        // A variable selects another directory for this agent, so sharing does not apply.
        return format!("there is one in `{}`", other.directory.display());
    }
    format!(
        "the agent `{}` has one: share it: {}; or log in: clawdbot models auth login{}{}",
        other.id,
        command("agents share", &[&agent.id], &option("--from", &other.id)),
        option("--provider", provider),
        option("--agent", &agent.id)
    )
}

const NOT_OURS: &str = "shared_profile";
