//! The address that stands in an argument list in the place of the real one.
//!
//! All users of a machine may read the arguments of a program, and the address of a login carries its
//! state. So a browser is started with an address of ours, and a redirect takes it on from there, if it
//! is the browser of the same user.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::Request;
use hyper::service::service_fn;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::pages::{Page, PageResponse};
use crate::peer;
use crate::request::{Place, check_start};
use crate::server::{ACCEPT_PAUSE, MAX_CONNECTIONS, serve_one};

/// An address that takes the browser of this user on to another one.
pub struct Courier {
    listener: TcpListener,
    place: Place,
    address: String,
    target: String,
}

impl Courier {
    /// Opens a port of this machine, from which a browser is sent on to `target`. `entropy` comes from
    /// the system's random generator and is used for nothing else.
    ///
    /// # Errors
    /// No port can be opened. Show the address to the user instead.
    pub fn bind(target: &str, entropy: [u8; 32]) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let path = format!("/start/{}", URL_SAFE_NO_PAD.encode(entropy));
        let address = format!("http://127.0.0.1:{port}{path}");
        Ok(Self { listener, place: Place::new(&path, port), address, target: target.to_owned() })
    }

    /// The address to start the browser with. It is of no use to another user.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends browsers of this user on, until it is dropped. Where the system does not tell whose a
    /// connection is, only the first one.
    ///
    /// # Errors
    /// The runtime cannot serve the port.
    pub async fn serve(self) -> io::Result<Infallible> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let shared = Arc::new(Shared {
            place: self.place,
            target: self.target,
            was_used: AtomicBool::new(false),
            open: AtomicUsize::new(0),
        });
        loop {
            let Ok((stream, other)) = listener.accept().await else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let is_crowded = shared.open.load(Ordering::Relaxed) >= MAX_CONNECTIONS;
            let is_ours = stream.local_addr().is_ok_and(|local| peer::is_ours(local, other));
            if is_ours && !is_crowded {
                tokio::spawn(Arc::clone(&shared).converse(stream));
            }
        }
    }
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier").finish_non_exhaustive()
    }
}

struct Shared {
    place: Place,
    target: String,
    was_used: AtomicBool,
    open: AtomicUsize,
}

impl Shared {
    async fn converse(self: Arc<Self>, stream: TcpStream) {
        self.open.fetch_add(1, Ordering::Relaxed);
        let service = service_fn(|request: Request<_>| {
            let response = self.respond(&request);
            async move { Ok::<_, Infallible>(response) }
        });
        // A browser that goes away needs no response.
        let _ = serve_one(stream, service).await;
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    fn respond<B>(&self, request: &Request<B>) -> PageResponse {
        match check_start(request, &self.place) {
            Err(refusal) => refusal.page.response_with(refusal.status),
            Ok(()) if self.was_used.swap(true, Ordering::SeqCst) && !peer::IS_KNOWN => {
                Page::AlreadyReceived.response()
            }
            Ok(()) => Page::Opening.response_at(&self.target),
        }
    }
}
