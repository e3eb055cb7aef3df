//! `models auth cooldown list|clear`: profiles that rest after a failure.

use auth_routing::{cleared, health, unusable_until};
use auth_store::{ProfileId, ProviderId, Timestamp};
use serde::Serialize;
use serde_json::json;

use crate::agent::Agent;
use crate::args::{CooldownClearArgs, Global, ListArgs};
use crate::config::Config;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::text::utc;
use crate::view::{View, no_profile};

/// A profile that rests.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resting {
    /// Its id.
    pub profile_id: ProfileId,
    /// Its provider, as written.
    pub provider: String,
    /// `disabled`, or `cooldown`.
    pub kind: &'static str,
    /// Why it is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The end of the rest.
    pub until: Timestamp,
    /// How long that is, in milliseconds.
    pub remaining_ms: i64,
}

/// The profiles that rest, the one that is back soonest first.
pub fn resting(view: &View) -> Vec<Resting> {
    let each = view.profiles.iter().filter_map(|profile| {
        let usage = &profile.usage;
        let until = unusable_until(usage).filter(|end| view.now < *end)?;
        let is_disabled = usage.disabled_until.is_some_and(|end| view.now < end);
        Some(Resting {
            profile_id: profile.id.clone(),
            provider: profile.provider_text.clone(),
            kind: if is_disabled { "disabled" } else { "cooldown" },
            reason: usage.disabled_reason.clone(),
            until,
            remaining_ms: until.0.saturating_sub(view.now.0),
        })
    });
    let mut resting: Vec<_> = each.collect();
    resting.sort_by_key(|it| it.remaining_ms);
    resting
}

/// Shows who rests, why and until when.
pub fn list(args: &ListArgs, global: &Global, context: &mut Context) -> Result<Exit, CliError> {
    let view = View::read(global, context)?;
    let mut resting = resting(&view);
    if let Some(provider) = &args.provider {
        resting.retain(|it| ProviderId::new(&it.provider) == ProviderId::new(provider));
    }
    if global.json {
        context.print_json(&json!({ "agentId": view.agent.id, "profiles": resting }))?;
        return Ok(Exit::Done);
    }
    if resting.is_empty() {
        context.print("No profile rests.")?;
    }
    for it in &resting {
        let reason = it.reason.as_deref().map(|it| format!(": {it}")).unwrap_or_default();
        let left = health::until_text(it.until, view.now);
        context.print(format_args!(
            "{}  {}{reason}, back in {left} ({})",
            it.profile_id,
            it.kind,
            utc(it.until)
        ))?;
    }
    Ok(Exit::Done)
}

/// Ends the rest of the named profiles, that of a billing failure too.
pub fn clear(
    args: &CooldownClearArgs,
    global: &Global,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let agent = Agent::of(global, &Config::load(context)?, context)?;
    let named: Vec<_> = args.profiles.iter().map(|id| ProfileId::new(id.as_str())).collect();
    let now = context.now();
    let result = agent.store_to_change(context).update(|document| {
        if let Some(unknown) = named.iter().find(|id| !document.contains(id)) {
            return Err(unknown.clone());
        }
        let all: Vec<_> = if args.all {
            document.profiles().map(|profile| profile.id).collect()
        } else {
            named.clone()
        };
        let mut ended = Vec::new();
        for id in all {
            let usage = document.usage(&id);
            if unusable_until(&usage).is_some_and(|end| now < end) {
                document.set_usage(&id, &cleared(&usage));
                ended.push(id);
            }
        }
        Ok(ended)
    })?;
    let ended = result.map_err(|unknown| no_profile(&unknown, &agent))?;
    if global.json {
        context.print_json(&json!({ "agentId": agent.id, "cleared": ended }))?;
        return Ok(Exit::Done);
    }
    for id in &ended {
        context.print(format_args!("`{id}` is ready"))?;
    }
    if ended.is_empty() {
        context.print("None of them was resting.")?;
    }
    Ok(Exit::Done)
}
