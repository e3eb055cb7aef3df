//! Plans, case by case and in general.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::Config;
use crate::Exclusion;
use crate::Pin;
use crate::Plan;
use crate::Routing;
use crate::Source;
use crate::Warning;
use crate::Why;
use crate::plan;
use auth_store::{Document, Kind, Profile, ProfileId, ProviderId, Timestamp};

const NOW: i64 = 1_000;

fn profiles(store: &Value) -> Vec<Profile> {
    Document::parse(store.to_string().as_bytes()).unwrap().profiles().collect()
}

/// The plan for `acme` over a store with a key, two logins, a token and a key of another provider.
fn check(stored: Option<&[&str]>, config: &Value, usage: &Value, pin: Option<&Pin>) -> Plan {
    let store = json!({ "version": 1, "usageStats": usage, "profiles": {
        "key": { "type": "api_key", "provider": "acme", "key": "k" },
        "work": { "type": "oauth", "provider": "Acme", "access": "a", "refresh": "r" },
        "home": { "type": "oauth", "provider": "acme", "access": "", "refresh": "r" },
        "old": { "type": "token", "provider": "acme", "token": "t", "expires": NOW },
        "blank": { "type": "api_key", "provider": "acme", "key": " " },
        "other": { "type": "api_key", "provider": "openai", "key": "k" },
    }});
    let routing = Routing {
        provider: ProviderId::new("acme"),
        stored_order: stored.map(|ids| ids.iter().copied().map(ProfileId::from).collect()),
        config: &Config::from_json(config),
    };
    plan(&profiles(&store), &routing, pin, Timestamp(NOW))
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.candidates.iter().map(|it| it.id.as_str()).collect()
}

fn excluded<'a>(plan: &'a Plan, id: &str) -> Option<&'a Exclusion> {
    plan.excluded.iter().find(|(it, _)| it.as_str() == id).map(|(_, reason)| reason)
}

#[test]
fn logins_go_before_keys_and_the_one_used_longest_ago_first() {
    let usage = json!({ "work": { "lastUsed": 9 }, "home": { "lastUsed": 5 } });
    let plan = check(None, &json!({}), &usage, None);
    assert_eq!(ids(&plan), ["home", "work", "key"]);
    assert_eq!(plan.source, Source::Profiles);
    assert_eq!(excluded(&plan, "old"), Some(&Exclusion::Expired(Timestamp(NOW))));
    assert_eq!(excluded(&plan, "blank"), Some(&Exclusion::NoSecret));
    assert_eq!(excluded(&plan, "other"), None);
}

#[test]
fn the_stored_order_goes_before_that_of_the_config() {
    let config = json!({ "auth": { "order": { "ACME": ["home"] } } });
    assert_eq!(ids(&check(Some(&["key", "work"]), &config, &json!({}), None)), ["key", "work"]);
    let plan = check(None, &config, &json!({}), None);
    assert_eq!(ids(&plan), ["home"]);
    let not_listed = Exclusion::NotListed(Source::ConfigOrder);
    assert_eq!(excluded(&plan, "work"), Some(&not_listed));
}

#[test]
fn configured_profiles_limit_the_choice_and_their_mode_must_fit() {
    let config = json!({ "auth": { "profiles": {
        "key": { "provider": "acme", "mode": "oauth" },
        "work": { "provider": "acme", "mode": "oauth" },
        "gone": { "provider": "acme", "mode": "api_key" },
    } } });
    let plan = check(None, &config, &json!({}), None);
    assert_eq!(ids(&plan), ["work"]);
    assert_eq!(excluded(&plan, "gone"), Some(&Exclusion::Unknown));
    let mismatch = Exclusion::ModeMismatch { declared: "oauth".into(), stored: Kind::ApiKey };
    assert_eq!(excluded(&plan, "key"), Some(&mismatch));
}

#[test]
fn profiles_in_cooldown_come_last_and_the_soonest_back_first() {
    let usage = json!({
        "work": { "cooldownUntil": NOW + 9 },
        "home": { "disabledUntil": NOW + 5, "disabledReason": "billing" },
        "key": { "cooldownUntil": NOW },
    });
    let plan = check(None, &json!({}), &usage, None);
    assert_eq!(ids(&plan), ["key", "home", "work"]);
    assert_eq!(plan.candidates[1].why.to_string(), "in cooldown: billing");
    assert_eq!(plan.all_in_cooldown_until(), None);
    let usage = json!({ "key": { "cooldownUntil": NOW + 1 } });
    let plan = check(Some(&["key"]), &json!({}), &usage, None);
    assert_eq!(plan.all_in_cooldown_until(), Some(Timestamp(NOW + 1)));
}

#[test]
fn orders_without_any_usable_id_warn_and_are_followed() {
    let warnings = |order: &[&str]| check(Some(order), &json!({}), &json!({}), None).warnings;
    assert_eq!(warnings(&[]), [Warning::EmptyOrder]);
    let gone = Warning::UnknownId("gone".into());
    assert_eq!(warnings(&["gone"]), [Warning::NoKnownProfile, gone.clone()]);
    let other = Warning::ForeignId("other".into());
    assert_eq!(warnings(&["gone", "key", "other"]), [gone, other]);
    assert_eq!(check(Some(&["gone"]), &json!({}), &json!({}), None).first(), None);
}

#[test]
fn a_pin_goes_first_or_leaves_no_other() {
    let prefer = check(None, &json!({}), &json!({}), Some(&Pin::Prefer("key".into())));
    assert_eq!(ids(&prefer), ["key", "work", "home"]);
    assert_eq!(prefer.candidates[0].why, Why::Pinned);
    let require = check(None, &json!({}), &json!({}), Some(&Pin::Require("key".into())));
    assert_eq!(ids(&require), ["key"]);
    assert_eq!(excluded(&require, "work"), Some(&Exclusion::NotRequired));
    let gone = check(None, &json!({}), &json!({}), Some(&Pin::Require("gone".into())));
    assert_eq!(ids(&gone), [""; 0]);
}

#[test]
fn a_candidate_with_an_obstacle_is_excluded_for_it_and_the_next_is_ready() {
    let usage = json!({ "key": { "cooldownUntil": NOW + 9 } });
    let plan = check(None, &json!({}), &usage, None);
    assert_eq!(plan.ready().map(|it| it.id.as_str()), Some("work"));
    let refused = crate::Obstacle::Refused("invalid_grant".to_owned());
    let plan = plan.without(|id| (id.as_str() != "key").then(|| refused.clone()));
    assert_eq!(ids(&plan), ["key"]);
    assert_eq!(excluded(&plan, "work"), Some(&Exclusion::Blocked(refused)));
    assert_eq!(plan.ready(), None);
}

#[test]
fn a_planner_says_of_each_provider_what_a_plan_says() {
    let store = json!({ "profiles": {
        "a:1": { "type": "api_key", "provider": "a", "key": "k" },
        "b:1": { "type": "api_key", "provider": "b", "key": "k" },
        "b:2": { "type": "oauth", "provider": "B", "access": "a", "refresh": "r" },
        "c:1": { "type": "api_key", "provider": "c", "key": "k" },
    } });
    let config = json!({ "auth": {
        "order": { "b": ["b:2", "gone"], "B": ["b:1"] },
        "profiles": { "c:1": { "provider": "c", "mode": "token" }, "c:2": { "provider": "c" } },
    } });
    let (profiles, config) = (profiles(&store), Config::from_json(&config));
    let planner = crate::Planner::new(&profiles, &config, Timestamp(NOW));
    for name in ["a", "b", "c", "d"] {
        let provider = ProviderId::new(name);
        for order in [None, Some(vec![]), Some(vec!["c:1".into(), "b:1".into(), "b:1".into()])] {
            let stored_order = order.clone();
            let routing = Routing { provider: provider.clone(), stored_order, config: &config };
            let expected = plan(&profiles, &routing, None, Timestamp(NOW));
            assert_eq!(planner.plan(&provider, order, None), expected, "{name}");
        }
    }
}

/// A config, and a store that may have any value where a number is expected.
fn world() -> impl Strategy<Value = Value> {
    let id = || "[ab]:[a-d]";
    let ids = || prop::option::of(prop::collection::vec(id(), 0..8));
    let provider = || prop::sample::select(vec!["acme", "ACME ", "openai"]);
    let number = || {
        prop_oneof![
            any::<i64>().prop_map(|it| json!(it)),
            any::<u64>().prop_map(|it| json!(it)),
            any::<f64>().prop_map(|it| json!(it)),
            Just(json!("NaN")),
            Just(json!({})),
        ]
    };
    let profile = (
        prop::sample::select(vec!["api_key", "token", "oauth", "other"]),
        provider(),
        prop::sample::select(vec!["", "s"]),
        number(),
    );
    let usage = (number(), number(), number());
    let declared = (provider(), prop::sample::select(vec!["api_key", "token", "oauth"]));
    (
        prop::collection::btree_map(id(), profile, 0..8),
        prop::collection::btree_map(id(), usage, 0..8),
        ids(),
        ids(),
        prop::collection::btree_map(id(), declared, 0..4),
    )
        .prop_map(|(profiles, usage, order, config_order, declared)| {
            let profiles: serde_json::Map<_, _> = profiles
                .into_iter()
                .map(|(id, (kind, provider, secret, expires))| {
                    let entry = json!({ "type": kind, "provider": provider, "key": secret,
                        "token": secret, "refresh": secret, "expires": expires });
                    (id, entry)
                })
                .collect();
            let usage: serde_json::Map<_, _> = usage
                .into_iter()
                .map(|(id, (used, cooldown, disabled))| {
                    let entry = json!({ "lastUsed": used, "cooldownUntil": cooldown,
                        "disabledUntil": disabled, "errorCount": used, "lastFailureAt": disabled });
                    (id, entry)
                })
                .collect();
            let declared: serde_json::Map<_, _> = declared
                .into_iter()
                .map(|(id, (provider, mode))| (id, json!({ "provider": provider, "mode": mode })))
                .collect();
            let order_of = config_order.map(|ids| json!({ "Acme": ids }));
            json!({ "profiles": profiles, "usageStats": usage, "order": order,
                "config": { "auth": { "order": order_of, "profiles": declared } } })
        })
}

proptest! {
    #[test]
    fn a_plan_is_a_permutation_of_the_eligible_and_the_excluded(
        world in world(),
        now in prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX)],
        pin in prop::option::of("[ab]:[a-d]"),
        is_required in any::<bool>(),
    ) {
        let provider = ProviderId::new("acme");
        let profiles = profiles(&world);
        let order: Option<Vec<ProfileId>> = serde_json::from_value(world["order"].clone()).unwrap();
        let config = Config::from_json(&world["config"]);
        let routing =
            Routing { provider: provider.clone(), stored_order: order.clone(), config: &config };
        let pin = pin.map(ProfileId::from);
        let pin = pin.map(|id| if is_required { Pin::Require(id) } else { Pin::Prefer(id) });
        let plan = plan(&profiles, &routing, pin.as_ref(), Timestamp(now));

        let mut planned: Vec<ProfileId> = plan.candidates.iter().map(|it| it.id.clone())
            .chain(plan.excluded.iter().map(|it| it.0.clone()))
            .collect();
        planned.sort();
        let of_provider = profiles.iter().filter(|it| it.provider == provider);
        let declared = config.profiles.iter().filter(|(_, it)| it.provider == provider);
        let declared = declared.map(|(id, _)| id.clone()).collect();
        let listed = order.or_else(|| config.order(&provider).map(<[_]>::to_vec)).unwrap_or(declared);
        let mut known: Vec<ProfileId> = of_provider.map(|it| it.id.clone()).chain(listed).collect();
        known.sort();
        known.dedup();
        prop_assert_eq!(planned, known);
        for candidate in &plan.candidates {
            let profile = profiles.iter().find(|it| it.id == candidate.id).unwrap();
            prop_assert!(profile.has_secret && profile.provider == provider);
        }
        // Profiles in cooldown come after the others, the earliest end first.
        let ends = plan.candidates.iter().skip(usize::from(pin.is_some()));
        let ends: Vec<_> = ends.map(|it| match it.why {
            Why::InCooldown { until, .. } => Some(until),
            _ => None,
        }).collect();
        prop_assert!(ends.is_sorted(), "{:?}", ends);

        // A session always gets a candidate, whatever it contains.
        for is_new in [false, true] {
            let entry = json!({ "authProfileOverride": pin.as_ref().map(|(Pin::Prefer(id) | Pin::Require(id))| id),
                "compactionCount": now, "authProfileOverrideCompactionCount": i64::MAX });
            let free = crate::plan(&profiles, &routing, None, Timestamp(now));
            let entry = entry.as_object().unwrap();
            let found = crate::session::resolve(entry, &profiles, &provider, &free, is_new, Timestamp(now));
            prop_assert_eq!(found.profile.is_some(), !free.candidates.is_empty());
            prop_assert!(found.profile.is_none_or(|id| free.candidates.iter().any(|it| it.id == id)));
        }
    }
}
