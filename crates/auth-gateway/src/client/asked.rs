//! An admitted request: its caller, and its properties.

use std::sync::Arc;

use auth_store::{ProfileId, ProviderId};

use crate::accounts::Question;
use crate::client::{Client, Right};

/// The sender of a request.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// A program of the user who runs the gateway, on the socket that only such programs can open.
    Owner,
    /// A client.
    Client(Arc<Client>),
}

impl Caller {
    pub(crate) fn may(&self, right: Right) -> bool {
        match self {
            Self::Owner => true,
            Self::Client(client) => client.may(right),
        }
    }

    pub(crate) fn is_granted(&self, provider: &ProviderId) -> bool {
        match self {
            Self::Owner => true,
            Self::Client(client) => client.providers.contains(provider),
        }
    }

    /// Whether it may use a user's login.
    pub(crate) fn may_use_subscriptions(&self) -> bool {
        match self {
            Self::Owner => true,
            Self::Client(client) => client.subscription,
        }
    }

    pub(crate) fn client(&self) -> Option<&Client> {
        match self {
            Self::Owner => None,
            Self::Client(client) => Some(client),
        }
    }
}

/// An admitted request.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Its id in the log.
    pub(crate) id: u64,
    pub(crate) caller: Caller,
    pub(crate) provider: ProviderId,
    pub(crate) model: Option<String>,
}

impl Asked {
    pub(crate) fn question(&self) -> Question<'_> {
        let client = self.caller.client();
        Question {
            provider: &self.provider,
            agent: client.and_then(|client| client.agent.as_deref()),
            profile: client.and_then(|client| -> Option<&ProfileId> { client.profile.as_ref() }),
            session: client.and_then(|client| client.session.as_deref()),
            model: self.model.as_deref(),
        }
    }

    pub(crate) fn client_name(&self) -> &str {
        self.caller.client().map_or("-", |client| client.name.as_str())
    }
}
