//! A client with only the right to proxy never sees the credential.

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use crate::support::{Provider, Setup};

const SECRET: &str = "sk-very-secret-credential-1";

/// Everything that is logged, at any level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_response_header_error_redirect_log_or_metric_tells_a_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    // A provider that repeats the request wherever it can.
    let provider = Provider::start(|request, stream| {
        let body = format!("{{\"error\":{{\"message\":\"{0} {0}\"}}}}", request.secret());
        let length = body.len();
        let (status, cut) = match request.target() {
            "/v1/responses" => ("200 OK", length),
            "/v1/completions" => ("302 Found", length),
            "/v1/embeddings" => ("401 Unauthorized", length),
            "/v1/lies" => ("200 OK", 5),
            _ => ("500 Oops", length),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nlocation: https://a.example/?key={0}\r\nx-echo: Bearer {0}\r\n\
             set-cookie: {0}\r\ncontent-length: {length}\r\n\r\n",
            request.secret()
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&body.as_bytes()[..cut]);
        if cut < length {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    });
    let gateway = Setup::keys(&[SECRET])
        .client(|client| client.may = vec![auth_gateway::Right::Proxy, auth_gateway::Right::Status])
        .start(provider.address);
    gateway.gateway.accounts();
    let mut seen = String::new();
    for path in ["responses", "completions", "embeddings", "lies", "other", "responses"] {
        let got = gateway.post(&format!("/acme/{path}"), "", "{\"model\":\"m\"}");
        seen.push_str(&got.head.replace(&format!("acme:{SECRET}"), "its profile"));
        seen.push_str(&got.body);
    }
    seen.push_str(&gateway.send(&gateway.request("GET", "/metrics", "", "")).body);
    assert!(seen.contains("****") && seen.contains("clawdbot_requests_total"), "{seen}");
    assert!(!seen.contains(SECRET), "{seen}");
    // The client's own token appears nowhere either, and the log is not empty.
    let logged =
        String::from_utf8_lossy(&log.0.lock().unwrap()).replace(&format!("acme:{SECRET}"), "");
    assert!(logged.contains("answered"), "{logged}");
    assert!(!logged.contains(SECRET) && !logged.contains(&gateway.token), "{logged}");
    assert!(!seen.contains(&gateway.token));
    // The control: it was sent.
    assert_eq!(provider.secrets()[0], SECRET);
}
