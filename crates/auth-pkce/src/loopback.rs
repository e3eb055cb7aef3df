//! The listener on the loopback interface (RFC 8252 §7.3): bind, wait, respond to the browser.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use tokio::runtime::Handle;

use crate::attempt::Attempt;
use crate::callback::{CallbackError, Code, ResponseRules};
use crate::pages::{Failure, Page};
use crate::peer;
use crate::redirect::{LoopbackHost, Redirect};
use crate::request::{Place, mismatch};
use crate::server::{Hit, Server};

/// An open listener that waits for the response to one login.
///
/// Open it before the browser, so that the response cannot arrive too early. Dropping it, or the
/// future of [`Loopback::wait`], closes it.
#[derive(Debug)]
pub struct Loopback {
    /// One per address family.
    listeners: Vec<TcpListener>,
    redirect_uri: String,
    place: Place,
}

/// No port could be opened: let the user paste the response instead, and show this error.
#[derive(Debug, thiserror::Error)]
#[error("no port could be opened for the login: {}", list(.failures))]
pub struct BindError {
    /// One entry per port that was tried, in order.
    pub failures: Vec<BindFailure>,
}

/// Why one port could not be opened.
#[derive(Debug)]
pub struct BindFailure {
    /// The address that could not be bound.
    pub address: SocketAddr,
    /// The operating system's error.
    pub error: io::Error,
    /// The process that listens there, if the system tells.
    pub owner: Option<String>,
}

/// Why waiting ended without a code.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// The issuer's response ends the login ([`CallbackError::ends_login`]); the browser has been
    /// told. Log in again.
    #[error(transparent)]
    Refused(#[from] CallbackError),
    /// The listener broke. Let the user paste the response instead.
    #[error("the listener of the login stopped working")]
    Listener(#[source] io::Error),
}

/// The code, and the browser that waits for the result of the login.
#[derive(Debug)]
pub struct Arrival {
    /// The code: exchange it once, with the verifier of the same attempt.
    pub code: Code,
    /// Tell it when the credential is saved, or that it could not be saved.
    pub browser: Browser,
}

/// The browser that delivered the code. Its response is held until the login has ended.
///
/// Meanwhile the listener stays open for all other requests. If this is dropped, the browser shows
/// [`Failure::NotSaved`], so that "signed in" is never shown by accident. If it is held for more
/// than 90 s, the browser shows that the login has expired.
#[must_use = "the browser waits until it is told how the login ended"]
pub struct Browser {
    held: Option<(Server, Hit)>,
}

impl Loopback {
    /// Opens the listener on the first port of `redirect` that is free and safe.
    ///
    /// It binds `127.0.0.1`, and for `localhost` also `[::1]` on the same port, since a browser may
    /// use either: another program on that address would get the code, so the port then counts as
    /// taken. A machine without IPv6 uses IPv4 alone. Environment variables have no influence.
    ///
    /// # Errors
    /// [`BindError`] with the reason for each port; let the user paste the response instead.
    pub fn bind(redirect: &Redirect) -> Result<Self, BindError> {
        let ports = if redirect.ports().is_empty() {
            &[0; TRIES_FOR_ANY_PORT][..]
        } else {
            redirect.ports()
        };
        let mut failures = Vec::new();
        for port in ports {
            match bind_port(*port, redirect.host()) {
                Ok((port, listeners)) => {
                    return Ok(Self {
                        listeners,
                        redirect_uri: redirect.uri(port),
                        place: Place::new(redirect.path(), port),
                    });
                }
                Err(failure) => failures.push(failure),
            }
        }
        Err(BindError { failures })
    }

    /// The redirect URI with the port that was opened: both requests send exactly this text.
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// Waits for the response to `attempt`, no matter how many other requests arrive.
    ///
    /// Needs a tokio runtime with I/O and time. It never gives up by itself: race it with a
    /// timeout, and with the user, who may paste the response; dropping the future closes the
    /// listener. Only the first request with a response to this login counts.
    ///
    /// # Errors
    /// [`WaitError::Refused`] if the issuer ended the login, [`WaitError::Listener`] if the
    /// listener itself failed.
    pub async fn wait(
        self,
        attempt: &Attempt,
        rules: &ResponseRules,
    ) -> Result<Arrival, WaitError> {
        let listeners = self.listeners.into_iter().map(tokio::net::TcpListener::from_std);
        let listeners = listeners.collect::<Result<Vec<_>, _>>().map_err(WaitError::Listener)?;
        let (server, mut hits) = Server::start(listeners, self.place);

        while let Some(hit) = hits.recv().await {
            let judged = attempt.accept(&hit.callback, rules);
            if judged.as_ref().is_err_and(|error| !error.ends_login()) {
                Server::refuse(hit, mismatch("the answer belongs to another login"));
                continue;
            }
            if !peer::is_ours(hit.ends.0, hit.ends.1) {
                let reason = "the request is not of an open browser of this user";
                Server::refuse(hit, mismatch(reason));
                continue;
            }

            // From here on every other request is told that the login already has its response.
            drop(hits);
            return match judged {
                Ok(code) => Ok(Arrival { code, browser: Browser { held: Some((server, hit)) } }),
                Err(error) => {
                    let failure = match error {
                        CallbackError::Denied { .. } => Failure::Denied,
                        CallbackError::NoCode => Failure::NotExchanged,
                        _ => Failure::Mismatch,
                    };
                    server.end(hit, Page::Failed(failure)).await;
                    Err(WaitError::Refused(error))
                }
            };
        }
        Err(WaitError::Listener(io::ErrorKind::BrokenPipe.into()))
    }
}

impl Browser {
    /// Shows that the login succeeded, and closes the listener: call it when the credential is
    /// saved. Returns when the page is sent, after a second at the latest.
    pub async fn succeed(self) {
        self.show(Page::SignedIn).await;
    }

    /// Shows that the login failed, and closes the listener. Returns when the page is sent, after a
    /// second at the latest.
    pub async fn fail(self, failure: Failure) {
        self.show(Page::Failed(failure)).await;
    }

    async fn show(mut self, page: Page) {
        if let Some((server, hit)) = self.held.take() {
            server.end(hit, page).await;
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let (Some((server, hit)), Ok(runtime)) = (self.held.take(), Handle::try_current()) {
            runtime.spawn(server.end(hit, Page::Failed(Failure::NotSaved)));
        }
    }
}

impl fmt::Debug for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Browser").finish_non_exhaustive()
    }
}

impl fmt::Display for BindFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.address)?;
        match (self.error.kind(), &self.owner) {
            (io::ErrorKind::AddrInUse, Some(owner)) => write!(f, "in use by {owner}"),
            (io::ErrorKind::AddrInUse, None) => f.write_str("in use by another program"),
            _ => self.error.fmt(f),
        }
    }
}

fn list(failures: &[BindFailure]) -> String {
    failures.iter().map(BindFailure::to_string).collect::<Vec<_>>().join("; ")
}

/// Binds both families on one port. For port 0, the system chooses the port of the first.
fn bind_port(port: u16, host: LoopbackHost) -> Result<(u16, Vec<TcpListener>), BindFailure> {
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = listen(v4).map_err(|error| failure(v4, error))?;
    let port = listener.local_addr().map_err(|error| failure(v4, error))?.port();
    let mut listeners = vec![listener];

    if host == LoopbackHost::Localhost {
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        match listen(v6) {
            Ok(listener) => listeners.push(listener),
            Err(error) if is_family_missing(&error) => {}
            Err(error) => return Err(failure(v6, error)),
        }
    }
    Ok((port, listeners))
}

/// The standard library sets `SO_REUSEADDR` where it only affects `TIME_WAIT` (Unix), and never
/// `SO_REUSEPORT`: a second listener on the port is always refused.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn failure(address: SocketAddr, error: io::Error) -> BindFailure {
    let owner =
        if error.kind() == io::ErrorKind::AddrInUse { listener_on(address.port()) } else { None };
    BindFailure { address, error, owner }
}

/// Whether the machine has no IPv6. That is safe: no browser on it can use IPv6 either.
fn is_family_missing(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = if cfg!(windows) {
        10047
    } else if cfg!(target_os = "linux") {
        97
    } else {
        47
    };
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

#[cfg(target_os = "linux")]
fn listener_on(port: u16) -> Option<String> {
    crate::procfs::listener_on(port)
}

#[cfg(not(target_os = "linux"))]
fn listener_on(_port: u16) -> Option<String> {
    None
}

/// How often to request a port that is free in both families.
const TRIES_FOR_ANY_PORT: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn failure_of(port: u16, error: io::Error, owner: Option<&str>) -> BindFailure {
        BindFailure {
            address: ([127, 0, 0, 1], port).into(),
            error,
            owner: owner.map(str::to_owned),
        }
    }

    #[test]
    fn a_bind_error_names_each_port_and_its_reason() {
        let error = BindError {
            failures: vec![
                failure_of(1455, io::ErrorKind::AddrInUse.into(), Some("`node` (process 7)")),
                failure_of(1456, io::ErrorKind::AddrInUse.into(), None),
                failure_of(1457, io::Error::other("excluded by the system"), None),
            ],
        };
        assert_eq!(
            error.to_string(),
            "no port could be opened for the login: 127.0.0.1:1455: in use by `node` (process 7); \
             127.0.0.1:1456: in use by another program; 127.0.0.1:1457: excluded by the system"
        );
    }

    #[test]
    fn only_a_missing_address_family_leaves_a_port_safe() {
        assert!(is_family_missing(&io::ErrorKind::AddrNotAvailable.into()));
        for kind in
            [io::ErrorKind::AddrInUse, io::ErrorKind::PermissionDenied, io::ErrorKind::Other]
        {
            assert!(!is_family_missing(&kind.into()), "{kind:?}");
        }
        #[cfg(target_os = "linux")]
        assert!(is_family_missing(&io::Error::from_raw_os_error(97)));
    }
}
