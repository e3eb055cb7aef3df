//! `GET /v1/status`: the profiles that a client may know of, which of them is next, and why the
//! others are not.

use auth_store::{ProfileId, ProviderId};
use serde_json::{Value, json};

use crate::accounts::{Accounts, Question};
use crate::client::asked::Caller;
use crate::gateway::Gateway;

impl<A: Accounts> Gateway<A> {
    /// The providers that a client may know of.
    fn known_to(&self, caller: &Caller) -> Vec<ProviderId> {
        let mut providers: Vec<_> = match caller.client() {
            Some(client) => client.providers.clone(),
            None => self.apis.keys().cloned().collect(),
        };
        providers.sort_unstable();
        providers
    }

    /// The provider of a profile that a client may know of.
    pub(super) fn provider_of(&self, caller: &Caller, id: &ProfileId) -> Option<ProviderId> {
        self.known_to(caller).into_iter().find(|provider| {
            let client = caller.client();
            let question = Question {
                provider,
                agent: client.and_then(|client| client.agent.as_deref()),
                profile: Some(id),
                session: client.and_then(|client| client.session.as_deref()),
                model: None,
            };
            self.accounts.plan(&question).is_ok_and(|plan| !plan.is_empty())
        })
    }

    /// All of it, as a value. There is no secret in it.
    pub(crate) fn status(&self, caller: &Caller) -> Value {
        let providers = self.known_to(caller);
        let providers = providers.iter().filter_map(|provider| {
            let client = caller.client();
            let question = Question {
                provider,
                agent: client.and_then(|client| client.agent.as_deref()),
                profile: client.and_then(|client| client.profile.as_ref()),
                session: client.and_then(|client| client.session.as_deref()),
                model: None,
            };
            let plan = self.accounts.plan(&question).ok().filter(|plan| !plan.is_empty())?;
            let next = plan.iter().position(|candidate| candidate.cooldown.is_none());
            let profiles = plan.iter().enumerate().map(|(place, candidate)| {
                let seen = self.windows(provider, &candidate.profile);
                let windows = seen.iter().flat_map(|seen| &seen.windows).map(|window| {
                    json!({
                        "name": window.name,
                        "used": window.used,
                        "resetAt": window.resets,
                    })
                });
                json!({
                    "profileId": candidate.profile,
                    "type": candidate.kind.as_str(),
                    "isNext": next == Some(place),
                    "cooldownUntil": candidate.cooldown.map(|cooldown| cooldown.until),
                    "windows": windows.collect::<Vec<_>>(),
                })
            });
            Some(json!({ "provider": provider, "profiles": profiles.collect::<Vec<_>>() }))
        });
        json!({
            "providers": providers.collect::<Vec<_>>(),
            "openAnswers": self.open_answers(),
        })
    }
}
