//! The proxy: a request goes to the next profile in order, and to another one only if the first has
//! certainly not carried it out and nothing of its response was sent to the client.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use auth_routing::cooldown::judgement::{Class, Judgement};
use auth_store::{Kind, ProfileId};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::http::response;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};

use crate::accounts::{Accounts, AccountsError, Live};
use crate::api::Api;
use crate::api::refusal::refusal;
use crate::api::shape::Refusal;
use crate::client::Right;
use crate::client::asked::{Asked, Caller};
use crate::conversation::facts::{self, RequestFacts};
use crate::gateway::{Gateway, no_right, provider_of};
use crate::http::decode::decoded;
use crate::http::headers::{clean_query, clean_request, is_event_stream};
use crate::http::keep::{Outgoing, Taken, too_large};
use crate::http::peek::{self, Held};
use crate::http::veil::Veil;
use crate::proxy::order::Order;
use crate::proxy::relay::{Reply, Trip};
use crate::reaction::{Reaction, reaction};
use crate::upstream::NoReply;
use crate::windows::{self, Seen};

/// A request that is ready to be sent with any profile.
struct Ready<'a> {
    api: &'a Api,
    asked: Arc<Asked>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Taken,
    may_repeat: bool,
}

/// What is known of a request.
struct Facts {
    read: RequestFacts,
    /// There is a body, and nobody could look into it.
    is_unread: bool,
}

/// A response with its head, and perhaps an inspected part of its body.
pub(crate) struct Received {
    pub(crate) head: response::Parts,
    pub(crate) held: Held,
    pub(crate) body: Incoming,
    pub(crate) profile: ProfileId,
    pub(crate) judgement: Judgement,
    /// Masks the credential of the request.
    pub(crate) veil: Veil,
}

/// The state of a request's attempts.
struct Attempts {
    began: Instant,
    sent: usize,
    has_refreshed: bool,
    /// After an overload, only one more attempt is allowed.
    is_last: bool,
}

impl<A: Accounts> Gateway<A> {
    /// Forwards a request, if its client has the right.
    pub(crate) async fn proxy(
        self: &Arc<Self>,
        caller: Caller,
        parts: Parts,
        body: &mut Option<Incoming>,
        id: u64,
    ) -> Result<Response<Reply<A>>, Refusal> {
        let began = Instant::now();
        let Parts { method, uri: asked_uri, mut headers, .. } = parts;
        let provider = provider_of(asked_uri.path());
        if !caller.may(Right::Proxy) {
            return Err(no_right("proxy"));
        }
        if !caller.is_granted(&provider) {
            return Err(no_right(&format!("--provider {provider}")));
        }
        let Some(api) = self.apis.get(&provider) else {
            let message = format!("`{provider}` has no API that is served here");
            return Err(Refusal::new(StatusCode::NOT_FOUND, message));
        };
        let turn = caller
            .client()
            .map(|client| self.rates.begin(client, self.limits.requests_per_client, began))
            .transpose()?;
        let rest = asked_uri.path()[1..].find('/');
        let path = rest.map_or("/", |at| &asked_uri.path()[at + 1..]);
        if !api.admits(path) {
            let message = format!("this path of `{provider}` is not served here");
            return Err(Refusal::new(StatusCode::FORBIDDEN, message));
        }

        let may_repeat = api.may_repeat(&method, path);
        let is_json = headers.get(CONTENT_TYPE);
        let is_json = is_json.is_some_and(|it| it.as_bytes().starts_with(b"application/json"));
        let wanted = match (is_json && api.binds_by_body(), may_repeat || is_json) {
            // Whose ids are in it must be known before it goes anywhere.
            (true, _) => self.limits.body_bytes,
            (false, true) => self.limits.kept_bytes as u64,
            (false, false) => 0,
        };
        let body = self.pantry.take(body, wanted, &self.limits).await?;
        let facts = self.facts(api, path, &headers, &body);
        let query = asked_uri.query().map(clean_query);
        let uri = api.uri(path, query.as_deref());
        let uri = uri.ok_or_else(|| Refusal::new(StatusCode::BAD_REQUEST, "it is no path"))?;
        clean_request(&mut headers);
        if matches!(&body, Taken::Kept(kept) if kept.has_trailers()) {
            headers.remove(CONTENT_LENGTH);
        }
        let asked = Asked { id, caller, provider, model: facts.read.model.clone() };
        let order = self.order(&asked, &facts.read, path)?;
        if facts.is_unread && is_json && api.binds_by_body() {
            order.must_be_sure()?;
        }
        let facts = facts.read;
        let may_repeat =
            may_repeat && matches!(&body, Taken::Kept(kept) if kept.may_repeat(&self.limits));
        if !may_repeat && api.may_repeat(&method, path) {
            tracing::info!(request = id, "the body is large, and is sent once only");
        }
        let ready = Ready { api, asked: Arc::new(asked), method, uri, headers, body, may_repeat };
        // It ends with the response, or here, or when the client disconnects.
        let mut trip = Trip::begin(self, &ready.asked, began, turn);
        match self.attempt_all(ready, &facts, &order, began).await {
            Ok(received) => Ok(self.relay(trip, api, received)),
            Err(refusal) => {
                trip.status = refusal.status.as_u16();
                self.metrics.answered(&trip.asked.provider, trip.status);
                Err(refusal)
            }
        }
    }

    fn facts(&self, api: &Api, path: &str, headers: &HeaderMap, body: &Taken) -> Facts {
        let most = usize::try_from(self.limits.body_bytes).unwrap_or(usize::MAX);
        let decoded = match body {
            Taken::Kept(kept) => decoded(headers, &kept.bytes, most),
            Taken::Passing(_) => None,
        };
        let read = facts::read(api, path, headers, decoded.as_deref(), &self.model);
        Facts { read, is_unread: decoded.is_none() }
    }

    async fn attempt_all(
        self: &Arc<Self>,
        mut ready: Ready<'_>,
        facts: &RequestFacts,
        order: &Order,
        began: Instant,
    ) -> Result<Received, Refusal> {
        let mut attempts = Attempts { began, sent: 0, has_refreshed: false, is_last: false };
        let (mut refused, mut failed) = (None, None);
        let profiles = if ready.may_repeat { &order.profiles[..] } else { &order.profiles[..1] };
        for (number, profile) in profiles.iter().enumerate() {
            if number > 0 && !self.may_go_on(&attempts) {
                break;
            }
            let live = match self.credential(&ready.asked, profile, None).await {
                Ok(live) => live,
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            };
            let has_next = number + 1 < profiles.len();
            let received =
                match self.attempt(&mut ready, profile, live, has_next, &mut attempts).await {
                    Ok(received) => received,
                    // An earlier profile's response is more informative than a missing one.
                    Err(refusal) => match refused {
                        None => return Err(refusal),
                        Some(_) => break,
                    },
                };
            match reaction(received.judgement.class) {
                Reaction::Pass => {
                    if received.judgement.class == Class::Served {
                        self.settle(&ready.asked, facts, order, profile);
                    }
                    return Ok(received);
                }
                Reaction::NextOnce if attempts.is_last => attempts.sent = usize::MAX,
                Reaction::NextOnce => attempts.is_last = true,
                Reaction::Next | Reaction::Refresh => {}
            }
            if has_next {
                self.metrics.failed_over(&ready.asked.provider, received.judgement.class);
            }
            refused = Some(received);
        }
        if let Some(mut received) = refused {
            self.say_when(&ready.asked, &mut received);
            return Ok(received);
        }
        Err(refusal(&failed.unwrap_or_else(|| AccountsError::new("there is no profile"))))
    }

    fn may_go_on(&self, attempts: &Attempts) -> bool {
        attempts.sent < self.limits.attempts
            && attempts.began.elapsed() < self.limits.attempts_within
    }

    /// One profile: its credential, and a second attempt after a refresh.
    async fn attempt(
        &self,
        ready: &mut Ready<'_>,
        profile: &ProfileId,
        live: Live,
        has_next: bool,
        attempts: &mut Attempts,
    ) -> Result<Received, Refusal> {
        let received = self.send(ready, profile, &live, has_next, attempts).await?;
        let is_refused = reaction(received.judgement.class) == Reaction::Refresh;
        let may_refresh = is_refused && live.kind == Kind::OAuth && !attempts.has_refreshed;
        if may_refresh {
            attempts.has_refreshed = true;
            self.metrics.refreshed();
            let old = live.fingerprint();
            let renewed = self.credential(&ready.asked, profile, Some(&old)).await;
            if let Ok(renewed) = renewed
                && renewed.fingerprint() != old
            {
                if !ready.may_repeat || !self.may_go_on(attempts) {
                    return Ok(received);
                }
                drop(received);
                let again = self.send(ready, profile, &renewed, has_next, attempts).await?;
                self.report(ready, &again);
                return Ok(again);
            }
        }
        self.report(ready, &received);
        Ok(received)
    }

    async fn credential(
        &self,
        asked: &Asked,
        profile: &ProfileId,
        refused: Option<&crate::accounts::Fingerprint>,
    ) -> Result<Live, AccountsError> {
        self.accounts.credential(&asked.question(), profile, refused).await
    }

    fn report(&self, ready: &Ready<'_>, received: &Received) {
        let question = ready.asked.question();
        self.accounts.report(&question, &received.profile, &received.judgement);
    }

    /// Sends the request, and judges the response.
    async fn send(
        &self,
        ready: &mut Ready<'_>,
        profile: &ProfileId,
        live: &Live,
        has_next: bool,
        attempts: &mut Attempts,
    ) -> Result<Received, Refusal> {
        let mut is_second = false;
        let response = loop {
            let request = ready.request(live)?;
            let flag = request.body().too_large_flag();
            let start = Instant::now();
            attempts.sent = attempts.sent.saturating_add(1);
            match self.upstreams.send(&ready.asked.provider, profile, request).await {
                Ok(response) => {
                    self.metrics.began(start.elapsed());
                    break response;
                }
                Err(NoReply::NotBegun) if ready.may_repeat && !is_second => is_second = true,
                Err(_) if flag.is_some_and(|flag| flag.load(Ordering::Relaxed)) => {
                    return Err(too_large(&self.limits));
                }
                Err(error) => return Err(no_reply(&ready.asked, error)),
            }
        };
        let (parts, mut body) = response.into_parts();
        let now = self.clock.now();
        let windows = windows::read(&parts.headers, ready.api.limits, now);
        if !windows.is_empty() {
            let seen = Seen { windows: windows.clone(), at: now };
            self.windows.keep(&ready.asked.provider, profile, seen);
        }
        let served =
            Judgement { class: Class::Served, failure: None, is_of_one_model: false, windows };
        let may_move = has_next && ready.may_repeat;
        let is_bad = parts.status.is_client_error() || parts.status.is_server_error();
        let is_stream = is_event_stream(&parts.headers);
        let (held, judgement) = if is_bad || ready.api.error_in_success && !is_stream {
            peek::judge_error(&parts, &mut body, &self.limits, now).await
        } else if may_move && peek::can_look_into(&parts.headers) {
            let (held, error) = peek::look_into(&parts, &mut body, &self.limits, now).await;
            (held, error.unwrap_or(served))
        } else {
            (Held::new(), served)
        };
        let veil = Veil::over(live);
        Ok(Received { head: parts, held, body, profile: profile.clone(), judgement, veil })
    }

    /// If every profile is in cooldown now, tells the client when the first cooldown ends.
    fn say_when(&self, asked: &Asked, received: &mut Received) {
        if received.head.status != StatusCode::TOO_MANY_REQUESTS {
            return;
        }
        let Ok(candidates) = self.accounts.plan(&asked.question()) else { return };
        let now = self.clock.now();
        let ends = candidates.iter().map(|it| it.cooldown.map(|it| it.until.since(now)));
        if let Some(Some(soonest)) = ends.min() {
            let seconds = soonest.as_secs() + u64::from(soonest.subsec_nanos() > 0);
            received.head.headers.insert(RETRY_AFTER, seconds.into());
        }
    }
}

impl Ready<'_> {
    fn request(&mut self, live: &Live) -> Result<Request<Outgoing>, Refusal> {
        let body = match &mut self.body {
            Taken::Kept(kept) => kept.outgoing(),
            Taken::Passing(passing) => std::mem::replace(passing, Outgoing::nothing()),
        };
        let mut headers = self.headers.clone();
        self.api.put_credential(&mut headers, live).map_err(|_| {
            let message = "the credential has characters that no header can have";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message)
        })?;
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }
}

fn no_reply(asked: &Asked, error: NoReply) -> Refusal {
    let (provider, id) = (&asked.provider, asked.id);
    let bad = |message: String| Refusal::new(StatusCode::BAD_GATEWAY, message);
    match error {
        NoReply::NotConnected(words) => {
            tracing::warn!(request = id, "no connection: {words}");
            bad(format!("`{provider}` cannot be reached; nothing was sent"))
        }
        NoReply::NotBegun => bad(format!("`{provider}` took no request; nothing was carried out")),
        NoReply::Cut(words) => {
            tracing::warn!(request = id, "no answer: {words}");
            bad(format!("`{provider}` ended the connection before it answered"))
        }
        NoReply::Late => Refusal::new(
            StatusCode::GATEWAY_TIMEOUT,
            format!("`{provider}` did not answer in time"),
        ),
    }
}
