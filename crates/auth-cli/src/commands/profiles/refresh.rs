//! `models auth refresh`: refreshes logins that are about to expire.

use std::sync::Arc;

use auth_providers::refresh::{Force, Wanted};
use auth_providers::token_source::TokenSink;
use auth_store::{Credential, Kind, ProfileId, Timestamp};
use serde_json::{Value, json};

use crate::agent::invocation::Invocation;
use crate::agent::shared::Seen;
use crate::agent::{self, Agent};
use crate::commands::profiles::args::RefreshArgs;
use crate::commands::profiles::refresh_jobs::{self, Job, Way};
use crate::commands::profiles::retry_merge;
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::report::Report;
use crate::profiles::sink;
use crate::profiles::view::no_profile;

/// Refreshes the named profiles, or all that are inside their margin, and prints the result of
/// each. The first failure determines the exit code, after all were tried.
pub fn run(args: &RefreshArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    if args.retry_merge {
        return retry_merge::run(args, invocation);
    }
    let mut outcomes = Vec::new();
    let ended = refresh_all(args, invocation, &mut outcomes);
    let report = report(outcomes, args.quiet, invocation.context);
    Ok(match ended {
        Ok(()) => report,
        Err(error) => report.cut_short(error),
    })
}

fn refresh_all(
    args: &RefreshArgs,
    invocation: &Invocation<'_>,
    outcomes: &mut Vec<Outcome>,
) -> Result<(), CliError> {
    let mut jobs = Vec::new();
    // What was found before an error is refreshed all the same.
    let found = find(args, invocation, &mut jobs);
    for job in refresh_jobs::run(jobs, invocation.context) {
        invocation.store_changed(&job.agent);
        let ended = job.ended.map(|credential| {
            let expires = credential.expires();
            let is_new = bearer(Some(credential)) != job.before;
            (if is_new { "refreshed" } else { "fresh" }, expires)
        });
        outcomes.push(Outcome { agent: job.agent.id, id: job.wanted.profile, ended });
    }
    found
}

/// Finds the profiles that are asked for, or all that can be refreshed.
fn find(
    args: &RefreshArgs,
    invocation: &Invocation<'_>,
    jobs: &mut Vec<Job>,
) -> Result<(), CliError> {
    let (config, context) = (invocation.config()?, invocation.context);
    let agents = if args.all_agents {
        let all = agent::all(&config, context)?.into_iter();
        let mut all =
            all.map(|id| Agent::of(&id, &config, context)).collect::<Result<Vec<_>, _>>()?;
        // Two agents may have one store.
        let mut seen = Vec::new();
        all.retain(|agent| {
            let file = agent.store_file();
            let is_new = !seen.contains(&file);
            seen.push(file);
            is_new
        });
        all
    } else {
        vec![invocation.agent()?.clone()]
    };
    // Of this agent, and of the one that it shares with.
    let mut sinks: Vec<(Agent, Arc<TokenSink>)> = Vec::new();
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
            let Some(profile) = document.profile(&id) else {
                return Err(no_profile(&id, document, &agent));
            };
            let force = if args.force { Force::Send } else { Force::No };
            let wanted = Wanted { force, ..Wanted::now(id.clone()) };
            let holder = seen.holder(&id, &agent).clone();
            let known = sinks.iter().find(|(of, _)| *of == holder);
            let sink = if let Some((_, sink)) = known {
                Arc::clone(sink)
            } else {
                let sink = Arc::new(sink::for_agent(&holder, &config, context)?);
                sinks.push((holder.clone(), Arc::clone(&sink)));
                sink
            };
            let stored = document.credential(&id);
            let way = Way::for_profile(&profile, stored.as_ref(), &sink, context);
            let before = bearer(stored);
            jobs.push(Job { agent: agent.clone(), holder, wanted, before, sink, way });
        }
    }
    Ok(())
}

/// The result for one profile.
struct Outcome {
    agent: String,
    id: ProfileId,
    /// Its state, and when its token expires.
    ended: Result<(&'static str, Option<Timestamp>), CliError>,
}

impl Outcome {
    fn to_json(&self) -> Value {
        match &self.ended {
            Ok((state, expires)) => json!({
                "agentId": self.agent, "profileId": self.id, "state": state, "expires": expires,
            }),
            Err(error) => json!({
                "agentId": self.agent, "profileId": self.id, "state": "failed",
                "error": error.to_json(),
            }),
        }
    }
}

fn report(outcomes: Vec<Outcome>, is_quiet: bool, context: &Context) -> Report {
    let profiles: Vec<_> = outcomes.iter().map(Outcome::to_json).collect();
    let mut report = Report::from_data(json!({ "profiles": profiles }));
    let mut failure = None;
    for Outcome { id, ended, .. } in outcomes {
        match ended {
            Ok(_) if is_quiet => {}
            Ok((state, expires)) => {
                let until = expires.map(|at| format!(" until {}", context.time(at)));
                let until = until.unwrap_or_default();
                report.line(format_args!("{id}: {state}{until}"));
            }
            Err(error) => {
                report.note(format_args!("{id}: {}", error.message));
                failure = failure.or(Some(error));
            }
        }
    }
    match failure {
        Some(failure) => report.failed(failure),
        None => report,
    }
}

fn bearer(credential: Option<Credential>) -> Option<auth_store::Secret> {
    credential.map(|credential| credential.bearer().clone())
}
