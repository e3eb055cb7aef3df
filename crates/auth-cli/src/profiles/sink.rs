//! The token sink of an agent, as the command line composes it.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use auth_providers::plugin::WithPlugins;
use auth_providers::token_source::{Flights, TokenSink, Warm};
use auth_store::{Coexist, Records, StateDirectory, Timestamp};
use serde_json::Value;

use crate::agent::sessions::Sessions;
use crate::agent::{self, Agent};
use crate::config::Config;
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::settings::Settings;
use crate::host::{fallback_directories, network};
use crate::profiles::view;

/// The token sink of `agent`, in the real world.
///
/// # Errors
/// The other agents, which may have copies of its logins, cannot be determined.
pub fn for_agent(agent: &Agent, config: &Config, context: &Context) -> Result<TokenSink, CliError> {
    let timeout = agent::lock_timeout(context);
    let state = StateDirectory::at(&context.paths().state_dir);
    let others = agent::others(agent, config, context)?;
    let providers = view::providers(context);
    let http = Box::new(network::client(context));
    let http = WithPlugins::new(http, &providers, network::plugin_environment(context));
    let records = fallback_directories::places(context)
        .into_iter()
        .fold(state.records(), Records::with_rescue);
    Ok(TokenSink {
        store: agent.store_to_change(context).with_coexist(coexist(agent, config, context)?),
        siblings: others.iter().map(|it| it.store().telling(&context.recoveries)).collect(),
        records,
        providers,
        http: Box::new(http),
        clock: Arc::clone(&context.clock),
        timeout,
        flights: Flights::default(),
        warm: Warm::default(),
    })
}

/// Whether Clawdbot's lock is held during requests: as the settings say. Else a Clawdbot may be alive on these files if it left
/// its stamp in the config or used a session within a week; else the store knows.
fn coexist(agent: &Agent, config: &Config, context: &Context) -> Result<Coexist, CliError> {
    let set = Settings::load(context)?.coexist();
    if set != Coexist::Auto {
        return Ok(set);
    }
    let stamp = match &config.value["meta"]["lastTouchedAt"] {
        Value::String(text) => Timestamp::read(text),
        number => number.as_i64().map(Timestamp),
    };
    let sessions = Sessions::for_agent(agent, config, context).ok();
    let sessions = sessions.and_then(|sessions| fs::metadata(sessions.path()).ok());
    let used = sessions.and_then(|found| found.modified().ok());
    let used = used.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let used = used.map(|since| Timestamp(0).plus(since));
    let is_recent = |at: Timestamp| context.now().since(at) < TRACES_LAST;
    let is_seen = stamp.into_iter().chain(used).any(is_recent);
    Ok(if is_seen { Coexist::Always } else { Coexist::Auto })
}

const TRACES_LAST: Duration = Duration::from_hours(7 * 24);
