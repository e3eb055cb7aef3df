//! The body of a request: either kept, so that it can be sent again, or streamed.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{HeaderMap, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::api::shape::Refusal;
use crate::http::idle::Idle;
use crate::limits::Limits;

/// The memory budget for kept bodies.
#[derive(Debug)]
pub(crate) struct Pantry {
    /// One permit is a KiB.
    room: Arc<Semaphore>,
}

/// A body that will be sent to a provider.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It can be sent again.
    Kept(Kept),
    /// It is streamed, once.
    Passing(Outgoing),
}

/// A body in memory.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) bytes: Bytes,
    trailers: Option<HeaderMap>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Kept {
    /// Whether it is small enough to be sent again.
    pub(crate) fn may_repeat(&self, limits: &Limits) -> bool {
        self.bytes.len() <= limits.kept_bytes
    }

    pub(crate) fn has_trailers(&self) -> bool {
        self.trailers.is_some()
    }

    /// The body, for sending it again.
    pub(crate) fn outgoing(&self) -> Outgoing {
        Outgoing::Whole {
            bytes: (!self.bytes.is_empty()).then(|| self.bytes.clone()),
            trailers: self.trailers.clone(),
        }
    }
}

impl Pantry {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { room: Arc::new(Semaphore::new(limits.all_kept_bytes >> 10)) }
    }

    /// Takes the body of a request: all of it, if it is at most `wanted` bytes and there is room.
    pub(crate) async fn take(
        &self,
        body: &mut Option<Incoming>,
        wanted: u64,
        limits: &Limits,
    ) -> Result<Taken, Refusal> {
        let expected = body.as_ref().map(Body::size_hint).unwrap_or_default();
        if expected.lower() > limits.body_bytes {
            return Err(too_large(limits));
        }
        let Some(mut body) = body.take().filter(|body| !body.is_end_stream()) else {
            return Ok(Taken::Kept(Kept { bytes: Bytes::new(), trailers: None, _room: None }));
        };
        let is_small = expected.lower() <= wanted;
        let mut room = self.room(expected.exact().unwrap_or(FIRST));
        if wanted == 0 || !is_small || room.is_none() {
            return Ok(Taken::Passing(Outgoing::passing(VecDeque::new(), body, limits)));
        }

        let mut parts: VecDeque<Bytes> = VecDeque::new();
        let (mut length, mut trailers) = (0, None);
        while let Some(frame) = next(&mut body, limits).await? {
            match frame.into_data() {
                Ok(data) => {
                    length += data.len();
                    parts.push_back(data);
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
            let is_over = length as u64 > wanted
                || expected.exact().is_none() && !self.widen(&mut room, length);
            if is_over {
                return Ok(Taken::Passing(Outgoing::passing(parts, body, limits)));
            }
        }
        let bytes = match parts.pop_front() {
            Some(only) if parts.is_empty() => only,
            first => {
                let mut all = BytesMut::with_capacity(length);
                first.into_iter().chain(parts).for_each(|part| all.extend_from_slice(&part));
                all.freeze()
            }
        };
        Ok(Taken::Kept(Kept { bytes, trailers, _room: room }))
    }

    fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(1 << 10)).ok()?;
        Arc::clone(&self.room).try_acquire_many_owned(units).ok()
    }

    /// Makes sure that the budget has `length` bytes.
    fn widen(&self, room: &mut Option<OwnedSemaphorePermit>, length: usize) -> bool {
        let Some(room) = room else { return false };
        let missing = length.div_ceil(1 << 10).saturating_sub(room.num_permits());
        if missing == 0 {
            return true;
        }
        // Half as much again is reserved, so that small parts do not each need a reservation.
        match self.room(((missing + room.num_permits() / 2) << 10) as u64) {
            Some(more) => room.merge(more),
            None => return false,
        }
        true
    }
}

/// Reads and discards the rest of a refused request: a client that is still sending when its
/// connection closes does not see the response.
pub(crate) async fn drain(mut body: Incoming, limits: Limits) {
    let mut left = limits.body_bytes;
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
            if left == 0 {
                return;
            }
        }
    };
    let _ = timeout(limits.drain_time, read).await;
}

/// The next part of a body, with a timeout.
async fn next(body: &mut Incoming, limits: &Limits) -> Result<Option<Frame<Bytes>>, Refusal> {
    match timeout(limits.client_idle, body.frame()).await {
        Ok(None) => Ok(None),
        Ok(Some(Ok(frame))) => Ok(Some(frame)),
        Ok(Some(Err(_))) => Err(Refusal::new(StatusCode::BAD_REQUEST, "the body is cut off")),
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}

/// The refusal of a body that is too large.
pub(crate) fn too_large(limits: &Limits) -> Refusal {
    let most = limits.body_bytes >> 20;
    let message = format!("the request is larger than {most} MiB, the most that is passed on");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

/// The body of a request to a provider.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A kept body.
    Whole { bytes: Option<Bytes>, trailers: Option<HeaderMap> },
    /// A streamed body.
    Passing(Box<Passing>),
}

#[derive(Debug)]
pub(crate) struct Passing {
    first: VecDeque<Bytes>,
    rest: Incoming,
    idle: Idle,
    /// How many more bytes are allowed.
    left: u64,
    is_too_large: Arc<AtomicBool>,
}

impl Outgoing {
    /// An empty body.
    pub(crate) fn nothing() -> Self {
        Self::Whole { bytes: None, trailers: None }
    }

    fn passing(first: VecDeque<Bytes>, rest: Incoming, limits: &Limits) -> Self {
        Self::Passing(Box::new(Passing {
            first,
            rest,
            idle: Idle::new(limits.client_idle),
            left: limits.body_bytes,
            is_too_large: Arc::default(),
        }))
    }

    /// A flag that shows afterwards whether the body was cut off because it was too large.
    pub(crate) fn too_large_flag(&self) -> Option<Arc<AtomicBool>> {
        match self {
            Self::Whole { .. } => None,
            Self::Passing(passing) => Some(Arc::clone(&passing.is_too_large)),
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole { bytes, trailers } => Poll::Ready(
                bytes
                    .take()
                    .map(Frame::data)
                    .or_else(|| trailers.take().map(Frame::trailers))
                    .map(Ok),
            ),
            Self::Passing(passing) => passing.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole { bytes, trailers } => bytes.is_none() && trailers.is_none(),
            Self::Passing(passing) => passing.first.is_empty() && passing.rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            // With an exact length, trailers could not be sent.
            Self::Whole { trailers: Some(_), .. } => SizeHint::default(),
            Self::Whole { bytes, .. } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Passing(passing) => {
                let first: usize = passing.first.iter().map(Bytes::len).sum();
                match passing.rest.size_hint().exact() {
                    Some(rest) => SizeHint::with_exact(rest + first as u64),
                    None => SizeHint::default(),
                }
            }
        }
    }
}

impl Passing {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let frame = match self.first.pop_front() {
            Some(part) => Frame::data(part),
            None => match Pin::new(&mut self.rest).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(Err(io::Error::other(error))));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    return self.idle.poll_expired(context).map(|()| {
                        Some(Err(io::Error::new(io::ErrorKind::TimedOut, "the body stopped")))
                    });
                }
            },
        };
        self.idle.reset();
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        let Some(left) = self.left.checked_sub(length) else {
            self.is_too_large.store(true, Ordering::Relaxed);
            return Poll::Ready(Some(Err(io::Error::other("the body is too large"))));
        };
        self.left = left;
        Poll::Ready(Some(Ok(frame)))
    }
}

/// The initial reservation for a body of unknown length.
const FIRST: u64 = 16 << 10;
