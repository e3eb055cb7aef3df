//! What must stay where it is when an agent goes, or its files are tidied up: what others use, too.

use std::path::{Path, PathBuf};

use auth_store::paths;

use crate::agent::{self, Agent, workspace};
use crate::config::Config;
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::paths as known_places;

/// The places that are not one agent's alone, each with what it is.
#[derive(Clone, Debug)]
pub struct Protected {
    /// What is no agent's.
    places: Vec<(PathBuf, String)>,
    /// What other agents have.
    of_agents: Vec<(PathBuf, String)>,
}

impl Protected {
    /// All of them, but for what is `agent`'s own.
    ///
    /// # Errors
    /// It is not known which agents there are.
    pub fn beside(agent: &Agent, config: &Config, context: &Context) -> Result<Self, CliError> {
        let known = context.paths();
        let state = &known.state_dir;
        let mut places = vec![
            (context.home.clone(), "your home directory".to_owned()),
            (state.clone(), "the state directory".to_owned()),
            (known.config.clone(), "the config".to_owned()),
            (known.oauth_dir.clone(), "the logins of older versions".to_owned()),
            (paths::agents(state), "the agents".to_owned()),
            (paths::refresh_records(state), "the records of refreshes".to_owned()),
            (paths::pending_logins(state), "the logins that were begun".to_owned()),
            (known_places::providers(state), "the manifests".to_owned()),
            (known_places::deleted(state), "deleted agents".to_owned()),
        ];
        let mut of_agents = Vec::new();
        let mut ids = agent::all(config, context)?;
        if !ids.iter().any(|id| id == known_places::MAIN_AGENT) {
            ids.push(known_places::MAIN_AGENT.to_owned());
        }
        for id in ids {
            places.push((workspace::of(&id, config, context), format!("the workspace of `{id}`")));
            let Ok(other) = Agent::of(&id, config, context) else { continue };
            if id != agent.id {
                let what = format!("credentials of the agent `{id}`");
                let sessions = known_places::sessions(state, &id);
                of_agents.push((sessions, format!("the sessions of `{id}`")));
                of_agents.push((other.store_file(), what.clone()));
                of_agents.push((other.directory, what));
            }
        }
        // A variable may lead the default agent elsewhere.
        if known.agent_dir_is_chosen && known.agent_dir != agent.directory {
            let what = "the directory that the environment names".to_owned();
            places.push((known.agent_dir.clone(), what));
        }
        places.retain(|(path, _)| path.is_absolute());
        Ok(Self { places, of_agents })
    }

    /// What of it is in `directory`, or is the directory itself, all links followed.
    pub fn within(&self, directory: &Path) -> Option<&str> {
        found(self.places.iter().chain(&self.of_agents), directory)
    }

    /// The same without what other agents have: two of them may have one directory.
    pub fn within_but_for_agents(&self, directory: &Path) -> Option<&str> {
        found(self.places.iter(), directory)
    }

    /// What of it has a name below `directory`, which may be a link.
    pub fn below(&self, directory: &Path) -> Option<&str> {
        let mut all = self.places.iter().chain(&self.of_agents);
        all.find(|(path, _)| path.starts_with(directory)).map(|(_, what)| what.as_str())
    }
}

fn found<'a>(
    mut places: impl Iterator<Item = &'a (PathBuf, String)>,
    directory: &Path,
) -> Option<&'a str> {
    let real = known_places::real(directory);
    let is_in =
        |path: &Path| path.starts_with(directory) || known_places::real(path).starts_with(&real);
    places.find(|(path, _)| is_in(path)).map(|(_, what)| what.as_str())
}
