//! Keeps the runtime cache in step with the routing: after every change, `auth.json` beside the
//! store has the tokens that routing would choose now. Reading a fresh token changes nothing.

use std::time::Duration;

use auth_routing::{Config as RoutingConfig, Routing, plan};
use auth_store::{Document, ProviderId, RuntimeCache, Timestamp, paths};

use crate::agent::invocation::Invocation;
use crate::agent::shared;
use crate::agent::{self, Agent};
use crate::config::Config;
use crate::host::context::Context;
use crate::host::error::CliError;

/// Updates the runtime caches of the agents whose stores this run changed.
pub(crate) fn follow_changes(invocation: &Invocation<'_>) {
    let changed = invocation.take_changed();
    if changed.is_empty() {
        return;
    }
    // An invalid config was reported when it was read.
    let Ok(config) = invocation.config() else { return };
    for agent in changed {
        follow(&agent, &config, invocation.context);
    }
}

/// Updates the runtime cache of `agent`. Nothing depends on it, so a failure is only a warning.
fn follow(agent: &Agent, config: &Config, context: &Context) {
    let (routing, now) = (config.routing(), context.now());
    let path = paths::runtime_cache(&agent.directory);
    let store = agent.store().with_timeout(TIMEOUT);
    let shared = shared::owner_of(agent, config, context).ok().flatten();
    let shared = shared.and_then(|owner| owner.store_to_change(context).read().ok());
    let followed = store.follow_routing(&path, |document, _| match &shared {
        Some(shared) => routed(&document.reading_through(shared), &routing, now),
        None => routed(document, &routing, now),
    });
    if let Err(error) = followed {
        let (path, error) = (context.display(&path), CliError::from(error));
        context.say(format_args!("warning: `{path}` could not follow the routing: {error}"));
    }
}

/// Records that a token of `agent` changed, of which other agents may have copies: their caches, if
/// any, are updated too.
pub(crate) fn changed_with_copies(agent: &Agent, config: &Config, invocation: &Invocation<'_>) {
    invocation.store_changed(agent);
    // Best effort: the token is already stored.
    for other in agent::others(agent, config, invocation.context).unwrap_or_default() {
        if paths::runtime_cache(&other.directory).exists() {
            invocation.store_changed(&other);
        }
    }
}

/// For each provider the secret for its API, if it is valid now. If all profiles are in cooldown,
/// the one that ends soonest is used, because nothing rewrites the cache when a cooldown ends.
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

const TIMEOUT: Duration = Duration::from_secs(5);

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
