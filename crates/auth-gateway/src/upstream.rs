//! The connections to providers: a pool for each profile, so that what a provider does to one
//! account's connection does not affect another's.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use auth_store::{ProfileId, ProviderId};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use crate::http::keep::Outgoing;
use crate::limits::Limits;

type Client = legacy::Client<HttpsConnector<HttpConnector>, Outgoing>;

/// The connection pools.
pub(crate) struct Upstreams {
    tls: Option<Arc<rustls::ClientConfig>>,
    connect_time: Duration,
    answer_time: Duration,
    /// Created when it is needed, because reading the system's certificates takes a while.
    connector: OnceLock<Result<HttpsConnector<HttpConnector>, String>>,
    clients: RwLock<HashMap<ProviderId, HashMap<ProfileId, Client>>>,
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum NoReply {
    /// Nothing was sent: there is no connection, which is not the account's fault.
    NotConnected(String),
    /// The provider has not started processing it: HTTP/2's `REFUSED_STREAM`, or a `GOAWAY` that
    /// does not cover it.
    NotBegun,
    /// It was sent, at least in part: it may have been carried out.
    Cut(String),
    /// The response did not start in time.
    Late,
}

impl Upstreams {
    pub(crate) fn new(tls: Option<Arc<rustls::ClientConfig>>, limits: &Limits) -> Self {
        Self {
            tls,
            connect_time: limits.connect_time,
            answer_time: limits.answer_time,
            connector: OnceLock::new(),
            clients: RwLock::default(),
        }
    }

    /// Sends a request on a connection of that profile. If a pooled connection closed before
    /// anything was written, a new one is used.
    pub(crate) async fn send(
        &self,
        provider: &ProviderId,
        profile: &ProfileId,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, NoReply> {
        let client = self.client(provider, profile).map_err(NoReply::NotConnected)?;
        match timeout(self.answer_time, client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(NoReply::from(&error)),
            Err(_) => Err(NoReply::Late),
        }
    }

    fn client(&self, provider: &ProviderId, profile: &ProfileId) -> Result<Client, String> {
        let known = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known.get(provider).and_then(|profiles| profiles.get(profile)) {
            return Ok(client.clone());
        }
        drop(known);
        let connector = self.connector.get_or_init(|| self.connector()).clone()?;
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        let of_provider = clients.entry(provider.clone()).or_default();
        Ok(of_provider.entry(profile.clone()).or_insert_with(|| pool(connector)).clone())
    }

    fn connector(&self) -> Result<HttpsConnector<HttpConnector>, String> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(self.connect_time));
        tcp.set_keepalive(Some(Duration::from_mins(1)));
        let builder = HttpsConnectorBuilder::new();
        let builder = if let Some(tls) = &self.tls {
            builder.with_tls_config(rustls::ClientConfig::clone(tls))
        } else {
            builder
                .with_provider_and_platform_verifier(rustls::crypto::ring::default_provider())
                .map_err(|error| format!("the system's certificates cannot be used: {error}"))?
        };
        Ok(builder.https_or_http().enable_all_versions().wrap_connector(tcp))
    }
}

fn pool(connector: HttpsConnector<HttpConnector>) -> Client {
    legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        // Shorter than any server's timeout, so that few connections are closed unnoticed.
        .pool_idle_timeout(Duration::from_secs(30))
        // The connections of a burst are kept for the next one, until the timeout closes them.
        .pool_max_idle_per_host(1024)
        .retry_canceled_requests(true)
        .http2_keep_alive_interval(Some(Duration::from_secs(20)))
        .http2_keep_alive_timeout(Duration::from_secs(10))
        .http2_adaptive_window(true)
        .set_host(false)
        .build(connector)
}

impl From<&legacy::Error> for NoReply {
    fn from(error: &legacy::Error) -> Self {
        let mut cause = error.source();
        let mut words = error.to_string();
        let mut is_not_begun = false;
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<h2::Error>() {
                let is_refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
                let is_left_out =
                    error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
                is_not_begun = error.is_remote() && (is_refused || is_left_out);
            }
            words = format!("{words}: {error}");
            cause = error.source();
        }
        if error.is_connect() {
            Self::NotConnected(words)
        } else if is_not_begun {
            Self::NotBegun
        } else {
            Self::Cut(words)
        }
    }
}
