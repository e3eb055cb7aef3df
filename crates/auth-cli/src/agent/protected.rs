//! What must stay where it is when an agent goes, or its files are tidied up: what others use, too.

use std::path::{Path, PathBuf};

use auth_store::paths;

use crate::agent::{self, Agent, workspace};
use crate::config::Config;
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::paths as places;

/// The places that are not one agent's alone, each with what it is.
#[derive(Clone, Debug)]
pub struct Protected(Vec<(PathBuf, String)>);

impl Protected {
    /// All of them, but for what is `agent`'s own.
    ///
    /// # Errors
    /// It is not known which agents there are.
    pub fn beside(agent: &Agent, config: &Config, context: &Context) -> Result<Self, CliError> {
        let known = context.paths();
        let state = &known.state_dir;
        let mut all = vec![
            (context.home.clone(), "your home directory".to_owned()),
            (state.clone(), "the state directory".to_owned()),
            (known.config.clone(), "the config".to_owned()),
            (known.oauth_dir.clone(), "the logins of older versions".to_owned()),
            (paths::agents(state), "the agents".to_owned()),
            (paths::refresh_records(state), "the records of refreshes".to_owned()),
            (paths::pending_logins(state), "the logins that were begun".to_owned()),
            (places::providers(state), "the manifests".to_owned()),
            (places::deleted(state), "deleted agents".to_owned()),
        ];
        let mut ids = agent::all(config, context)?;
        if !ids.iter().any(|id| id == places::MAIN_AGENT) {
            ids.push(places::MAIN_AGENT.to_owned());
        }
        for id in ids {
            all.push((workspace::of(&id, config, context), format!("the workspace of `{id}`")));
            let Ok(other) = Agent::of(&id, config, context) else { continue };
            if id != agent.id {
                let what = format!("credentials of the agent `{id}`");
                all.push((places::sessions(state, &id), format!("the sessions of `{id}`")));
                all.push((other.store_file(), what.clone()));
                all.push((other.directory, what));
            }
        }
        // A variable may lead the default agent elsewhere.
        if known.agent_dir_is_chosen && known.agent_dir != agent.directory {
            let what = "the directory that the environment names".to_owned();
            all.push((known.agent_dir.clone(), what));
        }
        all.retain(|(path, _)| path.is_absolute());
        Ok(Self(all))
    }

    /// What of it is in `directory`, or is the directory itself, all links followed.
    pub fn within(&self, directory: &Path) -> Option<&str> {
        let real = places::real(directory);
        let is_in =
            |path: &Path| path.starts_with(directory) || places::real(path).starts_with(&real);
        self.0.iter().find(|(path, _)| is_in(path)).map(|(_, what)| what.as_str())
    }

    /// What of it has a name below `directory`, which may be a link.
    pub fn below(&self, directory: &Path) -> Option<&str> {
        let below = self.0.iter().find(|(path, _)| path.starts_with(directory));
        below.map(|(_, what)| what.as_str())
    }
}
