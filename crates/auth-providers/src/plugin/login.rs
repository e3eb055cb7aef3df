//! Login with a plugin: the plugin asks, the user answers.

use std::pin::Pin;

use auth_store::{Clock, Credential, Secret};

use crate::login::Login;
use crate::login::error::LoginError;
use crate::plugin::client::hello;
use crate::plugin::credential::login_of;
use crate::plugin::message::{self, Failure, FailureKind, Prompt, Reply, Request};
use crate::plugin::process::Process;
use crate::plugin::protocol::{LOGIN_TIMEOUT, LONGEST_SILENCE};
use crate::plugin::session::{Conversation, Event, Operation, Violation};
use crate::provider::Provider;
use crate::provider::executable::{Environment, Executable};

/// The user interface of a plugin's login. Every text is one clean line.
pub trait PluginUi: Send + Sync {
    /// Shows progress; an empty text shows nothing.
    fn progress(&self, text: &str);

    /// Sends the user to an address.
    fn open(&self, url: &str, text: &str);

    /// Shows an address, and the code to enter there, with its lifetime in seconds.
    fn device_code(&self, url: &str, code: &str, expires_in: Option<u64>);

    /// Asks the user. Dropped if the plugin no longer needs the answer.
    fn ask<'a>(&'a self, prompt: &'a Prompt) -> Pin<Box<dyn Future<Output = Reply> + Send + 'a>>;

    /// A line of the plugin's standard error, for users who turned its log on.
    fn log(&self, line: &str);
}

/// Logs in to `provider` with its plugin. Nothing is stored; dropping the future ends the plugin.
pub async fn login(
    provider: &Provider,
    environment: &Environment,
    ui: &dyn PluginUi,
    clock: &dyn Clock,
) -> Result<Login, LoginError> {
    let unusable =
        |reason: String| LoginError::Misconfigured { provider: provider.id.clone(), reason };
    let executable = match Executable::from_provider(provider) {
        Some(executable) => executable.map_err(|error| unusable(error.to_string()))?,
        None => return Err(LoginError::NoSuchFlow { provider: provider.id.clone() }),
    };
    let mut process = Process::start(&executable, environment)
        .await
        .map_err(|error| unusable(format!("the plugin did not start: {error}")))?;
    let mut secrets = Vec::new();
    let talking = talk(provider, &mut process, &mut secrets, ui, clock);
    let ended = tokio::time::timeout(LOGIN_TIMEOUT, talking).await;
    for line in process.stderr(&secrets) {
        ui.log(&line);
    }
    ended.unwrap_or(Err(LoginError::TimedOut(LOGIN_TIMEOUT)))
}

async fn talk(
    provider: &Provider,
    process: &mut Process,
    secrets: &mut Vec<Secret>,
    ui: &dyn PluginUi,
    clock: &dyn Clock,
) -> Result<Login, LoginError> {
    let broken = |reason: String| LoginError::Plugin { provider: provider.id.clone(), reason };
    let violated = |violation: Violation| broken(violation.to_string());
    let mut conversation = Conversation::new(provider.id.as_str(), Operation::Login);
    let greeting = hello(process, &mut conversation).await;
    let greeting = greeting.map_err(|error| broken(error.to_string()))?;
    let request = Request::Login { version: greeting.version, provider: provider.id.to_string() };
    process.write(&request.line()).await;

    let mut asked: Option<Prompt> = None;
    loop {
        let prompt = asked.take();
        // While a question is open, the plugin may continue, and may no longer need the answer.
        let (mut reply, silence) = match &prompt {
            Some(prompt) => (ui.ask(prompt), LOGIN_TIMEOUT),
            None => (nobody_is_asked(), LONGEST_SILENCE),
        };
        while asked.is_none() {
            let line = tokio::select! {
                line = tokio::time::timeout(silence, process.line()) => {
                    line.map_err(|_| LoginError::TimedOut(silence))?.map_err(violated)?
                }
                reply = &mut reply => {
                    if let Reply::Text(text) = &reply {
                        secrets.push(text.clone());
                    }
                    if let Some(prompt) = &prompt {
                        process.write(&message::response(&prompt.id, &reply)).await;
                    }
                    conversation.received();
                    break;
                }
            };
            let Some(line) = line else {
                return Err(broken("the plugin ended without a `result`".to_owned()));
            };
            match conversation.accept(&line).map_err(violated)? {
                Event::Hello(_) => {}
                Event::Progress(text) => ui.progress(&text),
                Event::Open { url, text } => ui.open(&url, &text),
                Event::DeviceCode { url, code, expires_in } => {
                    ui.device_code(&url, &code, expires_in);
                }
                Event::Prompt(prompt) => asked = Some(prompt),
                Event::Result(response) => {
                    let login = login_of(provider, &response, clock.now()).map_err(violated)?;
                    secrets.push(login.credential.bearer().clone());
                    if let Credential::OAuth(login) = &login.credential {
                        secrets.push(login.refresh.clone());
                    }
                    return Ok(login);
                }
                Event::Error(failure) => {
                    let failure = secrets.iter().fold(failure, Failure::without);
                    return Err(failed(provider, failure));
                }
            }
        }
    }
}

fn nobody_is_asked<'a>() -> Pin<Box<dyn Future<Output = Reply> + Send + 'a>> {
    Box::pin(std::future::pending())
}

fn failed(provider: &Provider, failure: Failure) -> LoginError {
    let words = failure.words();
    match failure.kind {
        FailureKind::Rejected => LoginError::Refused {
            code: if failure.code.is_empty() { words } else { failure.code },
            description: Some(failure.message).filter(|message| !message.is_empty()),
        },
        FailureKind::Canceled => LoginError::Canceled,
        FailureKind::Unavailable | FailureKind::Unknown => {
            let wait = failure.retry_after.map(|seconds| format!(", ask again in {seconds} s"));
            LoginError::Unavailable { reason: words + wait.unwrap_or_default().as_str() }
        }
        FailureKind::Misconfigured
        | FailureKind::Unsupported
        | FailureKind::UnsupportedVersion
        | FailureKind::InvalidRequest => {
            LoginError::Misconfigured { provider: provider.id.clone(), reason: words }
        }
    }
}
