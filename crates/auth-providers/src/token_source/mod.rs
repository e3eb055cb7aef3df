//! The tokens of one agent, for a program that embeds this crate: store, refresh and network
//! combined.
//!
//! [`TokenSink::credential`] refreshes in a thread, which outlives the task that asked. The command
//! line calls [`TokenSink::credential_by`] with a sender that is a separate process, since a
//! process outlives the command.

mod cache;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use auth_store::{
    Clock, Credential, Profile, ProfileId, Records, Store, StoreError, Timestamp, TokenLock,
};
use tokio::sync::watch;

use crate::http::HttpClient;
use crate::provider::Provider;
use crate::provider::registry::Providers;
use crate::refresh::{self, Force, RefreshContext, RefreshError, Wanted};

pub use cache::Warm;

/// Everything needed to provide the credentials of an agent.
pub struct TokenSink {
    /// The agent's store.
    pub store: Store,
    /// The stores of the other agents, which may hold copies of the same refresh tokens.
    pub siblings: Vec<Store>,
    /// The record of each refresh token.
    pub records: Records,
    /// The known providers.
    pub providers: Providers,
    /// The network.
    pub http: Box<dyn HttpClient>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How long to wait for locks.
    pub timeout: Duration,
    /// The refreshes in progress in this process.
    pub flights: Flights,
    /// The store as it was last read.
    pub warm: Warm,
}

/// The refreshes in progress in this process, each with its waiting tasks.
#[derive(Default)]
pub struct Flights(Mutex<HashMap<FlightKey, Landing>>);

type FlightKey = (Wanted, bool);
type Landing = watch::Receiver<Option<TokenResponse>>;
type TokenResponse = Result<Credential, Arc<RefreshError>>;

impl TokenSink {
    /// The context for a refresh.
    pub fn refresh_context(&self) -> RefreshContext<'_> {
        RefreshContext {
            store: &self.store,
            siblings: &self.siblings,
            records: &self.records,
            http: &*self.http,
            clock: &*self.clock,
            timeout: self.timeout,
        }
    }

    /// The provider of a profile; `None` if it is unknown.
    pub fn provider_of(&self, profile: &Profile) -> Option<&Provider> {
        self.providers.find(&profile.provider)
    }

    /// The stored credential of `profile`, if it can be used at once without a refresh. This
    /// neither waits nor needs a runtime: for a store that has not changed it costs one system
    /// call. `None`: call [`credential`](Self::credential).
    ///
    /// # Errors
    /// The store is damaged or cannot be read.
    pub fn stored(
        &self,
        profile: &ProfileId,
        at_least: Duration,
    ) -> Result<Option<Credential>, StoreError> {
        let now = self.clock.now();
        let stored = self.warm.credential(&self.store, profile, now)?;
        Ok(stored.filter(|it| it.is_fresh(now, at_least)))
    }

    /// A credential that can be used now, refreshed first if it is due.
    ///
    /// No matter how many tasks ask at once, only one refresh runs; it continues even if they all
    /// stop waiting. A key that is kept elsewhere is returned as [`Credential::Reference`].
    ///
    /// # Errors
    /// See [`RefreshError`]: each variant says what to do next.
    pub async fn credential(self: &Arc<Self>, wanted: Wanted) -> TokenResponse {
        if wanted.force == Force::No
            && let Some(stored) = self
                .stored(&wanted.profile, wanted.at_least)
                .map_err(|error| Arc::new(error.into()))?
        {
            return Ok(stored);
        }
        let mut landing = self.join_or_start(wanted);
        match landing.wait_for(Option::is_some).await {
            Ok(response) => response.clone().unwrap_or_else(|| Err(unknown_end())),
            Err(_) => Err(unknown_end()),
        }
    }

    /// Like [`credential`](Self::credential), but in this thread, which it blocks. A refresh token
    /// goes to `sender` with its lock, as in [`refresh::refresh`].
    ///
    /// # Errors
    /// Those of a refresh, and those of `sender`.
    pub fn credential_by<E: From<RefreshError>>(
        &self,
        wanted: &Wanted,
        mut sender: impl FnMut(TokenLock, &Wanted, &Provider) -> Result<bool, E>,
    ) -> Result<Credential, E> {
        let document = self.store.read().map_err(RefreshError::from)?;
        let profile = document.profile(&wanted.profile);
        let (Some(profile), Some(stored)) = (profile, document.credential(&wanted.profile)) else {
            return Err(RefreshError::UnknownProfile { profile: wanted.profile.clone() }.into());
        };
        let Some(provider) = self.provider_of(&profile) else {
            return Ok(without_provider(stored, wanted, self.clock.now())?);
        };
        let sender = |lock, wanted: &Wanted| sender(lock, wanted, provider);
        refresh::refresh(wanted, provider, self.refresh_context(), sender)
    }

    fn join_or_start(self: &Arc<Self>, wanted: Wanted) -> Landing {
        let key = (wanted.clone(), wanted.force != Force::No);
        let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A closed channel means that its refresh crashed.
        if let Some(landing) = flights.get(&key).filter(|it| it.has_changed().is_ok()) {
            return landing.clone();
        }
        let (land, landing) = watch::channel(None);
        flights.insert(key.clone(), landing.clone());
        let sink = Arc::clone(self);
        let fly = move || {
            let sender = |lock, wanted: &Wanted, provider: &Provider| {
                refresh::send_blocking(lock, wanted, provider, sink.refresh_context())
            };
            let response = sink.credential_by(&wanted, sender);
            sink.flights.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            // All tasks may have stopped waiting.
            let _ = land.send(Some(response.map_err(Arc::new)));
        };
        // If the system cannot start a thread, the channel is closed.
        let _ = std::thread::Builder::new().spawn(fly);
        landing
    }
}

/// The result for a credential that cannot be refreshed here.
fn without_provider(
    credential: Credential,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<Credential, RefreshError> {
    if credential.is_valid(now.plus(wanted.at_least)) {
        return Ok(credential);
    }
    Err(RefreshError::NeedsLogin {
        profile: wanted.profile.clone(),
        reason: "it has expired, and its provider is unknown",
    })
}

fn unknown_end() -> Arc<RefreshError> {
    Arc::new(RefreshError::Unfinished { profile: ProfileId::new("") })
}

impl fmt::Debug for TokenSink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TokenSink").field("store", &self.store).finish_non_exhaustive()
    }
}
