//! Classifies one request to the listener: the response, the final page, or noise. Pure.

use hyper::header::{
    CONTENT_LENGTH, HOST, HeaderMap, HeaderName, ORIGIN, TRANSFER_ENCODING, UPGRADE,
};
use hyper::{Method, Request, StatusCode};

use crate::callback::{Callback, CallbackError};
use crate::pages::{Failure, Page};

/// The location of the listener, which a request must name.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The path of the redirect URI.
    pub(crate) path: String,
    /// The address of the final page.
    pub(crate) done: String,
    hosts: [String; 3],
}

/// A request that needs more than a static page.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// Read, but not checked. `navigates`: the browser says that it shows the response in a window.
    Callback { callback: Callback, navigates: bool },
    /// The final page, to which the browser is redirected.
    Done,
}

/// A request that changes nothing.
#[derive(Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) page: Page,
    /// For the log; it contains nothing of the request.
    pub(crate) reason: &'static str,
}

impl Place {
    pub(crate) fn new(path: &str, port: u16) -> Self {
        Self {
            path: path.to_owned(),
            done: format!("{}/done", path.trim_end_matches('/')),
            hosts: [
                format!("localhost:{port}"),
                format!("127.0.0.1:{port}"),
                format!("[::1]:{port}"),
            ],
        }
    }
}

/// Whether a request to a listener at `path` and `port` needs more than a static page.
#[doc(hidden)]
pub fn is_wanted<B>(request: &Request<B>, path: &str, port: u16) -> bool {
    read_request(request, &Place::new(path, port)).is_ok()
}

/// Checks everything about a request except the state of its response.
pub(crate) fn read_request<B>(request: &Request<B>, place: &Place) -> Result<Wanted, Refusal> {
    check_head(request, place)?;
    let (uri, headers) = (request.uri(), request.headers());
    if uri.path() != place.path && uri.path() != place.done {
        let (status, page) = (StatusCode::NOT_FOUND, Page::NotHere);
        return Err(Refusal { status, page, reason: "the path is not that of the redirect" });
    }

    // From here on a request could end the login.
    check_navigation(headers)?;
    if uri.path() == place.done {
        return Ok(Wanted::Done);
    }

    let navigates = headers.contains_key(SEC_FETCH_MODE);
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    match Callback::from_target(target) {
        Ok(callback) => Ok(Wanted::Callback { callback, navigates }),
        Err(CallbackError::Malformed { reason }) => Err(refuse(StatusCode::BAD_REQUEST, reason)),
        Err(_) => Err(refuse(StatusCode::BAD_REQUEST, "the answer cannot be read")),
    }
}

/// Judges a request for the address that a browser is started with.
pub(crate) fn check_start<B>(request: &Request<B>, place: &Place) -> Result<(), Refusal> {
    check_head(request, place)?;
    if request.uri().path() != place.path {
        let (status, page) = (StatusCode::NOT_FOUND, Page::NotHere);
        return Err(Refusal { status, page, reason: "the path is not the one to start with" });
    }
    check_navigation(request.headers())
}

/// Whether a request is within the limits, for us, and one that reads.
fn check_head<B>(request: &Request<B>, place: &Place) -> Result<(), Refusal> {
    let (uri, headers) = (request.uri(), request.headers());
    let target = uri.path_and_query().map_or("", |target| target.as_str());

    if request.method().as_str().len() + target.len() + " HTTP/1.1".len() + 1
        > MAX_REQUEST_LINE_BYTES
    {
        return Err(refuse(StatusCode::URI_TOO_LONG, "the request line is longer than 8 KiB"));
    }
    let header_bytes: usize =
        headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if header_bytes > MAX_HEADER_BYTES {
        return Err(refuse(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "the headers are longer than 16 KiB",
        ));
    }
    // Only a target with an authority has a scheme.
    if uri.authority().is_some() || !target.starts_with('/') {
        return Err(refuse(StatusCode::BAD_REQUEST, "the target is not a path"));
    }
    match single(headers, HOST) {
        Some(host) if place.hosts.iter().any(|ours| host == ours.as_bytes()) => {}
        Some(_) => {
            return Err(refuse(
                StatusCode::MISDIRECTED_REQUEST,
                "the Host header names another host",
            ));
        }
        None => {
            return Err(refuse(StatusCode::BAD_REQUEST, "there is not exactly one Host header"));
        }
    }
    if request.method() != Method::GET {
        return Err(refuse(StatusCode::METHOD_NOT_ALLOWED, "the method is not GET"));
    }
    let has_body = headers.contains_key(TRANSFER_ENCODING)
        || headers.get_all(CONTENT_LENGTH).iter().any(|length| length.as_bytes() != b"0");
    if has_body || headers.contains_key(UPGRADE) {
        return Err(refuse(
            StatusCode::BAD_REQUEST,
            "the request has a body or wants another protocol",
        ));
    }
    Ok(())
}

/// Whether a request comes from a navigation in a window of a browser, or from no browser at all.
fn check_navigation(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(ORIGIN)
        || !is_only(headers, &SEC_FETCH_MODE, b"navigate")
        || !is_only(headers, &SEC_FETCH_DEST, b"document")
    {
        return Err(refuse(StatusCode::FORBIDDEN, "a page asks, not a person"));
    }
    if [SEC_PURPOSE, PURPOSE, X_PURPOSE, X_MOZ].iter().any(|name| headers.contains_key(name)) {
        return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "a browser looks ahead"));
    }
    Ok(())
}

/// The refusal of a response that was read but belongs to another login.
pub(crate) fn mismatch(reason: &'static str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, page: Page::Failed(Failure::Mismatch), reason }
}

fn refuse(status: StatusCode, reason: &'static str) -> Refusal {
    Refusal { status, page: Page::BadRequest, reason }
}

fn single(headers: &HeaderMap, name: HeaderName) -> Option<&[u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value.as_bytes())
}

/// Whether the header is absent or has only this value.
fn is_only(headers: &HeaderMap, name: &HeaderName, wanted: &[u8]) -> bool {
    headers.get_all(name).iter().all(|value| value.as_bytes() == wanted)
}

/// The longest request line: method, target and version.
const MAX_REQUEST_LINE_BYTES: usize = 8 * 1024;
/// The maximum total size of the names and values of all header fields.
const MAX_HEADER_BYTES: usize = 16 * 1024;

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
const PURPOSE: HeaderName = HeaderName::from_static("purpose");
const X_PURPOSE: HeaderName = HeaderName::from_static("x-purpose");
const X_MOZ: HeaderName = HeaderName::from_static("x-moz");

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "/auth/callback?code=c&state=s";

    /// Yields `callback`, `navigation`, `done`, or the status of the refusal.
    fn check(method: &str, target: &str, headers: &[(&str, &str)], wanted: &str) {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let is_wanted = is_wanted(&request, "/auth/callback", 1455);
        assert_eq!(is_wanted, !wanted.starts_with('4') && !wanted.starts_with('5'));
        let got = match read_request(&request, &Place::new("/auth/callback", 1455)) {
            Ok(Wanted::Callback { navigates: false, .. }) => "callback".to_owned(),
            Ok(Wanted::Callback { navigates: true, .. }) => "navigation".to_owned(),
            Ok(Wanted::Done) => "done".to_owned(),
            Err(refusal) => refusal.status.as_u16().to_string(),
        };
        assert_eq!(got, wanted, "{method} {target} {headers:?}");
    }

    fn check_get(target: &str, more: &[(&str, &str)], wanted: &str) {
        check("GET", target, &[&[("host", "localhost:1455")], more].concat(), wanted);
    }

    #[test]
    fn the_response_is_read() {
        check_get(GOOD, &[], "callback");
        check_get(
            GOOD,
            &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
            "navigation",
        );
        check_get(GOOD, &[("content-length", "0"), ("upgrade-insecure-requests", "1")], "callback");
        check_get("/auth/callback", &[], "callback");
        check_get("/auth/callback/done", &[], "done");
    }

    #[test]
    fn the_host_must_be_ours_to_the_byte() {
        for host in ["localhost:1455", "127.0.0.1:1455", "[::1]:1455"] {
            check("GET", GOOD, &[("host", host)], "callback");
        }
        for host in [
            "localhost",
            "localhost:1456",
            "evil.example",
            "127.0.0.1:1455.evil.example",
            "LOCALHOST:1455",
        ] {
            check("GET", GOOD, &[("host", host)], "421");
        }
        check("GET", GOOD, &[], "400");
        check("GET", GOOD, &[("host", "localhost:1455"), ("host", "localhost:1455")], "400");
    }

    #[test]
    fn only_get_ends_the_login() {
        for method in ["HEAD", "POST", "OPTIONS", "PUT", "DELETE", "TRACE", "PATCH", "BREW"] {
            check(method, GOOD, &[("host", "localhost:1455")], "405");
        }
        check("CONNECT", "localhost:1455", &[("host", "localhost:1455")], "400");
        check_get("http://localhost:1455/auth/callback?code=c&state=s", &[], "400");
        check("OPTIONS", "*", &[("host", "localhost:1455")], "400");
        check_get(GOOD, &[("upgrade", "websocket")], "400");
        check_get(GOOD, &[("content-length", "1")], "400");
        check_get(GOOD, &[("transfer-encoding", "chunked")], "400");
    }

    #[test]
    fn what_is_longer_than_the_limits_is_refused() {
        let line = |length: usize| {
            let target = "/auth/callback?state=";
            format!("{target}{}", "s".repeat(length - "GET  HTTP/1.1".len() - target.len()))
        };
        check_get(&line(8 * 1024), &[], "callback");
        check_get(&line(8 * 1024 + 1), &[], "414");
        let host = "host: localhost:1455\r\n".len();
        let value = |length: usize| "v".repeat(length - host - "name: \r\n".len());
        check_get(GOOD, &[("name", &value(16 * 1024))], "callback");
        check_get(GOOD, &[("name", &value(16 * 1024 + 1))], "431");
    }

    #[test]
    fn only_the_exact_path_ends_the_login() {
        for path in [
            "/",
            "/favicon.ico",
            "/robots.txt",
            "/cancel",
            "/auth/callback/",
            "/auth/callbackx",
            "/AUTH/callback",
        ] {
            check_get(&format!("{path}?code=c&state=s"), &[], "404");
        }
        check_get("/auth%2Fcallback?code=c&state=s", &[], "404");
    }

    #[test]
    fn a_request_of_a_page_or_a_prefetch_does_not_end_the_login() {
        for header in [
            ("origin", "https://login.acme.example"),
            ("origin", "null"),
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-mode", "no-cors"),
            ("sec-fetch-dest", "image"),
            ("sec-fetch-dest", "iframe"),
            ("sec-fetch-dest", ""),
        ] {
            check_get(GOOD, &[header], "403");
        }
        check_get(GOOD, &[("sec-fetch-mode", "navigate"), ("sec-fetch-mode", "cors")], "403");
        for header in
            [("sec-purpose", "prefetch;prerender"), ("purpose", "prefetch"), ("x-moz", "prefetch")]
        {
            check_get(GOOD, &[header], "503");
        }
    }

    #[test]
    fn parameters_that_cannot_be_read_are_refused() {
        for query in [
            "code=a&code=b&state=s",
            "state=s&state=s",
            "code=a&error=b&state=s",
            "code=%",
            "code=%00&state=s",
        ] {
            check_get(&format!("/auth/callback?{query}"), &[], "400");
        }
    }

    #[test]
    fn the_final_page_is_never_an_address_elsewhere() {
        assert_eq!(Place::new("/", 1).done, "/done");
        assert_eq!(Place::new("/cb", 1).done, "/cb/done");
    }
}
