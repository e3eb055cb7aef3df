//! The token sink of an agent, as the command line composes it.

use std::sync::Arc;

use auth_providers::plugin::WithPlugins;
use auth_providers::token_source::{Flights, TokenSink, Warm};
use auth_store::{Records, StateDirectory};

use crate::agent::{self, Agent};
use crate::config::Config;
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::{fallback_directories, network};
use crate::profiles::view;

/// The token sink of `agent`, in the real world.
///
/// # Errors
/// Nobody can say which other agents there are, who may have copies of its logins.
pub fn for_agent(agent: &Agent, config: &Config, context: &Context) -> Result<TokenSink, CliError> {
    let patience = agent::lock_patience(context);
    let state = StateDirectory::at(&context.paths().state_dir);
    let others = agent::others(agent, config, context)?;
    let providers = view::providers(context);
    let http = Box::new(network::client(context));
    let http = WithPlugins::new(http, &providers, network::plugin_environment(context));
    let records = fallback_directories::places(context)
        .into_iter()
        .fold(state.records(), Records::with_rescue);
    Ok(TokenSink {
        store: agent.store().with_patience(patience),
        siblings: others.iter().map(Agent::store).collect(),
        records,
        providers,
        http: Box::new(http),
        clock: Arc::clone(&context.clock),
        patience,
        flights: Flights::default(),
        warm: Warm::default(),
    })
}
