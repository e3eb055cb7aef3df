//! The runtime cache follows the routing: after whatever changes it, `auth.json` beside the store
//! holds what would be handed out now. A fresh token that is merely read changes nothing.

use std::time::Duration;

use auth_routing::{Config as RoutingConfig, Routing, plan};
use auth_store::{Document, ProviderId, RuntimeCache, Timestamp, paths};

use crate::agent::invocation::Invocation;
use crate::agent::shared;
use crate::agent::{self, Agent};
use crate::config::Config;
use crate::host::context::Context;
use crate::host::error::CliError;

/// Brings the runtime caches of the agents whose stores this run changed up to date.
pub(crate) fn follow_changes(invocation: &Invocation<'_>) {
    let changed = invocation.take_changed();
    if changed.is_empty() {
        return;
    }
    // A config that is wrong was complained about when it was read.
    let Ok(config) = invocation.config() else { return };
    for agent in changed {
        follow(&agent, &config, invocation.context);
    }
}

/// Brings the runtime cache of `agent` up to date. Nothing depends on it, so a failure is only
/// said.
fn follow(agent: &Agent, config: &Config, context: &Context) {
    let (routing, now) = (config.routing(), context.now());
    let path = paths::runtime_cache(&agent.directory);
    let store = agent.store().with_patience(PATIENCE);
    let shared = shared::owner_of(agent, config, context).ok().flatten();
    let shared = shared.and_then(|owner| owner.store().read().ok());
    let followed = store.follow_routing(&path, |document, _| match &shared {
        Some(shared) => routed(&document.reading_through(shared), &routing, now),
        None => routed(document, &routing, now),
    });
    if let Err(error) = followed {
        let (path, error) = (context.display(&path), CliError::from(error));
        context.say(format_args!("warning: `{path}` could not follow the routing: {error}"));
    }
}

/// The same where the config may have changed since it was read.
pub(crate) fn follow_anew(agent: &Agent, context: &Context) {
    // A config that is wrong was complained about when it was read.
    if let Ok(config) = Config::load(context) {
        follow(agent, &config, context);
    }
}

/// Notes that a token of `agent` changed, of which other agents may have had copies: those that
/// have a cache follow, too.
pub(crate) fn changed_with_copies(agent: &Agent, config: &Config, invocation: &Invocation<'_>) {
    invocation.store_changed(agent);
    // Best effort: the token is stored.
    for other in agent::others(agent, config, invocation.context).unwrap_or_default() {
        if paths::runtime_cache(&other.directory).exists() {
            invocation.store_changed(&other);
        }
    }
}

/// For each provider what is sent to its API, if that is valid now. Where all profiles rest it is
/// the one that is back soonest: nobody writes the cache when it wakes.
fn routed(document: &Document, config: &RoutingConfig, now: Timestamp) -> RuntimeCache {
    let profiles: Vec<_> = document.profiles().collect();
    let mut providers: Vec<&ProviderId> = profiles.iter().map(|it| &it.provider).collect();
    providers.sort();
    providers.dedup();
    let each = providers.into_iter().filter_map(|provider| {
        let stored_order = document.order(provider);
        let routing = Routing { provider: provider.clone(), stored_order, config };
        let plan = plan(&profiles, &routing, None, now);
        let credential = document.credential(plan.first()?)?;
        let is_usable = credential.is_valid(now) && !credential.bearer().is_blank();
        is_usable.then(|| (provider.as_str().to_owned(), credential.bearer().clone()))
    });
    each.collect()
}

const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_profile_of_each_provider_is_cached_if_it_is_valid() {
        let document = Document::parse(
            br#"{"profiles": {
                "a:old": {"type": "oauth", "provider": "a", "access": "old", "refresh": "r", "expires": 5},
                "b:1": {"type": "api_key", "provider": "B", "key": "one"},
                "b:2": {"type": "oauth", "provider": "b", "access": "two", "refresh": "r", "expires": 99}
            }, "usageStats": {"b:2": {"cooldownUntil": 10}}}"#,
        )
        .unwrap();
        let cached = |now| {
            let cached = routed(&document, &RoutingConfig::default(), Timestamp(now));
            let cached = cached.iter().map(|(name, key)| format!("{name}={}", key.expose()));
            cached.collect::<Vec<_>>()
        };
        assert_eq!(cached(1), ["a=old", "b=one"]);
        assert_eq!(cached(10), ["b=two"]);
    }
}
