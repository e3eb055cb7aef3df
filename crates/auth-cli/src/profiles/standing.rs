//! What holds for an agent's profiles now: what each can do, what stands in its way, and the plan of
//! each provider with that in it. `status`, `explain`, `list`, `doctor` and `--check` render this
//! one value, and `token` hands out what it says comes next.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use auth_providers::{Provider, Providers, TargetError};
use auth_routing::session::selector::ModelRef;
use auth_routing::{Exclusion, Obstacle, Pin, Plan, Planner, Why};
use auth_store::{
    Credential, KeyReference, ModelUsage, OAuthCredential, Profile, ProfileId, ProviderId, Records,
    State, StateDirectory, Timestamp, TokenKey,
};
use serde::Serialize;

use crate::agent::Agent;
use crate::host::context::Context;
use crate::host::text::printable;
use crate::profiles::key_reference;
use crate::profiles::view::View;

/// Whether the access token, key or token can be used now.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// It can, and for a while.
    Valid,
    /// It can, and ends soon: inside the margin in which it is renewed, or, if nothing can renew
    /// it, within a day.
    Expiring,
    /// It cannot.
    Expired,
    /// It can, and does not end.
    Static,
    /// It can, unless it has ended: its end cannot be read.
    Unknown,
}

/// Whether it can be renewed without the user.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refresh {
    /// It has a refresh token.
    Yes,
    /// It has none.
    No,
    /// It has one, and the issuer refused it, it was revoked, or the response to it could not be
    /// read.
    NeedsLogin,
}

/// What can be done with a credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ability {
    /// Now.
    pub access: Access,
    /// Later.
    pub refresh: Refresh,
}

/// What holds for the profiles of an agent.
#[derive(Debug)]
pub struct Standing {
    /// The agent's credentials, and everything that decides about them.
    pub view: View,
    /// What is known of single models of the profiles.
    pub models: ModelUsage,
    abilities: HashMap<ProfileId, Ability>,
    obstacles: HashMap<ProfileId, Obstacle>,
    by_id: HashMap<ProfileId, usize>,
    shared: HashSet<ProfileId>,
    plans: BTreeMap<ProviderId, Routed>,
}

/// The plan of a provider, and whether the store alone has a candidate.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The plan, with the obstacles in it.
    pub plan: Plan,
    /// Whether a profile is a candidate by the rules of routing. Only without one is a key of the
    /// environment used.
    pub has_candidate: bool,
}

/// What is handed out now for a provider.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Next {
    /// The profile; `None` if no profile can be used.
    pub profile: Option<ProfileId>,
    /// Why that one, or why none.
    pub reason: String,
}

impl Standing {
    /// Judges the profiles of `view`. Nothing is sent, and no other program is run.
    pub fn judge(view: View, providers: &Providers, context: &Context) -> Self {
        let records = StateDirectory::at(&context.paths().state_dir).records();
        let (mut abilities, mut obstacles) = (HashMap::new(), HashMap::new());
        for profile in &view.profiles {
            let Some(credential) = view.document.credential(&profile.id) else { continue };
            let renewal = match &credential {
                Credential::OAuth(login) => Renewal::of_login(
                    login,
                    providers.find(&profile.provider),
                    profile,
                    &records,
                    view.now,
                ),
                _ => Renewal { refresh: Refresh::No, obstacle: None },
            };
            let mut ability = ability(&credential, renewal.refresh, view.now);
            if ability.access == Access::Static && view.document.has_unreadable_end(&profile.id) {
                ability.access = Access::Unknown;
            }
            let obstacle = match &credential {
                // A program may take its time, or ask the user.
                Credential::Reference(KeyReference::Exec { .. }) => None,
                Credential::Reference(place) => key_reference::fetch(place, context)
                    .err()
                    .map(|reason| Obstacle::NoKey(format!("{place}: {reason}"))),
                Credential::OAuth(_) if ability.access == Access::Expired => renewal.obstacle,
                _ => None,
            };
            if let Some(obstacle) = obstacle {
                obstacles.insert(profile.id.clone(), obstacle);
            }
            abilities.insert(profile.id.clone(), ability);
        }
        let by_id = view.profiles.iter().enumerate().map(|(at, it)| (it.id.clone(), at));
        let shared = view.shared.iter().flat_map(|(_, ids)| ids).cloned();
        Self {
            by_id: by_id.collect(),
            shared: shared.collect(),
            models: view.model_usage(),
            plans: plans(&view, &obstacles),
            abilities,
            obstacles,
            view,
        }
    }

    /// The profile `id`.
    pub fn profile(&self, id: &ProfileId) -> Option<&Profile> {
        self.view.profiles.get(*self.by_id.get(id)?)
    }

    /// What can be done with the profile `id`.
    pub fn ability(&self, id: &ProfileId) -> Option<Ability> {
        self.abilities.get(id).copied()
    }

    /// What stands in the way of the profile `id`.
    pub fn obstacle(&self, id: &ProfileId) -> Option<&Obstacle> {
        self.obstacles.get(id)
    }

    /// The agent in whose file the profile `id` is.
    pub fn holder(&self, id: &ProfileId) -> &Agent {
        match &self.view.shared {
            Some((owner, _)) if self.shared.contains(id) => owner,
            _ => &self.view.agent,
        }
    }

    /// The providers of the stored profiles and of the orders, with their plans.
    pub fn plans(&self) -> impl Iterator<Item = (&ProviderId, &Routed)> {
        self.plans.iter()
    }

    /// The plan for `provider`.
    pub fn plan(&self, provider: &ProviderId) -> Routed {
        match self.plans.get(provider) {
            Some(routed) => routed.clone(),
            None => self.routed(self.view.plan(provider, None)),
        }
    }

    /// The plan for a request, with a pin or for a model.
    pub fn plan_for(
        &self,
        provider: &ProviderId,
        model: Option<&ModelRef>,
        pin: Option<&Pin>,
    ) -> Routed {
        match (model, pin) {
            (None, None) => self.plan(provider),
            (Some(model), pin) => self.routed(self.view.plan_for_model(model, &self.models, pin)),
            (None, pin) => self.routed(self.view.plan(provider, pin)),
        }
    }

    fn routed(&self, plan: Plan) -> Routed {
        let has_candidate = !plan.candidates.is_empty();
        Routed { plan: plan.without(|id| self.obstacles.get(id).cloned()), has_candidate }
    }

    /// What is handed out now for `provider`, given the name of what is used where no profile is a
    /// candidate.
    pub fn next(&self, provider: &ProviderId, fallback: Option<&str>) -> Next {
        match self.plans.get(provider) {
            Some(routed) => routed.next(fallback),
            None => self.plan(provider).next(fallback),
        }
    }

    /// The profiles that can be used now, cannot renew themselves, and end within that time.
    pub fn ending_within(&self, within: Duration) -> impl Iterator<Item = &Profile> {
        let until = self.view.now.plus(within);
        let candidates = self.plans.values().flat_map(|it| &it.plan.candidates);
        candidates.filter_map(move |candidate| {
            let profile = self.profile(&candidate.id)?;
            let ability = self.ability(&candidate.id)?;
            let ends = profile.expires.is_some_and(|end| end.0 > 0 && end <= until);
            (ends && ability.refresh != Refresh::Yes).then_some(profile)
        })
    }
}

impl Routed {
    /// What is handed out now.
    pub fn next(&self, fallback: Option<&str>) -> Next {
        if let Some(ready) = self.plan.ready() {
            return Next { profile: Some(ready.id.clone()), reason: ready.why.to_string() };
        }
        let blocked = |(id, reason): &(ProfileId, Exclusion)| match reason {
            Exclusion::NotListed(_) | Exclusion::NotRequired => None,
            reason => Some(format!("`{}`: {reason}", printable(id.as_str()))),
        };
        let reason = if let Some(until) = self.plan.all_in_cooldown_until() {
            let ids =
                self.plan.candidates.iter().find(
                    |it| matches!(it.why, Why::InCooldown { until: end, .. } if end == until),
                );
            let first = ids.map(|it| printable(it.id.as_str())).unwrap_or_default();
            format!("all profiles are in cooldown; `{first}` is the first to be back")
        } else if let (false, Some(fallback)) = (self.has_candidate, fallback) {
            format!("no profile can be used; {fallback} is used")
        } else {
            let reasons: Vec<_> = self.plan.excluded.iter().filter_map(blocked).take(3).collect();
            match (reasons.is_empty(), self.plan.warnings.first()) {
                (true, Some(warning)) => warning.to_string(),
                (true, None) => "there is no profile".to_owned(),
                (false, _) => reasons.join("; "),
            }
        };
        Next { profile: None, reason }
    }

    /// Whether whoever asks now gets something.
    pub fn is_served(&self, has_fallback: bool) -> bool {
        self.plan.ready().is_some() || (!self.has_candidate && has_fallback)
    }
}

/// The plans of the providers of the stored profiles and of the orders, in one pass over these.
fn plans(view: &View, obstacles: &HashMap<ProfileId, Obstacle>) -> BTreeMap<ProviderId, Routed> {
    let mut orders: HashMap<ProviderId, Vec<ProfileId>> = HashMap::new();
    for (name, ids) in view.document.orders() {
        // Of several spellings the first in the file counts.
        orders.entry(ProviderId::new(&name)).or_insert(ids);
    }
    let planner = Planner::new(&view.profiles, &view.routing, view.now);
    let providers = view.routed_providers().into_iter();
    let each = providers.map(|provider| {
        let plan = planner.plan(&provider, orders.remove(&provider), None);
        let has_candidate = !plan.candidates.is_empty();
        let plan = plan.without(|id| obstacles.get(id).cloned());
        (provider, Routed { plan, has_candidate })
    });
    each.collect()
}

/// Whether a login can be renewed, and if not now, why.
struct Renewal {
    refresh: Refresh,
    obstacle: Option<Obstacle>,
}

impl Renewal {
    fn of_login(
        login: &OAuthCredential,
        provider: Option<&Provider>,
        profile: &Profile,
        records: &Records,
        now: Timestamp,
    ) -> Self {
        let never = |reason: String| Self {
            refresh: Refresh::No,
            obstacle: Some(Obstacle::CannotRefresh(reason)),
        };
        if login.refresh.is_blank() {
            return never("it has no refresh token".to_owned());
        }
        let Some(provider) = provider else {
            return never(format!("there is no provider `{}`", profile.provider));
        };
        let key = match provider.refresh_target(login) {
            Ok(target) => TokenKey::new(&target.token_endpoint, &target.client_id, &login.refresh),
            Err(TargetError::NeedsDiscovery { .. }) => {
                return Self { refresh: Refresh::Yes, obstacle: None };
            }
            Err(error) => return never(error.to_string()),
        };
        let Ok(Some(record)) = records.peek(key) else {
            return Self { refresh: Refresh::Yes, obstacle: None };
        };
        let code = record.code.clone();
        match record.state {
            State::Rejected | State::Revoked => Self {
                refresh: Refresh::NeedsLogin,
                obstacle: Some(Obstacle::Refused(code.unwrap_or_else(|| "revoked".to_owned()))),
            },
            State::Unmerged => Self {
                refresh: Refresh::NeedsLogin,
                obstacle: Some(Obstacle::Unmerged(code.unwrap_or_default())),
            },
            State::Waiting => {
                let ahead = record.retry_at.filter(|at| *at > now && at.since(now) <= LONGEST_WAIT);
                Self {
                    refresh: Refresh::Yes,
                    obstacle: ahead.map(|at| Obstacle::Waiting(Some(at))),
                }
            }
            _ => Self { refresh: Refresh::Yes, obstacle: None },
        }
    }
}

/// Judges `credential` at `now`.
fn ability(credential: &Credential, refresh: Refresh, now: Timestamp) -> Ability {
    let margin = match refresh {
        Refresh::Yes => Duration::ZERO,
        Refresh::No | Refresh::NeedsLogin => auth_routing::health::WARN_AFTER,
    };
    let access = if !credential.is_valid(now) {
        Access::Expired
    } else if credential.expires().is_none() {
        Access::Static
    } else if credential.is_fresh(now, margin) {
        Access::Valid
    } else {
        Access::Expiring
    };
    Ability { access, refresh }
}

/// A record that says to wait longer than that is not believed; so it is in a refresh.
const LONGEST_WAIT: Duration = Duration::from_mins(61);
