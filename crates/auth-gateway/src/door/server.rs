//! The server: it accepts connections on all listeners, limits them, and shuts down without cutting
//! off responses.

use std::collections::VecDeque;
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use hyper::Request;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::accounts::Accounts;
use crate::door::listeners::{self, DoorError, Kind, Listener};
use crate::gateway::{Door, Gateway};
use crate::http::stall::{Examination, Stream};

/// A gateway with listeners. It serves while [`run`](Self::run) runs.
#[derive(Debug)]
pub struct Server<A: Accounts> {
    gateway: Arc<Gateway<A>>,
    listeners: Vec<Listener>,
    /// The state directory, which no other server has meanwhile.
    state: Option<(PathBuf, File)>,
}

/// The phase of a server.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Phase {
    /// It accepts connections and serves requests.
    Serving,
    /// It accepts nothing more, and finishes the requests in progress.
    Finishing,
    /// It ends at once.
    Over,
}

impl<A: Accounts> Server<A> {
    /// A server on a state directory, without a listener yet.
    ///
    /// # Errors
    /// There is another one.
    pub fn new(gateway: Arc<Gateway<A>>, state: &Path) -> Result<Self, DoorError> {
        let lock = listeners::take(state)?;
        let state = Some((state.to_owned(), lock));
        Ok(Self { gateway, listeners: Vec::new(), state })
    }

    /// A server beside others, which opens no socket for its user.
    pub fn without_state(gateway: Arc<Gateway<A>>) -> Self {
        Self { gateway, listeners: Vec::new(), state: None }
    }

    /// Listens on a TCP port of this machine, for clients with a token. Returns its address.
    pub async fn listen(&mut self, address: SocketAddr) -> Result<SocketAddr, DoorError> {
        Ok(self.open(Listener::tcp(address).await?, address))
    }

    /// Opens a port for other machines, whose connections are secured. Returns its address.
    pub async fn listen_with_tls(
        &mut self,
        address: SocketAddr,
        config: Arc<rustls::ServerConfig>,
    ) -> Result<SocketAddr, DoorError> {
        Ok(self.open(Listener::tls(address, config).await?, address))
    }

    fn open(&mut self, listener: Listener, address: SocketAddr) -> SocketAddr {
        let address = match &listener.kind {
            Kind::Tcp(listener) => listener.local_addr().unwrap_or(address),
            Kind::Unix(_) => address,
        };
        self.listeners.push(listener);
        address
    }

    /// Opens the socket for programs of this user. Returns its path.
    pub fn listen_for_owner(&mut self) -> Result<PathBuf, DoorError> {
        let Some((state, _)) = &self.state else { return Err(DoorError::NoState) };
        let path = state.join(SOCKET);
        self.listeners.push(Listener::unix(&path, None)?);
        Ok(path)
    }

    /// Opens a socket for one client: any program that can open it has that client's rights.
    pub fn listen_for_client(&mut self, path: &Path, client: &str) -> Result<(), DoorError> {
        self.listeners.push(Listener::unix(path, Some(client))?);
        Ok(())
    }

    /// Serves until `phase` is over, or until it is finishing and all requests are done.
    pub async fn run(self, mut phase: watch::Receiver<Phase>) {
        let Self { gateway, listeners, .. } = &self;
        let mut connections = Connections::default();
        let mut turn = 0;
        loop {
            turn += 1;
            let accepted = tokio::select! {
                accepted = accept(listeners, turn) => accepted,
                () = reached(&mut phase, Phase::Finishing) => break,
            };
            let Ok((listener, stream)) = accepted else {
                // Probably out of file descriptors: other connections must close first.
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            if !listener.admits(&stream) {
                tracing::warn!("a program of another user was refused at the socket");
                continue;
            }
            if !connections.make_room(gateway.limits.connections) {
                continue;
            }
            let way_in = (listener.door.clone(), listener.tls.clone());
            connections.begin(gateway, way_in, stream, phase.clone());
            // Lets the new connection read data that has already arrived, before others displace
            // it.
            yield_now().await;
        }
        // A new server may open the listeners while this one finishes.
        let Self { listeners, state, .. } = self;
        drop((listeners, state));
        let finished = timeout(FINISH_WITHIN, connections.finish());
        tokio::select! {
            _ = finished => {}
            () = reached(&mut phase, Phase::Over) => {}
        }
    }
}

/// The open connections.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    open: VecDeque<Connection>,
}

struct Connection {
    task: AbortHandle,
    /// Whether it has ever carried an authorized request.
    is_trusted: Arc<AtomicBool>,
}

impl Connections {
    /// Makes room for one more connection. If there are too many, this closes one without an
    /// authorized request.
    fn make_room(&mut self, most: usize) -> bool {
        while self.tasks.try_join_next().is_some() {}
        if self.tasks.len() < most {
            return true;
        }
        self.open.retain(|connection| !connection.task.is_finished());
        let stranger =
            self.open.iter().position(|connection| !connection.is_trusted.load(Ordering::Relaxed));
        match stranger.and_then(|at| self.open.remove(at)) {
            Some(connection) => connection.task.abort(),
            None => return false,
        }
        true
    }

    fn begin<A: Accounts>(
        &mut self,
        gateway: &Arc<Gateway<A>>,
        (door, tls): (Door, Option<TlsAcceptor>),
        stream: Stream,
        phase: watch::Receiver<Phase>,
    ) {
        let is_trusted = Arc::new(AtomicBool::new(false));
        let gateway = Arc::clone(gateway);
        let trusted = Arc::clone(&is_trusted);
        let task = self.tasks.spawn(async move {
            let limit = gateway.limits.head_time;
            if let Some(stream) = secured(stream, tls, limit).await {
                converse(gateway, door, stream, trusted, phase).await;
            }
        });
        if self.open.len() >= 2 * self.tasks.len().max(32) {
            self.open.retain(|connection| !connection.task.is_finished());
        }
        self.open.push_back(Connection { task, is_trusted });
    }

    async fn finish(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// The connection, secured if that is its listener's way; `None` where the other end cannot do it.
async fn secured(stream: Stream, tls: Option<TlsAcceptor>, limit: Duration) -> Option<Stream> {
    match (stream, tls) {
        (Stream::Tcp(stream), Some(tls)) => match timeout(limit, tls.accept(stream)).await {
            Ok(Ok(stream)) => Some(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => {
                tracing::debug!("a connection could not be secured: {error}");
                None
            }
            Err(_) => None,
        },
        (stream, _) => Some(stream),
    }
}

/// One connection: its requests, one after the other.
async fn converse<A: Accounts>(
    gateway: Arc<Gateway<A>>,
    door: Door,
    stream: Stream,
    is_trusted: Arc<AtomicBool>,
    mut phase: watch::Receiver<Phase>,
) {
    let limits = &gateway.limits;
    let stream = Examination::new(stream, limits.client_idle);
    let service = service_fn(|request: Request<Incoming>| {
        let reply = Arc::clone(&gateway).reply(door.clone(), request);
        let is_trusted = &is_trusted;
        async move {
            let response = reply.await;
            if response.status() != StatusCode::UNAUTHORIZED {
                is_trusted.store(true, Ordering::Relaxed);
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_headers(limits.header_fields)
        .max_header_size(limits.head_bytes)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = reached(&mut phase, Phase::Finishing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("a connection ended: {error}");
    }
}

/// Waits for a phase, or for a later one.
async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    // A closed channel means that the server ends.
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}

/// The next connection of any listener; the listeners take turns at being polled first.
async fn accept(listeners: &[Listener], turn: usize) -> io::Result<(&Listener, Stream)> {
    poll_fn(|context| {
        for index in 0..listeners.len() {
            let listener = &listeners[(turn + index) % listeners.len()];
            if let Poll::Ready(accepted) = listener.poll_accept(context) {
                return Poll::Ready(accepted.map(|stream| (listener, stream)));
            }
        }
        Poll::Pending
    })
    .await
}

/// The socket in the state directory.
const SOCKET: &str = "serve.sock";
/// The read buffer of a connection, in bytes.
const BUFFER: usize = 64 << 10;
/// How long to wait when the system refuses a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long responses in progress are finished: a response may be long, and one that is cut off is
/// paid for twice.
const FINISH_WITHIN: Duration = Duration::from_mins(10);
