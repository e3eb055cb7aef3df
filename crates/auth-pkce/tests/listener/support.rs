//! A waiting login, and a browser made of a raw socket.

use std::net::{Ipv4Addr, SocketAddr};

use auth_pkce::{Arrival, Attempt, Loopback, Redirect, ResponseRules, WaitError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A login that waits for its response at `/auth/callback` on a free port.
pub(crate) struct Waiting {
    pub(crate) port: u16,
    pub(crate) state: String,
    pub(crate) task: JoinHandle<Result<Arrival, WaitError>>,
}

impl Waiting {
    pub(crate) fn new() -> Self {
        let redirect = Redirect::new("localhost", vec![], "/auth/callback").unwrap();
        Self::on(Loopback::bind(&redirect).unwrap())
    }

    pub(crate) fn on(loopback: Loopback) -> Self {
        let attempt = Attempt::new([42; 96], loopback.redirect_uri().to_owned());
        let port = port_of(&loopback);
        let state = attempt.state().expose().to_owned();
        let task =
            tokio::spawn(async move { loopback.wait(&attempt, &ResponseRules::default()).await });
        Self { port, state, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The target of the correct response.
    pub(crate) fn response(&self) -> String {
        format!("/auth/callback?code=the-code&state={}", self.state)
    }

    /// A request as a program sends it.
    pub(crate) fn request(&self, target: &str) -> String {
        self.request_with("GET", target, "")
    }

    pub(crate) fn request_with(&self, method: &str, target: &str, headers: &str) -> String {
        format!("{method} {target} HTTP/1.1\r\nHost: localhost:{}\r\n{headers}\r\n", self.port)
    }

    pub(crate) async fn get(&self, target: &str) -> Response {
        self.send(&self.request(target)).await
    }

    pub(crate) async fn send(&self, request: &str) -> Response {
        send(self.address(), request).await
    }

    /// Sends the correct response, and returns while the browser waits for the page.
    pub(crate) async fn arrive(self) -> (Arrival, JoinHandle<Response>) {
        let request = self.request(&self.response());
        self.arrive_with(request).await
    }

    pub(crate) async fn arrive_with(self, request: String) -> (Arrival, JoinHandle<Response>) {
        let address = self.address();
        let browser = tokio::spawn(async move { send(address, &request).await });
        let arrival = self.task.await.unwrap().unwrap();
        assert_eq!(arrival.code.expose(), "the-code");
        (arrival, browser)
    }

    /// Checks that the login still succeeds.
    pub(crate) async fn still_succeeds(self) {
        let (arrival, browser) = self.arrive().await;
        assert!(!browser.is_finished());
        arrival.browser.succeed().await;
        browser.await.unwrap().expect(200, "You are signed in");
    }
}

pub(crate) fn port_of(loopback: &Loopback) -> u16 {
    let address = loopback.redirect_uri().split('/').nth(2).unwrap();
    address.rsplit(':').next().unwrap().parse().unwrap()
}

/// Everything the listener sent until it closed the connection.
#[derive(Debug)]
pub(crate) struct Response(pub(crate) String);

impl Response {
    pub(crate) fn status(&self) -> u16 {
        self.0.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    #[track_caller]
    pub(crate) fn expect(&self, status: u16, text: &str) {
        assert_eq!(self.status(), status, "{}", self.0);
        assert!(self.0.contains(text), "{}", self.0);
    }
}

/// Sends bytes and reads until the connection is closed in any way.
pub(crate) async fn send(address: SocketAddr, request: &str) -> Response {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut received = Vec::new();
    if stream.write_all(request.as_bytes()).await.is_ok() {
        let _ = stream.read_to_end(&mut received).await;
    }
    Response(String::from_utf8(received).unwrap())
}

/// Whether the port is closed, after the runtime had time to clean up.
pub(crate) async fn is_closed(address: SocketAddr) -> bool {
    for _ in 0..100 {
        if TcpStream::connect(address).await.is_err() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

/// What a client of another user is told that sends `request` and waits. `None`, said aloud: nobody
/// else's process can be started here.
#[cfg(target_os = "linux")]
pub(crate) async fn as_another_user(port: u16, request: String) -> Option<String> {
    run_as_another_user("printf '%s' \"$2\" >&3; cat <&3", port, request).await
}

/// The same of one that sends and is gone.
#[cfg(target_os = "linux")]
pub(crate) async fn as_another_user_who_leaves(port: u16, request: String) -> Option<String> {
    run_as_another_user("printf '%s' \"$2\" >&3; exec 3>&-", port, request).await
}

#[cfg(target_os = "linux")]
async fn run_as_another_user(does: &str, port: u16, request: String) -> Option<String> {
    use std::os::unix::process::CommandExt as _;

    let script = format!("exec 3<>/dev/tcp/127.0.0.1/$1; {does}");
    let mut command = std::process::Command::new("bash");
    command.args(["-c", &script, "bash", &port.to_string(), &request]).uid(65534);
    command.current_dir("/").env_clear().env("PATH", "/usr/bin:/bin");
    match tokio::task::spawn_blocking(move || command.output()).await.unwrap() {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            eprintln!("NOT RUN: only the administrator can start a process of another user");
            None
        }
        output => Some(String::from_utf8_lossy(&output.unwrap().stdout).into_owned()),
    }
}
