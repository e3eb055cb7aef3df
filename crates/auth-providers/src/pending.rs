//! Logins that begin in one process and end in another: `logins/<id>.json`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth_pkce::{Attempt, CallbackError, Code};
use auth_store::{Clock, ProviderId, StoreError, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::departure::Departure;
use crate::http::HttpClient;
use crate::login::{Login, LoginError, resolve};
use crate::provider::{Endpoints, Provider};
use crate::registry::Providers;

/// The directory of the logins that were begun and not finished.
#[derive(Clone, Debug)]
pub struct PendingLogins {
    directory: PathBuf,
}

/// A login that was begun.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Its name.
    pub id: String,
    /// Where to send the browser.
    pub url: String,
    /// Where the browser ends: that address is what finishes the login.
    pub redirect_uri: String,
    /// When it ends.
    pub expires: Timestamp,
}

/// How long a login may stay unfinished.
pub const PENDING_LIFETIME: Duration = Duration::from_mins(10);

impl PendingLogins {
    /// Those in `directory`, which need not exist.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Begins a login of `provider` and keeps what finishing it needs, with a `note` for whoever
    /// does. `entropy` comes from the system's generator and is used for nothing else.
    pub async fn start(
        &self,
        provider: &Provider,
        note: Value,
        entropy: [u8; 112],
        http: &dyn HttpClient,
        clock: &dyn Clock,
    ) -> Result<Pending, LoginError> {
        let provider = resolve(provider, http).await?;
        let redirect = provider.redirect().map_err(|error| LoginError::Misconfigured {
            provider: provider.id.clone(),
            reason: error.to_string(),
        })?;
        // Where any port will do, one at which nobody is likely to listen.
        let any = FIRST_DYNAMIC_PORT | u16::from_be_bytes([entropy[96], entropy[97]]);
        let redirect_uri = redirect.uri(redirect.ports().first().copied().unwrap_or(any));
        let mut parts = [0; 96];
        parts.copy_from_slice(&entropy[..96]);
        let mut id = [0; 16];
        id.copy_from_slice(&entropy[96..]);
        let id = format!("{:032x}", u128::from_be_bytes(id));
        let departure = Departure::new(provider, Attempt::new(parts, redirect_uri))?;
        let url = departure.url()?;
        let now = clock.now();
        self.remove_expired(now);
        let record = Record::new(&id, &departure, note, now.plus(PENDING_LIFETIME));
        self.keep(&record)?;
        Ok(Pending { id, url, redirect_uri: record.redirect_uri, expires: record.expires })
    }

    /// Finds the login that `pasted` answers: the address the browser ended on. Nothing is sent
    /// yet, so that whoever finishes it can make sure first that it can be saved.
    ///
    /// What is no answer to any of them leaves them all as they are; an answer that ends its login
    /// removes it.
    pub fn answered(
        &self,
        pasted: &str,
        providers: &Providers,
        now: Timestamp,
    ) -> Result<Answered<'_>, LoginError> {
        self.remove_expired(now);
        let mut refused: Option<CallbackError> = None;
        for record in self.records() {
            let Some(departure) = record.departure(providers) else { continue };
            match departure.accept(pasted) {
                Ok(code) => {
                    let Record { id, note, .. } = record;
                    return Ok(Answered { logins: self, id, departure, code, note });
                }
                Err(error) if error.ends_login() => {
                    self.claim(&record.id)?;
                    self.remove_claimed(&record.id);
                    return Err(LoginError::Answer(error));
                }
                Err(error) => {
                    refused.get_or_insert(error);
                }
            }
        }
        Err(refused.map_or(LoginError::NoneBegun, LoginError::Answer))
    }

    fn keep(&self, record: &Record) -> Result<(), LoginError> {
        auth_store::create_private_directory(&self.directory)?;
        // A record of strings and numbers serialises infallibly.
        let bytes = serde_json::to_vec_pretty(record).unwrap_or_default();
        Ok(auth_store::write_atomic(&self.file(&record.id), &bytes)?)
    }

    /// All that can be read, the newest first.
    fn records(&self) -> Vec<Record> {
        let mut records: Vec<Record> =
            self.files().iter().filter_map(|path| read_open(path)).collect();
        records.sort_by_key(|record| std::cmp::Reverse(record.expires));
        records
    }

    fn remove_expired(&self, now: Timestamp) {
        // A clock that was set back must not keep one alive for long.
        let at_the_latest = now.plus(2 * PENDING_LIFETIME);
        for path in self.files() {
            if parse(&path)
                .is_some_and(|record| record.expires <= now || record.expires > at_the_latest)
            {
                // Somebody else may have removed it.
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Takes the login away from everybody else. `false`: somebody else has it.
    fn claim(&self, id: &str) -> Result<bool, LoginError> {
        let path = self.file(id);
        match fs::rename(&path, self.claimed(id)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(StoreError::Io { action: "claim", path, source }.into()),
        }
    }

    fn remove_claimed(&self, id: &str) {
        // It is of no use to anybody: whoever cleans up next removes it.
        let _ = fs::remove_file(self.claimed(id));
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    fn file(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    fn claimed(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.claimed"))
    }
}

/// A login that was begun and is answered.
#[derive(Debug)]
pub struct Answered<'a> {
    logins: &'a PendingLogins,
    id: String,
    departure: Departure,
    code: Code,
    /// What was noted when it began.
    pub note: Value,
}

impl Answered<'_> {
    /// The provider.
    pub fn provider(&self) -> &Provider {
        &self.departure.provider
    }

    /// Exchanges the code. Of two that finish the same login only one does; the other gets
    /// [`LoginError::NoneBegun`].
    pub async fn finish(
        self,
        http: &dyn HttpClient,
        clock: &dyn Clock,
    ) -> Result<Login, LoginError> {
        if !self.logins.claim(&self.id)? {
            return Err(LoginError::NoneBegun);
        }
        let login = self.departure.exchange(&self.code, http, clock).await;
        self.logins.remove_claimed(&self.id);
        login
    }
}

/// The file. What the environment of the first shell said is in it, so that the second one need
/// not say it again; a client secret is not.
#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    id: String,
    provider: ProviderId,
    verifier: String,
    state: String,
    nonce: String,
    redirect_uri: String,
    client_id: Option<String>,
    issuer: Option<String>,
    names_issuer: bool,
    endpoints: Endpoints,
    expires: Timestamp,
    note: Value,
}

impl Record {
    fn new(id: &str, departure: &Departure, note: Value, expires: Timestamp) -> Self {
        let Departure { provider, attempt, .. } = departure;
        Self {
            id: id.to_owned(),
            provider: provider.id.clone(),
            verifier: attempt.verifier().expose().to_owned(),
            state: attempt.state().expose().to_owned(),
            nonce: attempt.nonce().expose().to_owned(),
            redirect_uri: attempt.redirect_uri().to_owned(),
            client_id: provider.client_id.clone(),
            issuer: provider.issuer.clone(),
            names_issuer: provider.names_issuer,
            endpoints: provider.endpoints.clone(),
            expires,
            note,
        }
    }

    /// The login as it was begun, if its provider is still known and the file is whole.
    fn departure(&self, providers: &Providers) -> Option<Departure> {
        let mut provider = providers.find(&self.provider)?.clone();
        provider.client_id.clone_from(&self.client_id);
        provider.issuer.clone_from(&self.issuer);
        provider.names_issuer = self.names_issuer;
        provider.endpoints = self.endpoints.clone();
        let redirect_uri = self.redirect_uri.clone();
        let attempt =
            Attempt::from_parts(&self.verifier, &self.state, &self.nonce, redirect_uri).ok()?;
        Departure::new(provider, attempt).ok()
    }
}

fn parse(path: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// The record of a login that nobody has claimed. Its name is what is claimed, so name and content
/// must agree.
fn read_open(path: &Path) -> Option<Record> {
    let record = parse(path)?;
    (path.file_name()?.to_str()? == format!("{}.json", record.id)).then_some(record)
}

/// Of the ports that are nobody's (RFC 6335 §6): all that have its bits.
const FIRST_DYNAMIC_PORT: u16 = 0xc000;
