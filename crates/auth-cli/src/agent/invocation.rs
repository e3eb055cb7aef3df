//! One run of a command: the outside world, the user's file, the agent that is meant, the form of
//! the answer. Made once; the config is read when it is needed and once, until it is changed.

use std::cell::{OnceCell, RefCell};
use std::path::Path;
use std::rc::Rc;

use auth_store::Document;
use serde_json::Value;

use crate::agent::Agent;
use crate::config::Config;
use crate::config::edit::{self, Change, Missing};
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::global::Global;
use crate::host::report::{Output, Report};
use crate::host::style::Style;

/// What a command is given beside its arguments.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// The outside world.
    pub context: &'a Context,
    /// The form of the answer.
    pub output: Output,
    named: Option<String>,
    agent: OnceCell<Agent>,
    shared: Rc<Shared>,
}

/// What is the same for all agents of a run.
#[derive(Debug, Default)]
struct Shared {
    config: RefCell<Option<Rc<Config>>>,
    changed: RefCell<Vec<Agent>>,
}

impl<'a> Invocation<'a> {
    /// A run that is about the agent of this name; `None`: the default one.
    pub fn new(context: &'a Context, output: Output, agent: Option<String>) -> Self {
        let (agent, named) = (OnceCell::new(), agent);
        Self { context, output, named, agent, shared: Rc::default() }
    }

    /// The same run with data for an answer.
    pub(crate) fn as_data(&self) -> Self {
        let output = Output { json: true, ..self.output };
        Self { output, ..self.about(self.named.clone()) }
    }

    /// Until every flow takes one.
    fn options(&self) -> Global {
        let Output { json, verbose, no_color } = self.output;
        Global { agent: self.named.clone(), json, verbose, no_color }
    }

    /// Until every flow takes one: runs one that reads and changes the config by itself.
    pub(crate) fn with_options(
        &self,
        run: impl FnOnce(&Global, &Context) -> Result<Exit, CliError>,
    ) -> Result<Report, CliError> {
        let exit = run(&self.options(), self.context);
        *self.shared.config.borrow_mut() = None;
        exit.map(Report::from)
    }

    /// The same run about another agent.
    #[must_use]
    pub fn about(&self, agent: Option<String>) -> Self {
        let shared = Rc::clone(&self.shared);
        Self { shared, ..Self::new(self.context, self.output, agent) }
    }

    /// The agent that `--agent` names, as it was written.
    pub fn named(&self) -> Option<&str> {
        self.named.as_deref()
    }

    /// The user's file.
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

    /// The agent that is meant.
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

    /// Has `change` change the user's file, which is read again when it is needed next. Whether it
    /// was changed.
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

    /// Changes the user's file as `wanted` says, given the file with all its parts.
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

    /// Changes the store of `agent`, whose runtime cache follows at the end of the run.
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

    /// How text looks on standard output.
    pub(crate) fn style(&self) -> Style {
        Style::of(self.output.no_color, self.context)
    }

    /// Notes that the store of `agent`, or its routing, changed: its runtime cache follows at the
    /// end of the run.
    pub fn store_changed(&self, agent: &Agent) {
        let mut changed = self.shared.changed.borrow_mut();
        if !changed.contains(agent) {
            changed.push(agent.clone());
        }
    }

    /// The agents whose stores changed since this was asked last.
    pub fn take_changed(&self) -> Vec<Agent> {
        self.shared.changed.take()
    }
}
