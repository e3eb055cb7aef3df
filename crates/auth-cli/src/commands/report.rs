//! `models auth report`: what became of a request, so that routing learns from it.

use auth_routing::{FailureReason, after_failure, after_success, health, unusable_until};
use auth_store::{ProfileId, Timestamp};
use serde_json::json;

use crate::agent::Agent;
use crate::args::{FailureWord, Global, ReportArgs};
use crate::config::Config;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::text::utc;
use crate::view::no_profile;

/// Writes a success or a failure into the store. Credentials are not touched.
pub fn run(args: &ReportArgs, global: &Global, context: &mut Context) -> Result<Exit, CliError> {
    let config = Config::load(context)?;
    let agent = Agent::of(global, &config, context)?;
    let policy = config.routing().cooldowns;
    let id = ProfileId::new(args.profile.as_str());
    let now = context.now();
    let known_reset = args.retry_after.map(|wait| now.plus(wait));

    let rests_until = agent.store_to_change(context).update(|document| {
        let profile = document.profile(&id)?;
        let usage = match args.failed {
            Some(word) => {
                let provider = &profile.provider;
                after_failure(&profile.usage, reason(word), &policy, provider, known_reset, now)
            }
            None => after_success(&profile.usage, now),
        };
        document.set_usage(&id, &usage);
        if args.failed.is_none() {
            document.set_last_good(&profile.provider, &id);
        }
        Some(unusable_until(&usage).filter(|end| now < *end))
    })?;
    let Some(rests_until) = rests_until else { return Err(no_profile(&id, &agent)) };

    if global.json {
        context.print_json(&json!({
            "agentId": agent.id, "profileId": id, "restsUntil": rests_until,
        }))?;
    } else {
        context.say(said(&id, rests_until, now));
    }
    Ok(Exit::Done)
}

fn said(id: &ProfileId, rests_until: Option<Timestamp>, now: Timestamp) -> String {
    match rests_until {
        Some(end) => {
            format!("`{id}` rests until {} ({})", utc(end), health::until_text(end, now))
        }
        None => format!("`{id}` is ready"),
    }
}

fn reason(word: FailureWord) -> FailureReason {
    match word {
        FailureWord::RateLimit => FailureReason::RateLimit,
        FailureWord::Auth => FailureReason::Auth,
        FailureWord::Billing => FailureReason::Billing,
        FailureWord::Timeout => FailureReason::Timeout,
        FailureWord::Format => FailureReason::Format,
        FailureWord::Unknown => FailureReason::Unknown,
    }
}
