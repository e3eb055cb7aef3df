//! The gateway's own errors, in the format of the provider, because clients parse them.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

/// The format of a provider's errors.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// `{"error": {"message", "type", "param", "code"}}`
    #[default]
    Openai,
    /// `{"type": "error", "error": {"type", "message"}}`
    Anthropic,
    /// `{"error": {"code", "message", "status"}}`
    Google,
}

/// A request that the gateway refuses by itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    /// The status.
    pub(crate) status: StatusCode,
    /// What is wrong, for the client's log. It has no secret and no line break.
    pub(crate) message: String,
    /// When to try again.
    pub(crate) retry_after: Option<Duration>,
    /// A word for programs, in the place of the status's own.
    pub(crate) code: Option<&'static str>,
}

impl Refusal {
    /// A refusal without a time to try again.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None, code: None }
    }

    /// The response in a provider's error format.
    pub(crate) fn render(&self, shape: Shape) -> Response<Bytes> {
        let (status, message) = (self.status, &self.message);
        let body = match shape {
            Shape::Openai => json!({"error": {
                "message": message, "type": openai_type(status), "param": null,
                "code": self.code.or_else(|| openai_code(status)),
            }}),
            Shape::Anthropic => json!({"type": "error", "error": {
                "type": anthropic_type(status), "message": message,
            }}),
            Shape::Google => json!({"error": {
                "code": status.as_u16(), "message": message, "status": google_status(status),
            }}),
        };
        let mut response = Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn openai_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        500..=599 => "server_error",
        _ => "invalid_request_error",
    }
}

fn openai_code(status: StatusCode) -> Option<&'static str> {
    match status.as_u16() {
        401 => Some("invalid_api_key"),
        429 => Some("rate_limit_exceeded"),
        413 => Some("request_too_large"),
        _ => None,
    }
}

fn anthropic_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        500..=599 => "api_error",
        _ => "invalid_request_error",
    }
}

fn google_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        500..=599 => "UNAVAILABLE",
        _ => "INVALID_ARGUMENT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_provider_reads_its_own_errors() {
        let refusal = Refusal {
            retry_after: Some(Duration::from_millis(1500)),
            ..Refusal::new(StatusCode::TOO_MANY_REQUESTS, "all profiles are in cooldown")
        };
        let told = |shape| {
            let response = refusal.render(shape);
            assert_eq!(response.headers()["retry-after"], "2");
            serde_json::from_slice::<serde_json::Value>(response.body()).unwrap()
        };
        assert_eq!(told(Shape::Openai)["error"]["code"], "rate_limit_exceeded");
        assert_eq!(told(Shape::Anthropic)["error"]["type"], "rate_limit_error");
        assert_eq!(told(Shape::Google)["error"]["status"], "RESOURCE_EXHAUSTED");
    }

    #[test]
    fn a_body_that_is_too_large_is_refused_as_each_provider_does() {
        let refusal = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too large");
        let body = refusal.render(Shape::Anthropic);
        assert!(body.body().starts_with(b"{\"type\":\"error\""));
        let told: serde_json::Value = serde_json::from_slice(body.body()).unwrap();
        assert_eq!(told["error"]["type"], "request_too_large");
    }
}
