//! The token sink of one agent: the four crates put together.
//!
//! The command line uses it through [`worker`](crate::profiles::worker), which survives its caller as a
//! process of its own. A program that embeds it calls [`TokenSink::credential`], where a thread
//! outlives the task that asked.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use auth_providers::refresh::{self, Doors, Force, RefreshError, Wanted};
use auth_providers::{HttpClient, Provider, Providers};
use auth_store::{Clock, Credential, Profile, ProfileId, Records, Store, StoreError};
use tokio::sync::watch;

use crate::profiles::store_cache::Warm;

/// Everything that is needed to hand out the credentials of an agent.
pub struct TokenSink {
    /// The agent's store.
    pub store: Store,
    /// The stores of the other agents, which may hold copies of the same refresh tokens.
    pub siblings: Vec<Store>,
    /// What became of each refresh token.
    pub records: Records,
    /// The providers that are known.
    pub providers: Providers,
    /// The network.
    pub http: Box<dyn HttpClient>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How long to wait for locks.
    pub patience: Duration,
    /// The refreshes that are under way in this process.
    pub flights: Flights,
    /// The store as it was last read.
    pub warm: Warm,
}

/// The refreshes that are under way in this process, each with those who wait for it.
#[derive(Default)]
pub struct Flights(Mutex<HashMap<FlightKey, Landing>>);

type FlightKey = (Wanted, bool);
type Landing = watch::Receiver<Option<Answer>>;
type Answer = Result<Credential, Arc<RefreshError>>;

impl TokenSink {
    /// What a refresh acts on.
    pub fn doors(&self) -> Doors<'_> {
        Doors {
            store: &self.store,
            siblings: &self.siblings,
            records: &self.records,
            http: &*self.http,
            clock: &*self.clock,
            patience: self.patience,
        }
    }

    /// The provider of a profile; `None` if nobody described it.
    pub fn provider_of(&self, profile: &Profile) -> Option<&Provider> {
        self.providers.find(&profile.provider)
    }

    /// The stored credential of `profile`, if nothing need be refreshed for it to be used at once.
    /// It neither waits nor needs a runtime: a store that has not changed since the last time
    /// costs one question to the system. `None`: ask [`credential`](Self::credential).
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

    /// A credential that can be used now, refreshed first if that is due.
    ///
    /// However many tasks ask at once, one refresh is under way; it goes on if they all stop
    /// waiting. A key that is kept elsewhere comes as [`Credential::Reference`]:
    /// [`fetch`](crate::profiles::key_reference::fetch) it, when it is sent.
    ///
    /// # Errors
    /// See [`RefreshError`]: each variant says what to do next.
    pub async fn credential(self: &Arc<Self>, wanted: Wanted) -> Answer {
        if wanted.force == Force::No
            && let Some(stored) = self
                .stored(&wanted.profile, wanted.at_least)
                .map_err(|error| Arc::new(error.into()))?
        {
            return Ok(stored);
        }
        let document = self.store.read().map_err(|error| Arc::new(error.into()))?;
        let unknown = || Arc::new(RefreshError::UnknownProfile { profile: wanted.profile.clone() });
        let profile = document.profile(&wanted.profile).ok_or_else(unknown)?;
        let credential = document.credential(&wanted.profile).ok_or_else(unknown)?;
        let now = self.clock.now();
        if wanted.force == Force::No && credential.is_fresh(now, wanted.at_least) {
            return Ok(credential);
        }
        let Some(provider) = self.provider_of(&profile) else {
            return without_provider(credential, &wanted, now).map_err(Arc::new);
        };
        let mut landing = self.join_or_start(wanted, provider.clone());
        match landing.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or_else(|| Err(unknown_end())),
            Err(_) => Err(unknown_end()),
        }
    }

    fn join_or_start(self: &Arc<Self>, wanted: Wanted, provider: Provider) -> Landing {
        let key = (wanted.clone(), wanted.force != Force::No);
        let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is closed has crashed.
        if let Some(landing) = flights.get(&key).filter(|it| it.has_changed().is_ok()) {
            return landing.clone();
        }
        let (land, landing) = watch::channel(None);
        flights.insert(key.clone(), landing.clone());
        let sink = Arc::clone(self);
        let fly = move || {
            let answer = block_on(refresh::refresh(&wanted, &provider, sink.doors()));
            sink.flights.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            // Everybody may have stopped waiting.
            let _ = land.send(Some(answer.and_then(|it| it).map_err(Arc::new)));
        };
        // Where the system has no thread for it, the landing is closed.
        let _ = std::thread::Builder::new().spawn(fly);
        landing
    }
}

/// A credential that nobody here can refresh.
pub(crate) fn without_provider(
    credential: Credential,
    wanted: &Wanted,
    now: auth_store::Timestamp,
) -> Result<Credential, RefreshError> {
    if credential.is_valid(now.plus(wanted.at_least)) {
        return Ok(credential);
    }
    Err(RefreshError::NeedsLogin {
        profile: wanted.profile.clone(),
        reason: "it has ended, and its provider is not known here",
    })
}

/// Runs `future` on a runtime of its own, in this thread.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, RefreshError> {
    match runtime() {
        Ok(runtime) => Ok(runtime.block_on(future)),
        Err(source) => Err(RefreshError::Store(StoreError::Io {
            action: "start the network for",
            path: std::path::PathBuf::new(),
            source,
        })),
    }
}

/// A runtime for this thread.
pub(crate) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    // tokio panics where it cannot have such a pair for its signals; whoever has no descriptors
    // left gets an error.
    #[cfg(unix)]
    drop(std::os::unix::net::UnixStream::pair()?);
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn unknown_end() -> Arc<RefreshError> {
    Arc::new(RefreshError::Unsettled { profile: ProfileId::new("") })
}

impl fmt::Debug for TokenSink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TokenSink").field("store", &self.store).finish_non_exhaustive()
    }
}
