//! The refresh protocol, rule by rule: real stores, an issuer that is a closure, and a clock that
//! is a number.

mod copies;
mod crash_recovery;
mod endpoint;
mod logout;
mod outcomes;
mod replacing;
mod rotation_chain;
mod sending;
mod unlocked;
mod unread;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use auth_providers::refresh::{self, Force, RefreshContext, RefreshError, Replaced, Wanted};
use auth_providers::{HttpClient, HttpError, HttpRequest, HttpResponse, Provider, Sending};
use auth_store::{
    Clock, Coexist, Credential, Document, OAuthCredential, ProfileId, Record, Records, State,
    StateDirectory, Store, StoreError, StoredResponse, Timestamp, TokenKey,
};
use serde_json::{Map, json};

use crate::support::{NOW, acme, jwt, provider};

const PROFILE: &str = "acme:me";
/// For an instant, a child process of another test has our descriptors, and with them our locks.
const TIMEOUT: Duration = Duration::from_mins(1);
const SOON: Timestamp = Timestamp(NOW.0 + 60_000);
const PAST: Timestamp = Timestamp(NOW.0 - 60_000);
const LATER: Timestamp = Timestamp(NOW.0 + 7_200_000);

/// Several agents, each with a store.
struct World {
    directory: tempfile::TempDir,
    records: Records,
    provider: Provider,
    agents: Vec<Store>,
}

type TokenResponse = Result<HttpResponse, HttpError>;

/// An issuer behind a connection: `connecting` runs before the gate is called, `respond` after the
/// token was sent. Each gets the number of its previous calls.
struct Issuer<C, R> {
    connecting: C,
    respond: R,
    connections: AtomicUsize,
    /// The refresh tokens that were sent.
    sent: Mutex<Vec<String>>,
}

impl<R: Fn(usize) -> TokenResponse + Send + Sync> Issuer<fn(usize), R> {
    fn new(respond: R) -> Self {
        Self::behind(|_| {}, respond)
    }
}

impl<C: Fn(usize) + Send + Sync, R: Fn(usize) -> TokenResponse + Send + Sync> Issuer<C, R> {
    fn behind(connecting: C, respond: R) -> Self {
        Self { connecting, respond, connections: AtomicUsize::new(0), sent: Mutex::default() }
    }

    fn sent(&self) -> Vec<String> {
        self.sent.lock().unwrap().clone()
    }
}

impl<C: Fn(usize) + Send + Sync, R: Fn(usize) -> TokenResponse + Send + Sync> HttpClient
    for Issuer<C, R>
{
    fn send(&self, request: HttpRequest) -> Sending<'_> {
        (self.connecting)(self.connections.fetch_add(1, Ordering::SeqCst));
        let response = if request.gate().is_some_and(|gate| gate()) {
            let body = request.body().unwrap_or_default().to_vec();
            let mut parameters = url::form_urlencoded::parse(&body);
            let token = parameters.find(|(name, _)| name == "refresh_token").unwrap().1;
            let mut sent = self.sent.lock().unwrap();
            sent.push(token.into_owned());
            let number = sent.len() - 1;
            drop(sent);
            (self.respond)(number)
        } else {
            Err(HttpError::NotSent("the gate is closed".to_owned()))
        };
        Box::pin(async move { response })
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what a closure of the issuer returns")]
fn response(status: u16, body: &(impl ToString + ?Sized)) -> TokenResponse {
    Ok(HttpResponse { status, headers: Vec::new(), body: body.to_string().into_bytes() })
}

/// The issuer's usual response, with an hour of access.
fn tokens(access: &str, refresh: &str) -> TokenResponse {
    response(200, &json!({"access_token": access, "refresh_token": refresh, "expires_in": 3600}))
}

fn lost() -> TokenResponse {
    Err(HttpError::NoResponse("cut off".to_owned()))
}

/// An issuer that must not be contacted.
fn nobody() -> impl HttpClient {
    Issuer::new(|_| panic!("something was sent"))
}

fn login(refresh: &str, expires: Timestamp) -> OAuthCredential {
    OAuthCredential {
        access: format!("access-of-{refresh}").as_str().into(),
        refresh: refresh.into(),
        expires: Some(expires),
        obtained_at: Some(Timestamp(expires.0 - 3_600_000)),
        account_id: Some("me".to_owned()),
        ..OAuthCredential::default()
    }
}

fn put(store: &Store, id: &str, login: &OAuthCredential) {
    let login = Credential::OAuth(login.clone());
    store.update(|document| document.put(&id.into(), "acme", &login, &Map::new())).unwrap();
}

impl World {
    /// Agents that hold the token `r1`, which must be refreshed.
    fn new(agents: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::at(directory.path());
        let agents: Vec<_> = (0..agents).map(|number| state.store(&number.to_string())).collect();
        for store in &agents {
            put(store, PROFILE, &login("r1", PAST));
        }
        Self { directory, records: state.records(), provider: provider(&acme()), agents }
    }

    fn ask(&self, http: &dyn HttpClient) -> Result<String, RefreshError> {
        self.ask_as(0, &wanted(Force::No), &NOW, http)
    }

    fn force(&self, force: Force, http: &dyn HttpClient) -> Result<String, RefreshError> {
        self.ask_as(0, &wanted(force), &NOW, http)
    }

    /// The access token that the agent gets.
    fn ask_as(
        &self,
        agent: usize,
        wanted: &Wanted,
        clock: &dyn Clock,
        http: &dyn HttpClient,
    ) -> Result<String, RefreshError> {
        let siblings: Vec<_> = self
            .agents
            .iter()
            .filter(|it| it.path() != self.agents[agent].path())
            .cloned()
            .collect();
        let context = RefreshContext {
            store: &self.agents[agent],
            siblings: &siblings,
            records: &self.records,
            http,
            clock,
            timeout: TIMEOUT,
        };
        // With the clock paused, time passes by itself, so the test never waits.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let credential = refresh::refresh(wanted, &self.provider, context, |lock, wanted| {
            runtime.block_on(refresh::send(lock, wanted, &self.provider, context))
        })?;
        Ok(credential.bearer().expose().to_owned())
    }

    /// The same world, beside a Clawdbot or not.
    fn coexisting(mut self, coexist: Coexist) -> Self {
        self.agents = self.agents.into_iter().map(|it| it.with_coexist(coexist)).collect();
        self
    }

    /// Replaces the login of an agent by nothing: the refresh token that it was then. `looked` is
    /// called whenever somebody looks for the login, with the number of looks before.
    fn replace(&self, agent: usize, looked: impl Fn(usize)) -> String {
        let siblings: Vec<_> = self
            .agents
            .iter()
            .filter(|it| it.path() != self.agents[agent].path())
            .cloned()
            .collect();
        let context = RefreshContext {
            store: &self.agents[agent],
            siblings: &siblings,
            records: &self.records,
            http: &nobody(),
            clock: &NOW,
            timeout: TIMEOUT,
        };
        let looks = AtomicUsize::new(0);
        let going = |document: &Document| {
            looked(looks.fetch_add(1, Ordering::SeqCst));
            let login = Replaced::find(&PROFILE.into(), document, Some(&self.provider));
            Ok::<_, StoreError>(login.into_iter().collect())
        };
        let commit = |_, found: &[Replaced<'_>]| {
            Ok(found.first().map(|it| it.login().refresh.expose().to_owned()))
        };
        refresh::replace(context, going, commit).unwrap()
    }

    fn stored(&self, agent: usize) -> OAuthCredential {
        match self.agents[agent].read().unwrap().credential(&PROFILE.into()) {
            Some(Credential::OAuth(login)) => login,
            other => panic!("{other:?}"),
        }
    }

    fn refresh_token(&self, agent: usize) -> String {
        self.stored(agent).refresh.expose().to_owned()
    }

    fn key(&self, refresh: &str) -> TokenKey {
        refresh::key_of(&self.provider, &login(refresh, NOW)).unwrap()
    }

    fn record(&self, refresh: &str) -> Option<Record> {
        self.records.peek(self.key(refresh)).unwrap()
    }

    fn state(&self, refresh: &str) -> State {
        self.record(refresh).map_or(State::None, |record| record.state)
    }

    /// Records that `refresh` was used up and replaced with `successor`, or is about to be sent.
    fn note(&self, refresh: &str, state: State, successor: Option<&str>) {
        let path = self.agents[0].canonical_path();
        let record = Record::new(state, &path, &ProfileId::from(PROFILE), NOW);
        let record = Record { successor: successor.map(|it| self.key(it)), ..record };
        let lock = self.records.lock(self.key(refresh), TIMEOUT).unwrap();
        lock.write(&record).unwrap();
    }

    /// Leaves the state of a process that crashed after it received the response to `refresh`.
    fn leave_response(&self, refresh: &str, body: &serde_json::Value) {
        self.note(refresh, State::Intent, None);
        self.leave_file(refresh, 200, body);
    }

    /// Leaves only the response file for `refresh`.
    fn leave_file(&self, refresh: &str, status: u16, body: &serde_json::Value) {
        let mut lock = self.agents[0].lock_for_refresh().unwrap();
        let mut file = lock.reserve(self.key(refresh)).unwrap();
        let (headers, body) = (Vec::new(), body.to_string().into_bytes());
        file.store(&StoredResponse { status, received_at: NOW, headers, body }).unwrap();
    }

    fn response_files(&self) -> usize {
        self.agents.iter().map(|store| store.responses().unwrap().len()).sum()
    }

    /// Everything on the disk except the stores and their backups.
    fn other_files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut directories = vec![self.directory.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if path.is_dir() {
                    directories.push(path);
                } else if !name.contains("auth-profiles.json") {
                    found.push(path);
                }
            }
        }
        found
    }
}

fn wanted(force: Force) -> Wanted {
    Wanted { force, ..Wanted::now(PROFILE.into()) }
}

/// A fixed clock that runs a function when it is read for the n-th time.
struct Hook<F>(usize, AtomicUsize, F);

impl<F: Fn() + Send + Sync> Hook<F> {
    fn at(number: usize, act: F) -> Self {
        Self(number, AtomicUsize::new(0), act)
    }
}

impl<F: Fn() + Send + Sync> Clock for Hook<F> {
    fn now(&self) -> Timestamp {
        if self.1.fetch_add(1, Ordering::SeqCst) + 1 == self.0 {
            (self.2)();
        }
        NOW
    }
}

/// A clock that advances by a second whenever it is read.
struct Ticking(Timestamp, AtomicUsize);

impl From<Timestamp> for Ticking {
    fn from(start: Timestamp) -> Self {
        Self(start, AtomicUsize::new(0))
    }
}

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        let seconds = self.1.fetch_add(1, Ordering::SeqCst);
        self.0.plus(Duration::from_secs(seconds.try_into().unwrap()))
    }
}
