//! What a client asks for, within its grant.

use auth_store::{ProfileId, ProviderId};
use hyper::StatusCode;

use crate::accounts::Question;
use crate::api::shape::Refusal;
use crate::client::asked::Caller;
use crate::gateway::no_right;

/// A question of a client, as it may ask it.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) provider: ProviderId,
    pub(super) profile: Option<ProfileId>,
    pub(super) model: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) session: Option<String>,
}

/// What was written, before anybody looked whether it may be asked.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) provider: Option<String>,
    pub(super) profile: Option<String>,
    pub(super) model: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) session: Option<String>,
}

impl Wanted {
    /// Holds what was written against the grant. `found` is the provider of the profile that was
    /// named without one.
    pub(super) fn within_grant(
        written: Written,
        caller: &Caller,
        found: impl FnOnce(&ProfileId) -> Option<ProviderId>,
    ) -> Result<Self, Refusal> {
        let Written { provider, profile, model, agent, session } = written;
        let provider = match (provider, caller.client().map(|it| &it.providers[..])) {
            (Some(name), _) => ProviderId::new(&name),
            (None, Some([only])) => only.clone(),
            (None, _) => {
                let found = profile.as_deref().map(ProfileId::new).and_then(|id| found(&id));
                let missing = || Refusal::new(StatusCode::BAD_REQUEST, "`provider` is missing");
                found.ok_or_else(missing)?
            }
        };
        if !caller.is_granted(&provider) {
            return Err(no_right(&format!("--provider {provider}")));
        }
        let granted = caller.client();
        let only = |wanted: Option<String>,
                    granted: Option<String>,
                    is_client: bool,
                    what: &str| match (wanted, granted) {
            (Some(wanted), Some(granted)) if wanted != granted => {
                Err(no_right(&format!("--{what} {wanted}")))
            }
            (Some(wanted), None) if is_client && what != "profile" => {
                Err(no_right(&format!("--{what} {wanted}")))
            }
            (wanted, granted) => Ok(wanted.or(granted)),
        };
        let is_client = granted.is_some();
        let of = |pick: fn(&crate::client::Client) -> Option<String>| granted.and_then(pick);
        let granted_profile = of(|it| it.profile.as_ref().map(ToString::to_string));
        let profile = only(profile, granted_profile, is_client, "profile")?;
        Ok(Self {
            provider,
            profile: profile.map(|id| ProfileId::new(&id)),
            model,
            agent: only(agent, of(|it| it.agent.clone()), is_client, "agent")?,
            session: only(session, of(|it| it.session.clone()), is_client, "session")?,
        })
    }

    pub(super) fn question(&self) -> Question<'_> {
        Question {
            provider: &self.provider,
            agent: self.agent.as_deref(),
            profile: self.profile.as_ref(),
            session: self.session.as_deref(),
            model: self.model.as_deref(),
        }
    }
}
