//! Browser login: authorization code with PKCE (RFC 6749 §4.1, RFC 7636, RFC 8252). The listener
//! and the pasted response race from the start.

use std::pin::Pin;
use std::time::Duration;

use auth_pkce::{Arrival, Attempt, BindError, Browser, Code, Failure, Loopback};
use auth_store::Clock;

use crate::http::HttpClient;
use crate::login::authorization::PendingAuthorization;
use crate::login::error::{LoginError, misconfigured};
use crate::login::{Begun, Finished, LoginUi, TIMEOUT};
use crate::oauth::discovery::{DiscoveryError, Metadata, discover};
use crate::provider::{Endpoints, Flow, IdentitySource, Provider};

/// How long the user has to finish a login.
pub const LOGIN_TIMEOUT: Duration = Duration::from_mins(5);

/// Logs in to `provider` through a browser, by `flow`.
///
/// `entropy` must come from the system's generator and be used for nothing else. Save the login,
/// then call [`Finished::succeed`] to tell the browser; if it is dropped, the browser shows that
/// the login was not saved. Dropping this future cancels the login without leaving anything behind.
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
    let authorization =
        PendingAuthorization::new(provider, flow, Attempt::new(entropy, redirect_uri))?;
    let url = authorization.url()?;
    ui.begin(&Begun {
        url: &url,
        redirect_uri: authorization.attempt.redirect_uri(),
        unbound: unbound.as_ref(),
    });

    let mut arrival: Pin<Box<dyn Future<Output = _> + Send + '_>> =
        Box::pin(authorization.arrival(loopback));
    let mut end = std::pin::pin!(tokio::time::sleep(LOGIN_TIMEOUT));
    loop {
        let answer = tokio::select! {
            arrived = &mut arrival => arrived,
            code = authorization.paste(ui, unbound.as_ref()) => code.map(|code| (code, None)),
            () = &mut end => Err(LoginError::TimedOut(LOGIN_TIMEOUT)),
        };
        let (code, browser) = answer?;
        if !code.is_bare() {
            // It is the answer: the listener closes.
            arrival = Box::pin(std::future::pending());
        }
        ui.exchanging();
        match authorization.exchange(&code, http, clock).await {
            Ok(login) => return Ok(Finished { login, browser }),
            Err(LoginError::Callback(error)) if !error.ends_login() => ui.refused(&error),
            Err(error) => {
                if let Some(browser) = browser {
                    browser.fail(Failure::NotExchanged).await;
                }
                return Err(error);
            }
        }
    }
}

/// `provider` with all the endpoints that a login by `flow` needs. Endpoints that the entry leaves
/// out are discovered.
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

impl PendingAuthorization {
    async fn arrival(
        &self,
        loopback: Option<Loopback>,
    ) -> Result<(Code, Option<Browser>), LoginError> {
        let Some(loopback) = loopback else { return std::future::pending().await };
        match loopback.wait(&self.attempt, &self.rules()).await {
            Ok(Arrival { code, browser }) => Ok((code, Some(browser))),
            Err(auth_pkce::WaitError::Refused(error)) => Err(LoginError::Callback(error)),
            // The user can still finish the login by pasting.
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
                    Some(error) => {
                        Err(LoginError::ListenerUnavailable { reason: error.to_string() })
                    }
                    None => std::future::pending().await,
                };
            };
            match self.accept(&text) {
                Ok(code) => return Ok(code),
                Err(error) if error.ends_login() => return Err(LoginError::Callback(error)),
                Err(error) => ui.refused(&error),
            }
        }
    }
}

/// The port in the redirect URI if any port is allowed and none can be opened.
const FALLBACK_PORT: u16 = 0xc000;
