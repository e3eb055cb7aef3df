//! A response on its way to the client: streamed as it arrives, and no faster than the client
//! reads.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use auth_store::ProfileId;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::accounts::Accounts;
use crate::client::asked::Asked;
use crate::client::rate::Turn;
use crate::conversation::learn::Learner;
use crate::gateway::Gateway;
use crate::http::idle::Idle;
use crate::http::peek::{Held, late_error};
use crate::http::unpack::Unpacker;
use crate::http::veil::Veil;

/// The body of a response.
pub(crate) enum Reply<A: Accounts> {
    /// One of the gateway's own.
    Own(Full<Bytes>),
    /// A provider's.
    Relayed(Box<Relay<A>>),
}

/// A provider's response in progress.
pub(crate) struct Relay<A: Accounts> {
    /// The parts that were read before the head was sent.
    pub(crate) held: Held,
    pub(crate) body: Incoming,
    pub(crate) idle: Idle,
    pub(crate) veil: Veil,
    /// Makes a copy that can be looked at, where the response is compressed.
    pub(crate) unpacker: Option<Unpacker>,
    /// Finds ids of the account, if there may be any.
    pub(crate) learner: Option<Learner>,
    /// Whether an error may follow a success status.
    pub(crate) may_fail: bool,
    pub(crate) trip: Trip<A>,
}

/// A request from its arrival to the end of its response. Dropping it writes the line in the log.
pub(crate) struct Trip<A: Accounts> {
    pub(crate) gateway: Arc<Gateway<A>>,
    pub(crate) asked: Arc<Asked>,
    /// `None` if no provider's response is forwarded.
    pub(crate) profile: Option<ProfileId>,
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    began: Instant,
    is_whole: bool,
    _turn: Option<Turn>,
}

impl<A: Accounts> Body for Reply<A> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Relayed(relay) => relay.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Relayed(relay) => {
                relay.held.is_empty() && relay.veil.held() == 0 && relay.body.is_end_stream()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Relayed(relay) => {
                let held = relay.held.iter().filter_map(Frame::data_ref).map(Bytes::len);
                let held = (held.sum::<usize>() + relay.veil.held()) as u64;
                match relay.body.size_hint().exact() {
                    Some(rest) => SizeHint::with_exact(rest + held),
                    None => SizeHint::default(),
                }
            }
        }
    }
}

impl<A: Accounts> Relay<A> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            let frame = match self.next_frame(context) {
                Poll::Ready(Some(Ok(frame))) => frame,
                // The rest of what was held back, and then the end.
                Poll::Ready(None) => {
                    return Poll::Ready(self.veil.rest().map(|rest| Ok(Frame::data(rest))));
                }
                other => return other,
            };
            match frame.into_data() {
                Ok(data) => {
                    let is_empty = data.is_empty();
                    let data = self.veil.next(data);
                    if !data.is_empty() || is_empty {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                Err(trailers) => {
                    if let Some(rest) = self.veil.rest() {
                        self.held.push_front(trailers);
                        return Poll::Ready(Some(Ok(Frame::data(rest))));
                    }
                    return Poll::Ready(Some(Ok(trailers)));
                }
            }
        }
    }

    /// The next frame as the provider sent it, looked at.
    fn next_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let frame = match self.held.pop_front() {
            Some(frame) => frame,
            None => match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(Err(io::Error::other(error))));
                }
                Poll::Ready(None) => {
                    self.trip.is_whole = true;
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    return self.idle.poll_expired(context).map(|()| {
                        let silent = "the provider was silent for too long";
                        Some(Err(io::Error::new(io::ErrorKind::TimedOut, silent)))
                    });
                }
            },
        };
        self.idle.reset();
        if let Some(data) = frame.data_ref() {
            self.trip.bytes += data.len() as u64;
            let unpacked = self.unpacker.as_mut().map(|unpacker| unpacker.next(data));
            let data = unpacked.as_deref().unwrap_or(data);
            if unpacked.is_some() && self.veil.is_in(data) {
                let secret = "the provider repeats the credential in a compressed response";
                return Poll::Ready(Some(Err(io::Error::other(secret))));
            }
            if let Some(learner) = &mut self.learner {
                let trip = &self.trip;
                learner.look(data, &mut |id| {
                    if let Some(profile) = &trip.profile {
                        trip.gateway.bind_id(&trip.asked, id, profile);
                    }
                });
            }
            if self.may_fail
                && let Some(judgement) = late_error(data, self.trip.gateway.clock.now())
                && let Some(profile) = &self.trip.profile
            {
                self.may_fail = false;
                let question = self.trip.asked.question();
                self.trip.gateway.accounts.report(&question, profile, &judgement);
            }
        }
        if self.body.is_end_stream() && self.held.is_empty() {
            self.trip.is_whole = true;
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

impl<A: Accounts> Trip<A> {
    pub(crate) fn begin(
        gateway: &Arc<Gateway<A>>,
        asked: &Arc<Asked>,
        began: Instant,
        turn: Option<Turn>,
    ) -> Self {
        gateway.metrics.opened();
        Self {
            gateway: Arc::clone(gateway),
            asked: Arc::clone(asked),
            profile: None,
            status: 0,
            bytes: 0,
            began,
            is_whole: false,
            _turn: turn,
        }
    }
}

impl<A: Accounts> Drop for Trip<A> {
    fn drop(&mut self) {
        self.gateway.metrics.closed();
        tracing::info!(
            client = self.asked.client_name(),
            provider = self.asked.provider.as_str(),
            profile = self.profile.as_ref().map_or("-", ProfileId::as_str),
            status = self.status,
            bytes = self.bytes,
            milliseconds = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            whole = self.is_whole,
            request = self.asked.id,
            "answered"
        );
    }
}
