//! Which profile is tried first, which next, and which not at all.

use std::collections::{HashMap, HashSet};
use std::fmt;

use auth_store::{Kind, Profile, ProfileId, ProviderId, Timestamp};

use crate::config::{Config, Declared};
use crate::cooldown;

/// What decides about the profiles of one provider, besides the profiles themselves.
#[derive(Clone, Debug)]
pub struct Routing<'a> {
    /// The provider somebody wants a credential for.
    pub provider: ProviderId,
    /// The agent's own order for it (`models auth order set`), if there is one.
    pub stored_order: Option<Vec<ProfileId>>,
    /// What the user's config says.
    pub config: &'a Config,
}

/// The profile somebody asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Pin {
    /// First this one, if it is among the candidates; then the others.
    Prefer(ProfileId),
    /// This one or none.
    Require(ProfileId),
}

/// The profiles to try, in order, and why the others are not among them.
///
/// Each profile of the provider, and each id that the order names, is in exactly one of the two
/// lists, once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// Where the order came from.
    pub source: Source,
    /// First the one to use now.
    pub candidates: Vec<Candidate>,
    /// What was left out.
    pub excluded: Vec<(ProfileId, Exclusion)>,
    /// What the user should know about the order itself.
    pub warnings: Vec<Warning>,
}

/// A profile to try.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub id: ProfileId,
    /// Why it is at its place.
    pub why: Why,
}

/// Where the order of a plan came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// The agent's stored order.
    StoredOrder,
    /// `auth.order` of the config.
    ConfigOrder,
    /// The provider's entries of `auth.profiles` in the config.
    ConfigProfiles,
    /// All stored profiles of the provider.
    Profiles,
}

impl Source {
    /// Whether somebody wrote the order down, so that it is kept as it is.
    pub fn is_explicit(self) -> bool {
        matches!(self, Self::StoredOrder | Self::ConfigOrder)
    }
}

/// Why a candidate is at its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Why {
    /// Somebody asked for it.
    Pinned,
    /// It is at this place of an explicit order, counted from 1.
    Listed(usize),
    /// Its kind goes first, and among its kind it was used longest ago.
    LeastRecentlyUsed {
        /// Its kind.
        kind: Kind,
        /// When it was last used; `None`: never.
        last_used: Option<Timestamp>,
    },
    /// It rests, and is back then.
    Resting {
        /// The end of the rest.
        until: Timestamp,
        /// Why it rests, where the store says so (`billing`).
        reason: Option<String>,
    },
}

/// Why a profile is not a candidate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Exclusion {
    /// The order or the config names it, and the store has no usable entry of that id.
    Unknown,
    /// It is a profile of another provider.
    ForeignProvider(ProviderId),
    /// The config says that it is a profile of another provider.
    DeclaredForeign(ProviderId),
    /// The config says another kind of credential than is stored.
    ModeMismatch {
        /// `auth.profiles[id].mode`.
        declared: String,
        /// What is stored.
        stored: Kind,
    },
    /// There is nothing in it that could be sent.
    NoSecret,
    /// A token that nobody can refresh ended then.
    Expired(Timestamp),
    /// The order does not name it.
    NotListed(Source),
    /// Another profile is required.
    NotRequired,
}

/// Something about the order that is followed, and that its author may not have meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Warning {
    /// The order is empty, so there is no profile for the provider.
    EmptyOrder,
    /// No id in the order is a profile of the provider, so there is none.
    NoKnownProfile,
    /// The order names an id that the store does not have.
    UnknownId(ProfileId),
    /// The order names a profile of another provider.
    ForeignId(ProfileId),
}

/// The plan for `routing.provider` at `now`, from all profiles of the agent in the order of the
/// store. See the [crate](crate) for the rules.
pub fn plan(
    profiles: &[Profile],
    routing: &Routing<'_>,
    pin: Option<&Pin>,
    now: Timestamp,
) -> Plan {
    let by_id: HashMap<&ProfileId, &Profile> = profiles.iter().map(|it| (&it.id, it)).collect();
    let declared: HashMap<&ProfileId, &Declared> =
        routing.config.profiles.iter().rev().map(|(id, entry)| (id, entry)).collect();
    let (source, listed) = base_order(profiles, routing);

    let mut excluded = Vec::new();
    let mut awake = Vec::new();
    let mut resting = Vec::new();
    for (place, id) in listed.iter().enumerate() {
        let Some(profile) = by_id.get(id) else {
            excluded.push((id.clone(), Exclusion::Unknown));
            continue;
        };
        let declared = declared.get(id).copied();
        if let Err(reason) = judge(profile, declared, &routing.provider, now) {
            excluded.push((id.clone(), reason));
            continue;
        }
        let usage = &profile.usage;
        match cooldown::unusable_until(usage).filter(|until| now < *until) {
            Some(until) => resting.push((until, *profile)),
            None => awake.push((place + 1, *profile)),
        }
    }
    let warnings = warnings(source, &listed, &excluded);

    if !source.is_explicit() {
        awake.sort_by_key(|(_, it)| (rank(it.kind), it.usage.last_used.unwrap_or_default()));
    }
    resting.sort_by_key(|(until, _)| *until);
    let awake = awake.into_iter().map(|(place, profile)| Candidate {
        id: profile.id.clone(),
        why: if source.is_explicit() {
            Why::Listed(place)
        } else {
            let last_used = profile.usage.last_used.filter(|used| used.0 > 0);
            Why::LeastRecentlyUsed { kind: profile.kind, last_used }
        },
    });
    let resting = resting.into_iter().map(|(until, profile)| Candidate {
        id: profile.id.clone(),
        why: Why::Resting { until, reason: rest_reason(profile, until) },
    });
    let mut candidates: Vec<_> = awake.chain(resting).collect();

    let listed: HashSet<&ProfileId> = listed.iter().collect();
    let others = profiles.iter().filter(|it| it.provider == routing.provider);
    let others = others.filter(|it| !listed.contains(&it.id));
    excluded.extend(others.map(|it| (it.id.clone(), Exclusion::NotListed(source))));
    obey(pin, &mut candidates, &mut excluded);
    Plan { source, candidates, excluded, warnings }
}

/// The ids to consider, each once, and who named them.
fn base_order(profiles: &[Profile], routing: &Routing<'_>) -> (Source, Vec<ProfileId>) {
    let declared = || {
        let of_provider =
            routing.config.profiles.iter().filter(|(_, it)| it.provider == routing.provider);
        of_provider.map(|(id, _)| id.clone()).collect::<Vec<_>>()
    };
    let stored = || {
        let of_provider = profiles.iter().filter(|it| it.provider == routing.provider);
        of_provider.map(|it| it.id.clone()).collect()
    };
    let (source, ids) = if let Some(order) = &routing.stored_order {
        (Source::StoredOrder, order.clone())
    } else if let Some(order) = routing.config.order(&routing.provider) {
        (Source::ConfigOrder, order.to_vec())
    } else {
        match declared() {
            ids if ids.is_empty() => (Source::Profiles, stored()),
            ids => (Source::ConfigProfiles, ids),
        }
    };
    let mut seen = HashSet::new();
    let once = ids.into_iter().filter(|id| seen.insert(id.clone())).collect();
    (source, once)
}

/// Whether the profile may be a candidate at all.
fn judge(
    profile: &Profile,
    declared: Option<&Declared>,
    provider: &ProviderId,
    now: Timestamp,
) -> Result<(), Exclusion> {
    if profile.provider != *provider {
        return Err(Exclusion::ForeignProvider(profile.provider.clone()));
    }
    if let Some(declared) = declared {
        if declared.provider != *provider {
            return Err(Exclusion::DeclaredForeign(declared.provider.clone()));
        }
        if !declared.admits(profile.kind) {
            let declared = declared.mode.clone();
            return Err(Exclusion::ModeMismatch { declared, stored: profile.kind });
        }
    }
    if !profile.has_secret {
        return Err(Exclusion::NoSecret);
    }
    match (profile.kind, profile.expires) {
        (Kind::Token, Some(end)) if now >= end => Err(Exclusion::Expired(end)),
        _ => Ok(()),
    }
}

/// Which kind goes first where nobody wrote an order down.
fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::OAuth => 0,
        Kind::Token => 1,
        Kind::ApiKey => 2,
    }
}

fn rest_reason(profile: &Profile, until: Timestamp) -> Option<String> {
    let is_disabled = profile.usage.disabled_until == Some(until);
    profile.usage.disabled_reason.clone().filter(|_| is_disabled)
}

fn warnings(
    source: Source,
    listed: &[ProfileId],
    excluded: &[(ProfileId, Exclusion)],
) -> Vec<Warning> {
    if !source.is_explicit() {
        return Vec::new();
    }
    if listed.is_empty() {
        return vec![Warning::EmptyOrder];
    }
    let named = excluded.iter().filter_map(|(id, reason)| match reason {
        Exclusion::Unknown => Some(Warning::UnknownId(id.clone())),
        Exclusion::ForeignProvider(_) => Some(Warning::ForeignId(id.clone())),
        _ => None,
    });
    let mut warnings: Vec<_> = named.collect();
    if warnings.len() == listed.len() {
        warnings.insert(0, Warning::NoKnownProfile);
    }
    warnings
}

fn obey(
    pin: Option<&Pin>,
    candidates: &mut Vec<Candidate>,
    excluded: &mut Vec<(ProfileId, Exclusion)>,
) {
    let (Some(Pin::Prefer(id) | Pin::Require(id)), Some(pin)) = (pin, pin) else { return };
    if let Some(place) = candidates.iter().position(|it| it.id == *id) {
        let mut pinned = candidates.remove(place);
        if !matches!(pinned.why, Why::Resting { .. }) {
            pinned.why = Why::Pinned;
        }
        candidates.insert(0, pinned);
    }
    if let Pin::Require(id) = pin {
        let others = candidates.extract_if(.., |it| it.id != *id);
        excluded.extend(others.map(|it| (it.id, Exclusion::NotRequired)));
    }
}

impl Plan {
    /// The profile to use now: the first candidate, rested or not.
    pub fn first(&self) -> Option<&ProfileId> {
        self.candidates.first().map(|it| &it.id)
    }

    /// Whether every candidate rests, and until when at least. `None`: one is ready, or there is
    /// no candidate at all.
    pub fn all_rest_until(&self) -> Option<Timestamp> {
        let ends = self.candidates.iter().map(|it| match it.why {
            Why::Resting { until, .. } => Some(until),
            _ => None,
        });
        ends.collect::<Option<Vec<_>>>()?.into_iter().min()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::StoredOrder => "the agent's stored order",
            Self::ConfigOrder => "auth.order of the config",
            Self::ConfigProfiles => "auth.profiles of the config",
            Self::Profiles => "the stored profiles",
        })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned => formatter.write_str("pinned"),
            Self::Listed(place) => write!(formatter, "number {place} of the order"),
            Self::LeastRecentlyUsed { kind, last_used: None } => {
                write!(formatter, "{}, never used", kind.as_str())
            }
            Self::LeastRecentlyUsed { kind, last_used: Some(_) } => {
                write!(formatter, "{}, used longest ago", kind.as_str())
            }
            Self::Resting { reason: None, .. } => formatter.write_str("rests"),
            Self::Resting { reason: Some(reason), .. } => write!(formatter, "rests: {reason}"),
        }
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => formatter.write_str("no such profile in the store"),
            Self::ForeignProvider(provider) => write!(formatter, "a profile of `{provider}`"),
            Self::DeclaredForeign(provider) => {
                write!(formatter, "auth.profiles says it is a profile of `{provider}`")
            }
            Self::ModeMismatch { declared, stored } => write!(
                formatter,
                "auth.profiles says `{declared}`, stored is `{}`",
                stored.as_str()
            ),
            Self::NoSecret => formatter.write_str("there is no secret in it"),
            Self::Expired(_) => formatter.write_str("the token has expired"),
            Self::NotListed(source) => write!(formatter, "not in {source}"),
            Self::NotRequired => formatter.write_str("another profile is pinned"),
        }
    }
}

impl Exclusion {
    /// A short name for JSON output.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown_profile",
            Self::ForeignProvider(_) => "foreign_provider",
            Self::DeclaredForeign(_) => "declared_foreign",
            Self::ModeMismatch { .. } => "mode_mismatch",
            Self::NoSecret => "no_secret",
            Self::Expired(_) => "expired",
            Self::NotListed(_) => "not_listed",
            Self::NotRequired => "not_pinned",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyOrder => formatter.write_str("the order is empty, so no profile is used"),
            Self::NoKnownProfile => formatter
                .write_str("no id in the order is a profile of the provider, so none is used"),
            Self::UnknownId(id) => write!(formatter, "the order names `{id}`, which is not stored"),
            Self::ForeignId(id) => {
                write!(formatter, "the order names `{id}`, a profile of another provider")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use auth_store::Document;

    const NOW: i64 = 1_000;

    fn profiles(store: &Value) -> Vec<Profile> {
        Document::parse(store.to_string().as_bytes()).unwrap().profiles().collect()
    }

    /// The plan for `acme` over a store with a key, two logins, a token and a foreign key.
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
    fn resting_profiles_come_last_and_the_soonest_back_first() {
        let usage = json!({
            "work": { "cooldownUntil": NOW + 9 },
            "home": { "disabledUntil": NOW + 5, "disabledReason": "billing" },
            "key": { "cooldownUntil": NOW },
        });
        let plan = check(None, &json!({}), &usage, None);
        assert_eq!(ids(&plan), ["key", "home", "work"]);
        assert_eq!(plan.candidates[1].why.to_string(), "rests: billing");
        assert_eq!(plan.all_rest_until(), None);
        let usage = json!({ "key": { "cooldownUntil": NOW + 1 } });
        let plan = check(Some(&["key"]), &json!({}), &usage, None);
        assert_eq!(plan.all_rest_until(), Some(Timestamp(NOW + 1)));
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

    fn store() -> impl Strategy<Value = Value> {
        let id = || "[ab]:[a-d]";
        let time = || any::<i64>();
        let profile = (
            prop::sample::select(vec!["api_key", "token", "oauth", "other"]),
            prop::sample::select(vec!["acme", "ACME ", "openai"]),
            prop::sample::select(vec!["", "s"]),
            time(),
        );
        let usage = (time(), time(), time());
        (
            prop::collection::btree_map(id(), profile, 0..8),
            prop::collection::btree_map(id(), usage, 0..8),
            prop::option::of(prop::collection::vec(id(), 0..8)),
        )
            .prop_map(|(profiles, usage, order)| {
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
                            "disabledUntil": disabled });
                        (id, entry)
                    })
                    .collect();
                json!({ "profiles": profiles, "usageStats": usage, "order": order })
            })
    }

    proptest! {
        #[test]
        fn a_plan_is_a_permutation_of_the_eligible_and_the_excluded(
            store in store(),
            now in any::<i64>(),
            pin in prop::option::of("[ab]:[a-d]"),
            is_required in any::<bool>(),
        ) {
            let provider = ProviderId::new("acme");
            let profiles = profiles(&store);
            let order: Option<Vec<ProfileId>> =
                serde_json::from_value(store["order"].clone()).unwrap();
            let config = Config::default();
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
            let mut known: Vec<ProfileId> =
                of_provider.map(|it| it.id.clone()).chain(order.into_iter().flatten()).collect();
            known.sort();
            known.dedup();
            prop_assert_eq!(planned, known);
            for candidate in &plan.candidates {
                let profile = profiles.iter().find(|it| it.id == candidate.id).unwrap();
                prop_assert!(profile.has_secret && profile.provider == provider);
            }
        }
    }
}
