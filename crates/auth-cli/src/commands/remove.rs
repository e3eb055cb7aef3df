//! `models auth remove`: forgets a profile.

use auth_store::ProfileId;
use serde_json::json;

use crate::agent::Agent;
use crate::args::{Global, RemoveArgs};
use crate::config::Config;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::view::no_profile;

/// Removes the profile, its usage and every mention of it from the store. The issuer is not told.
pub fn run(args: &RemoveArgs, global: &Global, context: &mut Context) -> Result<Exit, CliError> {
    let agent = Agent::of(global, &Config::load(context)?, context)?;
    let id = ProfileId::new(args.profile.as_str());
    if !agent.store().update(|document| document.remove(&id))? {
        return Err(no_profile(&id, &agent));
    }
    if global.json {
        context.print_json(&json!({ "agentId": agent.id, "removed": id }))?;
    } else {
        context.print(format_args!("Removed `{id}` from the agent `{}`.", agent.id))?;
    }
    Ok(Exit::Done)
}
