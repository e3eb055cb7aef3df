//! Shared by the tests: a provider, an issuer that is a closure, and a scripted user.

use std::future::pending;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use auth_pkce::CallbackError;
use auth_providers::{
    Begun, DevicePrompt, HttpClient, HttpError, HttpRequest, HttpResponse, LoginUi, Method,
    Provider, Providers, Sending, Waiting,
};
use auth_store::{ProviderId, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// All providers, with `acme` as described by `manifest`.
pub(crate) fn providers(manifest: &Value) -> Providers {
    let files = vec![(PathBuf::from("/acme.json"), Ok(manifest.to_string()))];
    let providers = Providers::from_manifests(files, &|_| None);
    assert_eq!(providers.errors(), []);
    providers
}

pub(crate) fn provider(manifest: &Value) -> Provider {
    providers(manifest).find(&ProviderId::new("acme")).unwrap().clone()
}

/// A provider on any free port, with the account in its ID token.
pub(crate) fn acme() -> Value {
    serde_json::json!({
        "id": "acme",
        "flows": ["authorization_code"],
        "issuer": "https://acme.example",
        "endpoints": {
            "authorization": "https://acme.example/authorize",
            "token": "https://acme.example/token",
            "revocation": "https://acme.example/revoke",
            "userinfo": "https://acme.example/userinfo"
        },
        "client_id": "acme-cli",
        "scopes": ["openid", "offline_access"],
        "identity": { "source": "id_token", "account": "/sub", "email": "/email" }
    })
}

pub(crate) fn jwt(claims: &Value) -> String {
    format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// An issuer: a closure from request to status and body; it records its requests.
pub(crate) struct Issuer<F> {
    respond: F,
    pub(crate) asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl<F: Fn(&str, &str) -> (u16, String) + Send + Sync> Issuer<F> {
    /// `respond` gets the address and the body.
    pub(crate) fn new(respond: F) -> Self {
        Self { respond, asked: Arc::default() }
    }

    /// Addresses and bodies, in order.
    pub(crate) fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().unwrap().clone()
    }
}

impl<F: Fn(&str, &str) -> (u16, String) + Send + Sync> HttpClient for Issuer<F> {
    fn send(&self, request: HttpRequest) -> Sending<'_> {
        let body = String::from_utf8(request.body().unwrap_or_default().to_vec()).unwrap();
        let (status, response) = (self.respond)(request.url(), &body);
        self.asked.lock().unwrap().push((request.url().to_owned(), body));
        Box::pin(async move {
            match status {
                0 => Err(HttpError::NoResponse("cut off".to_owned())),
                _ => Ok(HttpResponse { status, headers: Vec::new(), body: response.into_bytes() }),
            }
        })
    }
}

/// A server that sends these responses in turn, and records the requests. Status 0: no response.
pub(crate) struct Responses {
    left: Mutex<std::collections::VecDeque<(u16, Value)>>,
    asked: Mutex<Vec<Asked>>,
    /// Called with each request, before the response.
    pub(crate) on_request: Box<dyn Fn() + Send + Sync>,
}

/// A request as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Responses {
    pub(crate) fn new(responses: impl IntoIterator<Item = (u16, Value)>) -> Self {
        let left = Mutex::new(responses.into_iter().collect());
        Self { left, asked: Mutex::default(), on_request: Box::new(|| {}) }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Asked {
    /// A field of a form.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let mut pairs = url::form_urlencoded::parse(self.body.as_bytes());
        pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }

    /// The fields of a form, by name.
    pub(crate) fn fields(&self) -> std::collections::BTreeMap<String, String> {
        let pairs: Vec<_> =
            url::form_urlencoded::parse(self.body.as_bytes()).into_owned().collect();
        let fields: std::collections::BTreeMap<_, _> = pairs.iter().cloned().collect();
        assert_eq!(fields.len(), pairs.len(), "a parameter is there twice: {}", self.body);
        fields
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is there twice");
        value
    }
}

impl HttpClient for Responses {
    fn send(&self, request: HttpRequest) -> Sending<'_> {
        (self.on_request)();
        let body = String::from_utf8(request.body().unwrap_or_default().to_vec()).unwrap();
        let (method, url) = (request.method(), request.url().to_owned());
        let headers = request.headers().to_vec();
        self.asked.lock().unwrap().push(Asked { method, url, headers, body });
        let response = self.left.lock().unwrap().pop_front();
        let (status, body) = response.unwrap_or_else(|| panic!("nobody expected a request"));
        let body = match body {
            Value::String(text) => text,
            other => other.to_string(),
        };
        Box::pin(async move {
            match status {
                0 => Err(HttpError::NoResponse("cut off".to_owned())),
                _ => Ok(HttpResponse { status, headers: Vec::new(), body: body.into_bytes() }),
            }
        })
    }
}

/// Time that passes only during a wait.
#[derive(Clone, Default)]
pub(crate) struct Time(Arc<Mutex<Duration>>);

impl Time {
    pub(crate) fn pass(&self, duration: Duration) {
        *self.0.lock().unwrap() += duration;
    }
}

impl Waiting for Time {
    fn elapsed(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn pause(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.pass(duration);
        Box::pin(std::future::ready(()))
    }
}

/// Time in which every pause lasts forever.
pub(crate) struct StandingStill;

impl Waiting for StandingStill {
    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    fn pause(&self, _duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(pending())
    }
}

/// A user who does nothing.
pub(crate) fn nobody() -> User {
    User::new(|_, _| Deeds::default())
}

/// A user's actions when a login begins: from the authorization URL's query and the redirect URI to
/// the texts they paste, in turn, and the address their browser opens, if any.
#[derive(Default)]
pub(crate) struct Deeds {
    pub(crate) paste: Vec<String>,
    pub(crate) browse: Option<String>,
    /// The user will paste nothing more.
    pub(crate) gone: bool,
}

type Script = Box<dyn Fn(&Url, &str) -> Deeds + Send + Sync>;

/// A user who follows a script.
pub(crate) struct User {
    script: Script,
    to_paste: Mutex<Vec<String>>,
    gone: Mutex<bool>,
    pub(crate) url: Mutex<String>,
    pub(crate) refused: Mutex<Vec<CallbackError>>,
    pub(crate) page: Mutex<Option<JoinHandle<String>>>,
    pub(crate) was_unbound: Mutex<bool>,
}

/// The query of an authorization URL.
pub(crate) struct Url(Vec<(String, String)>);

impl Url {
    pub(crate) fn parse(text: &str) -> Self {
        let query = text.split_once('?').unwrap().1;
        let pairs = url::form_urlencoded::parse(query.as_bytes()).into_owned();
        Self(pairs.collect())
    }

    pub(crate) fn fields(&self) -> std::collections::BTreeMap<String, String> {
        let fields: std::collections::BTreeMap<_, _> = self.0.iter().cloned().collect();
        assert_eq!(fields.len(), self.0.len(), "a parameter is there twice");
        fields
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        &self.0.iter().find(|(known, _)| known == name).unwrap().1
    }
}

impl User {
    pub(crate) fn new(script: impl Fn(&Url, &str) -> Deeds + Send + Sync + 'static) -> Self {
        Self {
            script: Box::new(script),
            to_paste: Mutex::default(),
            gone: Mutex::default(),
            url: Mutex::default(),
            refused: Mutex::default(),
            page: Mutex::default(),
            was_unbound: Mutex::default(),
        }
    }

    /// Whether their browser shows something already.
    pub(crate) fn is_shown_something(&self) -> bool {
        self.page.lock().unwrap().as_ref().unwrap().is_finished()
    }

    /// The page that their browser shows in the end.
    pub(crate) fn page(&self) -> String {
        self.page.lock().unwrap().take().unwrap().join().unwrap()
    }
}

impl LoginUi for User {
    fn begin(&self, begun: &Begun<'_>) {
        begun.url.clone_into(&mut self.url.lock().unwrap());
        *self.was_unbound.lock().unwrap() = begun.unbound.is_some();
        let mut deeds = (self.script)(&Url::parse(begun.url), begun.redirect_uri);
        deeds.paste.reverse();
        *self.to_paste.lock().unwrap() = deeds.paste;
        *self.gone.lock().unwrap() = deeds.gone;
        if let Some(target) = deeds.browse {
            *self.page.lock().unwrap() = Some(std::thread::spawn(move || browse(&target)));
        }
    }

    fn pasted(&self) -> Pin<Box<dyn Future<Output = Option<String>> + Send + '_>> {
        let next = self.to_paste.lock().unwrap().pop();
        let gone = *self.gone.lock().unwrap();
        Box::pin(async move {
            match next {
                Some(text) => Some(text),
                None if gone => None,
                None => pending().await,
            }
        })
    }

    fn refused(&self, error: &CallbackError) {
        self.refused.lock().unwrap().push(error.clone());
    }

    fn exchanging(&self) {}

    fn show_code(&self, _prompt: &DevicePrompt<'_>) {}

    fn polling(&self, _is_asking: bool) {}
}

/// Follows redirects as a browser does, and returns the page at the end.
pub(crate) fn browse(url: &str) -> String {
    let rest = url.strip_prefix("http://").unwrap();
    let (authority, path) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(authority).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {authority}\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let location = page.lines().find_map(|line| line.strip_prefix("location: "));
    match location {
        Some(location) if location.starts_with('/') => {
            browse(&format!("http://{authority}{location}"))
        }
        Some(location) => browse(location),
        None => page,
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
