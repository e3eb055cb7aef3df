//! The device authorization request and its response (RFC 8628 §3.1, §3.2).

use std::time::Duration;

use auth_pkce::{Challenge, State, Verifier};
use auth_store::{Secret, Timestamp};
use serde_json::Value;

use crate::http::address;
use crate::http::destination::Destination;
use crate::http::{self, HttpRequest, HttpResponse};
use crate::login::TIMEOUT;
use crate::login::error::{LoginError, misconfigured, target};
use crate::oauth::endpoint::TokenEndpoint;
use crate::oauth::numbers::number;
use crate::oauth::response::error_of;
use crate::oauth::tokens::Expiry;
use crate::provider::{Flow, Provider};
use crate::text;

/// The provider's response to the request for a code.
#[derive(Clone, Debug)]
pub(crate) struct DeviceGrant {
    /// The code to poll with. MiniMax has no separate one: its user code is used for both.
    pub(crate) device_code: Secret,
    pub(crate) verifier: Option<Verifier>,
    pub(crate) user_code: String,
    pub(crate) verification_uri: String,
    pub(crate) verification_uri_complete: Option<String>,
    pub(crate) lifetime: Duration,
    pub(crate) interval: Duration,
}

/// The request for a code (RFC 8628 §3.1).
pub(crate) fn code_request(
    provider: &Provider,
    flow: Flow,
    endpoint: &TokenEndpoint,
    verifier: Option<&Verifier>,
    state: &State,
) -> Result<HttpRequest, LoginError> {
    let url = provider.endpoints.device_authorization.clone().unwrap_or_default();
    let known = provider.destinations();
    let what = "device authorization endpoint";
    if flow == Flow::DeviceCodeOpenai {
        let body = serde_json::json!({ "client_id": endpoint.client_id });
        let to = known.admit(&url, what).map_err(|error| misconfigured(provider, &error))?;
        return Ok(openai_request(&to, &body));
    }
    let mut endpoint = provider
        .token_endpoint(what, &url, &known, Some(endpoint.client_id.clone()))
        .map_err(|error| target(provider, &error))?;
    endpoint.params = provider.authorize_params.clone().into_iter().collect();
    let scope = provider.scopes.join(" ");
    let challenge = verifier.map(Verifier::challenge);
    let mut params = Vec::new();
    if flow == Flow::DeviceCodeMinimax {
        params.push(("response_type", "code"));
        params.push(("state", state.expose()));
    }
    if !scope.is_empty() {
        params.push(("scope", scope.as_str()));
    }
    if let Some(challenge) = &challenge {
        params.push(("code_challenge", challenge.as_str()));
        params.push(("code_challenge_method", Challenge::METHOD));
    }
    // Any unique value will do; the state is one, and is not used again where it counts.
    let id = provider.device.request_id.then(|| ("x-request-id".to_owned(), uuid(state)));
    Ok(endpoint.request_with(&params, id.into_iter().collect(), TIMEOUT))
}

/// OpenAI's own endpoints require JSON, and a header that identifies the client.
pub(crate) fn openai_request(to: &Destination, body: &Value) -> HttpRequest {
    let body = body.to_string().into_bytes();
    let headers = [("originator", ORIGINATOR), ("version", env!("CARGO_PKG_VERSION"))];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    to.post("application/json", body, headers.to_vec(), TIMEOUT)
}

/// The code in the response (RFC 8628 §3.2).
pub(crate) fn read_code(
    provider: &Provider,
    flow: Flow,
    response: &HttpResponse,
    state: &State,
    now: Timestamp,
) -> Result<DeviceGrant, LoginError> {
    let body = response.object();
    if flow == Flow::DeviceCodeOpenai && response.status == 404 {
        return Err(LoginError::NoDeviceLogin { provider: provider.id.clone() });
    }
    if let Some(reason) = response.page() {
        return Err(LoginError::Unavailable { reason });
    }
    match error_of(&body) {
        Some((code, description)) if !http::is_passing(response.status) => {
            return Err(LoginError::Refused { code, description });
        }
        _ if !(200..300).contains(&response.status) => {
            let reason = format!("the server answered {}, without a code", response.status);
            return Err(LoginError::Unavailable { reason });
        }
        _ => {}
    }
    let text = |names: &[&str]| {
        let found = names.iter().find_map(|name| body.get(*name)?.as_str());
        found.map(auth_store::trim).filter(|text| !text.is_empty())
    };
    let lacks =
        |what: &str| LoginError::Unavailable { reason: format!("the answer has no usable {what}") };
    let user_code =
        text(&["user_code", "usercode"]).map(text::clean).filter(|code| !code.is_empty());
    let user_code = user_code.ok_or_else(|| lacks("user code"))?;
    let (device_code, needs_state) = match flow {
        Flow::DeviceCodeMinimax => (Some(user_code.as_str()), true),
        Flow::DeviceCodeOpenai => (text(&["device_auth_id"]), false),
        _ => (text(&["device_code"]), false),
    };
    let device_code = Secret::from(device_code.ok_or_else(|| lacks("device code"))?);
    if needs_state && !text(&["state"]).is_some_and(|echoed| state.matches(echoed)) {
        return Err(LoginError::Untrusted { reason: "it does not repeat the state that was sent" });
    }
    let page = |names: &[&str]| text(names).filter(|url| address::parse(url).is_ok());
    // Google calls it `verification_url`.
    let verification_uri = page(&["verification_uri", "verification_url"])
        .or(provider.device.verification_uri.as_deref())
        .ok_or_else(|| lacks("address to enter the code at"))?;
    let number_of = |name: &str| body.get(name).and_then(number);
    let lifetime = match &provider.expires_field {
        Some(field) => number_of(field).map(|end| until(end, now)),
        None => number_of("expires_in").and_then(seconds),
    };
    let interval = match flow {
        Flow::DeviceCodeMinimax => number_of("interval").and_then(|it| seconds(it / 1000.0)),
        _ => number_of("interval").and_then(seconds),
    };
    let shortest = Duration::from_secs(match flow {
        Flow::DeviceCodeMinimax => 2,
        _ => 1,
    });
    let of_entry = |value: Option<u32>| value.map(|value| Duration::from_secs(value.into()));
    Ok(DeviceGrant {
        device_code,
        verifier: None,
        verification_uri: verification_uri.to_owned(),
        verification_uri_complete: page(&["verification_uri_complete"]).map(str::to_owned),
        lifetime: lifetime
            .or(of_entry(provider.device.lifetime))
            .unwrap_or(LIFETIME)
            .min(LONGEST_LIFETIME),
        interval: interval
            .or(of_entry(provider.device.interval))
            .unwrap_or(INTERVAL)
            .clamp(shortest, LONGEST_INTERVAL),
        user_code,
    })
}

/// A number of seconds as a duration, if it is in range.
pub(crate) fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

/// The time until `end`, which is a number of seconds or a timestamp; the size of the number tells.
fn until(end: f64, now: Timestamp) -> Duration {
    match Expiry::by_size(end) {
        Expiry::In(lifetime) => lifetime,
        Expiry::At(end) => end.since(now),
    }
}

/// A random UUID (RFC 9562 §5.4) made of the first bits of the state.
fn uuid(state: &State) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(state.expose());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// We identify ourselves, and never claim to be another program.
const ORIGINATOR: &str = "token-sink";

/// RFC 8628 §3.2.
const INTERVAL: Duration = Duration::from_secs(5);
const LONGEST_INTERVAL: Duration = Duration::from_mins(5);

/// For a code whose lifetime is not in the response.
const LIFETIME: Duration = Duration::from_mins(5);
const LONGEST_LIFETIME: Duration = Duration::from_hours(1);
