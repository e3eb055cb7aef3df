//! [`HttpClient`] implemented with reqwest.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use url::Url;

use crate::http::address;
use crate::http::destination::listener;
use crate::http::proxy::Proxy;
use crate::http::{
    Gate, HttpClient, HttpError, HttpRequest, HttpResponse, LARGEST_BODY, Method, Sending,
};
use crate::text;

/// Sends requests with reqwest: rustls with ring, the platform's root certificates, and proxies
/// from `HTTPS_PROXY` and `NO_PROXY`. It follows no redirect, repeats nothing and keeps no
/// connection open. The reqwest client is built when the first request is sent, so creating this
/// costs nothing.
///
/// Plain `http` is used for loopback hosts only. Loopback hosts are never contacted through a
/// proxy, whether by `http` or `https`.
#[derive(Debug, Default)]
pub struct ReqwestClient {
    extra_ca: Option<PathBuf>,
    proxy: Option<Proxy>,
    certificates: Vec<String>,
    trusted: Vec<PathBuf>,
    secure: OnceLock<Result<reqwest::Client, String>>,
    direct: OnceLock<Result<reqwest::Client, String>>,
    plain: OnceLock<Result<reqwest::Client, String>>,
}

impl ReqwestClient {
    /// A client that trusts the platform's root certificates.
    pub fn new() -> Self {
        Self::default()
    }

    /// A client that also trusts the certificates in the PEM file `extra_ca`. The file is read when
    /// the first request is sent; if that fails, every request is [`HttpError::NotSent`] with the
    /// path.
    pub fn with_extra_ca(extra_ca: impl Into<PathBuf>) -> Self {
        Self { extra_ca: Some(extra_ca.into()), ..Self::default() }
    }

    /// This client, which reaches other machines through `proxy` if one is set, and names it in its
    /// errors; where a certificate is not trusted, also where the trusted `certificates` come from. They
    /// must hold no secret.
    #[must_use]
    pub fn through(self, proxy: Option<Proxy>, certificates: Vec<String>) -> Self {
        Self { proxy, certificates, ..self }
    }

    /// This client, which first looks at the files and directories of `certificates` that its library
    /// is told to read: it would wait for a named pipe, and believe another user.
    #[must_use]
    pub fn trusting(self, certificates: Vec<PathBuf>) -> Self {
        Self { trusted: certificates, ..self }
    }

    fn client_for(&self, url: &str) -> Result<&reqwest::Client, String> {
        let url = address::parse(url).map_err(str::to_owned)?;
        let built = if url.scheme() == "http" {
            self.plain.get_or_init(|| {
                // No root certificates: this client verifies nothing, and loading them takes
                // milliseconds.
                finish(builder().no_proxy().tls_certs_only([]))
            })
        } else {
            let is_direct = !self.is_by_proxy(&url);
            let client = if is_direct { &self.direct } else { &self.secure };
            client.get_or_init(|| {
                for path in &self.trusted {
                    check_certificates(path).map_err(|error| {
                        format!("the certificates in `{}` cannot be used: {error}", path.display())
                    })?;
                }
                let mut builder = builder().https_only(true);
                if is_direct {
                    builder = builder.no_proxy();
                } else if let Some(proxy) = &self.proxy {
                    let proxy =
                        reqwest::Proxy::all(proxy.url()?).map_err(|error| explain(&error))?;
                    builder = builder.no_proxy().proxy(proxy);
                }
                if let Some(path) = &self.extra_ca {
                    let unreadable = |error: &dyn Error| {
                        format!("the certificates in `{}` cannot be used: {error}", path.display())
                    };
                    let pem = auth_store::read_regular(path).map_err(|error| unreadable(&error))?;
                    let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                        .map_err(|error| unreadable(&error))?;
                    if certificates.is_empty() {
                        return Err(format!("`{}` holds no certificate in PEM", path.display()));
                    }
                    builder = builder.tls_certs_merge(certificates);
                }
                finish(builder)
            })
        };
        built.as_ref().map_err(Clone::clone)
    }

    /// Whether the way to `url` is through the proxy that is set.
    fn is_by_proxy(&self, url: &Url) -> bool {
        let is_passed_by = self.proxy.as_ref().is_some_and(|proxy| proxy.is_passed_by(url));
        !address::is_loopback(url) && !is_passed_by
    }

    /// The text of an error with what the environment says about the way to `url`.
    fn with_names(&self, text: String, url: &str) -> String {
        let url = address::parse(url).ok().filter(|url| url.scheme() == "https");
        let Some(url) = url else { return text };
        let proxy = self.proxy.iter().filter(|_| self.is_by_proxy(&url));
        let certificates = self.certificates.iter().filter(|_| text.contains("certificate"));
        let named = proxy.map(ToString::to_string).chain(certificates.cloned());
        let named: Vec<_> = named.filter(|name| !text.contains(name.as_str())).collect();
        if named.is_empty() { text } else { format!("{text} ({})", named.join(", ")) }
    }

    async fn perform(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let host = host_of(&request.url);
        let is_plain = address::parse(&request.url).is_ok_and(|url| url.scheme() == "http");
        let checked = (is_plain && request.carries_secret).then(|| request.url.clone());
        let client = self.client_for(&request.url);
        let client = client.map_err(|reason| {
            HttpError::NotSent(self.with_names(format!("{host}: {reason}"), &request.url))
        })?;
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
        };
        if let Some(url) = &checked {
            let foreign = |reason| HttpError::NotSent(format!("{host}: {reason}"));
            listener::check(url, false).map_err(foreign)?;
        }
        let mut builder = client.request(method, &request.url).timeout(request.timeout);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let handed_over = Arc::new(AtomicBool::new(false));
        let has_body = request.body.is_some();
        if let Some(body) = request.body {
            builder = builder.body(reqwest::Body::wrap(GatedBody {
                bytes: reqwest::Body::from(body),
                gate: request.gate,
                checked,
                handed_over: Arc::clone(&handed_over),
            }));
        }

        let failed = |error: reqwest::Error| {
            let unsent = if has_body {
                !handed_over.load(Ordering::SeqCst)
            } else {
                error.is_connect() || error.is_builder()
            };
            let text = format!("{host}: {}", explain(&error.without_url()));
            let text = self.with_names(text, &request.url);
            if unsent { HttpError::NotSent(text) } else { HttpError::NoResponse(text) }
        };
        let mut response = builder.send().await.map_err(&failed)?;
        let status = response.status().as_u16();
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let fields = response.headers().iter();
        let headers: Vec<_> = fields
            .map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())))
            .collect();
        let mut reply = HttpResponse { status, headers, body: Vec::new() };
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                // The JSON object ends at its last brace, so a connection that ends badly (wrong
                // length, TLS without a close notification) loses nothing.
                Ok(None) => break,
                Err(_) if reply.readable().json().is_some() => break,
                Err(error) => return Err(failed(error)),
            };
            let room = LARGEST_BODY - reply.body.len();
            reply.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                break;
            }
        }
        Ok(reply)
    }
}

impl HttpClient for ReqwestClient {
    fn send(&self, request: HttpRequest) -> Sending<'_> {
        Box::pin(self.perform(request))
    }
}

fn builder() -> reqwest::ClientBuilder {
    // The first crypto provider of the process stays; this one is used only if there is none.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .pool_max_idle_per_host(0)
        .referer(false)
        .http1_only()
}

/// Opens the file, or each file of the directory, as one that is believed.
fn check_certificates(path: &Path) -> std::io::Result<()> {
    if !path.is_dir() {
        return match auth_store::open_regular(path) {
            // The library passes over what is not there.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    for entry in std::fs::read_dir(path)?.flatten() {
        match auth_store::open_regular(&entry.path()) {
            Err(error) if auth_store::is_refused(&error) && !entry.path().is_dir() => {
                let name = entry.file_name();
                return Err(std::io::Error::other(format!("{}: {error}", name.display())));
            }
            _ => {}
        }
    }
    Ok(())
}

fn finish(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, String> {
    builder.build().map_err(|error| explain(&error))
}

/// The cause of the error, on one line. The outer layers say only that there was an error.
fn explain(error: &dyn Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    let says_nothing =
        |text: &String| text == "error sending request" || text.starts_with("client error (");
    while texts.len() > 1 && texts.first().is_some_and(says_nothing) {
        texts.remove(0);
    }
    texts.dedup();
    text::clean(&texts.join(": "))
}

/// Host and port, as written.
fn host_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    text::clean(authority.rsplit('@').next().unwrap_or_default())
}

/// A body that calls the gate before its first byte and remembers whether that byte was taken.
struct GatedBody {
    bytes: reqwest::Body,
    gate: Option<Gate>,
    /// The address whose listener is looked at once more, since the connection stands now.
    checked: Option<String>,
    handed_over: Arc<AtomicBool>,
}

impl Body for GatedBody {
    type Data = <reqwest::Body as Body>::Data;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if let Some(gate) = self.gate.take()
            && !gate()
        {
            return Poll::Ready(Some(Err("the sender withdrew it".into())));
        }
        if let Some(url) = self.checked.take()
            && let Err(reason) = listener::check(&url, true)
        {
            return Poll::Ready(Some(Err(reason.into())));
        }
        let frame = Pin::new(&mut self.bytes).poll_frame(context);
        if matches!(frame, Poll::Ready(Some(Ok(_)))) {
            self.handed_over.store(true, Ordering::SeqCst);
        }
        frame.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes.size_hint()
    }
}

/// We identify ourselves, and never claim to be another program.
const USER_AGENT: &str = concat!("token-sink/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::AtomicUsize;
    use std::thread::{self, JoinHandle};
    use std::time::Duration;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    /// Serves one connection with `serve`; the thread returns its result.
    fn server<T: Send + 'static>(
        serve: impl FnOnce(TcpStream) -> T + Send + 'static,
    ) -> (String, JoinHandle<T>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        (url, thread::spawn(move || serve(listener.accept().unwrap().0)))
    }

    fn read_request(stream: &mut TcpStream) -> String {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            request.push(byte[0]);
        }
        let head = String::from_utf8(request).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).unwrap();
        head + std::str::from_utf8(&body).unwrap()
    }

    fn post(url: &str, gate: Option<Gate>) -> HttpRequest {
        let mut request = HttpRequest::get(url, TIMEOUT);
        request.method = Method::Post;
        request.headers.push(("content-type".to_owned(), "text/plain".to_owned()));
        HttpRequest { gate, body: Some(b"secret".to_vec()), carries_secret: true, ..request }
    }

    fn send(request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(ReqwestClient::new().send(request))
    }

    #[test]
    fn the_request_has_a_length_and_says_who_we_are() {
        let (url, server) = server(|mut stream| {
            let request = read_request(&mut stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\nX-A: b\r\ncontent-length: 2\r\n\r\nok").unwrap();
            request
        });
        let reply = send(post(&url, None)).unwrap();
        assert_eq!((reply.status, reply.body.as_slice()), (200, b"ok".as_slice()));
        assert_eq!(reply.header("x-a"), Some("b"));
        let request = server.join().unwrap();
        assert!(request.starts_with("POST /token HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("content-length: 6\r\n"), "{request}");
        assert!(request.contains("accept-encoding: identity\r\n"), "{request}");
        assert!(!request.contains("transfer-encoding"), "{request}");
        assert!(request.contains(&format!("user-agent: {USER_AGENT}\r\n")), "{request}");
        assert!(request.ends_with("\r\n\r\nsecret"), "{request}");
    }

    #[test]
    fn an_open_gate_is_asked_once_and_lets_the_body_pass() {
        let asked = Arc::new(AtomicUsize::new(0));
        let (url, server) = server(|mut stream| {
            let request = read_request(&mut stream);
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
            request
        });
        let count = Arc::clone(&asked);
        let gate: Gate = Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
            true
        });
        assert_eq!(send(post(&url, Some(gate))).unwrap().status, 204);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert!(server.join().unwrap().ends_with("secret"));
    }

    #[test]
    fn behind_a_closed_gate_the_connection_stands_and_no_byte_leaves() {
        let (url, server) = server(|mut stream| {
            let mut received = Vec::new();
            // A reset instead of a clean end is fine: only the bytes before it matter.
            let _ = stream.read_to_end(&mut received);
            received
        });
        let reply = send(post(&url, Some(Arc::new(|| false))));
        assert!(matches!(reply, Err(HttpError::NotSent(_))), "{reply:?}");
        assert_eq!(server.join().unwrap(), b"");
    }

    #[test]
    fn what_left_and_was_not_answered_is_told_from_what_did_not_leave() {
        let (url, server) = server(|mut stream| read_request(&mut stream));
        let reply = send(post(&url, None));
        assert!(matches!(reply, Err(HttpError::NoResponse(_))), "{reply:?}");
        assert!(server.join().unwrap().ends_with("secret"));

        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let reply = send(post(&format!("http://{nobody}/"), None));
        assert!(matches!(reply, Err(HttpError::NotSent(_))), "{reply:?}");
        let reply = send(HttpRequest::get(format!("http://{nobody}/"), TIMEOUT));
        assert!(matches!(reply, Err(HttpError::NotSent(_))), "{reply:?}");
    }

    #[test]
    fn half_a_response_is_none() {
        let (url, server) = server(|mut stream| {
            read_request(&mut stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{\"access").unwrap();
        });
        let reply = send(post(&url, None));
        assert!(matches!(reply, Err(HttpError::NoResponse(_))), "{reply:?}");
        server.join().unwrap();
    }

    #[test]
    fn a_whole_object_is_a_response_however_the_connection_ends() {
        let (url, server) = server(|mut stream| {
            read_request(&mut stream);
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n";
            stream.write_all(format!("{head}{{\"a\": 1}}").as_bytes()).unwrap();
        });
        assert_eq!(send(post(&url, None)).unwrap().body, b"{\"a\": 1}");
        server.join().unwrap();
    }

    #[test]
    fn a_response_that_is_cut_off_behind_both_tokens_is_one() {
        let ends_after = |body: &'static str| {
            let (url, server) = server(move |mut stream| {
                read_request(&mut stream);
                let head = "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n";
                stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            });
            let reply = send(post(&url, None));
            server.join().unwrap();
            reply
        };
        let both = r#"{"access_token":"n","refresh_token":"r2","exp"#;
        assert_eq!(ends_after(both).unwrap().body, both.as_bytes());
        // The controls: the refresh token may continue, or may be still missing.
        for part in [
            r#"{"access_token":"n","refresh_token":"r2"#,
            r#"{"access_token":"n","exp"#,
            "access_token=n&refresh_token=r2",
        ] {
            let reply = ends_after(part);
            assert!(matches!(reply, Err(HttpError::NoResponse(_))), "{part}: {reply:?}");
        }
    }

    #[test]
    fn a_silent_server_ends_at_the_timeout() {
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let (url, server) = server(move |mut stream| {
            read_request(&mut stream);
            let _ = wait.recv();
        });
        let request = HttpRequest { timeout: Duration::from_millis(200), ..post(&url, None) };
        let reply = send(request);
        assert!(matches!(reply, Err(HttpError::NoResponse(_))), "{reply:?}");
        drop(done);
        server.join().unwrap();
    }

    #[test]
    fn a_redirect_is_a_response_and_its_target_hears_nothing() {
        for status in [301, 302, 303, 307, 308] {
            let sink = TcpListener::bind("127.0.0.1:0").unwrap();
            let target = format!("http://{}/", sink.local_addr().unwrap());
            let (url, server) = server(move |mut stream| {
                read_request(&mut stream);
                let head = format!("HTTP/1.1 {status} X\r\nlocation: {target}\r\n");
                stream.write_all(format!("{head}content-length: 0\r\n\r\n").as_bytes()).unwrap();
            });
            assert_eq!(send(post(&url, None)).unwrap().status, status);
            server.join().unwrap();
            sink.set_nonblocking(true).unwrap();
            assert_eq!(sink.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn a_request_that_breaks_off_is_not_sent_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            read_request(&mut stream);
            drop(stream);
            listener
        });
        assert!(send(post(&url, None)).is_err());
        let listener = server.join().unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_body_that_is_too_large_is_cut() {
        let (url, server) = server(|mut stream| {
            read_request(&mut stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").unwrap();
            // The reader hangs up in the middle.
            let _ = stream.write_all(&vec![b' '; LARGEST_BODY + 4096]);
        });
        assert_eq!(send(post(&url, None)).unwrap().body.len(), LARGEST_BODY);
        server.join().unwrap();
    }

    #[test]
    fn plain_http_is_for_loopback_hosts_only() {
        for url in ["http://example.com/", "ftp://localhost/", "http://u:p@localhost/", "localhost"]
        {
            let reply = send(post(url, None));
            assert!(matches!(reply, Err(HttpError::NotSent(_))), "{url}: {reply:?}");
        }
    }

    #[test]
    fn an_error_names_the_host_and_the_cause_and_nothing_else_of_the_address() {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = send(post(&format!("http://{nobody}/secret?secret"), None)).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("not sent: {nobody}: ")), "{text}");
        assert!(text.contains("refused") && !text.contains("secret"), "{text}");
        let error = send(post("http://me:secret@a.example/", None)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "not sent: a.example: plain http is only for loopback addresses"
        );
    }

    /// What becomes of a request to another machine, with this proxy.
    fn sent_through(proxy: &str, exceptions: &str) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let proxy = Proxy::new("HTTPS_PROXY", proxy, exceptions);
        let client = ReqwestClient::new().through(Some(proxy), vec!["X is `c`".to_owned()]);
        let request = post("https://issuer.invalid/token", None);
        runtime.block_on(client.send(request)).unwrap_err().to_string()
    }

    #[test]
    fn an_error_on_the_way_to_another_machine_names_what_is_in_between() {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = sent_through(&format!("http://me:pw@{nobody}"), "");
        assert!(text.ends_with(&format!(" (HTTPS_PROXY is `{nobody}`)")), "{text}");
        assert!(!text.contains("pw"), "{text}");
        // What goes past the proxy does not name it.
        let text = sent_through(&nobody.to_string(), "*.invalid:443");
        assert!(!text.contains("PROXY"), "{text}");
    }

    #[test]
    fn a_proxy_that_is_none_is_an_error_and_nothing_is_sent() {
        for proxy in ["ftp://proxy", "http://", "http://a b", "http://proxy:x"] {
            let text = sent_through(proxy, "");
            assert!(text.starts_with("not sent: issuer.invalid: HTTPS_PROXY is `"), "{text}");
        }
    }

    #[test]
    fn socks_is_spoken_where_the_proxy_says_so() {
        use std::io::Read as _;
        // The others look the name up before they ask the proxy.
        for (scheme, first) in [("socks5h", 5), ("socks4a", 4), ("http", b'C')] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let proxy = format!("{scheme}://{}", listener.local_addr().unwrap());
            let heard = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                byte[0]
            });
            let text = sent_through(&proxy, "");
            assert!(text.contains("HTTPS_PROXY is `"), "{text}");
            assert_eq!(heard.join().unwrap(), first, "{scheme}: {text}");
        }
    }

    #[test]
    fn an_unusable_certificate_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let client = ReqwestClient::with_extra_ca(directory.path().join("missing.pem"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error = runtime.block_on(client.send(post("https://localhost:1/", None))).unwrap_err();
        assert!(error.to_string().contains("missing.pem"), "{error}");
    }
}
