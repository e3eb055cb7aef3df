//! `models auth refresh`: renews what is about to end.

use auth_providers::refresh::{Force, Wanted};
use auth_store::{Credential, Kind, ProfileId};
use serde_json::json;

use crate::agent::shared::Seen;
use crate::agent::{self, Agent};
use crate::commands::profiles::args::RefreshArgs;
use crate::config::Config;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::global::Global;
use crate::host::text::utc;
use crate::profiles::refresh_child;
use crate::profiles::runtime_cache;
use crate::profiles::sink;
use crate::profiles::view::no_profile;

/// Refreshes the named profiles, or all that are inside their margin; says what became of each.
/// The first failure is the exit code, after all were tried.
pub fn run(args: &RefreshArgs, global: &Global, context: &Context) -> Result<Exit, CliError> {
    let config = Config::load(context)?;
    let agents = if args.all_agents {
        let all = agent::all(&config, context)?.into_iter();
        all.map(|id| Agent { directory: agent::directory(&id, &config, context), id }).collect()
    } else {
        vec![Agent::of(global, &config, context)?]
    };
    let mut outcomes = Vec::new();
    let mut failure = None;
    for agent in agents {
        let seen = Seen::by(&agent, &config, context)?;
        let document = &seen.document;
        let due: Vec<ProfileId> = if args.profiles.is_empty() {
            let logins = document.profiles().filter(|profile| profile.kind == Kind::OAuth);
            logins.filter(|profile| profile.has_refresh).map(|profile| profile.id).collect()
        } else {
            args.profiles.iter().map(|id| ProfileId::new(id.as_str())).collect()
        };
        for id in due {
            if !document.contains(&id) {
                return Err(no_profile(&id, &agent));
            }
            let force = if args.force { Force::Send } else { Force::No };
            let wanted = Wanted { force, ..Wanted::now(id.clone()) };
            let before = bearer(document.credential(&id));
            let holder = seen.holder(&id, &agent);
            let sink = sink::for_agent(holder, &config, context)?;
            let outcome = refresh_child::credential(wanted, holder, &sink, context);
            runtime_cache::follow(&agent, &config, context);
            let (state, expires) = match outcome {
                Ok(credential) => {
                    let expires = credential.expires();
                    let is_new = bearer(Some(credential)) != before;
                    (if is_new { "refreshed" } else { "fresh" }, expires)
                }
                Err(error) => {
                    if !global.json {
                        context.say(format_args!("{id}: {}", error.message));
                    }
                    outcomes.push(json!({
                        "agentId": agent.id, "profileId": id, "state": "failed",
                        "error": error.to_json(),
                    }));
                    failure = failure.or(Some(error));
                    continue;
                }
            };
            if !global.json {
                let until = expires.map(|at| format!(" until {}", utc(at))).unwrap_or_default();
                context.print(format_args!("{id}: {state}{until}"))?;
            }
            outcomes.push(json!({
                "agentId": agent.id, "profileId": id, "state": state, "expires": expires,
            }));
        }
    }
    if global.json {
        context.print_json(&json!({ "profiles": outcomes }))?;
        return Ok(failure.map_or(Exit::Done, |error| error.exit));
    }
    match failure {
        Some(failure) => Err(failure),
        None => Ok(Exit::Done),
    }
}

fn bearer(credential: Option<Credential>) -> Option<auth_store::Secret> {
    credential.map(|credential| credential.bearer().clone())
}
