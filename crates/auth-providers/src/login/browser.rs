//! Logging in through a browser: authorization code with PKCE (RFC 6749 §4.1, RFC 7636, RFC 8252).
//! The listener and the person who may paste race from the first second.

use std::pin::Pin;
use std::time::Duration;

use auth_pkce::{Arrival, Attempt, BindError, Browser, CallbackError, Code, Failure, Loopback};
use auth_store::{Clock, Credential, ProviderId};
use serde_json::{Map, Value};

use crate::http::HttpClient;
use crate::login::authorization::Departure;
use crate::oauth::discovery::{DiscoveryError, Metadata, discover};
use crate::provider::{Endpoints, Flow, IdentitySource, Provider};

/// A login that succeeded and is not saved yet.
#[derive(Clone, Debug)]
pub struct Login {
    /// Whose it is.
    pub provider: ProviderId,
    /// What to store.
    pub credential: Credential,
    /// The account at the issuer, if it said one.
    pub account_id: Option<String>,
    /// The e-mail address, if the issuer said one.
    pub email: Option<String>,
    /// Further members of the profile.
    pub fields: Map<String, Value>,
    /// What the person should know, as sentences.
    pub warnings: Vec<String>,
}

/// A login, and the browser that waits to be told that it is saved.
#[derive(Debug)]
pub struct Finished {
    /// What to save.
    pub login: Login,
    /// The browser, if the answer came through it.
    pub browser: Option<Browser>,
}

/// The person, as a login sees them. Every method returns at once, but for
/// [`pasted`](Self::pasted).
pub trait LoginUi: Send + Sync {
    /// The login has begun: show the address, open a browser, ask for the paste.
    fn begin(&self, begun: &Begun<'_>);

    /// The answer of the person: what they paste next. `None`: nobody will paste anything any
    /// more. The login then goes on as long as the listener can still be reached.
    fn pasted(&self) -> Pin<Box<dyn Future<Output = Option<String>> + Send + '_>>;

    /// What was pasted is not the answer; they may try again.
    fn refused(&self, error: &CallbackError);

    /// The answer is there; the code is being exchanged.
    fn exchanging(&self);

    /// A login by device code has begun: show the code and the address.
    fn show_code(&self, prompt: &DevicePrompt<'_>);

    /// Whether the provider is being asked right now if somebody entered the code. While it is,
    /// tokens may be on their way, so the login should not be ended.
    fn polling(&self, is_asking: bool);
}

/// What the person is shown when a login begins.
#[derive(Clone, Copy, Debug)]
pub struct Begun<'a> {
    /// Where to send the browser.
    pub url: &'a str,
    /// Where the browser comes back to.
    pub redirect_uri: &'a str,
    /// Why nothing listens there, so that pasting is the only way.
    pub unbound: Option<&'a BindError>,
}

/// What the person is shown when a login by device code begins.
#[derive(Clone, Copy, Debug)]
pub struct DevicePrompt<'a> {
    /// What they type there. Shown alone, to be compared.
    pub user_code: &'a str,
    /// Where they type it.
    pub verification_uri: &'a str,
    /// The same place with the code in it, if there is one (RFC 8628 §3.3.1).
    pub verification_uri_complete: Option<&'a str>,
    /// An address that may be opened without asking: one of the provider's own.
    pub openable: Option<&'a str>,
    /// How long the code is good for.
    pub lifetime: Duration,
}

/// Why a login failed. Nothing is stored.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// This provider has no login of this sort: paste a token or a key instead.
    #[error("`{provider}` has no login through a browser")]
    NoSuchFlow {
        /// The provider.
        provider: ProviderId,
    },
    /// The entry of the provider cannot be used: correct the manifest or the environment.
    #[error("`{provider}`: {reason}")]
    Misconfigured {
        /// The provider.
        provider: ProviderId,
        /// What is wrong.
        reason: String,
    },
    /// The issuer's answer ends the login, or what was handed over is not an answer to it.
    #[error(transparent)]
    Answer(#[from] CallbackError),
    /// The issuer refuses the code: begin again.
    #[error("the provider refused the code: {code}{}", .description.as_ref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Refused {
        /// The error code.
        code: String,
        /// The issuer's explanation.
        description: Option<String>,
    },
    /// The issuer could not be reached, or its answer proves nothing: begin again later.
    #[error("the provider did not answer as it should: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
    /// The answer contradicts itself: somebody may be tampering. Begin again.
    #[error("the provider's answer cannot be trusted: {reason}")]
    Untrusted {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The code for another device has ended: begin again.
    #[error("the code was not entered in time")]
    CodeEnded,
    /// This account has no device login: it must be switched on at the provider, or the person
    /// logs in another way.
    #[error("`{provider}` offers no login by device code to this account")]
    NoDeviceLogin {
        /// The provider.
        provider: ProviderId,
    },
    /// Nobody answered in time: begin again.
    #[error("nobody answered within {} minutes", .0.as_secs() / 60)]
    TimedOut(Duration),
    /// Nothing listens, and nobody can paste: begin and finish in two commands.
    #[error("no answer can arrive: {reason}, and there is nothing to read a pasted answer from")]
    Deaf {
        /// Why nothing listens.
        reason: String,
    },
    /// The login that was begun is not there: it ended, or more than ten minutes have passed.
    #[error("no unfinished login fits this answer")]
    NoneBegun,
    /// The person, or the provider's plugin on their behalf, gave up.
    #[error("the login was given up")]
    Canceled,
    /// The plugin does not do what it must: its author has to correct it.
    #[error("the plugin of `{provider}` cannot be used: {reason}")]
    Plugin {
        /// The provider.
        provider: ProviderId,
        /// What it did.
        reason: String,
    },
    /// The unfinished login cannot be kept on disk.
    #[error(transparent)]
    Store(#[from] auth_store::StoreError),
}

/// How long a person may take.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// Logs in to `provider` through a browser, by `flow`.
///
/// `entropy` comes from the system's generator and is used for nothing else. Save the login, then
/// tell the browser with [`Finished::succeed`]; dropped, the browser shows that it was not saved.
/// Dropping this future ends the login without a trace.
pub async fn login(
    provider: &Provider,
    flow: Flow,
    entropy: [u8; 96],
    http: &dyn HttpClient,
    ui: &dyn LoginUi,
    clock: &dyn Clock,
) -> Result<Finished, LoginError> {
    if !matches!(flow, Flow::AuthorizationCode | Flow::AuthorizationCodeKey) {
        return Err(LoginError::NoSuchFlow { provider: provider.id.clone() });
    }
    let provider = resolve(provider, flow, http).await?;
    let redirect = provider.redirect().map_err(|error| misconfigured(&provider, &error))?;
    let (loopback, unbound) = match Loopback::bind(&redirect) {
        Ok(loopback) => (Some(loopback), None),
        Err(error) => (None, Some(error)),
    };
    let redirect_uri = match &loopback {
        Some(loopback) => loopback.redirect_uri().to_owned(),
        None => redirect.uri(redirect.ports().first().copied().unwrap_or(FALLBACK_PORT)),
    };
    let departure = Departure::new(provider, flow, Attempt::new(entropy, redirect_uri))?;
    let url = departure.url()?;
    ui.begin(&Begun {
        url: &url,
        redirect_uri: departure.attempt.redirect_uri(),
        unbound: unbound.as_ref(),
    });

    let answer = async {
        tokio::select! {
            arrival = departure.arrival(loopback) => arrival,
            code = departure.paste(ui, unbound.as_ref()) => code.map(|code| (code, None)),
        }
    };
    let (code, browser) = tokio::time::timeout(PATIENCE, answer)
        .await
        .map_err(|_| LoginError::TimedOut(PATIENCE))??;

    ui.exchanging();
    match departure.exchange(&code, http, clock).await {
        Ok(login) => Ok(Finished { login, browser }),
        Err(error) => {
            if let Some(browser) = browser {
                browser.fail(Failure::NotExchanged).await;
            }
            Err(error)
        }
    }
}

impl Finished {
    /// Tells the browser that the login is saved.
    pub async fn succeed(self) {
        if let Some(browser) = self.browser {
            browser.succeed().await;
        }
    }

    /// Tells the browser that the login is not kept: it is another account's.
    pub async fn refuse(self) {
        if let Some(browser) = self.browser {
            browser.fail(Failure::Denied).await;
        }
    }

    /// Tells the browser that the login could not be saved.
    pub async fn fail(self) {
        if let Some(browser) = self.browser {
            browser.fail(Failure::NotSaved).await;
        }
    }
}

/// `provider` with all the endpoints that a login by `flow` needs, discovered where the entry
/// leaves them out.
pub async fn resolve(
    provider: &Provider,
    flow: Flow,
    http: &dyn HttpClient,
) -> Result<Provider, LoginError> {
    if !provider.flows.contains(&flow) {
        return Err(LoginError::NoSuchFlow { provider: provider.id.clone() });
    }
    let has_redirect = matches!(flow, Flow::AuthorizationCode | Flow::AuthorizationCodeKey);
    let needed = |endpoints: &Endpoints| {
        let start = if has_redirect {
            ("authorization", endpoints.authorization.is_some())
        } else {
            ("device_authorization", endpoints.device_authorization.is_some())
        };
        [start, ("token", endpoints.token.is_some())]
    };
    let wants_userinfo = provider.identity.source == Some(IdentitySource::Userinfo);
    let is_complete = |endpoints: &Endpoints| {
        needed(endpoints).iter().all(|(_, is_there)| *is_there)
            && (endpoints.userinfo.is_some() || !wants_userinfo)
    };
    let Some(issuer) = provider.issuer.as_deref().filter(|_| !is_complete(&provider.endpoints))
    else {
        return Ok(provider.clone());
    };
    let needs_pkce = flow == Flow::AuthorizationCode && !provider.assume_pkce;
    let is_enough = |metadata: &Metadata| {
        is_complete(&provider.with_metadata(metadata).endpoints)
            && (metadata.supports_pkce() || !needs_pkce)
    };
    let metadata = match discover(issuer, &is_enough, http, TIMEOUT).await {
        Ok(metadata) => metadata,
        Err(error @ DiscoveryError::Unreachable { .. }) => {
            return Err(LoginError::Unavailable { reason: error.to_string() });
        }
        Err(error @ DiscoveryError::Unusable { .. }) => {
            return Err(misconfigured(provider, &error));
        }
    };
    if needs_pkce && !metadata.supports_pkce() {
        return Err(misconfigured(
            provider,
            &"the issuer does not say that it supports PKCE with S256; write `\"assume_pkce\": true` if you know it does",
        ));
    }
    let resolved = provider.with_metadata(&metadata);
    for (name, is_there) in needed(&resolved.endpoints) {
        if !is_there {
            let refused = metadata.refused.join("; ");
            return Err(misconfigured(
                provider,
                &format!(
                    "the issuer names no usable {name} endpoint; write it as `endpoints.{name}` {refused}"
                ),
            ));
        }
    }
    Ok(resolved)
}

impl Departure {
    async fn arrival(
        &self,
        loopback: Option<Loopback>,
    ) -> Result<(Code, Option<Browser>), LoginError> {
        let Some(loopback) = loopback else { return std::future::pending().await };
        match loopback.wait(&self.attempt, &self.rules()).await {
            Ok(Arrival { code, browser }) => Ok((code, Some(browser))),
            Err(auth_pkce::WaitError::Refused(error)) => Err(LoginError::Answer(error)),
            // Whoever pastes can still finish it.
            Err(auth_pkce::WaitError::Listener(_)) => std::future::pending().await,
        }
    }

    async fn paste(
        &self,
        ui: &dyn LoginUi,
        unbound: Option<&BindError>,
    ) -> Result<Code, LoginError> {
        loop {
            let Some(text) = ui.pasted().await else {
                return match unbound {
                    Some(error) => Err(LoginError::Deaf { reason: error.to_string() }),
                    None => std::future::pending().await,
                };
            };
            match self.accept(&text) {
                Ok(code) => return Ok(code),
                Err(error) if error.ends_login() => return Err(LoginError::Answer(error)),
                Err(error) => ui.refused(&error),
            }
        }
    }
}

pub(crate) fn misconfigured(provider: &Provider, reason: &dyn std::fmt::Display) -> LoginError {
    LoginError::Misconfigured { provider: provider.id.clone(), reason: reason.to_string() }
}

/// Of one request.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// The port in the redirect URI where any port will do and none can be opened.
const FALLBACK_PORT: u16 = 0xc000;
