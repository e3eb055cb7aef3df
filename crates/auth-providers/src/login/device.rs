//! Login with a code that the user enters on another device (RFC 8628), and two providers' own
//! variants of it.

use std::pin::Pin;
use std::time::Duration;

use auth_pkce::{State, Verifier};
use auth_store::{Clock, Secret, Timestamp};
use serde_json::Value;

use crate::http::address;
use crate::http::{self, HttpClient, HttpError, HttpRequest, HttpResponse};
use crate::login::browser::resolve;
use crate::login::device_code::{DeviceGrant, code_request, openai_request, read_code, seconds};
use crate::login::error::{LoginError, misconfigured, target, unavailable};
use crate::login::token_exchange::Grant;
use crate::login::{DevicePrompt, Login, LoginUi, TIMEOUT};
use crate::oauth::endpoint::TokenEndpoint;
use crate::oauth::numbers::number;
use crate::oauth::response::{error_of, retry_after};
use crate::oauth::tokens::pointed;
use crate::provider::{Flow, Provider};
use crate::text;

/// The passing of time, as a parameter.
pub trait Waiting: Send + Sync {
    /// The time since some fixed instant. It includes the time that the machine sleeps, and is not
    /// affected by changes of the system clock.
    fn elapsed(&self) -> Duration;

    /// Waits for `duration`.
    fn pause(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// Real time, with tokio's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealTime;

impl Waiting for RealTime {
    fn elapsed(&self) -> Duration {
        auth_store::since_boot()
    }

    fn pause(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A device login that has started: the code exists, and the user may enter it.
#[derive(Debug)]
pub struct DeviceLogin {
    pub(crate) provider: Provider,
    pub(crate) flow: Flow,
    endpoint: TokenEndpoint,
    pub(crate) grant: DeviceGrant,
}

/// The result of a poll.
enum Poll {
    Login(Box<Login>),
    Pending,
    /// Wait longer from now on; the server may say how long.
    SlowDown(Option<Duration>),
    /// No response, or one that proves nothing.
    Odd(String, Option<Duration>),
}

/// Logs in to `provider` by the device flow `flow`.
///
/// `entropy` must come from the system's generator and be used for nothing else. Dropping this
/// future cancels the login without leaving anything behind; [`LoginUi::polling`] says when that
/// would lose tokens.
pub async fn device_login(
    provider: &Provider,
    flow: Flow,
    entropy: [u8; 64],
    http: &dyn HttpClient,
    ui: &dyn LoginUi,
    clock: &dyn Clock,
    waiting: &dyn Waiting,
) -> Result<Login, LoginError> {
    let login = DeviceLogin::begin(provider, flow, entropy, http, clock).await?;
    ui.show_code(&login.prompt());
    login.finish(http, ui, clock, waiting).await
}

impl DeviceLogin {
    /// Requests a code.
    pub async fn begin(
        provider: &Provider,
        flow: Flow,
        entropy: [u8; 64],
        http: &dyn HttpClient,
        clock: &dyn Clock,
    ) -> Result<Self, LoginError> {
        if !flow.is_device_code() {
            return Err(LoginError::NoSuchFlow { provider: provider.id.clone() });
        }
        let provider = resolve(provider, flow, http).await?;
        let endpoint = token_endpoint(&provider)?;
        let (mut verifier, mut state) = ([0; 32], [0; 32]);
        verifier.copy_from_slice(&entropy[..32]);
        state.copy_from_slice(&entropy[32..]);
        let verifier = provider.device.pkce.then(|| Verifier::new(verifier));
        let state = State::new(state);
        let request = code_request(&provider, flow, &endpoint, verifier.as_ref(), &state)?;
        let response = http.send(request).await.map_err(|error| unavailable(&error))?;
        let grant = read_code(&provider, flow, &response, &state, clock.now())?;
        Ok(Self { grant: DeviceGrant { verifier, ..grant }, provider, flow, endpoint })
    }

    /// Resumes a login that another process began.
    pub(crate) fn resume(
        provider: Provider,
        flow: Flow,
        grant: DeviceGrant,
    ) -> Result<Self, LoginError> {
        let endpoint = token_endpoint(&provider)?;
        Ok(Self { provider, flow, endpoint, grant })
    }

    /// The code and address to show to the user.
    pub fn prompt(&self) -> DevicePrompt<'_> {
        let grant = &self.grant;
        let best = grant.verification_uri_complete.as_ref().unwrap_or(&grant.verification_uri);
        DevicePrompt {
            user_code: &grant.user_code,
            verification_uri: &grant.verification_uri,
            verification_uri_complete: grant.verification_uri_complete.as_deref(),
            openable: is_own(&self.provider, best).then_some(best),
            lifetime: grant.lifetime,
        }
    }

    /// Polls until the user agrees, refuses, or the code expires (RFC 8628 §3.4, §3.5).
    pub async fn finish(
        &self,
        http: &dyn HttpClient,
        ui: &dyn LoginUi,
        clock: &dyn Clock,
        waiting: &dyn Waiting,
    ) -> Result<Login, LoginError> {
        let deadline = waiting.elapsed().saturating_add(self.grant.lifetime);
        let mut interval = self.grant.interval;
        let (mut pause, mut odd_responses) = (interval, 0);
        loop {
            let left = deadline.saturating_sub(waiting.elapsed());
            waiting.pause(pause.min(left)).await;
            if waiting.elapsed() >= deadline {
                return Err(LoginError::CodeEnded);
            }
            ui.polling(true);
            let poll = self.poll(http, clock).await?;
            match poll {
                Poll::Login(login) => return Ok(*login),
                Poll::Pending => (pause, odd_responses) = (interval, 0),
                Poll::SlowDown(wanted) => {
                    interval = (interval + SLOWER).max(wanted.unwrap_or_default());
                    (pause, odd_responses) = (interval, 0);
                }
                Poll::Odd(reason, wait) => {
                    odd_responses += 1;
                    if wait.is_none() && odd_responses > MOST_ODD_ANSWERS {
                        return Err(LoginError::Unavailable { reason });
                    }
                    // A server in trouble is polled less and less often.
                    let longest = interval.max(LONGEST_PAUSE);
                    pause = (pause * 2).min(longest).max(wait.unwrap_or_default());
                }
            }
            ui.polling(false);
        }
    }

    async fn poll(&self, http: &dyn HttpClient, clock: &dyn Clock) -> Result<Poll, LoginError> {
        let response = match http.send(self.poll_request()?).await {
            Ok(response) => response,
            // Both are connection failures. If a response with tokens was lost, the next poll is
            // refused, and the user starts again.
            Err(HttpError::NotSent(reason) | HttpError::NoResponse(reason)) => {
                return Ok(Poll::Odd(reason, Some(Duration::ZERO)));
            }
        };
        let received_at = clock.now();
        match self.flow {
            Flow::DeviceCodeOpenai => self.read_openai(&response, http, clock).await,
            Flow::DeviceCodeMinimax => self.read_minimax(&response, received_at, http).await,
            _ => self.read(&response, received_at, http).await,
        }
    }

    fn poll_request(&self) -> Result<HttpRequest, LoginError> {
        let code = self.grant.device_code.expose();
        let verifier = self.grant.verifier.as_ref().map(Verifier::expose);
        let known = self.provider.destinations();
        if self.flow == Flow::DeviceCodeOpenai {
            let url = self.provider.device.poll.as_deref().ok_or_else(|| {
                misconfigured(&self.provider, &"`device.poll` is missing in its entry")
            })?;
            let body = serde_json::json!({
                "device_auth_id": code, "user_code": self.grant.user_code,
            });
            let to = known.admit(url, "device poll endpoint");
            let to = to.map_err(|error| misconfigured(&self.provider, &error))?;
            return Ok(openai_request(&to, &body));
        }
        let (grant_type, name) = match self.flow {
            Flow::DeviceCodeMinimax => (MINIMAX_GRANT, "user_code"),
            _ => (DEVICE_GRANT, "device_code"),
        };
        let mut params = vec![("grant_type", grant_type), (name, code)];
        params.extend(verifier.map(|verifier| ("code_verifier", verifier)));
        let Some(url) = &self.provider.device.poll else {
            return Ok(self.endpoint.request(&params, TIMEOUT));
        };
        let to = known.admit(url, "device poll endpoint");
        let to = to.map_err(|error| misconfigured(&self.provider, &error))?;
        Ok(self.endpoint.moved_to(to).request(&params, TIMEOUT))
    }

    /// RFC 8628 §3.5. GitHub sends its errors with status 200.
    async fn read(
        &self,
        response: &HttpResponse,
        received_at: Timestamp,
        http: &dyn HttpClient,
    ) -> Result<Poll, LoginError> {
        let body = response.object();
        if let Some((code, description)) = error_of(&body) {
            return match code.as_str() {
                "authorization_pending" => Ok(Poll::Pending),
                "slow_down" => {
                    Ok(Poll::SlowDown(body.get("interval").and_then(number).and_then(seconds)))
                }
                "expired_token" => Err(LoginError::CodeEnded),
                "temporarily_unavailable" | "server_error" => Ok(odd(response, received_at)),
                _ if http::is_passing(response.status) => Ok(odd(response, received_at)),
                _ => {
                    let without = |text: String| self.without_sent(&text);
                    let description = description.map(without);
                    Err(LoginError::Refused { code: without(code), description })
                }
            };
        }
        if body.contains_key("access_token") && (200..300).contains(&response.status) {
            return self.login(response, received_at, http).await;
        }
        Ok(odd(response, received_at))
    }

    /// OpenAI: 403 and 404 mean that the user has not entered the code yet. After that the response
    /// has a code to exchange, and the server also sends the PKCE verifier.
    async fn read_openai(
        &self,
        response: &HttpResponse,
        http: &dyn HttpClient,
        clock: &dyn Clock,
    ) -> Result<Poll, LoginError> {
        // A page of what stands before the server says nothing about the code.
        if matches!(response.status, 403 | 404) && response.page().is_none() {
            return Ok(Poll::Pending);
        }
        let body = response.object();
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let (Some(code), Some(verifier), 200..300) =
            (text("authorization_code"), text("code_verifier"), response.status)
        else {
            return match error_of(&body) {
                Some((code, _)) if code == "slow_down" => Ok(Poll::SlowDown(None)),
                Some((code, description))
                    if (400..500).contains(&response.status)
                        && !http::is_passing(response.status) =>
                {
                    Err(LoginError::Refused { code, description })
                }
                _ => Ok(odd(response, clock.now())),
            };
        };
        let params = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.provider.device.redirect_uri.as_deref().unwrap_or_default()),
            ("code_verifier", verifier),
        ];
        let request = self.endpoint.request(&params, TIMEOUT);
        let exchanged = http.send(request).await.map_err(|error| unavailable(&error))?;
        let login =
            self.grant_as(&exchanged, &[code.into(), verifier.into()], clock.now(), http).await?;
        Ok(Poll::Login(Box::new(login)))
    }

    /// `MiniMax`: the member `status` has the state.
    async fn read_minimax(
        &self,
        response: &HttpResponse,
        received_at: Timestamp,
        http: &dyn HttpClient,
    ) -> Result<Poll, LoginError> {
        let body = response.object();
        match body.get("status").and_then(Value::as_str) {
            Some("success") if (200..300).contains(&response.status) => {
                self.login(response, received_at, http).await
            }
            Some("error") => {
                let message = pointed(&body, "/base_resp/status_msg").and_then(Value::as_str);
                let description = message.map(|it| self.without_sent(&text::clean(it)));
                Err(LoginError::Refused { code: "error".to_owned(), description })
            }
            _ if (200..300).contains(&response.status) && !body.is_empty() => Ok(Poll::Pending),
            _ => self.read(response, received_at, http).await,
        }
    }

    async fn login(
        &self,
        response: &HttpResponse,
        received_at: Timestamp,
        http: &dyn HttpClient,
    ) -> Result<Poll, LoginError> {
        let login = self.grant_as(response, &self.sent(), received_at, http).await?;
        Ok(Poll::Login(Box::new(login)))
    }

    /// The secrets that a response may repeat and our messages must not.
    fn sent(&self) -> Vec<Secret> {
        let verifier = self.grant.verifier.as_ref().map(|it| it.expose().into());
        verifier.into_iter().chain([self.grant.device_code.clone()]).collect()
    }

    fn without_sent(&self, said: &str) -> String {
        self.sent().iter().fold(said.to_owned(), |said, secret| text::without(&said, secret))
    }

    async fn grant_as(
        &self,
        response: &HttpResponse,
        sent: &[Secret],
        received_at: Timestamp,
        http: &dyn HttpClient,
    ) -> Result<Login, LoginError> {
        let grant = Grant {
            provider: &self.provider,
            endpoint: &self.endpoint,
            nonce: None,
            yields: self.provider.device.yields,
        };
        grant.login(response, sent, received_at, http).await
    }
}

fn token_endpoint(provider: &Provider) -> Result<TokenEndpoint, LoginError> {
    let url = provider.endpoints.token.as_deref().unwrap_or_default();
    let known = provider.destinations();
    let endpoint =
        provider.token_endpoint("token endpoint", url, &known, provider.client_id.clone());
    endpoint.map_err(|error| target(provider, &error))
}

/// Whether `url` is on a host that the provider's own entry names.
fn is_own(provider: &Provider, url: &str) -> bool {
    let host = |url: &str| Some(address::parse(url).ok()?.host_str()?.to_owned());
    let known = [
        provider.endpoints.device_authorization.as_deref(),
        provider.endpoints.authorization.as_deref(),
        provider.device.verification_uri.as_deref(),
        provider.issuer.as_deref(),
    ];
    let wanted = host(url);
    wanted.is_some() && known.into_iter().flatten().any(|own| host(own) == wanted)
}

fn odd(response: &HttpResponse, now: Timestamp) -> Poll {
    let wait = response.header("retry-after").and_then(|text| retry_after(text, now));
    let nothing = || format!("the server answered {}, with nothing that counts", response.status);
    Poll::Odd(response.page().unwrap_or_else(nothing), wait)
}

/// RFC 8628 §3.4.
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const MINIMAX_GRANT: &str = "urn:ietf:params:oauth:grant-type:user_code";

/// RFC 8628 §3.5: the time that `slow_down` adds to this and all later pauses.
const SLOWER: Duration = Duration::from_secs(5);

/// Between two polls of a server in trouble.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The limit for consecutive responses that prove nothing.
const MOST_ODD_ANSWERS: u32 = 5;
