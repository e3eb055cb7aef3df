//! The gateway: its settings, the authentication of callers, and the endpoints of its own.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use auth_store::{Clock, ProfileId, ProviderId};
use hyper::StatusCode;
use hyper::http::request::Parts;

use crate::accounts::Accounts;
use crate::api::Api;
use crate::api::pointer::Pointer;
use crate::api::shape::{Refusal, Shape};
use crate::client;
use crate::client::asked::{Asked, Caller};
use crate::client::clients_file::Clients;
use crate::client::guests::Guests;
use crate::client::rate::Rates;
use crate::conversation::affinity::Memory;
use crate::http::entry::Hosts;
use crate::http::headers::presented;
use crate::http::keep::Pantry;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::upstream::Upstreams;
use crate::windows::{Seen, Windows};

/// The settings of a gateway.
pub struct Settings {
    /// The served APIs, by provider.
    pub apis: HashMap<ProviderId, Api>,
    /// The programs that may come in.
    pub clients: Clients,
    /// The host names of the TCP listeners, in addition to those of this machine.
    pub hosts: Hosts,
    /// Sizes and time limits.
    pub limits: Limits,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The TLS configuration for connections to providers; `None` for the system's.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// A credential-injecting proxy over accounts. [`Server`](crate::Server) gives it listeners.
pub struct Gateway<A: Accounts> {
    pub(crate) accounts: A,
    pub(crate) apis: HashMap<ProviderId, Api>,
    pub(crate) clients: Clients,
    pub(crate) hosts: Hosts,
    pub(crate) limits: Limits,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) upstreams: Upstreams,
    /// The profile of each conversation.
    pub(crate) sessions: Memory,
    /// The profile that created each id.
    pub(crate) ids: Memory,
    /// The profiles that were tried before the end of their cooldown.
    pub(crate) probes: Memory,
    pub(crate) pantry: Pantry,
    pub(crate) rates: Rates,
    pub(crate) guests: Guests,
    pub(crate) metrics: Metrics,
    pub(crate) windows: Windows,
    /// The place of the model in a body.
    pub(crate) model: Pointer,
    pub(crate) requests: AtomicU64,
}

/// The kind of listener that a request came through.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    /// TCP: it requires a client's token, and one of our host names.
    Tcp,
    /// A socket that only programs of this user can open.
    Owner,
    /// A socket for one client.
    Client(Arc<str>),
}

impl<A: Accounts> Gateway<A> {
    /// A gateway over `accounts`.
    pub fn new(accounts: A, settings: Settings) -> Arc<Self> {
        let Settings { apis, clients, hosts, limits, clock, tls } = settings;
        Arc::new(Self {
            accounts,
            apis,
            clients,
            hosts,
            upstreams: Upstreams::new(tls, &limits),
            sessions: Memory::new(AFFINITY),
            ids: Memory::new(IDS),
            probes: Memory::new(limits.probe_after),
            pantry: Pantry::new(&limits),
            rates: Rates::default(),
            guests: Guests::default(),
            metrics: Metrics::default(),
            windows: Windows::default(),
            model: Pointer::model(),
            requests: AtomicU64::new(0),
            limits,
            clock,
        })
    }

    /// The accounts.
    pub fn accounts(&self) -> &A {
        &self.accounts
    }

    /// The quota windows of a profile, from its last response.
    pub fn windows(&self, provider: &ProviderId, profile: &ProfileId) -> Option<Seen> {
        self.windows.for_profile(provider, profile)
    }

    /// The number of responses in progress.
    pub fn open_answers(&self) -> i64 {
        self.metrics.open()
    }

    /// Records which profile created an id.
    pub(crate) fn bind_id(&self, asked: &Asked, id: String, profile: &ProfileId) {
        self.ids.put((&asked.provider, id), profile, Instant::now());
    }

    /// Authenticates the caller.
    pub(crate) fn caller(&self, door: &Door, parts: &Parts) -> Result<Caller, Refusal> {
        let token = presented(&parts.headers, parts.uri.query());
        let token = token.filter(|token| token.starts_with(client::PREFIX));
        let clients = || {
            self.clients.read().map_err(|error| {
                tracing::warn!("the clients cannot be read: {error}");
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the clients cannot be read")
            })
        };
        let found = match (door, token) {
            (Door::Owner, None) => return Ok(Caller::Owner),
            (Door::Client(name), _) => {
                clients()?.iter().find(|client| *client.name == **name).cloned()
            }
            (_, Some(token)) => client::find(&clients()?, token).cloned(),
            (Door::Tcp, None) => None,
        };
        let client = found.ok_or_else(|| {
            let message = "a client's token is needed: `clawdbot clients add NAME --provider P`";
            Refusal::new(StatusCode::UNAUTHORIZED, message)
        })?;
        if client.has_expired(self.clock.now()) {
            let message = format!("the grant of the client `{}` has ended", client.name);
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, message));
        }
        Ok(Caller::Client(client))
    }

    pub(crate) fn shape_of(&self, path: &str) -> Shape {
        let provider = provider_of(path);
        self.apis.get(&provider).map(|api| api.error_shape).unwrap_or_default()
    }
}

/// The provider at the start of a path.
pub(crate) fn provider_of(path: &str) -> ProviderId {
    let rest = path.strip_prefix('/').unwrap_or(path);
    ProviderId::new(rest.split('/').next().unwrap_or_default())
}

/// The refusal for a missing right.
pub(crate) fn no_right(right: &str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, format!("this client was not granted `{right}`"))
}

impl<A: Accounts> fmt::Debug for Gateway<A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Gateway").field("clients", &self.clients).finish_non_exhaustive()
    }
}

/// How long a conversation stays with its last profile: the longest lifetime of a prompt cache.
const AFFINITY: Duration = Duration::from_hours(1);
/// How long an id is remembered after its last use.
const IDS: Duration = Duration::from_hours(24);
