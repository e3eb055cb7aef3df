//! Which headers are forwarded, and where a client puts its token.

use hyper::HeaderMap;
use hyper::header::{
    self, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, TE,
};

use crate::client;

/// Removes from a request the headers between the client and us, and those that reveal its origin.
/// All others are forwarded, known or not: an allow-list would break the next client.
pub(crate) fn clean_request(headers: &mut HeaderMap) {
    let wants_trailers = headers.get_all(TE).iter().any(|te| te.as_bytes() == b"trailers");
    drop_hop_by_hop(headers);
    for name in &REQUEST_ONLY {
        headers.remove(name);
    }
    for name in &CREDENTIALS {
        headers.remove(name);
    }
    let is_dropped = |name: &HeaderName| {
        let name = name.as_str();
        REQUEST_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    let named: Vec<_> = headers.keys().filter(|name| is_dropped(name)).cloned().collect();
    for name in named {
        headers.remove(name);
    }
    keep_readable_codings(headers);
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// A response in a coding that cannot be looked into could hide an error, an account's id or the
/// credential.
fn keep_readable_codings(headers: &mut HeaderMap) {
    let Some(asked) = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()) else {
        return;
    };
    let is_readable = |coding: &&str| {
        let name = coding.split(';').next().unwrap_or_default().trim();
        READABLE.iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    if asked.split(',').all(|coding| is_readable(&coding)) {
        return;
    }
    let kept: Vec<_> = asked.split(',').filter(is_readable).map(str::trim).collect();
    let kept = if kept.is_empty() { "identity".to_owned() } else { kept.join(", ") };
    if let Ok(kept) = HeaderValue::from_str(&kept) {
        headers.insert(ACCEPT_ENCODING, kept);
    }
}

/// Removes from a response the headers between the provider and us. Streams are marked so that no
/// proxy on the way buffers them.
pub(crate) fn clean_answer(headers: &mut HeaderMap) {
    drop_hop_by_hop(headers);
    for name in &ANSWER_ONLY {
        headers.remove(name);
    }
    if is_event_stream(headers) {
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        if !headers.contains_key(header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
    }
}

/// Whether the body is a stream of server-sent events.
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.len() >= EVENT_STREAM.len()
        && kind[..EVENT_STREAM.len()].eq_ignore_ascii_case(EVENT_STREAM)
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let lists: Vec<_> = headers.get_all(CONNECTION).iter().cloned().collect();
        for name in lists.iter().filter_map(|list| list.to_str().ok()).flat_map(|it| it.split(','))
        {
            headers.remove(name.trim());
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The client's token: in one of the headers that SDKs use for a key, or in Gemini's `?key=`. A
/// gateway token takes precedence over other values that a tool sends.
pub(crate) fn presented<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> Option<&'a str> {
    let texts = CREDENTIALS.iter().filter_map(|name| headers.get(name)?.to_str().ok());
    let texts = texts.map(|text| {
        let bearer = text.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("bearer "));
        if bearer.is_some() { text[7..].trim() } else { text }
    });
    let keys = query.into_iter().flat_map(|query| query.split('&'));
    let keys = keys.filter_map(|part| part.strip_prefix("key="));
    let all = texts.chain(keys).filter(|text| !text.is_empty());
    all.min_by_key(|text| !text.starts_with(client::PREFIX))
}

/// The query without the client's token.
pub(crate) fn clean_query(query: &str) -> String {
    if !query.contains("key=") {
        return query.to_owned();
    }
    let parts = query.split('&').filter(|part| !part.starts_with("key="));
    parts.collect::<Vec<_>>().join("&")
}

const READABLE: [&str; 5] = ["gzip", "x-gzip", "deflate", "br", "identity"];
const EVENT_STREAM: &[u8] = b"text/event-stream";

/// The headers in which clients send a key.
static CREDENTIALS: [HeaderName; 4] = [
    AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-goog-api-key"),
    HeaderName::from_static("api-key"),
];

/// RFC 9110 §7.6.1. Lengths are set again.
static HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("proxy-authenticate"),
];

static REQUEST_ONLY: [HeaderName; 8] = [
    header::HOST,
    header::COOKIE,
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-real-ip"),
    header::ORIGIN,
    header::REFERER,
    header::EXPECT,
];

const REQUEST_PREFIXES: [&str; 4] = ["proxy-", "x-forwarded-", "sec-", "x-clawdbot-"];

static ANSWER_ONLY: [HeaderName; 3] =
    [header::SET_COOKIE, header::ALT_SVC, header::STRICT_TRANSPORT_SECURITY];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(text: &str) -> HeaderMap {
        let lines = text.lines().map(|line| line.trim().split_once(": ").unwrap());
        lines
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_response_is_asked_for_in_codings_that_can_be_looked_into() {
        for (asked, sent) in [
            ("zstd,gzip", "gzip"),
            ("gzip, deflate, br;q=0.5", "gzip, deflate, br;q=0.5"),
            ("zstd", "identity"),
            ("*", "identity"),
        ] {
            let mut request = headers(&format!("accept-encoding: {asked}"));
            clean_request(&mut request);
            assert_eq!(request["accept-encoding"], sent, "{asked}");
        }
    }

    #[test]
    fn what_is_not_the_providers_business_stays_here_and_the_rest_goes_on() {
        let mut request = headers(
            "host: localhost
            authorization: Bearer clawd_x
            x-api-key: clawd_x
            api-key: clawd_x
            x-goog-api-key: clawd_x
            cookie: a=b
            connection: close, x-hop
            x-hop: 1
            keep-alive: 5
            proxy-authorization: Basic x
            x-forwarded-for: 10.0.0.1
            forwarded: for=10.0.0.1
            x-real-ip: 10.0.0.1
            via: 1.1 a
            referer: http://a
            sec-fetch-site: none
            expect: 100-continue
            te: trailers
            transfer-encoding: chunked
            upgrade: h2c
            x-clawdbot-session: s
            anthropic-beta: a
            x-stainless-os: Linux
            x-new-tomorrow: 1
            content-encoding: zstd
            accept-encoding: gzip
            user-agent: claude-cli/2.1",
        );
        clean_request(&mut request);
        let mut left: Vec<_> = request.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        let expected = [
            "accept-encoding",
            "anthropic-beta",
            "content-encoding",
            "te",
            "user-agent",
            "x-new-tomorrow",
            "x-stainless-os",
        ];
        assert_eq!(left, expected);
    }

    #[test]
    fn cookies_stay_on_their_side_and_limits_are_told() {
        let mut reply = headers(
            "set-cookie: a=b
            alt-svc: h3
            strict-transport-security: max-age=1
            connection: keep-alive
            content-type: text/event-stream; charset=utf-8
            content-encoding: gzip
            x-ratelimit-remaining-tokens: 1
            request-id: r",
        );
        clean_answer(&mut reply);
        assert_eq!(reply.len(), 6);
        assert_eq!(reply["x-accel-buffering"], "no");
        assert_eq!(reply["cache-control"], "no-cache");
        assert_eq!(reply["request-id"], "r");
    }

    #[test]
    fn a_token_is_found_wherever_an_sdk_puts_it() {
        let at = |text: &str, query| presented(&headers(text), query).map(str::to_owned);
        let ours = Some("clawd_t".to_owned());
        assert_eq!(at("authorization: Bearer clawd_t", None), ours);
        assert_eq!(at("authorization: bearer  clawd_t", None), ours);
        assert_eq!(at("x-api-key: clawd_t", None), ours);
        assert_eq!(at("x-goog-api-key: clawd_t", None), ours);
        assert_eq!(at("api-key: clawd_t", None), ours);
        assert_eq!(at("a: b", Some("alt=sse&key=clawd_t")), ours);
        let both = "authorization: Bearer left-over\nx-api-key: clawd_t";
        assert_eq!(at(both, None), ours);
        assert_eq!(at("a: b", Some("monkey=1")), None);
        assert_eq!(clean_query("alt=sse&key=clawd_t&a=b"), "alt=sse&a=b");
        assert_eq!(clean_query("key=clawd_t"), "");
        assert_eq!(clean_query("monkey=1"), "monkey=1");
    }
}
