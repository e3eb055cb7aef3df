//! The profiles that a request may use, in order: the plan from routing, adjusted to the request's
//! conversation.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use auth_store::{ProfileId, Timestamp};
use hyper::StatusCode;

use crate::accounts::{Accounts, Candidate};
use crate::api::refusal::{all_in_cooldown, refusal};
use crate::api::shape::Refusal;
use crate::client::asked::Asked;
use crate::conversation::facts::{RequestFacts, id_key};
use crate::gateway::Gateway;

/// The profiles for a request.
#[derive(Debug)]
pub(crate) struct Order {
    /// The profiles in order, at least one.
    pub(crate) profiles: Vec<ProfileId>,
    /// The profile to which the conversation returns after a short cooldown.
    pub(crate) home: Option<ProfileId>,
}

impl Order {
    /// Nobody could look into the request: it may name what one account alone knows, so it goes
    /// where its conversation is, or where there is but one account.
    pub(crate) fn must_be_sure(&self) -> Result<(), Refusal> {
        if self.home.is_some() || self.profiles.len() == 1 {
            return Ok(());
        }
        let message = "the request cannot be looked into now, and its conversation may belong to \
                       one account; try again, or send it without compression";
        Err(Refusal {
            retry_after: Some(Duration::from_secs(2)),
            ..Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message)
        })
    }
}

impl<A: Accounts> Gateway<A> {
    /// The order for a request, or why no profile can be used.
    pub(crate) fn order(
        &self,
        asked: &Asked,
        facts: &RequestFacts,
        path: &str,
    ) -> Result<Order, Refusal> {
        let plan = self.accounts.plan(&asked.question());
        let mut candidates = plan.map_err(|error| refusal(&error))?;
        if candidates.is_empty() {
            let message = format!("there is no profile of `{}` that can be used", asked.provider);
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message));
        }
        if !asked.caller.may_use_subscriptions()
            && candidates.iter().any(Candidate::is_subscription)
        {
            let keys = candidates.iter().filter(|candidate| !candidate.is_subscription());
            candidates = keys.cloned().collect();
            if candidates.is_empty() {
                let message = format!(
                    "the profiles of `{}` are logins of a person, which this client was not \
                     granted: `clawdbot clients add NAME --subscription`",
                    asked.provider
                );
                return Err(Refusal::new(StatusCode::FORBIDDEN, message));
            }
        }
        let (now, moment) = (self.clock.now(), Instant::now());
        let session = self.sessions.get(session_key(asked, facts), moment);
        if let Some(owner) = self.owner(asked, facts, path, session.as_ref(), moment)? {
            return only(&candidates, &owner, now);
        }

        let mut usable: Vec<_> = candidates.iter().filter(|it| it.cooldown.is_none()).collect();
        let home = session.filter(|home| {
            let candidate = candidates.iter().find(|candidate| candidate.profile == *home);
            // After that, the provider's own cache of the conversation has expired.
            let comes_back =
                |it: &Candidate| it.cooldown.is_none_or(|it| it.until.since(now) < HOME);
            candidate.is_some_and(comes_back)
        });
        if let Some(at) = usable.iter().position(|it| Some(&it.profile) == home.as_ref()) {
            let candidate = usable.remove(at);
            usable.insert(0, candidate);
        }
        let mut profiles: Vec<_> = usable.iter().map(|it| it.profile.clone()).collect();
        if profiles.is_empty() {
            let probe = self.probe(asked, &candidates, now, moment);
            profiles.push(probe.ok_or_else(|| all_in_cooldown(&candidates, now))?);
        }
        if !facts.bound.is_empty() {
            // An unknown account created the ids in the request; they must be sent to one account
            // only.
            profiles.truncate(1);
        }
        Ok(Order { profiles, home })
    }

    /// The profile that created the ids in the request.
    fn owner(
        &self,
        asked: &Asked,
        facts: &RequestFacts,
        path: &str,
        session: Option<&ProfileId>,
        moment: Instant,
    ) -> Result<Option<ProfileId>, Refusal> {
        let in_path = path.split('/').filter(|segment| segment.len() >= SHORTEST_ID).map(id_key);
        let ids = facts.bound.iter().cloned().chain(in_path);
        let owners: HashSet<_> =
            ids.filter_map(|id| self.ids.get((&asked.provider, id), moment)).collect();
        if owners.len() > 1 {
            let message = "the request names what two accounts made, and neither knows both";
            return Err(Refusal::new(StatusCode::CONFLICT, message));
        }
        let owner = owners.into_iter().next();
        // The ids are unknown, but the conversation may be known.
        Ok(owner.or_else(|| session.filter(|_| !facts.bound.is_empty()).cloned()))
    }

    /// A profile whose cooldown may be over already, for a single request to test.
    fn probe(
        &self,
        asked: &Asked,
        candidates: &[Candidate],
        now: Timestamp,
        moment: Instant,
    ) -> Option<ProfileId> {
        let is_due = |it: &&Candidate| {
            it.cooldown.is_some_and(|it| now.since(it.since) >= self.limits.probe_after)
        };
        let key = |profile: &ProfileId| (asked.provider.clone(), profile.clone());
        let mut due = candidates.iter().filter(is_due);
        let found = due.find(|it| self.probes.peek(key(&it.profile), moment).is_none())?;
        self.probes.put(key(&found.profile), &found.profile, moment);
        Some(found.profile.clone())
    }

    /// Records which profile served a conversation.
    pub(crate) fn settle(
        &self,
        asked: &Asked,
        facts: &RequestFacts,
        order: &Order,
        at: &ProfileId,
    ) {
        let home = order.home.as_ref().unwrap_or(at);
        self.sessions.put(session_key(asked, facts), home, Instant::now());
        for id in &facts.bound {
            self.bind_id(asked, id.clone(), at);
        }
    }
}

/// The order for a request that can use only one profile.
fn only(candidates: &[Candidate], owner: &ProfileId, now: Timestamp) -> Result<Order, Refusal> {
    let Some(candidate) = candidates.iter().find(|it| it.profile == *owner) else {
        let message = "the account of this conversation cannot be used any more; begin a new one";
        return Err(Refusal::new(StatusCode::CONFLICT, message));
    };
    match candidate.cooldown {
        None => Ok(Order { profiles: vec![owner.clone()], home: None }),
        Some(cooldown) => Err(Refusal {
            retry_after: Some(cooldown.until.since(now)),
            ..Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "the account of this conversation is in cooldown, and no other account can go on",
            )
        }),
    }
}

/// The key of a conversation: its own id, or its client.
fn session_key<'a>(asked: &'a Asked, facts: &'a RequestFacts) -> impl std::hash::Hash + 'a {
    (&asked.provider, asked.client_name(), facts.session.as_deref())
}

/// A shorter path segment is not an id.
const SHORTEST_ID: usize = 8;
/// A conversation returns to a profile only after a shorter cooldown than this.
const HOME: Duration = Duration::from_hours(1);
