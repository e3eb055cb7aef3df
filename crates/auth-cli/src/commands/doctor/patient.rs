//! What `doctor` looks at.

use std::rc::Rc;

use auth_providers::Providers;
use auth_store::{Records, Timestamp};

use crate::agent::Agent;
use crate::config::Config;
use crate::host::context::Context;
use crate::host::shell_quote::option;

/// What is looked at.
pub struct Patient<'a> {
    /// The outside world.
    pub context: &'a Context,
    /// The user's file, if it can be read.
    pub config: Rc<Config>,
    /// Every agent that the config or the disk knows.
    pub agents: Vec<Agent>,
    /// The providers there are.
    pub providers: Providers,
    /// What became of each refresh token.
    pub records: Records,
    /// The instant by which all is judged.
    pub now: Timestamp,
}

/// ` --agent <id>`, unless it is the default one.
pub(super) fn of_agent(agent: &Agent, patient: &Patient<'_>) -> String {
    if agent.id == patient.config.default_agent() {
        String::new()
    } else {
        option("--agent", &agent.id)
    }
}
