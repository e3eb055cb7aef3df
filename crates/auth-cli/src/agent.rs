//! Whose credentials: from `--agent`, the environment and the config to a directory.

use std::path::PathBuf;
use std::time::Duration;

use auth_store::{StateDirectory, Store};

use crate::args::Global;
use crate::config::{self, Config};
use crate::context::Context;
use crate::error::CliError;
use crate::paths;

/// An agent that exists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Agent {
    /// Its canonical id.
    pub id: String,
    /// Where its credentials are.
    pub directory: PathBuf,
}

impl Agent {
    /// The agent that a command means: `--agent`, else the directory that a variable names, else
    /// the config's default agent.
    ///
    /// # Errors
    /// `--agent` names one that neither the config nor the disk knows.
    pub fn of(global: &Global, config: &Config, context: &Context) -> Result<Self, CliError> {
        let paths = context.paths();
        let Some(name) = &global.agent else {
            let id = config.default_agent();
            let directory = if paths.agent_dir_is_chosen {
                paths.agent_dir
            } else {
                directory(&id, config, context)
            };
            return Ok(Self { id, directory });
        };
        let id = config::agent_id(name);
        let known = all(config, context);
        if id != paths::MAIN_AGENT && !known.contains(&id) {
            return Err(CliError::usage(format!("there is no agent `{id}`"))
                .hint(format!("the agents are: {}", known.join(", "))));
        }
        Ok(Self { directory: directory(&id, config, context), id })
    }

    /// Its credential store.
    pub fn store(&self) -> Store {
        Store::at(paths::store_file(&self.directory))
    }

    /// The same for a change: it waits for locks as long as the environment says
    /// (`CLAWDBOT_LOCK_TIMEOUT`, in seconds), else for a minute.
    pub fn store_to_change(&self, context: &Context) -> Store {
        self.store().with_patience(lock_patience(context))
    }
}

/// How long to wait for locks.
pub fn lock_patience(context: &Context) -> Duration {
    let seconds = context.env("CLAWDBOT_LOCK_TIMEOUT").and_then(|text| text.trim().parse().ok());
    seconds.map_or(Duration::from_mins(1), Duration::from_secs)
}

/// The other agents that have a store.
pub fn others<'a>(
    agent: &'a Agent,
    config: &'a Config,
    context: &'a Context,
) -> impl Iterator<Item = Agent> + use<'a> {
    all(config, context)
        .into_iter()
        .map(|id| Agent { directory: directory(&id, config, context), id })
        .filter(|other| other.directory != agent.directory && other.store().path().exists())
}

/// The directory of the agent `id`: what the config says, else the usual place.
pub fn directory(id: &str, config: &Config, context: &Context) -> PathBuf {
    let configured = config.agent(id).and_then(|entry| entry["agentDir"].as_str());
    let configured = configured.map(|text| context.user_path(text));
    configured
        .filter(|path| !path.as_os_str().is_empty())
        .unwrap_or_else(|| paths::agent_dir(&context.paths().state_dir, id))
}

/// The ids of all agents: those of the config in its order, or `main`; then those that only the
/// disk knows.
pub fn all(config: &Config, context: &Context) -> Vec<String> {
    let configured = config.agents().filter_map(|entry| entry["id"].as_str());
    let mut ids: Vec<_> = configured.map(config::agent_id).collect();
    if ids.is_empty() {
        ids.push(paths::MAIN_AGENT.to_owned());
    }
    for id in StateDirectory::at(context.paths().state_dir).agents() {
        if config::agent_id(&id) == id && !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}
