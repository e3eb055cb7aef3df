//! The gateway: what it is made of, who may come in, and what is not the proxy's.

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
use crate::client::rate::Rates;
use crate::conversation::affinity::Memory;
use crate::http::entry::Hosts;
use crate::http::headers::presented;
use crate::http::keep::Pantry;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::upstream::Upstreams;
use crate::windows::{Seen, Windows};

/// What a gateway is made of.
pub struct Settings {
    /// The APIs that are served, by provider.
    pub apis: HashMap<ProviderId, Api>,
    /// The programs that may come in.
    pub clients: Clients,
    /// The host names of the TCP doors, beside those of this machine.
    pub hosts: Hosts,
    /// How much, and how long.
    pub limits: Limits,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How connections to providers are secured; as the system says, where nothing is set.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// A credential-injecting proxy over accounts. [`Server`](crate::Server) gives it doors.
pub struct Gateway<A: Accounts> {
    pub(crate) accounts: A,
    pub(crate) apis: HashMap<ProviderId, Api>,
    pub(crate) clients: Clients,
    pub(crate) hosts: Hosts,
    pub(crate) limits: Limits,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) upstreams: Upstreams,
    /// Which profile each conversation stays with.
    pub(crate) sessions: Memory,
    /// Which profile made each id.
    pub(crate) ids: Memory,
    /// Which profiles were tried before their cooldown was over.
    pub(crate) probes: Memory,
    pub(crate) pantry: Pantry,
    pub(crate) rates: Rates,
    pub(crate) metrics: Metrics,
    pub(crate) windows: Windows,
    /// Where a model stands in a body.
    pub(crate) model: Pointer,
    pub(crate) requests: AtomicU64,
}

/// Through which door a request came.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    /// TCP: it needs a client's token, and our name.
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

    /// The quota windows of a profile, as its last answer told them.
    pub fn windows(&self, provider: &ProviderId, profile: &ProfileId) -> Option<Seen> {
        self.windows.for_profile(provider, profile)
    }

    /// How many answers are on their way.
    pub fn open_answers(&self) -> i64 {
        self.metrics.open()
    }

    /// Remembers which profile made an id.
    pub(crate) fn bind_id(&self, asked: &Asked, id: String, profile: &ProfileId) {
        self.ids.put((&asked.provider, id), profile, Instant::now());
    }

    /// Who it is that asks.
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

/// The provider that a path begins with.
pub(crate) fn provider_of(path: &str) -> ProviderId {
    let rest = path.strip_prefix('/').unwrap_or(path);
    ProviderId::new(rest.split('/').next().unwrap_or_default())
}

/// The refusal of what a client was not granted.
pub(crate) fn no_right(right: &str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, format!("this client was not granted `{right}`"))
}

impl<A: Accounts> fmt::Debug for Gateway<A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Gateway").field("clients", &self.clients).finish_non_exhaustive()
    }
}

/// So long a conversation stays where it was last served: the longest that prompt caches live.
const AFFINITY: Duration = Duration::from_hours(1);
/// So long after its last use an id is remembered.
const IDS: Duration = Duration::from_hours(24);
