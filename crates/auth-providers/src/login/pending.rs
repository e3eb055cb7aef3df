//! Logins that begin in one process and end in another: `logins/<id>.json`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth_pkce::{Attempt, CallbackError, Code, Verifier};
use auth_store::{Clock, ProviderId, StoreError, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::http::HttpClient;
use crate::login::authorization::PendingAuthorization;
use crate::login::browser::resolve;
use crate::login::device::{DeviceLogin, Waiting};
use crate::login::device_code::DeviceGrant;
use crate::login::error::{LoginError, misconfigured};
use crate::login::{Login, LoginUi};
use crate::provider::registry::Providers;
use crate::provider::{Endpoints, Flow, Provider};

/// The directory of pending logins.
#[derive(Clone, Debug)]
pub struct PendingLogins {
    directory: PathBuf,
}

/// A pending login.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The id of the pending login.
    pub id: String,
    /// When it expires.
    pub expires: Timestamp,
    /// What the user does next.
    pub way: Way,
}

/// How a pending login continues.
#[derive(Clone, Debug)]
pub enum Way {
    /// In a browser; the redirect URL finishes the login.
    Browser {
        /// The authorization URL for the browser.
        url: String,
        /// The redirect URI.
        redirect_uri: String,
    },
    /// On another device; the id or the user code finishes the login.
    Device(DeviceCode),
}

/// A code that the user enters on another device.
#[derive(Clone, Debug)]
pub struct DeviceCode {
    /// The code to enter.
    pub user_code: String,
    /// The address where the user enters it.
    pub verification_uri: String,
    /// The same address with the code included, if there is one.
    pub verification_uri_complete: Option<String>,
    /// How often the finishing process polls the provider.
    pub interval: Duration,
}

impl DeviceCode {
    fn from_login(login: &DeviceLogin) -> Self {
        let grant = login.grant.clone();
        Self {
            user_code: grant.user_code,
            verification_uri: grant.verification_uri,
            verification_uri_complete: grant.verification_uri_complete,
            interval: grant.interval,
        }
    }
}

/// The lifetime of a pending browser login. For a device login, the device code has its own.
pub const PENDING_LIFETIME: Duration = Duration::from_mins(10);

impl PendingLogins {
    /// The pending logins in `directory`, which need not exist.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Begins a login of `provider` by `flow`, in a browser or by device code, and stores what is
    /// needed to finish it, with a `note` for the process that does so. `entropy` must come from
    /// the system's generator and be used for nothing else.
    pub async fn start(
        &self,
        provider: &Provider,
        flow: Flow,
        note: Value,
        entropy: [u8; 112],
        http: &dyn HttpClient,
        clock: &dyn Clock,
    ) -> Result<Pending, LoginError> {
        let id = hex::encode(&entropy[96..]);
        let (record, pending) = if flow.is_device_code() {
            let mut parts = [0; 64];
            parts.copy_from_slice(&entropy[..64]);
            let login = DeviceLogin::begin(provider, flow, parts, http, clock).await?;
            let expires = clock.now().plus(login.grant.lifetime);
            let what = What::Device {
                flow,
                device_code: login.grant.device_code.expose().to_owned(),
                device_verifier: login.grant.verifier.as_ref().map(|it| it.expose().to_owned()),
                user_code: login.grant.user_code.clone(),
                verification_uri: login.grant.verification_uri.clone(),
                interval: login.grant.interval.as_secs(),
            };
            let pending = Pending { id, expires, way: Way::Device(DeviceCode::from_login(&login)) };
            (Record::new(&pending, &login.provider, what, note), pending)
        } else {
            let provider = resolve(provider, flow, http).await?;
            let redirect = provider.redirect().map_err(|error| misconfigured(&provider, &error))?;
            // If any port is allowed: one where a listener is unlikely.
            let any = FIRST_DYNAMIC_PORT | u16::from_be_bytes([entropy[96], entropy[97]]);
            let redirect_uri = redirect.uri(redirect.ports().first().copied().unwrap_or(any));
            let mut parts = [0; 96];
            parts.copy_from_slice(&entropy[..96]);
            let authorization = PendingAuthorization::new(
                provider,
                flow,
                Attempt::new(parts, redirect_uri.clone()),
            )?;
            let url = authorization.url()?;
            let expires = clock.now().plus(PENDING_LIFETIME);
            let attempt = &authorization.attempt;
            let what = What::Browser {
                verifier: attempt.verifier().expose().to_owned(),
                state: attempt.state().expose().to_owned(),
                nonce: attempt.nonce().expose().to_owned(),
                redirect_uri: redirect_uri.clone(),
                for_key: authorization.for_key,
            };
            let pending = Pending { id, expires, way: Way::Browser { url, redirect_uri } };
            (Record::new(&pending, &authorization.provider, what, note), pending)
        };
        self.remove_expired(clock.now());
        self.keep(&record)?;
        Ok(pending)
    }

    /// Finds the login that `pasted` belongs to: the redirect URL, or the id or the user code of a
    /// device login. Nothing is sent yet, so the caller can first make sure that the login can be
    /// saved.
    ///
    /// `only` is the provider whose logins are meant, if one was named. What is no response to any of
    /// them leaves them all as they are; a response that ends its login removes it. A code without its
    /// state does not say which login it is for, so there must be one only.
    pub fn answered(
        &self,
        pasted: &str,
        only: Option<&ProviderId>,
        providers: &Providers,
        now: Timestamp,
    ) -> Result<Answered<'_>, LoginError> {
        self.remove_expired(now);
        let only = only.map(|name| providers.find(name).map_or(name, |known| &known.id));
        let is_meant = |record: &Record| only.is_none_or(|only| record.provider == *only);
        let mut refused: Option<CallbackError> = None;
        let mut found = Vec::new();
        for record in self.records().into_iter().filter(is_meant) {
            match record.resume(providers, now) {
                Some(Resumed::Device(login)) => {
                    let named = auth_store::trim(pasted);
                    if named == record.id || named == login.grant.user_code {
                        found.push((record, Awaited::Device(login)));
                    }
                }
                Some(Resumed::Browser(authorization)) => match authorization.accept(pasted) {
                    Ok(code) => found.push((record, Awaited::Browser(authorization, code))),
                    Err(error) if error.ends_login() => {
                        self.claim(&record.id)?;
                        self.remove_claimed(&record.id);
                        return Err(LoginError::Callback(error));
                    }
                    Err(error) => {
                        refused.get_or_insert(error);
                    }
                },
                None => {}
            }
        }
        if found.len() > 1 {
            let providers = found.iter().map(|(record, _)| record.provider.clone());
            return Err(LoginError::SeveralBegun { providers: providers.collect() });
        }
        match found.pop() {
            Some((Record { id, note, .. }, way)) => Ok(Answered { logins: self, id, way, note }),
            None => Err(refused.map_or(LoginError::NoneBegun, LoginError::Callback)),
        }
    }

    fn keep(&self, record: &Record) -> Result<(), LoginError> {
        auth_store::create_private_directory(&self.directory)?;
        // A record of strings and numbers serialises infallibly.
        let bytes = serde_json::to_vec_pretty(record).unwrap_or_default();
        Ok(auth_store::write_atomic(&self.file(&record.id), &bytes)?)
    }

    /// All readable records, the newest first.
    fn records(&self) -> Vec<Record> {
        let mut records: Vec<Record> =
            self.files().iter().filter_map(|path| read_open(path)).collect();
        records.sort_by_key(|record| std::cmp::Reverse(record.expires));
        records
    }

    fn remove_expired(&self, now: Timestamp) {
        // Setting the clock back must not keep a record alive for long.
        let at_the_latest = now.plus(LONGEST);
        for path in self.files() {
            if parse(&path)
                .is_some_and(|record| record.expires <= now || record.expires > at_the_latest)
            {
                // Another process may have removed it.
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Claims the login, so that no other process can finish it. `false`: another process has
    /// claimed it.
    fn claim(&self, id: &str) -> Result<bool, LoginError> {
        let path = self.file(id);
        match fs::rename(&path, self.claimed(id)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(StoreError::Io { action: "claim", path, source }.into()),
        }
    }

    fn remove_claimed(&self, id: &str) {
        // Best effort: the file has no further use, and the next cleanup removes it.
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

/// A pending login with its response, or a device login that is ready to be polled.
#[derive(Debug)]
pub struct Answered<'a> {
    logins: &'a PendingLogins,
    id: String,
    way: Awaited,
    /// The note from when it began.
    pub note: Value,
}

#[derive(Debug)]
enum Awaited {
    Browser(Box<PendingAuthorization>, Code),
    Device(Box<DeviceLogin>),
}

impl Answered<'_> {
    /// The provider.
    pub fn provider(&self) -> &Provider {
        match &self.way {
            Awaited::Browser(authorization, _) => &authorization.provider,
            Awaited::Device(login) => &login.provider,
        }
    }

    /// Exchanges the code, or polls until the user has entered it. If two processes finish the same
    /// login, only one succeeds; the other gets [`LoginError::NoneBegun`]. A poll that ends without
    /// a response, or is dropped, leaves the login as it was.
    pub async fn finish(
        self,
        http: &dyn HttpClient,
        ui: &dyn LoginUi,
        clock: &dyn Clock,
        waiting: &dyn Waiting,
    ) -> Result<Login, LoginError> {
        if !self.logins.claim(&self.id)? {
            return Err(LoginError::NoneBegun);
        }
        let mut claim = Claim { logins: self.logins, id: &self.id, is_over: true };
        match &self.way {
            Awaited::Browser(authorization, code) => {
                ui.exchanging();
                let outcome = authorization.exchange(code, http, clock).await;
                claim.is_over = !matches!(&outcome, Err(error) if error.leaves_login());
                outcome
            }
            Awaited::Device(login) => {
                claim.is_over = false;
                let outcome = login.finish(http, ui, clock, waiting).await;
                claim.is_over = !matches!(&outcome, Err(error) if error.leaves_login());
                outcome
            }
        }
    }
}

/// A claimed login: no other process can finish it now.
struct Claim<'a> {
    logins: &'a PendingLogins,
    id: &'a str,
    is_over: bool,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if self.is_over {
            self.logins.remove_claimed(self.id);
        } else {
            // Best effort: if this fails, the login expires.
            let _ = fs::rename(self.logins.claimed(self.id), self.logins.file(self.id));
        }
    }
}

/// The content of the file. It includes what the environment of the first shell provided, so the
/// second shell need not repeat it; it never includes a client secret.
#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    id: String,
    provider: ProviderId,
    client_id: Option<String>,
    issuer: Option<String>,
    names_issuer: bool,
    endpoints: Endpoints,
    /// The origins that its secrets are for; an older version did not write them.
    destinations: Option<Vec<String>>,
    expires: Timestamp,
    note: Value,
    #[serde(flatten)]
    what: What,
}

/// The secret part of a record.
#[derive(Clone, Deserialize, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum What {
    Browser {
        verifier: String,
        state: String,
        nonce: String,
        redirect_uri: String,
        #[serde(default)]
        for_key: bool,
    },
    Device {
        flow: Flow,
        device_code: String,
        device_verifier: Option<String>,
        user_code: String,
        verification_uri: String,
        interval: u64,
    },
}

enum Resumed {
    Browser(Box<PendingAuthorization>),
    Device(Box<DeviceLogin>),
}

impl Record {
    fn new(pending: &Pending, provider: &Provider, what: What, note: Value) -> Self {
        Self {
            id: pending.id.clone(),
            provider: provider.id.clone(),
            client_id: provider.client_id.clone(),
            issuer: provider.issuer.clone(),
            names_issuer: provider.names_issuer,
            endpoints: provider.endpoints.clone(),
            destinations: Some(provider.destinations().origins()),
            expires: pending.expires,
            note,
            what,
        }
    }

    /// The login as it was begun, if its provider still exists and the file is complete.
    fn resume(&self, providers: &Providers, now: Timestamp) -> Option<Resumed> {
        let mut provider = providers.find(&self.provider)?.clone();
        provider.client_id.clone_from(&self.client_id);
        provider.issuer.clone_from(&self.issuer);
        provider.names_issuer = self.names_issuer;
        provider.endpoints = self.endpoints.clone();
        if let Some(recorded) = &self.destinations
            && provider.destinations().origins().iter().any(|origin| !recorded.contains(origin))
        {
            // The entry was changed since: its new addresses are not those of this login.
            return None;
        }
        match &self.what {
            What::Browser { verifier, state, nonce, redirect_uri, for_key } => {
                let attempt =
                    Attempt::from_parts(verifier, state, nonce, redirect_uri.clone()).ok()?;
                let flow =
                    if *for_key { Flow::AuthorizationCodeKey } else { Flow::AuthorizationCode };
                let authorization = PendingAuthorization::new(provider, flow, attempt).ok()?;
                Some(Resumed::Browser(Box::new(authorization)))
            }
            What::Device {
                flow,
                device_code,
                device_verifier,
                user_code,
                verification_uri,
                interval,
            } => {
                let verifier = device_verifier.as_deref().map(Verifier::parse).transpose().ok()?;
                let grant = DeviceGrant {
                    device_code: device_code.as_str().into(),
                    verifier,
                    user_code: user_code.clone(),
                    verification_uri: verification_uri.clone(),
                    verification_uri_complete: None,
                    lifetime: self.expires.since(now),
                    interval: Duration::from_secs(*interval),
                };
                let login = DeviceLogin::resume(provider, *flow, grant).ok()?;
                Some(Resumed::Device(Box::new(login)))
            }
        }
    }
}

fn parse(path: &Path) -> Option<Record> {
    serde_json::from_slice(&auth_store::read_at_most(path, LARGEST_FILE).ok()?).ok()
}

/// The record of an unclaimed login. Its file name is what a process claims, so name and content
/// must agree.
fn read_open(path: &Path) -> Option<Record> {
    let record = parse(path)?;
    (path.file_name()?.to_str()? == format!("{}.json", record.id)).then_some(record)
}

/// Of a file of a login.
const LARGEST_FILE: u64 = 1 << 20;

/// No valid login ends later than this from now.
const LONGEST: Duration = Duration::from_hours(2);

/// Start of the dynamic ports (RFC 6335 §6); every dynamic port has these bits set.
const FIRST_DYNAMIC_PORT: u16 = 0xc000;
