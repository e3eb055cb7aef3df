//! The checks of every request before its caller is authenticated: it must be for us, and
//! unambiguous.

use hyper::header::{CONTENT_LENGTH, HOST, ORIGIN, TRANSFER_ENCODING, UPGRADE};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode, Version};

use crate::api::shape::Refusal;

/// The host names of a listener.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// Host names without a port, in addition to `127.0.0.1`, `localhost` and `[::1]`.
    pub allowed: Vec<String>,
}

impl Hosts {
    /// Whether a `Host` is ours, with any port. This stops DNS rebinding, which uses another name.
    fn are_ours(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, port)) if port.is_empty() || is_port(port) => {
                return address == "::1" || self.allowed.iter().any(|it| it == address);
            }
            Some(_) => return false,
            None => match host.split_once(':') {
                Some((name, port))
                    if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) =>
                {
                    name
                }
                Some(_) => return false,
                None => host,
            },
        };
        ["127.0.0.1", "localhost"].contains(&name)
            || self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|it| it.is_ascii_digit()))
}

/// Checks a request. `hosts` is `None` for a socket, which has no host name.
pub(crate) fn check(request: &Parts, hosts: Option<&Hosts>) -> Result<(), Refusal> {
    let headers = &request.headers;
    if request.method == Method::CONNECT {
        return Err(bad("`CONNECT` is not served here"));
    }
    if headers.contains_key(ORIGIN) {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "requests of web pages are refused"));
    }
    if request.uri.scheme().is_some() || request.uri.authority().is_some() {
        return Err(bad("the target must be a path, not an address"));
    }
    check_host(request, hosts)?;
    check_path(request.uri.path())?;
    check_lengths(headers)?;
    if headers.contains_key(UPGRADE) {
        // The only status for which Codex falls back to a plain request at once.
        return Err(Refusal::new(StatusCode::UPGRADE_REQUIRED, "only plain HTTP is served here"));
    }
    Ok(())
}

fn check_host(request: &Parts, hosts: Option<&Hosts>) -> Result<(), Refusal> {
    let mut named = request.headers.get_all(HOST).iter();
    let host = match (named.next(), named.next()) {
        (Some(host), None) => host,
        (None, _) if request.version < Version::HTTP_11 && hosts.is_none() => return Ok(()),
        _ => return Err(bad("there must be exactly one `Host`")),
    };
    let Some(hosts) = hosts else { return Ok(()) };
    if host.to_str().is_ok_and(|host| hosts.are_ours(host)) {
        return Ok(());
    }
    let message = "this `Host` is not served here; allow it with `clawdbot serve --allow-host`";
    Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, message))
}

/// Refuses a path that two programs could interpret differently.
fn check_path(path: &str) -> Result<(), Refusal> {
    if !path.starts_with('/') {
        return Err(bad("the target must be a path"));
    }
    if path.split('/').any(|segment| segment == "." || segment == "..") || path.contains('\\') {
        return Err(bad("the path has `.`, `..` or a backslash"));
    }
    let bytes = path.as_bytes();
    for (at, _) in path.match_indices('%') {
        let code = bytes.get(at + 1..at + 3).unwrap_or_default().to_ascii_lowercase();
        match &code[..] {
            b"2f" | b"5c" | b"2e" | b"00" => {
                return Err(bad("the path has an encoded slash, backslash, dot or zero"));
            }
            [a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {}
            _ => return Err(bad("the path has a `%` that encodes nothing")),
        }
    }
    Ok(())
}

/// hyper has refused conflicting lengths, and removed the length of a chunked body.
fn check_lengths(headers: &HeaderMap) -> Result<(), Refusal> {
    let lengths = headers.get_all(CONTENT_LENGTH).iter().count();
    let codings = headers.get_all(TRANSFER_ENCODING).iter().count();
    if lengths > 1 || codings > 1 || lengths + codings > 1 {
        return Err(bad("the length of the body is given twice"));
    }
    match headers.get(TRANSFER_ENCODING) {
        Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "only `chunked` is understood"))
        }
        _ => Ok(()),
    }
}

fn bad(message: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, message)
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn status(request: hyper::http::request::Builder) -> u16 {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let hosts = Hosts { allowed: vec!["host.docker.internal".to_owned()] };
        check(&parts, Some(&hosts)).map_or_else(|refusal| refusal.status.as_u16(), |()| 200)
    }

    #[test]
    fn only_our_own_names_are_served() {
        let with = |host: &str| status(Request::get("/acme/x").header("host", host));
        for ours in ["127.0.0.1", "127.0.0.1:1460", "localhost:1", "[::1]:1460", "[::1]"] {
            assert_eq!(with(ours), 200, "{ours}");
        }
        assert_eq!(with("HOST.docker.internal:1460"), 200);
        for foreign in [
            "evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:80:80",
            "localhost:evil",
            "[::1]evil",
            "[::2]",
            "",
            "localhost@evil",
        ] {
            assert_eq!(with(foreign), 421, "{foreign}");
        }
        assert_eq!(status(Request::get("/")), 400);
        assert_eq!(status(Request::get("/").header("host", "localhost").header("host", "a")), 400);
    }

    #[test]
    fn web_pages_are_refused() {
        let request = || Request::get("/acme/x").header("host", "localhost");
        assert_eq!(status(request()), 200);
        assert_eq!(status(request().header("origin", "http://localhost")), 403);
        assert_eq!(status(request().header("origin", "null")), 403);
        assert_eq!(status(request().method("OPTIONS").header("origin", "https://a")), 403);
    }

    #[test]
    fn paths_that_could_be_read_in_two_ways_are_refused() {
        let at = |target: &str| status(Request::get(target).header("host", "localhost"));
        for good in ["/acme/v1/x", "/acme/a..b", "/acme/a%20b", "/acme/models/m:x?a=%2F.."] {
            assert_eq!(at(good), 200, "{good}");
        }
        for bad in [
            "/acme/../other/x",
            "/acme/./x",
            "/acme/..",
            "/acme/%2e%2e/x",
            "/acme/a%2Fb",
            "/acme/a%5cb",
            "/acme/%00",
            "/acme/%2",
            "/acme/%zz",
            "http://localhost/acme/x",
            "http://evil.example/acme/x",
        ] {
            assert_eq!(at(bad), 400, "{bad}");
        }
    }

    #[test]
    fn a_body_has_one_length() {
        let request = || Request::post("/acme/x").header("host", "localhost");
        assert_eq!(status(request().header("content-length", "5")), 200);
        assert_eq!(status(request().header("transfer-encoding", "chunked")), 200);
        let both = request().header("content-length", "5").header("transfer-encoding", "chunked");
        assert_eq!(status(both), 400);
        let two = request().header("content-length", "5").header("content-length", "6");
        assert_eq!(status(two), 400);
        assert_eq!(status(request().header("transfer-encoding", "gzip, chunked")), 501);
    }

    #[test]
    fn an_upgrade_is_answered_so_that_clients_fall_back() {
        let request = Request::get("/acme/x").header("host", "localhost");
        assert_eq!(status(request.header("upgrade", "websocket")), 426);
    }
}
