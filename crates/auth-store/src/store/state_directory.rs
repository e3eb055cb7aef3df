//! The state directory: the stores of the agents, and the records that they share.

use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::fs::exists;
use crate::fs::root::{self, Root};
use crate::paths;
use crate::refresh_record::Records;
use crate::store::Store;

/// A state directory (`~/.clawdbot`). It need not exist.
#[derive(Clone, Debug)]
pub struct StateDirectory {
    root: PathBuf,
}

impl StateDirectory {
    /// The state directory at `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Its path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Takes the right to put files into it away from other users. For the start of a program.
    ///
    /// # Errors
    /// [`StoreError::Unsafe`] if it is another user's, or others may write to it and that cannot be
    /// changed: nothing in it can be believed.
    pub fn tighten(&self) -> Result<Root, StoreError> {
        root::tighten(&self.root)
    }

    /// The directory of an agent's credentials.
    pub fn agent_directory(&self, agent: &str) -> PathBuf {
        paths::agent_directory(&self.root, agent)
    }

    /// The store of an agent.
    pub fn store(&self, agent: &str) -> Store {
        Store::at(paths::store(&self.agent_directory(agent)))
    }

    /// The agents that have a directory here, by name.
    ///
    /// # Errors
    /// The folder of all agents cannot be read, so the agents are not known.
    pub fn agents(&self) -> Result<Vec<String>, StoreError> {
        let names = exists::directories(&paths::agents(&self.root))?.into_iter();
        let mut agents: Vec<_> = names.filter_map(|name| name.into_string().ok()).collect();
        agents.sort();
        Ok(agents)
    }

    /// The records of refresh tokens, for all agents.
    pub fn records(&self) -> Records {
        Records::at(paths::refresh_records(&self.root))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn agents_are_the_directories_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::at(directory.path());
        assert!(state.agents().unwrap().is_empty());
        fs::create_dir_all(state.agent_directory("work")).unwrap();
        fs::create_dir_all(state.agent_directory("main")).unwrap();
        assert_eq!(state.agents().unwrap(), ["main", "work"]);
        assert!(state.store("main").path().ends_with("agents/main/agent/auth-profiles.json"));
    }
}
