//! The task behind the listener: it accepts, limits and serves connections, and passes possible
//! responses of the login to [`Loopback::wait`](crate::Loopback::wait), which checks them.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet, yield_now};
use tokio::time::{sleep, timeout};

use crate::callback::Callback;
use crate::pages::{Failure, Page, PageResponse};
use crate::request::{Place, Refusal, Wanted, read_request};

/// A request that may end the login, and the browser that waits for its page.
pub(crate) struct Hit {
    pub(crate) callback: Callback,
    /// Whether the browser shows the response in a window.
    pub(crate) navigates: bool,
    /// Our end of the connection, and the other end.
    pub(crate) ends: (SocketAddr, SocketAddr),
    reply: oneshot::Sender<Reply>,
    closed: watch::Receiver<()>,
}

/// The running listener; it stops on drop.
pub(crate) struct Server {
    task: JoinHandle<()>,
    shared: Arc<Shared>,
}

/// The data that every connection needs.
struct Shared {
    place: Place,
    hits: mpsc::Sender<Hit>,
    /// The final page, to which the browser is redirected, once it is known.
    done: OnceLock<Page>,
    done_was_shown: Notify,
    refusals: AtomicU32,
}

enum Reply {
    Page(Page),
    /// Redirect the browser to the final page.
    SeeDone,
    Refuse(Refusal),
}

impl Server {
    /// Starts serving. The hits end only with the server.
    pub(crate) fn start(listeners: Vec<TcpListener>, place: Place) -> (Self, mpsc::Receiver<Hit>) {
        let (hits, receiver) = mpsc::channel(MAX_CONNECTIONS);
        let shared = Arc::new(Shared {
            place,
            hits,
            done: OnceLock::new(),
            done_was_shown: Notify::new(),
            refusals: AtomicU32::new(0),
        });
        let task = tokio::spawn(serve(listeners, Arc::clone(&shared)));
        (Self { task, shared }, receiver)
    }

    /// Shows the final page to the browser that delivered the response, and closes the listener: as
    /// soon as the page is sent, and after a second in any case.
    pub(crate) async fn end(mut self, hit: Hit, page: Page) {
        let is_sent_on = hit.navigates && self.shared.done.set(page).is_ok();
        let reply = if is_sent_on { Reply::SeeDone } else { Reply::Page(page) };
        let shown = async {
            let mut closed = hit.closed;
            if hit.reply.send(reply).is_ok() {
                while closed.changed().await.is_ok() {}
                if is_sent_on {
                    self.shared.done_was_shown.notified().await;
                }
            }
        };
        // A browser that does not fetch the page in time does not need it.
        let _ = timeout(CLOSE_WITHIN, shown).await;
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Refuses a request that does not end the login.
    pub(crate) fn refuse(hit: Hit, refusal: Refusal) {
        // If the browser has closed the connection, there is nothing to send.
        let _ = hit.reply.send(Reply::Refuse(refusal));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One open connection: what is needed to close it.
struct Connection {
    task: AbortHandle,
    has_request: Arc<AtomicBool>,
}

async fn serve(listeners: Vec<TcpListener>, shared: Arc<Shared>) {
    let mut tasks = JoinSet::new();
    let mut connections: Vec<Connection> = Vec::new();
    let mut turn = 0;
    loop {
        turn += 1;
        let Ok((stream, peer)) = accept(&listeners, turn).await else {
            // Probably out of file descriptors: other connections must close first.
            shared.log_refusal("a connection could not be accepted");
            sleep(ACCEPT_PAUSE).await;
            continue;
        };

        while tasks.try_join_next().is_some() {}
        connections.retain(|connection| !connection.task.is_finished());
        if connections.len() >= MAX_CONNECTIONS {
            let idle = connections
                .iter()
                .position(|connection| !connection.has_request.load(Ordering::Relaxed));
            shared.log_refusal("there are too many connections");
            match idle {
                Some(oldest) => connections.remove(oldest).task.abort(),
                None => continue,
            }
        }
        let has_request = Arc::new(AtomicBool::new(false));
        let task =
            tasks.spawn(converse(stream, peer, Arc::clone(&shared), Arc::clone(&has_request)));
        connections.push(Connection { task, has_request });

        // Lets the new connection read data that has already arrived, before others can displace
        // it.
        yield_now().await;
    }
}

/// The next connection of any listener; the listeners take turns at being polled first.
async fn accept(listeners: &[TcpListener], turn: usize) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|context| {
        for index in 0..listeners.len() {
            let listener = &listeners[(turn + index) % listeners.len()];
            if let Poll::Ready(accepted) = listener.poll_accept(context) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}

/// One connection: one request, one response.
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    has_request: Arc<AtomicBool>,
) {
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let (open, closed) = watch::channel(());
    let shows_done = AtomicBool::new(false);

    let service = service_fn(|request: Request<Incoming>| {
        has_request.store(true, Ordering::Relaxed);
        let (shared, closed, shows_done) = (&shared, closed.clone(), &shows_done);
        async move {
            let response = match read_request(&request, &shared.place) {
                Ok(Wanted::Callback { callback, navigates }) => {
                    let (reply, answered) = oneshot::channel();
                    let hit = Hit { callback, navigates, ends: (local, peer), reply, closed };
                    shared.ask(hit, answered).await
                }
                Ok(Wanted::Done) => match shared.done.get() {
                    Some(page) => {
                        shows_done.store(true, Ordering::Relaxed);
                        page.response()
                    }
                    None => Page::NotHere.response(),
                },
                Err(refusal) => shared.refuse(&refusal),
            };
            Ok::<_, Infallible>(response)
        }
    });
    if serve_one(stream, service).await.is_err() {
        shared.log_refusal("a connection did not bring a request");
    }
    if shows_done.load(Ordering::Relaxed) {
        shared.done_was_shown.notify_one();
    }
    drop(open);
}

/// Serves one request of a connection, within the limits.
pub(crate) async fn serve_one<S>(stream: TcpStream, service: S) -> hyper::Result<()>
where
    S: Service<Request<Incoming>, Response = PageResponse, Error = Infallible>,
{
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

impl Shared {
    /// Has a hit checked. The response may have to wait until the credential is saved.
    async fn ask(&self, hit: Hit, answered: oneshot::Receiver<Reply>) -> PageResponse {
        if self.hits.send(hit).await.is_err() {
            return self.refuse(&already_received());
        }
        match timeout(HOLD_AT_MOST, answered).await {
            Ok(Ok(Reply::Page(page))) => page.response(),
            Ok(Ok(Reply::SeeDone)) => {
                self.done.get().unwrap_or(&Page::NotHere).response_at(&self.place.done)
            }
            Ok(Ok(Reply::Refuse(refusal))) => self.refuse(&refusal),
            Ok(Err(_)) => self.refuse(&already_received()),
            Err(_) => Page::Failed(Failure::Expired).response(),
        }
    }

    fn refuse(&self, refusal: &Refusal) -> PageResponse {
        self.log_refusal(refusal.reason);
        refusal.page.response_with(refusal.status)
    }

    /// Logs only a few refusals, since any program can cause them.
    fn log_refusal(&self, reason: &'static str) {
        match self.refusals.fetch_add(1, Ordering::Relaxed) {
            count if count < MAX_LOGGED => {
                tracing::debug!(reason, "ignored a request to the login listener");
            }
            MAX_LOGGED => tracing::debug!("ignored more requests, not logged from here on"),
            _ => {}
        }
    }
}

fn already_received() -> Refusal {
    Refusal {
        status: StatusCode::CONFLICT,
        page: Page::AlreadyReceived,
        reason: "the login has already been answered",
    }
}

/// The maximum number of simultaneous connections.
pub(crate) const MAX_CONNECTIONS: usize = 32;
/// How long a connection may take to send its request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum number of header fields in a request.
const MAX_HEADERS: usize = 64;
/// Request line and headers together: 8 KiB and 16 KiB, plus the separators.
const MAX_HEAD_BYTES: usize = 24 * 1024 + 256;
/// How long the browser waits for the credential to be saved.
const HOLD_AT_MOST: Duration = Duration::from_secs(90);
/// How long the listener stays open for its final page.
const CLOSE_WITHIN: Duration = Duration::from_millis(900);
/// How long to wait when the system refuses a connection.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The number of logged refusals before the line that says there are more.
const MAX_LOGGED: u32 = 8;
