//! Plugins as an [`HttpClient`](crate::HttpClient): a request to `plugin:<id>` is a conversation
//! with a process.
//!
//! The body of the request is the line that is sent; the body of the response is the last line of
//! the plugin. The stages of a connection have counterparts, so the refresh protocol need not know
//! about plugins: starting the plugin and its `hello` are the connection, then the gate is called,
//! then the token is sent.

use std::time::Duration;

use auth_store::{ProviderId, Secret};

use crate::http::{HttpClient, HttpError, HttpRequest, HttpResponse, NO_STATUS, Sending};
use crate::oauth::unread;
use crate::plugin::message::FailureKind;
use crate::plugin::process::Process;
use crate::plugin::protocol::{HELLO_TIMEOUT, SCHEME};
use crate::plugin::session::{Conversation, Event, Hello, Operation, Violation};
use crate::provider::executable::{Environment, Executable, Unusable};
use crate::provider::registry::Providers;

/// An HTTP client that can also reach the plugins of `providers`.
pub struct WithPlugins {
    http: Box<dyn HttpClient>,
    plugins: Vec<(ProviderId, Result<Executable, Unusable>)>,
    environment: Environment,
}

impl WithPlugins {
    /// All other requests go to `http`. Plugins get the variables of `environment`.
    pub fn new(http: Box<dyn HttpClient>, providers: &Providers, environment: Environment) -> Self {
        let plugins = providers.all().iter().filter_map(|provider| {
            Some((provider.id.clone(), Executable::from_provider(provider)?))
        });
        Self { http, plugins: plugins.collect(), environment }
    }

    async fn converse(&self, id: &str, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let plugin = self.plugins.iter().find(|(known, _)| known.as_str() == id);
        let executable = match plugin {
            Some((_, Ok(executable))) => executable,
            Some((_, Err(unusable))) => return Err(HttpError::NotSent(unusable.to_string())),
            None => return Err(HttpError::NotSent(format!("there is no plugin `{id}`"))),
        };
        let line = request.body().unwrap_or_default().to_vec();
        let operation = match serde_json::from_slice::<serde_json::Value>(&line) {
            Ok(request) if request["type"] == "revoke" => Operation::Revoke,
            _ => Operation::Refresh,
        };
        let mut was_sent = false;
        let mut process = None;
        let conversation =
            self.conversation(executable, operation, &line, &request, &mut process, &mut was_sent);
        let outcome = tokio::time::timeout(request.timeout(), conversation).await;
        let said = process.as_ref().map(|process: &Process| process.stderr(&secrets_in(&line)));
        for line in said.unwrap_or_default() {
            tracing::info!(plugin = id, "{line}");
        }
        let failed = |reason: String| {
            if was_sent { HttpError::NoResponse(reason) } else { HttpError::NotSent(reason) }
        };
        match outcome {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(reason)) => Err(failed(reason)),
            Err(_) => {
                let seconds = request.timeout().as_secs();
                Err(failed(format!("the plugin gave no answer within {seconds} s")))
            }
        }
    }

    async fn conversation(
        &self,
        executable: &Executable,
        operation: Operation,
        line: &[u8],
        request: &HttpRequest,
        process: &mut Option<Process>,
        was_sent: &mut bool,
    ) -> Result<HttpResponse, String> {
        let started = Process::start(executable, &self.environment).await;
        let started = started.map_err(|error| format!("the plugin did not start: {error}"))?;
        let process = process.insert(started);
        let mut conversation = Conversation::new(executable.id.as_str(), operation);
        hello(process, &mut conversation).await.map_err(|error| error.to_string())?;
        if request.gate().is_some_and(|gate| !gate()) {
            return Err("the lock was lost before anything was sent".to_owned());
        }
        *was_sent = true;
        process.write(line).await;
        loop {
            let Some(line) = process.line().await.map_err(|violation| violation.to_string())?
            else {
                return Err("the plugin ended without an answer".to_owned());
            };
            let event = match conversation.accept(&line) {
                // Even if the line is invalid, the tokens exist only in it.
                Err(_) if unread::holds_tokens(&line) => {
                    return Ok(HttpResponse { status: NO_STATUS, headers: Vec::new(), body: line });
                }
                event => event.map_err(|it| it.to_string())?,
            };
            let body = match event {
                Event::Result(response) => response.line,
                Event::Error(failure) if failure.kind == FailureKind::Unknown => {
                    return Err(failure.words());
                }
                Event::Error(_) => line,
                _ => continue,
            };
            return Ok(HttpResponse { status: NO_STATUS, headers: Vec::new(), body });
        }
    }
}

impl HttpClient for WithPlugins {
    fn send(&self, request: HttpRequest) -> Sending<'_> {
        match request.url().strip_prefix(SCHEME).map(str::to_owned) {
            Some(id) => Box::pin(async move { self.converse(&id, request).await }),
            None => self.http.send(request),
        }
    }
}

/// Starts a plugin just to read its `hello`, and ends it: checks that it exists, is a plugin, and
/// speaks a known version.
pub async fn greet(executable: &Executable, environment: &Environment) -> Result<Hello, Ungreeted> {
    let started = Process::start(executable, environment).await;
    let mut process = started.map_err(|error| Ungreeted::Unstarted(error.to_string()))?;
    let mut conversation = Conversation::new(executable.id.as_str(), Operation::Login);
    hello(&mut process, &mut conversation).await
}

/// Why a plugin gave no usable `hello`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Ungreeted {
    /// The operating system did not start it, for this reason.
    #[error("the plugin did not start: {0}")]
    Unstarted(String),
    /// It sent nothing within this time.
    #[error("the plugin said no `hello` within {} s", .0.as_secs())]
    Silent(Duration),
    /// It ended without a `hello`.
    #[error("the plugin ended without a `hello`")]
    Ended,
    /// It sent something else.
    #[error(transparent)]
    Violation(#[from] Violation),
}

/// Waits for the `hello` of a plugin.
pub(super) async fn hello(
    process: &mut Process,
    conversation: &mut Conversation,
) -> Result<Hello, Ungreeted> {
    let line = tokio::time::timeout(HELLO_TIMEOUT, process.line()).await;
    let line = line.map_err(|_| Ungreeted::Silent(HELLO_TIMEOUT))??;
    match conversation.accept(&line.ok_or(Ungreeted::Ended)?)? {
        Event::Hello(hello) => Ok(hello),
        // The conversation accepts nothing else at its start.
        _ => Err(Ungreeted::Ended),
    }
}

/// The tokens in a request, which its log must not contain.
fn secrets_in(line: &[u8]) -> Vec<Secret> {
    let request: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
    let tokens = ["refresh_token", "access_token"].map(|member| request[member].as_str());
    tokens.into_iter().flatten().map(Secret::from).collect()
}

impl std::fmt::Debug for WithPlugins {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("WithPlugins")
            .field("plugins", &self.plugins)
            .finish_non_exhaustive()
    }
}
