//! Planning takes time in proportion to the number of profiles.

use std::time::{Duration, Instant};

use auth_routing::{Config, Routing, Timestamp, plan};
use auth_store::{Document, Profile, ProfileId, ProviderId};
use serde_json::json;

/// A store of `count` keys, each used at another time, a third of them in cooldown.
fn profiles(count: i64) -> Vec<Profile> {
    let mut profiles = serde_json::Map::new();
    let mut usage = serde_json::Map::new();
    for number in 0..count {
        let id = format!("acme:{number}");
        let mixed = number * 7_919 % count;
        let until = if number % 3 == 0 { 2_000_000 + mixed } else { 0 };
        usage.insert(id.clone(), json!({ "lastUsed": mixed, "cooldownUntil": until }));
        profiles.insert(id, json!({ "type": "api_key", "provider": "acme", "key": "k" }));
    }
    let store = json!({ "version": 1, "profiles": profiles, "usageStats": usage }).to_string();
    Document::parse(store.as_bytes()).map(|store| store.profiles().collect()).unwrap_or_default()
}

fn best_time(count: i64) -> Duration {
    let profiles = profiles(count);
    let order: Vec<ProfileId> = profiles.iter().rev().map(|it| it.id.clone()).collect();
    let routing = Routing {
        provider: ProviderId::new("acme"),
        stored_order: Some(order),
        config: &Config::default(),
    };
    let runs = (0..7).map(|_| {
        let start = Instant::now();
        let plan = plan(&profiles, &routing, None, Timestamp(1_000_000));
        let took = start.elapsed();
        assert_eq!(i64::try_from(plan.candidates.len()), Ok(count));
        took
    });
    runs.min().unwrap_or_default()
}

#[test]
fn eight_times_the_profiles_take_far_less_than_sixty_four_times_the_time() {
    let (few, many) = (best_time(1_250), best_time(10_000));
    assert!(many < few * 24, "{few:?} for 1,250 profiles, {many:?} for 10,000");
}
