//! The inputs of `doctor`.

use std::rc::Rc;

use auth_providers::Providers;
use auth_store::{Records, Timestamp};

use crate::agent::Agent;
use crate::config::Config;
use crate::host::context::Context;
use crate::host::shell_quote::option;

/// What is examined.
pub struct Examination<'a> {
    /// The outside world.
    pub context: &'a Context,
    /// The config, if it can be read.
    pub config: Rc<Config>,
    /// Every agent in the config or on the disk.
    pub agents: Vec<Agent>,
    /// The known providers.
    pub providers: Providers,
    /// The record of each refresh token.
    pub records: Records,
    /// The time used for all checks.
    pub now: Timestamp,
}

/// ` --agent <id>`, unless it is the default one.
pub(super) fn of_agent(agent: &Agent, examination: &Examination<'_>) -> String {
    if agent.id == examination.config.default_agent() {
        String::new()
    } else {
        option("--agent", &agent.id)
    }
}
