//! Asking a gateway on another machine, or behind a socket: for programs that are its clients.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use auth_store::Secret;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request};
use hyper_rustls::ConfigBuilderExt as _;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

/// Where a gateway is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// `https://host[:port]`, or `http` on a loopback address.
    Web(Url),
    /// `unix:PATH`
    Socket(PathBuf),
}

/// A gateway somewhere else, with the token of a client of it.
#[derive(Debug)]
pub struct Remote {
    /// Where it is.
    pub place: Place,
    /// What the client proves itself with; at a socket it needs nothing.
    pub token: Secret,
    /// The certificates that are trusted; those of the system, where nothing is set.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// What it answered.
#[derive(Clone, Debug)]
pub struct Told {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
    /// In how many seconds it may be asked again.
    pub retry_after: Option<u64>,
}

impl Place {
    /// The place that a user writes so.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() {
                Ok(Self::Socket(path))
            } else {
                Err("the path of the socket must be absolute: `unix:/…`".to_owned())
            };
        }
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let is_loopback = match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let has_more = url.path() != "/" || url.query().is_some() || url.fragment().is_some();
        if has_more || !url.username().is_empty() || url.password().is_some() {
            return Err("nothing but host and port may stand there".to_owned());
        }
        match url.scheme() {
            "https" => Ok(Self::Web(url)),
            "http" if is_loopback => Ok(Self::Web(url)),
            _ => Err("it must be https, http on a loopback host, or unix:PATH".to_owned()),
        }
    }
}

impl Remote {
    /// Asks for `path`, with a JSON body or none.
    ///
    /// # Errors
    /// It cannot be reached, or its answer is none: in words without a secret.
    pub async fn ask(&self, path: &str, body: Option<String>) -> Result<Told, String> {
        match timeout(LONGEST, self.asked(path, body)).await {
            Ok(told) => told,
            Err(_) => Err(format!("no answer within {} seconds", LONGEST.as_secs())),
        }
    }

    async fn asked(&self, path: &str, body: Option<String>) -> Result<Told, String> {
        let url = match &self.place {
            Place::Socket(path_of) => {
                #[cfg(unix)]
                {
                    let stream = tokio::net::UnixStream::connect(path_of).await;
                    let stream = stream.map_err(|error| error.to_string())?;
                    return self.speak(stream, "localhost", path, body).await;
                }
                #[cfg(not(unix))]
                return Err(format!("`{}`: there are no such sockets here", path_of.display()));
            }
            Place::Web(url) => url,
        };
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(443);
        let name = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, port)).await.map_err(|error| error.to_string())?;
        let _ = stream.set_nodelay(true);
        if url.scheme() == "http" {
            return self.speak(stream, &name, path, body).await;
        }
        let server = ServerName::try_from(bare.to_owned()).map_err(|error| error.to_string())?;
        let tls = match &self.tls {
            Some(tls) => Arc::clone(tls),
            None => Arc::new(of_the_system()?),
        };
        let stream = TlsConnector::from(tls).connect(server, stream).await;
        self.speak(stream.map_err(|error| error.to_string())?, &name, path, body).await
    }

    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        host: &str,
        path: &str,
        body: Option<String>,
    ) -> Result<Told, String> {
        let words = |error: hyper::Error| error.to_string();
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(words)?;
        tokio::spawn(connection);
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::builder().method(method).uri(path).header(HOST, host);
        if !self.token.is_blank() {
            let bearer = HeaderValue::from_str(&format!("Bearer {}", self.token.expose()));
            let mut bearer = bearer.map_err(|_| "the client's token is no token".to_owned())?;
            bearer.set_sensitive(true);
            request = request.header(AUTHORIZATION, bearer);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let request = request.body(body).map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(words)?;
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|it| it.to_str().ok()?.parse().ok());
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Ok(Told { status, body, retry_after })
    }
}

/// A configuration that trusts the authorities in `pem`, and no others.
///
/// # Errors
/// There is none in it.
pub fn trusting(pem: &[u8]) -> Result<Arc<rustls::ClientConfig>, String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

fn of_the_system() -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = builder.try_with_platform_verifier();
    Ok(builder.map_err(|error| error.to_string())?.with_no_client_auth())
}

/// A refresh at the sink may take a while.
const LONGEST: Duration = Duration::from_secs(60);
const LARGEST: usize = 4 << 20;
