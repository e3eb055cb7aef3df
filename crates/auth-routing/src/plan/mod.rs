//! The order in which profiles are tried, and the profiles that are excluded.

pub(crate) mod billing;
pub(crate) mod config;
pub(crate) mod explain;
pub(crate) mod obstacle;

use std::hash::{BuildHasherDefault, DefaultHasher};

use auth_store::{Kind, Profile, ProfileId, ProviderId, Timestamp};

use crate::cooldown;
use crate::plan::config::{Config, Declared};
use crate::plan::obstacle::Obstacle;

/// Without a random seed: ids come from the user's own files, and a seed would cost a system call.
type Hasher = BuildHasherDefault<DefaultHasher>;
type Map<K, V> = std::collections::HashMap<K, V, Hasher>;
type Set<K> = std::collections::HashSet<K, Hasher>;

/// The inputs of a plan besides the profiles.
#[derive(Clone, Debug)]
pub struct Routing<'a> {
    /// The provider for which a credential is needed.
    pub provider: ProviderId,
    /// The agent's stored order for it (`models auth order set`), if there is one.
    pub stored_order: Option<Vec<ProfileId>>,
    /// The user's config.
    pub config: &'a Config,
}

/// A profile that was chosen by name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Pin {
    /// Prefer this one, if it is a candidate, then the others.
    Prefer(ProfileId),
    /// Only this one.
    Require(ProfileId),
}

/// The profiles to try, in order, and why the others are excluded.
///
/// Each profile of the provider, and each id in the order, is in exactly one of the two lists,
/// once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// The source of the order.
    pub source: Source,
    /// The candidates; the first one is to be used now.
    pub candidates: Vec<Candidate>,
    /// The other profiles, each with the reason.
    pub excluded: Vec<(ProfileId, Exclusion)>,
    /// Warnings about the order itself.
    pub warnings: Vec<Warning>,
}

/// A profile to try.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub id: ProfileId,
    /// Why it has its position.
    pub why: Why,
}

/// The source of a plan's order.
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
    /// Whether the user set the order, so that it is kept.
    pub fn is_explicit(self) -> bool {
        matches!(self, Self::StoredOrder | Self::ConfigOrder)
    }
}

/// Why a candidate has its position.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Why {
    /// It was chosen by name.
    Pinned,
    /// It has this position in an explicit order, counted from 1.
    Listed(usize),
    /// Its kind comes first, and it is the least recently used one of its kind.
    LeastRecentlyUsed {
        /// Its kind.
        kind: Kind,
        /// When it was last used; `None`: never.
        last_used: Option<Timestamp>,
    },
    /// It is in cooldown.
    InCooldown {
        /// The end of the cooldown.
        until: Timestamp,
        /// Why it is in cooldown, if the store says so (`billing`).
        reason: Option<String>,
    },
}

/// Why a profile is not a candidate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Exclusion {
    /// The order or the config names it, and the store has no usable entry with that id.
    Unknown,
    /// It is a profile of another provider.
    ForeignProvider(ProviderId),
    /// According to the config, it is a profile of another provider.
    DeclaredForeign(ProviderId),
    /// The config names another kind of credential than the stored one.
    ModeMismatch {
        /// `auth.profiles[id].mode`.
        declared: String,
        /// The stored kind.
        stored: Kind,
    },
    /// It has no secret to send.
    NoSecret,
    /// It is a token that cannot be refreshed, and it expired at this time.
    Expired(Timestamp),
    /// The order does not name it.
    NotListed(Source),
    /// Another profile is required.
    NotRequired,
    /// It is a candidate by all rules, and asking for it fails all the same.
    Blocked(Obstacle),
}

/// A property of the order that may be unintended. The order is followed anyway.
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
/// store. See the [crate](crate) for the rules. For the plans of many providers see [`Planner`].
pub fn plan(
    profiles: &[Profile],
    routing: &Routing<'_>,
    pin: Option<&Pin>,
    now: Timestamp,
) -> Plan {
    let by_id = profiles.iter().map(|it| (&it.id, it)).collect();
    let declared = &routing.config.profiles;
    let declared_by_id = declared.iter().rev().map(|(id, entry)| (id, entry)).collect();
    let of_provider = OfProvider {
        stored: profiles.iter().filter(|it| it.provider == routing.provider).collect(),
        declared: {
            let of_provider = declared.iter().filter(|(_, it)| it.provider == routing.provider);
            of_provider.map(|(id, _)| id).collect()
        },
        config_order: routing.config.order(&routing.provider),
    };
    planned(&by_id, &declared_by_id, &of_provider, routing, pin, now)
}

/// Makes the plans of many providers over the same profiles, in one pass over these.
#[derive(Debug)]
pub struct Planner<'a> {
    by_id: Map<&'a ProfileId, &'a Profile>,
    declared_by_id: Map<&'a ProfileId, &'a Declared>,
    of_provider: Map<&'a ProviderId, OfProvider<'a>>,
    config: &'a Config,
    now: Timestamp,
}

/// What belongs to one provider.
#[derive(Debug, Default)]
struct OfProvider<'a> {
    stored: Vec<&'a Profile>,
    declared: Vec<&'a ProfileId>,
    config_order: Option<&'a [ProfileId]>,
}

impl<'a> Planner<'a> {
    /// Over all profiles of the agent, in the order of the store.
    pub fn new(profiles: &'a [Profile], config: &'a Config, now: Timestamp) -> Self {
        let mut of_provider: Map<&ProviderId, OfProvider<'_>> = Map::default();
        for profile in profiles {
            of_provider.entry(&profile.provider).or_default().stored.push(profile);
        }
        for (id, entry) in &config.profiles {
            of_provider.entry(&entry.provider).or_default().declared.push(id);
        }
        for (provider, order) in &config.orders {
            let entry = of_provider.entry(provider).or_default();
            entry.config_order.get_or_insert(order);
        }
        Self {
            by_id: profiles.iter().map(|it| (&it.id, it)).collect(),
            declared_by_id: config.profiles.iter().rev().map(|(id, it)| (id, it)).collect(),
            of_provider,
            config,
            now,
        }
    }

    /// The profile with this id.
    pub fn profile(&self, id: &ProfileId) -> Option<&'a Profile> {
        self.by_id.get(id).copied()
    }

    /// What [`plan`](plan()) gives for `provider`.
    pub fn plan(
        &self,
        provider: &ProviderId,
        stored_order: Option<Vec<ProfileId>>,
        pin: Option<&Pin>,
    ) -> Plan {
        let nothing = OfProvider::default();
        let of_provider = self.of_provider.get(provider).unwrap_or(&nothing);
        let routing = Routing { provider: provider.clone(), stored_order, config: self.config };
        planned(&self.by_id, &self.declared_by_id, of_provider, &routing, pin, self.now)
    }
}

fn planned(
    by_id: &Map<&ProfileId, &Profile>,
    declared_by_id: &Map<&ProfileId, &Declared>,
    of_provider: &OfProvider<'_>,
    routing: &Routing<'_>,
    pin: Option<&Pin>,
    now: Timestamp,
) -> Plan {
    let (source, listed) = base_order(of_provider, routing);
    let mut excluded = Vec::new();
    let mut awake = Vec::new();
    let mut in_cooldown = Vec::new();
    for (place, id) in listed.iter().enumerate() {
        let Some(profile) = by_id.get(id) else {
            excluded.push((id.clone(), Exclusion::Unknown));
            continue;
        };
        let declared = declared_by_id.get(id).copied();
        if let Err(reason) = judge(profile, declared, &routing.provider, now) {
            excluded.push((id.clone(), reason));
            continue;
        }
        let usage = &profile.usage;
        match cooldown::unusable_until(usage).filter(|until| now < *until) {
            Some(until) => in_cooldown.push((until, *profile)),
            None => awake.push((place + 1, *profile)),
        }
    }
    let warnings = warnings(source, &listed, &excluded);

    if !source.is_explicit() {
        awake.sort_by_key(|(_, it)| (rank(it.kind), it.usage.last_used.unwrap_or_default()));
    }
    in_cooldown.sort_by_key(|(until, _)| *until);
    let awake = awake.into_iter().map(|(place, profile)| Candidate {
        id: profile.id.clone(),
        why: if source.is_explicit() {
            Why::Listed(place)
        } else {
            let last_used = profile.usage.last_used.filter(|used| used.0 > 0);
            Why::LeastRecentlyUsed { kind: profile.kind, last_used }
        },
    });
    let in_cooldown = in_cooldown.into_iter().map(|(until, profile)| Candidate {
        id: profile.id.clone(),
        why: Why::InCooldown { until, reason: cooldown_reason(profile, until) },
    });
    let mut candidates: Vec<_> = awake.chain(in_cooldown).collect();

    let listed: Set<&ProfileId> = listed.iter().collect();
    let others = of_provider.stored.iter().filter(|it| !listed.contains(&it.id));
    excluded.extend(others.map(|it| (it.id.clone(), Exclusion::NotListed(source))));
    obey(pin, &mut candidates, &mut excluded);
    Plan { source, candidates, excluded, warnings }
}

/// The ids to consider, each once, and their source.
fn base_order(of_provider: &OfProvider<'_>, routing: &Routing<'_>) -> (Source, Vec<ProfileId>) {
    let (source, ids) = if let Some(order) = &routing.stored_order {
        (Source::StoredOrder, order.clone())
    } else if let Some(order) = of_provider.config_order {
        (Source::ConfigOrder, order.to_vec())
    } else if of_provider.declared.is_empty() {
        (Source::Profiles, of_provider.stored.iter().map(|it| it.id.clone()).collect())
    } else {
        (Source::ConfigProfiles, of_provider.declared.iter().map(|id| (*id).clone()).collect())
    };
    let mut seen = Set::default();
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

/// The rank of a kind without an explicit order.
fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::OAuth => 0,
        Kind::Token => 1,
        Kind::ApiKey => 2,
    }
}

fn cooldown_reason(profile: &Profile, until: Timestamp) -> Option<String> {
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
        if !matches!(pinned.why, Why::InCooldown { .. }) {
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
    /// The same plan without the candidates that `obstacle` knows a reason against: they are
    /// excluded with it. Candidates in cooldown are judged too.
    #[must_use]
    pub fn without(mut self, mut obstacle: impl FnMut(&ProfileId) -> Option<Obstacle>) -> Self {
        let mut kept = Vec::with_capacity(self.candidates.len());
        for candidate in self.candidates {
            match obstacle(&candidate.id) {
                Some(obstacle) => {
                    self.excluded.push((candidate.id, Exclusion::Blocked(obstacle)));
                }
                None => kept.push(candidate),
            }
        }
        self.candidates = kept;
        self
    }

    /// The candidate to use now: the first one that is not in cooldown.
    pub fn ready(&self) -> Option<&Candidate> {
        self.candidates.iter().find(|it| !matches!(it.why, Why::InCooldown { .. }))
    }

    /// The profile to use now: the first candidate, in cooldown or not.
    pub fn first(&self) -> Option<&ProfileId> {
        self.candidates.first().map(|it| &it.id)
    }

    /// The earliest end of a cooldown, if all candidates are in cooldown. `None`: one is ready, or
    /// there is no candidate.
    pub fn all_in_cooldown_until(&self) -> Option<Timestamp> {
        let ends = self.candidates.iter().map(|it| match it.why {
            Why::InCooldown { until, .. } => Some(until),
            _ => None,
        });
        ends.collect::<Option<Vec<_>>>()?.into_iter().min()
    }
}

#[cfg(test)]
mod tests;
