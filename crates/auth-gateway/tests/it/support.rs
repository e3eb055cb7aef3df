//! A provider on real sockets with scripted behavior that counts its requests, and a gateway in
//! front of it.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth_gateway::{
    ApiData, Client, Clients, Gateway, Hosts, Limits, Live, MemoryAccounts, Phase, Server, Settings,
};
use auth_store::{Clock, Kind, ProviderId, Secret, Timestamp};
use tokio::sync::watch;

/// A request as the provider saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// The value of a header; the first one, if it is repeated.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    /// The secret of the request.
    pub(crate) fn secret(&self) -> &str {
        let bearer = self.header("authorization").map(|text| text.trim_start_matches("Bearer "));
        bearer.or_else(|| self.header("x-api-key")).unwrap_or("")
    }
}

/// A provider: `answer` gets each request and its connection.
pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
}

impl Provider {
    pub(crate) fn start(reply: impl Fn(&Seen, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (all, reply) = (Arc::clone(&seen), Arc::new(reply));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), all, reply) = (stream, Arc::clone(&all), Arc::clone(&reply))
                else {
                    return;
                };
                stream.set_nodelay(true).unwrap();
                std::thread::spawn(move || {
                    while let Some(request) = read_request(&mut stream) {
                        all.lock().unwrap().push(request.clone());
                        reply(&request, &mut stream);
                    }
                });
            }
        });
        Self { address, seen }
    }

    /// A provider with a fixed response for each secret.
    pub(crate) fn by_secret(replies: &[(&str, &str)]) -> Self {
        let replies: HashMap<String, String> =
            replies.iter().map(|(secret, text)| ((*secret).to_owned(), http(text))).collect();
        Self::start(move |request, stream| {
            let reply = replies.get(request.secret());
            let reply = reply.cloned().unwrap_or_else(|| http("418\n\nno such secret"));
            let _ = stream.write_all(reply.as_bytes());
        })
    }

    pub(crate) fn secrets(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|it| it.secret().to_owned()).collect()
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// `STATUS\nheader: value\n\nbody` as a response with a length.
pub(crate) fn http(text: &str) -> String {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let head = head.replace('\n', "\r\n");
    format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Reads a request with a length or in chunks; `None` at the end of the connection.
fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut request = Seen { head, body: Vec::new() };
    if let Some(length) = request.header("content-length") {
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).ok()?;
        request.body = body;
    } else if request.header("transfer-encoding").is_some() {
        loop {
            let line = read_line(stream)?;
            let length = usize::from_str_radix(line.trim(), 16).ok()?;
            let mut chunk = vec![0; length];
            stream.read_exact(&mut chunk).ok()?;
            request.body.append(&mut chunk);
            if length == 0 {
                while !read_line(stream)?.trim().is_empty() {}
                return Some(request);
            }
            read_line(stream)?;
        }
    }
    Some(request)
}

fn read_line(stream: &mut TcpStream) -> Option<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        line.push(byte[0]);
    }
    String::from_utf8(line).ok()
}

/// A gateway in front of a provider named `acme`, with one client.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    pub(crate) gateway: Arc<Gateway<MemoryAccounts>>,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) ended: Receiver<()>,
    pub(crate) clock: Arc<TestClock>,
}

/// A clock that a test moves.
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// The setup of a test's gateway.
pub(crate) struct Setup {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) api: serde_json::Value,
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    pub(crate) limits: Limits,
    pub(crate) accounts: MemoryAccounts,
    pub(crate) change: Box<dyn Fn(&mut Client)>,
}

impl Setup {
    /// Keys in this order, each both the name of its profile and the secret.
    pub(crate) fn keys(keys: &[&str]) -> Self {
        let clock = Arc::new(TestClock(AtomicI64::new(1_769_644_800_000)));
        let accounts = MemoryAccounts::new(clock.clone());
        for key in keys {
            accounts.add("acme", &format!("acme:{key}"), Live::api_key(key), Vec::new());
        }
        Self {
            clock,
            api: serde_json::json!({}),
            tls: None,
            limits: Limits::default(),
            accounts,
            change: Box::new(|client| client.subscription = true),
        }
    }

    /// Logins, each with the tokens that its refreshes yield.
    pub(crate) fn logins(logins: &[&[&str]]) -> Self {
        let setup = Self::keys(&[]);
        for tokens in logins {
            let live = Live { kind: Kind::OAuth, ..Live::api_key(tokens[0]) };
            let next = tokens[1..].iter().map(|token| Secret::new(*token)).collect();
            setup.accounts.add("acme", &format!("acme:{}", tokens[0]), live, next);
        }
        setup
    }

    pub(crate) fn api(mut self, api: serde_json::Value) -> Self {
        self.api = api;
        self
    }

    pub(crate) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    pub(crate) fn client(mut self, change: impl Fn(&mut Client) + 'static) -> Self {
        self.change = Box::new(change);
        self
    }

    pub(crate) fn start(self, provider: SocketAddr) -> Running {
        let mut api = self.api;
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        api["base"] = format!("{scheme}://{provider}/v1").into();
        let api = serde_json::from_value::<ApiData>(api).unwrap().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let acme = ProviderId::new("acme");
        let token = add_client(directory.path(), "one", &self.change);
        let gateway = Gateway::new(
            self.accounts,
            Settings {
                apis: HashMap::from([(acme, api)]),
                clients: Clients::in_state_directory(directory.path()),
                hosts: Hosts::default(),
                limits: self.limits,
                clock: self.clock.clone(),
                tls: self.tls,
            },
        );
        let (phase, receiver) = watch::channel(Phase::Serving);
        let (tell, told): (Sender<SocketAddr>, _) = channel();
        let (end, ended) = channel();
        let (ours, state) = (Arc::clone(&gateway), directory.path().to_owned());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut server = Server::new(ours, &state).unwrap();
                server.listen_for_owner().unwrap();
                server.listen_for_client(&state.join("one.sock"), "one").unwrap();
                tell.send(server.listen("127.0.0.1:0".parse().unwrap()).await.unwrap()).unwrap();
                server.run(receiver).await;
            });
            let _ = end.send(());
        });
        let address = told.recv().unwrap();
        Running { address, token, gateway, directory, phase, ended, clock: self.clock }
    }
}

/// Adds a client of `acme`, and returns its token.
pub(crate) fn add_client(state: &Path, name: &str, change: &dyn Fn(&mut Client)) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let number = u8::try_from(NEXT.fetch_add(1, Ordering::Relaxed) % 250).unwrap();
    let (mut client, token) = Client::new(name, &[ProviderId::new("acme")], [number; 32]);
    change(&mut client);
    Clients::in_state_directory(state).update(|clients| clients.push(client)).unwrap();
    token.expose().to_owned()
}

/// A response as the client saw it.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Running {
    /// `POST /acme/responses` with this body.
    pub(crate) fn ask(&self, body: &str) -> Got {
        self.post("/acme/responses", "", body)
    }

    /// A `POST` with additional header lines, each ended by `\r\n`.
    pub(crate) fn post(&self, path: &str, headers: &str, body: &str) -> Got {
        self.send(&self.request("POST", path, headers, body))
    }

    /// A request with our client's token and a length.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let (host, token, length) = (self.address, &self.token, body.len());
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
        )
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// Sends bytes on a connection of their own, and reads one response.
    pub(crate) fn send(&self, bytes: &str) -> Got {
        let mut stream = self.connect();
        stream.write_all(bytes.as_bytes()).unwrap();
        read_answer(&mut stream)
    }
}

/// Reads one response, with a length, in chunks, or until the connection ends.
pub(crate) fn read_answer(stream: &mut (impl std::io::Read + Send)) -> Got {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or(0);
    let mut got = Got { status, head, body: String::new() };
    let mut body = Vec::new();
    if let Some(length) = got.header("content-length") {
        body.resize(length.parse().unwrap(), 0);
        let mut at = 0;
        while at < body.len() {
            match stream.read(&mut body[at..]) {
                Ok(0) | Err(_) => break,
                Ok(count) => at += count,
            }
        }
        body.truncate(at);
    } else if got.header("transfer-encoding").is_some() {
        read_chunks(stream, &mut body);
    }
    got.body = String::from_utf8_lossy(&body).into_owned();
    got
}

fn read_chunks(stream: &mut impl std::io::Read, body: &mut Vec<u8>) {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        line.clear();
        while !line.ends_with(b"\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => line.push(byte[0]),
                _ => return,
            }
        }
        let text = String::from_utf8_lossy(&line);
        let Ok(length) = usize::from_str_radix(text.trim(), 16) else { return };
        let mut chunk = vec![0; length + 2];
        if stream.read_exact(&mut chunk).is_err() || length == 0 {
            return;
        }
        body.extend_from_slice(&chunk[..length]);
    }
}
