//! One run of a command: the outside world, the config, the agent, and the output format. Created
//! once; the config is read on first use, and read again only after it was changed.

use std::cell::{OnceCell, RefCell};
use std::path::Path;
use std::rc::Rc;

use auth_store::Document;
use serde_json::Value;

use crate::agent::Agent;
use crate::config::Config;
use crate::config::edit::{self, Change, Missing};
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::report::Output;
use crate::host::style::Style;

/// What a command receives besides its arguments.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// The outside world.
    pub context: &'a Context,
    /// The output format.
    pub output: Output,
    named: Option<String>,
    agent: OnceCell<Agent>,
    shared: Rc<Shared>,
}

/// The state that is shared by all agents of a run.
#[derive(Debug, Default)]
struct Shared {
    config: RefCell<Option<Rc<Config>>>,
    changed: RefCell<Vec<Agent>>,
}

impl<'a> Invocation<'a> {
    /// A run for the agent of this name; `None` for the default agent.
    pub fn new(context: &'a Context, output: Output, agent: Option<String>) -> Self {
        let (agent, named) = (OnceCell::new(), agent);
        Self { context, output, named, agent, shared: Rc::default() }
    }

    /// This run for another agent.
    #[must_use]
    pub fn about(&self, agent: Option<String>) -> Self {
        let shared = Rc::clone(&self.shared);
        Self { shared, ..Self::new(self.context, self.output, agent) }
    }

    /// The agent that `--agent` names, as written.
    pub fn named(&self) -> Option<&str> {
        self.named.as_deref()
    }

    /// The config.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn config(&self) -> Result<Rc<Config>, CliError> {
        if let Some(config) = &*self.shared.config.borrow() {
            return Ok(Rc::clone(config));
        }
        let config = Rc::new(Config::load(self.context)?);
        *self.shared.config.borrow_mut() = Some(Rc::clone(&config));
        Ok(config)
    }

    /// The agent of this run.
    ///
    /// # Errors
    /// The config cannot be read, or `--agent` names an agent that does not exist.
    pub fn agent(&self) -> Result<&Agent, CliError> {
        if let Some(agent) = self.agent.get() {
            return Ok(agent);
        }
        let agent = Agent::named(self.named(), &*self.config()?, self.context)?;
        Ok(self.agent.get_or_init(|| agent))
    }

    /// Changes the config with `change`; it is read again on next use. Returns whether it was
    /// changed.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn change_config(
        &self,
        change: impl FnOnce(&Path) -> Result<bool, CliError>,
    ) -> Result<bool, CliError> {
        let changed = change(&self.context.paths().config);
        *self.shared.config.borrow_mut() = None;
        changed
    }

    /// Changes the config with the changes that `wanted` derives from it.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn edit_config(
        &self,
        missing: Missing,
        wanted: impl Fn(&Value) -> Vec<Change>,
    ) -> Result<bool, CliError> {
        self.change_config(|path| edit::edit(path, missing, wanted))
    }

    /// Changes the store of `agent`, and updates its runtime cache at the end of the run.
    ///
    /// # Errors
    /// Nothing was written.
    pub fn change<T>(
        &self,
        agent: &Agent,
        change: impl FnMut(&mut Document) -> T,
    ) -> Result<T, CliError> {
        let changed = agent.store_to_change(self.context).update(change)?;
        self.store_changed(agent);
        Ok(changed)
    }

    /// The style of text on standard output.
    pub(crate) fn style(&self) -> Style {
        Style::from_environment(self.output.no_color, self.context)
    }

    /// Records that the store of `agent`, or its routing, has changed: its runtime cache is updated
    /// at the end of the run.
    pub fn store_changed(&self, agent: &Agent) {
        let mut changed = self.shared.changed.borrow_mut();
        if !changed.contains(agent) {
            changed.push(agent.clone());
        }
    }

    /// The agents whose stores have changed since the last call.
    pub fn take_changed(&self) -> Vec<Agent> {
        self.shared.changed.take()
    }
}
