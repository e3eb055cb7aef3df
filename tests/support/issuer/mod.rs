//! A test OAuth issuer: it consents automatically, rotates tokens, detects reuse, forgets nothing
//! and fails on command.
//!
//! Threads of the standard library, loopback only, a port of its own. Endpoints: `/authorize`,
//! `/token`, `/revoke`, `/userinfo`, and its metadata at both well-known addresses (RFC 8414, OIDC
//! Discovery). In addition, for a test in another process: `GET /__counters`, `GET /__log`, `POST
//! /__policy`, `/__fault`, `/__release`, `/__grant`.

mod fault;
mod ledger;
mod server;

pub use fault::{Fault, Shape};
pub use ledger::{Policy, TokenState, Tokens};

use crate::{TIMEOUT, now_ms};
use ledger::Ledger;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A running issuer. Dropping it releases all held requests and ends it.
#[derive(Debug)]
pub struct Issuer {
    shared: Arc<Shared>,
}

/// One request and its outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Exchange {
    /// The path without its query.
    pub path: String,
    /// At the token endpoint, the grant type.
    pub grant: Option<String>,
    /// The refresh token that was presented, if any.
    pub refresh: Option<String>,
    /// `success`, or the reason for a failure. `received` until it is decided; faults have their
    /// own names.
    pub outcome: String,
    /// Whether the body was JSON.
    pub json: bool,
    /// Wall clock at arrival, in milliseconds since the epoch.
    pub at: u64,
    /// When it was decided; its effects are committed at that point.
    #[serde(skip)]
    pub decided: Option<Instant>,
}

#[derive(Debug)]
struct Shared {
    url: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    policy: Policy,
    ledger: Ledger,
    faults: VecDeque<(String, Fault)>,
    log: Vec<Exchange>,
    releases: u64,
    stopping: bool,
}

impl Issuer {
    /// Starts an issuer on a free loopback port.
    pub fn start() -> Self {
        Self::start_on(0).expect("a free loopback port")
    }

    /// Starts an issuer on a given loopback port; 0 means any.
    pub fn start_on(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let url = format!("http://127.0.0.1:{}", listener.local_addr()?.port());
        let (state, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { url, state, changed });
        server::spawn(listener, Arc::clone(&shared));
        Ok(Self { shared })
    }

    /// The issuer identifier, which is also the base of its endpoints.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// The token endpoint.
    pub fn token_endpoint(&self) -> String {
        format!("{}/token", self.url())
    }

    /// A manifest that makes this issuer a provider: authorization code, any free redirect port.
    pub fn manifest(&self, id: &str) -> Value {
        json!({
            "id": id,
            "label": format!("Test issuer {id}"),
            "flows": ["authorization_code"],
            "issuer": self.url(),
            "client_id": CLIENT,
            "scopes": ["openid", "email", "offline_access"],
            "redirect": {"host": "127.0.0.1", "ports": [], "path": "/auth/callback"},
            "identity": {"source": "id_token", "account": "/sub", "email": "/email"},
            "replay_after_lost_response": true,
        })
    }

    /// Changes the issuer's behavior from now on.
    pub fn set(&self, change: impl FnOnce(&mut Policy)) {
        change(&mut self.shared.lock().policy);
    }

    /// Injects a fault at the next token request.
    pub fn inject(&self, fault: Fault) {
        self.inject_at("/token", fault);
    }

    /// Injects a fault at the next request for a path.
    pub fn inject_at(&self, path: &str, fault: Fault) {
        self.shared.lock().faults.push_back((path.to_owned(), fault));
    }

    /// Forgets the faults that were not played yet.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// Lets everything go on that a fault holds now.
    pub fn release(&self) {
        self.shared.release();
    }

    /// Tokens of an account as if it had just logged in, to seed a store with.
    pub fn grant(&self, account: &str) -> Tokens {
        self.shared.grant(account)
    }

    /// What became of a refresh token.
    pub fn state_of(&self, refresh: &str) -> TokenState {
        self.shared.lock().ledger.state_of(refresh)
    }

    /// Everything it was ever asked, in order of arrival.
    pub fn log(&self) -> Vec<Exchange> {
        self.shared.lock().log.clone()
    }

    /// How many token requests of this grant arrived, carried out or not.
    pub fn requests(&self, grant: &str) -> usize {
        self.count(|exchange| exchange.grant.as_deref() == Some(grant))
    }

    /// How many requests ended with this outcome.
    pub fn outcomes(&self, outcome: &str) -> usize {
        self.count(|exchange| exchange.outcome == outcome)
    }

    /// How many logged requests satisfy a condition.
    pub fn count(&self, matches: impl Fn(&Exchange) -> bool) -> usize {
        self.shared.lock().log.iter().filter(|exchange| matches(exchange)).count()
    }

    /// Waits until the log satisfies a condition.
    pub fn wait_until(&self, what: &str, condition: impl Fn(&[Exchange]) -> bool) {
        self.shared.wait(what, |state| condition(&state.log));
    }

    /// Waits until some request has this outcome; what a fault holds is called `held`.
    pub fn wait_for_outcome(&self, outcome: &str) {
        self.wait_until(outcome, |log| log.iter().any(|exchange| exchange.outcome == outcome));
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_all();
        // One more connection wakes the listener's thread.
        let _ = std::net::TcpStream::connect(self.shared.url.trim_start_matches("http://"));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, what: &str, condition: impl Fn(&State) -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        let mut state = self.lock();
        while !condition(&state) && !state.stopping {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for: {what}; log: {:#?}", state.log);
            state = self.changed.wait_timeout(state, left).expect("no thread panicked").0;
        }
    }

    fn release(&self) {
        self.lock().releases += 1;
        self.changed.notify_all();
    }

    fn grant(&self, account: &str) -> Tokens {
        let state = &mut *self.lock();
        state.ledger.grant(&self.url, &state.policy, account, CLIENT, now_ms())
    }

    fn counters(&self) -> Value {
        let mut table = BTreeMap::<String, u64>::new();
        for exchange in &self.lock().log {
            let what = exchange.grant.as_ref().unwrap_or(&exchange.path);
            *table.entry(format!("{what} {}", exchange.outcome)).or_default() += 1;
        }
        json!(table)
    }
}

/// The client id in its manifests and grants. The issuer accepts any other.
pub const CLIENT: &str = "demo-client";
