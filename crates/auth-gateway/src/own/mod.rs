//! What the gateway answers by itself: its health, counts and status, and tokens and reports for
//! clients that were granted them.

mod query;
mod report;
mod status;
mod token;

pub(crate) use token::refusal;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use crate::accounts::Accounts;
use crate::api::shape::Refusal;
use crate::client::Right;
use crate::client::asked::Caller;
use crate::gateway::{Gateway, no_right};

/// What can be asked of the gateway itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Own {
    Metrics,
    Token,
    Report,
    Status,
}

impl Own {
    /// What a path stands for.
    pub(crate) fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/metrics" => Self::Metrics,
            "/v1/token" => Self::Token,
            "/v1/report" => Self::Report,
            "/v1/status" => Self::Status,
            _ => return None,
        })
    }

    fn right(self) -> (Right, Method) {
        match self {
            Self::Metrics | Self::Status => (Right::Status, Method::GET),
            Self::Token => (Right::Token, Method::GET),
            Self::Report => (Right::Report, Method::POST),
        }
    }
}

impl<A: Accounts> Gateway<A> {
    /// Answers what is asked of the gateway itself.
    pub(crate) async fn own(
        self: &Arc<Self>,
        own: Own,
        caller: &Caller,
        parts: &Parts,
        body: &mut Option<Incoming>,
    ) -> Result<Response<Bytes>, Refusal> {
        let (right, method) = own.right();
        if !caller.may(right) {
            return Err(no_right(right.as_str()));
        }
        if parts.method != method {
            let message = format!("`{}` is asked with {method}", parts.uri.path());
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message));
        }
        let most = self.limits.requests_per_client;
        let turn = caller.client().map(|client| self.rates.begin(client, most, Instant::now()));
        let _turn = turn.transpose()?;
        match own {
            Own::Metrics => Ok(plain(self.metrics.render())),
            Own::Status => Ok(json(&self.status(caller))),
            Own::Token => self.token(caller, parts.uri.query()).await.map(|told| json(&told)),
            Own::Report => {
                let body = self.own_body(body).await?;
                self.take_report(caller, &body).map(|told| json(&told))
            }
        }
    }

    async fn own_body(&self, body: &mut Option<Incoming>) -> Result<Bytes, Refusal> {
        let Some(body) = body.take() else { return Ok(Bytes::new()) };
        let read = Limited::new(body, LARGEST_BODY).collect();
        match timeout(self.limits.client_idle, read).await {
            Ok(Ok(whole)) => Ok(whole.to_bytes()),
            Ok(Err(_)) => Err(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the report is cut off or too large",
            )),
            Err(_) => {
                Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"))
            }
        }
    }
}

fn plain(text: String) -> Response<Bytes> {
    answer(Bytes::from(text), "text/plain; charset=utf-8")
}

fn json(value: &Value) -> Response<Bytes> {
    answer(Bytes::from(value.to_string()), "application/json")
}

fn answer(body: Bytes, kind: &'static str) -> Response<Bytes> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A report has the beginning of an answer in it at most.
const LARGEST_BODY: usize = 1 << 20;
