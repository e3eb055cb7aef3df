//! Inspects the start of a response before its head is sent to the client.

use std::collections::VecDeque;

use auth_routing::cooldown::judgement::{Class, Judgement};
use auth_routing::cooldown::response::Response as Told;
use auth_store::Timestamp;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::HeaderMap;
use hyper::body::Incoming;
use hyper::header::CONTENT_ENCODING;
use hyper::http::response::Parts;
use tokio::time::{Instant, timeout_at};

use crate::api::pointer::{Pointer, read_body};
use crate::http::decode::decoded_part;
use crate::http::headers::is_event_stream;
use crate::http::unpack::Unpacker;
use crate::limits::Limits;

/// The start of a body, which was read and still has to be forwarded.
pub(crate) type Held = VecDeque<Frame<Bytes>>;

/// The kind of an event of a stream, which shows whether the response has started.
enum Event {
    /// No content yet: a comment, a ping, an acknowledgement.
    Handshake,
    /// The response has started.
    Output,
    /// The response is an error.
    Error(Box<Judgement>),
}

/// Reads as much of an error's body as is needed to judge it.
pub(crate) async fn judge_error(
    parts: &Parts,
    body: &mut Incoming,
    limits: &Limits,
    now: Timestamp,
) -> (Held, Judgement) {
    let end = Instant::now() + limits.held_time;
    let (mut held, mut text) = (Held::new(), Vec::new());
    while text.len() < limits.held_bytes
        && let Ok(Some(Ok(frame))) = timeout_at(end, body.frame()).await
    {
        text.extend_from_slice(frame.data_ref().map(|data| &data[..]).unwrap_or_default());
        held.push_back(frame);
    }
    let text = decoded_part(&parts.headers, &text, limits.held_bytes);
    let judgement = told(parts.status.as_u16(), &parts.headers, &text).judge(now);
    (held, judgement)
}

/// Whether a response with a success status can be inspected for errors.
pub(crate) fn can_look_into(headers: &HeaderMap) -> bool {
    is_event_stream(headers)
        && (!headers.contains_key(CONTENT_ENCODING) || Unpacker::for_reply(headers).is_some())
}

/// Holds a stream back until its first event with content or an error.
pub(crate) async fn look_into(
    parts: &Parts,
    body: &mut Incoming,
    limits: &Limits,
    now: Timestamp,
) -> (Held, Option<Judgement>) {
    let end = Instant::now() + limits.held_time;
    let (mut held, mut text, mut events) = (Held::new(), Vec::new(), 0);
    let mut unpacker = Unpacker::for_reply(&parts.headers);
    loop {
        while let Some(length) = event_length(&text) {
            let event: Vec<u8> = text.drain(..length).collect();
            events += 1;
            match read_event(&event, parts, now) {
                Event::Handshake if events < limits.held_events => {}
                Event::Handshake | Event::Output => return (held, None),
                Event::Error(judgement) => return (held, Some(*judgement)),
            }
        }
        let length: usize = held.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        if length >= limits.held_bytes {
            return (held, None);
        }
        match timeout_at(end, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                let data = frame.data_ref().map(|it| &it[..]).unwrap_or_default();
                match &mut unpacker {
                    Some(unpacker) => text.append(&mut unpacker.next(data)),
                    None => text.extend_from_slice(data),
                }
                held.push_back(frame);
            }
            _ => return (held, None),
        }
    }
}

/// An error in the middle of a stream, which can only be reported at that point.
pub(crate) fn late_error(part: &[u8], now: Timestamp) -> Option<Judgement> {
    memchr::memmem::find(part, b"error")?;
    let judgement = told(200, &HeaderMap::new(), part).judge(now);
    (judgement.class != Class::Served).then_some(judgement)
}

fn read_event(event: &[u8], parts: &Parts, now: Timestamp) -> Event {
    let lines = || event.split(|byte| *byte == b'\n');
    let data = lines().filter_map(|line| line.strip_prefix(b"data:"));
    let data = data.collect::<Vec<_>>().join(&b'\n');
    if data.trim_ascii().is_empty() {
        return Event::Handshake;
    }
    let named = lines().find_map(|line| line.strip_prefix(b"event:"));
    let mut name = named.map(|it| String::from_utf8_lossy(it.trim_ascii()).into_owned());
    if name.is_none()
        && let Ok(pointer) = Pointer::parse("/type")
    {
        read_body(&data, std::iter::once(&pointer), &mut |_, text| name = Some(text.to_owned()));
    }
    if name.is_some_and(|name| HANDSHAKE.contains(&name.as_str())) {
        return Event::Handshake;
    }
    let judgement = told(200, &parts.headers, event).judge(now);
    match judgement.class {
        Class::Served => Event::Output,
        _ => Event::Error(Box::new(judgement)),
    }
}

/// The length of the first event, including the empty line that ends it.
fn event_length(text: &[u8]) -> Option<usize> {
    let ends = [&b"\n\n"[..], b"\r\n\r\n", b"\r\r"];
    let ends = ends.iter().filter_map(|end| Some(memchr::memmem::find(text, end)? + end.len()));
    ends.min()
}

fn told(status: u16, headers: &HeaderMap, body: &[u8]) -> Told {
    let headers = headers.iter().filter_map(|(name, value)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    });
    Told {
        status: Some(status),
        headers: headers.collect(),
        body: String::from_utf8_lossy(body).into_owned(),
    }
}

/// Events before a response, whether it succeeds or not.
const HANDSHAKE: [&str; 7] = [
    "response.created",
    "response.queued",
    "response.in_progress",
    "codex.rate_limits",
    "message_start",
    "ping",
    "keepalive",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn class(event: &str) -> Option<Class> {
        let (parts, ()) = hyper::Response::new(()).into_parts();
        match read_event(event.as_bytes(), &parts, Timestamp(0)) {
            Event::Handshake => None,
            Event::Output => Some(Class::Served),
            Event::Error(judgement) => Some(judgement.class),
        }
    }

    #[test]
    fn handshakes_answers_and_errors_are_told_apart() {
        for handshake in [
            ": OPENROUTER PROCESSING\n\n",
            "event: ping\ndata: {\"type\": \"ping\"}\n\n",
            "data: {\"type\":\"response.created\",\"response\":{\"error\":null}}\n\n",
            "event: codex.rate_limits\ndata: {}\n\n",
            "event: message_start\r\ndata: {}\r\n\r\n",
        ] {
            assert_eq!(class(handshake), None, "{handshake}");
        }
        for output in [
            "data: {\"choices\":[{\"delta\":{\"content\":\"error\"}}]}\n\n",
            "data: [DONE]\n\n",
            "event: content_block_start\ndata: {\"type\":\"content_block_start\"}\n\n",
        ] {
            assert_eq!(class(output), Some(Class::Served), "{output}");
        }
        let overloaded = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n";
        assert_eq!(class(overloaded), Some(Class::Overload));
        let failed = "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"usage_limit_reached\"}}}\n\n";
        assert_eq!(class(failed), Some(Class::Limit));
        let chunk =
            "data: {\"error\":{\"code\":429},\"choices\":[{\"finish_reason\":\"error\"}]}\n\n";
        assert_eq!(class(chunk), Some(Class::Limit));
    }

    #[test]
    fn an_event_ends_with_an_empty_line() {
        assert_eq!(event_length(b"data: a\n\ndata: b\n\n"), Some(9));
        assert_eq!(event_length(b"data: a\r\n\r\n"), Some(11));
        assert_eq!(event_length(b"data: a\n"), None);
    }

    #[test]
    fn the_word_error_in_a_text_is_none() {
        let text = b"data: {\"delta\": \"an error\"}\n\n";
        assert_eq!(late_error(text, Timestamp(0)), None);
        let error = b"data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n";
        assert_eq!(late_error(error, Timestamp(0)).unwrap().class, Class::Overload);
    }
}
