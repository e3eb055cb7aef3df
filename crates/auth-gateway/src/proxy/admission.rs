//! An incoming request: its caller, and whether it is admitted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, EXPECT, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response};

use crate::accounts::Accounts;
use crate::api::shape::Refusal;
use crate::gateway::{Door, Gateway};
use crate::http::entry;
use crate::http::keep::drain;
use crate::own::Own;
use crate::proxy::relay::Reply;

impl<A: Accounts> Gateway<A> {
    /// Responds to one request, in any case.
    pub(crate) async fn reply(
        self: Arc<Self>,
        door: Door,
        request: Request<Incoming>,
    ) -> Response<Reply<A>> {
        let id = self.requests.fetch_add(1, Ordering::Relaxed);
        let (parts, body) = request.into_parts();
        let shape = self.shape_of(parts.uri.path());
        let waits = parts.headers.contains_key(EXPECT);
        let mut body = Some(body);
        let mut response = match self.admit(&door, parts, &mut body, id).await {
            Ok(response) => response,
            Err(refusal) => {
                // A client that waits for `100 Continue` has sent no body.
                if let Some(body) = body.filter(|body| !waits && !body.is_end_stream()) {
                    tokio::spawn(drain(body, self.limits.clone()));
                }
                tracing::debug!(request = id, status = refusal.status.as_u16(), "refused");
                refusal.render(shape).map(|body| Reply::Own(Full::new(body)))
            }
        };
        response.headers_mut().insert(REQUEST_HEADER, HeaderValue::from(id));
        response
    }

    async fn admit(
        self: &Arc<Self>,
        door: &Door,
        parts: Parts,
        body: &mut Option<Incoming>,
        id: u64,
    ) -> Result<Response<Reply<A>>, Refusal> {
        entry::check(&parts, matches!(door, Door::Tcp).then_some(&self.hosts))?;
        if parts.uri.path() == "/healthz" {
            return Ok(text("ok\n".to_owned()));
        }
        if parts.uri.path() == "/"
            && let Some(page) = self.page(&parts)
        {
            return Ok(page.map(|body| Reply::Own(Full::new(body))));
        }
        let caller = self.caller(door, &parts)?;
        if let Some(own) = Own::of(parts.uri.path()) {
            let response = self.own(own, &caller, &parts, body).await?;
            return Ok(response.map(|body| Reply::Own(Full::new(body))));
        }
        self.proxy(caller, parts, body, id).await
    }
}

fn text<A: Accounts>(text: String) -> Response<Reply<A>> {
    let mut response = Response::new(Reply::Own(Full::new(Bytes::from(text))));
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// The header with the request's id in the log.
const REQUEST_HEADER: HeaderName = HeaderName::from_static("x-clawdbot-request");
