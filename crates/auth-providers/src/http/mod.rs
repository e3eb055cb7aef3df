//! The network as a parameter: requests and responses are values, and [`HttpClient`] connects them.

pub(crate) mod address;
pub(crate) mod body;
pub(crate) mod destination;
pub(crate) mod json;
pub(crate) mod proxy;
pub(crate) mod reqwest_client;
pub(crate) mod runtime;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use auth_store::Timestamp;
use serde_json::{Map, Value};

use crate::http::body::Body;
use crate::text;

pub use crate::http::body::LARGEST_BODY;
pub(crate) use crate::http::body::header;

/// The HTTP methods that OAuth needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// `GET`: discovery, user info.
    Get,
    /// `POST`: tokens, revocation, device codes.
    Post,
}

/// Called once, after the connection is established (TCP and TLS) and right before the first byte
/// of the body is sent. If it returns `false`, nothing is sent, and the result is
/// [`HttpError::NotSent`].
///
/// It runs on the task that sends, so it must not block for long.
pub type Gate = Arc<dyn Fn() -> bool + Send + Sync>;

/// A request. Its `Debug` shows only the method and the address, because headers and body contain
/// secrets.
///
/// Anyone can ask for an address. What has a body or header fields of its own is built by the sending
/// door alone, for an origin that its secrets are for:
///
/// ```compile_fail
/// let mut request =
///     auth_providers::HttpRequest::get("https://a.example/", std::time::Duration::from_secs(1));
/// request.body = Some(b"refresh_token=secret".to_vec());
/// ```
#[derive(Clone)]
pub struct HttpRequest {
    method: Method,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    timeout: Duration,
    gate: Option<Gate>,
    carries_secret: bool,
}

/// A response with any status. Its `Debug` shows only the status.
#[derive(Clone)]
pub struct HttpResponse {
    /// The status code (RFC 9110 §15).
    pub status: u16,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, cut off at [`LARGEST_BODY`].
    pub body: Vec<u8>,
}

/// Why there is no response. The texts contain no secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HttpError {
    /// No byte of the body left this machine, so the request may safely be sent again.
    #[error("not sent: {0}")]
    NotSent(String),
    /// Some bytes were sent and no complete response came back: the server may or may not have
    /// acted.
    #[error("no answer: {0}")]
    NoResponse(String),
}

/// The result of [`HttpClient::send`], written out so that the trait can be a `dyn`.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

/// Sends one request, once: it follows no redirect and repeats nothing.
///
/// Every closure from a request to a result is a client, which is all that tests need.
pub trait HttpClient: Send + Sync {
    /// Sends `request` and reads the complete response.
    fn send(&self, request: HttpRequest) -> Sending<'_>;
}

impl<F> HttpClient for F
where
    F: Fn(HttpRequest) -> Result<HttpResponse, HttpError> + Send + Sync,
{
    fn send(&self, request: HttpRequest) -> Sending<'_> {
        let response = self(request);
        Box::pin(async move { response })
    }
}

impl HttpRequest {
    /// A `GET` of `url` that asks for JSON, and carries no secret.
    pub fn get(url: impl Into<String>, timeout: Duration) -> Self {
        Self {
            method: Method::Get,
            url: url.into(),
            headers: wanted().to_vec(),
            body: None,
            timeout,
            gate: None,
            carries_secret: false,
        }
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The address: `https`, or `http` to a loopback host.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Header fields, in the order in which they are sent.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The body, if there is one.
    pub fn body(&self) -> Option<&[u8]> {
        self.body.as_deref()
    }

    /// The time limit from the start of the connection to the last byte of the response.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What may still stop the body; never asked for a request without one.
    pub fn gate(&self) -> Option<&Gate> {
        self.gate.as_ref()
    }

    /// Whether a secret is in it.
    pub fn carries_secret(&self) -> bool {
        self.carries_secret
    }

    /// The same request, whose body `gate` may still stop.
    #[must_use]
    pub fn gated(self, gate: Gate) -> Self {
        Self { gate: Some(gate), ..self }
    }
}

/// The headers that ask for JSON without a content coding. A request that names no coding accepts
/// every coding (RFC 9110 §12.5.3), including some that we cannot decode.
fn wanted() -> [(String, String); 2] {
    [("accept", "application/json"), ("accept-encoding", "identity")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
}

impl HttpResponse {
    /// The value of the header field `name` (in lower case), if it exists.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The object in the body; an empty one if the body is anything else.
    pub(crate) fn object(&self) -> Map<String, Value> {
        self.readable().object().unwrap_or_default()
    }

    /// The body, decoded as far as possible.
    pub(crate) fn readable(&self) -> Body {
        Body::read(&self.headers, &self.body)
    }

    /// What it is instead of an answer, if it is a page for people: see [`page`].
    pub(crate) fn page(&self) -> Option<String> {
        page(self.status, &self.headers, &self.readable())
    }

    /// The time of the response according to the server (RFC 9110 §6.6.1), to the second.
    pub fn date(&self) -> Option<Timestamp> {
        date(self.header("date")?)
    }
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} {}", self.method, self.url)
    }
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "status {}, {} bytes", self.status, self.body.len())
    }
}

/// A page for people, or the way to one, in the place of an answer: that of a captive portal, of a
/// proxy, or of a guard before the server. It proves nothing about what was asked.
pub(crate) fn page(status: u16, headers: &[(String, String)], body: &Body) -> Option<String> {
    let leads_away = (300..400).contains(&status);
    let is_guard = header(headers, "cf-mitigated").is_some();
    // Some servers call everything HTML, also what is empty.
    let is_page = body.is_page() && body.text().contains('<');
    if !(leads_away || is_guard || is_page) || body.object().is_some() {
        return None;
    }
    let to = header(headers, "location").and_then(|to| url::Url::parse(to).ok());
    let to = to.filter(|_| leads_away).and_then(|to| to.host_str().map(str::to_owned));
    let to = to.map(|host| format!(", to `{}`", text::clean(&host))).unwrap_or_default();
    Some(format!("the server answered with a web page (status {status}{to})"))
}

/// Parses a date in the format of header fields (RFC 9110 §5.6.7).
pub(crate) fn date(text: &str) -> Option<Timestamp> {
    let date = httpdate::parse_http_date(text).ok()?;
    let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok().map(Timestamp)
}

/// Whether a status is temporary: it says nothing about the request, which may be sent again later.
pub(crate) fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..)
}

/// Replaces the HTTP status in responses of plugins, which have none.
pub(crate) const NO_STATUS: u16 = 0;

/// Addresses of plugins: `plugin:<id>`.
pub(crate) const PLUGIN_SCHEME: &str = "plugin:";
