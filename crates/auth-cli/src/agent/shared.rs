//! Sharing: an agent reads through to another's profiles, because its user asked for it
//! (`agents share`). Nothing is copied; what is written goes to the file that has the profile.

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

/// What an agent sees: its own profiles, and those it reads through to.
#[derive(Clone, Debug)]
pub struct Seen {
    /// All of them, for reading.
    pub document: Document,
    /// The agent it reads through to, with the profiles that are that agent's.
    pub shared: Option<(Agent, Vec<ProfileId>)>,
}

impl Seen {
    /// What `agent` sees. An agent that does not share costs one look for a file.
    ///
    /// # Errors
    /// A store cannot be read, or the note about the sharing is damaged.
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

    /// The agent in whose file the profile `id` is, for one who sees this as `agent`.
    pub fn holder<'a>(&'a self, id: &ProfileId, agent: &'a Agent) -> &'a Agent {
        match &self.shared {
            Some((owner, ids)) if ids.contains(id) => owner,
            _ => agent,
        }
    }
}

/// The agent in whose file the profile `id` is, as `agent` sees it; itself, if nobody has it.
pub fn holder(
    agent: &Agent,
    id: &ProfileId,
    config: &Config,
    context: &Context,
) -> Result<Agent, CliError> {
    Ok(Seen::by(agent, config, context)?.holder(id, agent).clone())
}

/// The agent that `agent` reads through to, if there is one.
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

/// Notes that `agent` reads through to `owner`, or no longer to anybody.
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

/// The profile is another agent's, who alone may end it.
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

/// The same error with the way to a profile that the agent lacks and another agent has: agents do
/// not share by themselves, and who comes from Clawdbot may have lived on another's login.
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

/// How `agent` gets at what `other` has.
pub fn offer(agent: &Agent, other: &Agent, provider: &str) -> String {
    if agent.id == other.id {
        // A variable points this agent elsewhere.
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
