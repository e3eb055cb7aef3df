//! The listeners, and the lock that allows only one server per state directory.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use auth_store::paths;

use crate::gateway::Door;
use crate::http::stall::Stream;

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Another server uses the state directory. Use that one, or stop it.
    #[error("another server is running on `{path}`")]
    AlreadyServed {
        /// The state directory.
        path: PathBuf,
        /// Its process, if it said so.
        process: Option<u32>,
    },
    /// A server without a state directory has no socket in it.
    #[error("a server without a state directory has no socket for its user")]
    NoState,
    /// The port is in use. Choose another one.
    #[error("the port {address} is taken by another program")]
    PortTaken {
        /// The address.
        address: SocketAddr,
    },
    /// The address is not a loopback address; no other address is supported.
    #[error("{address} is not an address of this machine alone")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// Something else is at the path of the socket. Move it away.
    #[error("`{path}` is there and is no socket")]
    InTheWay {
        /// The path.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("could not {action} `{place}`: {source}")]
    Io {
        /// The verb.
        action: &'static str,
        /// Its object.
        place: String,
        /// The cause.
        source: io::Error,
    },
}

/// An open listener.
pub(crate) struct Listener {
    pub(crate) kind: Kind,
    pub(crate) door: Door,
    /// What secures its connections.
    pub(crate) tls: Option<TlsAcceptor>,
    /// The file of the socket, removed when the listener closes.
    path: Option<PathBuf>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Locks the state directory for this server, as long as the file is open.
pub(crate) fn take(state: &Path) -> Result<File, DoorError> {
    let path = paths::gateway_lock(state);
    auth_store::create_private_directory(state)
        .map_err(io::Error::other)
        .map_err(failed("create", state))?;
    let mut file = auth_store::open_lock_file(&path)
        .map_err(io::Error::other)
        .map_err(failed("open", &path))?;
    if auth_store::hold(&file, &path) {
        // It is only for the words of another server: that it cannot be written is no reason to
        // fail.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        return Ok(file);
    }
    let mut text = String::new();
    let _ = file.take(20).read_to_string(&mut text);
    Err(DoorError::AlreadyServed { path: state.to_owned(), process: text.trim().parse().ok() })
}

impl Listener {
    /// Listens on a TCP port of this machine.
    pub(crate) async fn tcp(address: SocketAddr) -> Result<Self, DoorError> {
        if !address.ip().is_loopback() {
            return Err(DoorError::NotLoopback { address });
        }
        Self::any_tcp(address, None).await
    }

    /// A TCP port for other machines, too.
    pub(crate) async fn tls(
        address: SocketAddr,
        config: Arc<rustls::ServerConfig>,
    ) -> Result<Self, DoorError> {
        Self::any_tcp(address, Some(config.into())).await
    }

    async fn any_tcp(address: SocketAddr, tls: Option<TlsAcceptor>) -> Result<Self, DoorError> {
        let listener = TcpListener::bind(address).await.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => DoorError::PortTaken { address },
            _ => DoorError::Io { action: "listen on", place: address.to_string(), source },
        })?;
        Ok(Self { kind: Kind::Tcp(listener), door: Door::Tcp, tls, path: None })
    }

    /// Listens on a socket that only its owner can open. The stale socket of a crashed server is
    /// replaced.
    pub(crate) fn unix(path: &Path, client: Option<&str>) -> Result<Self, DoorError> {
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => {
                return Err(DoorError::InTheWay { path: path.to_owned() });
            }
            _ => {}
        }
        // It gets its final name after its mode is set.
        let mut next = path.as_os_str().to_owned();
        next.push(format!(".{:08x}", rand::random::<u32>()));
        let next = PathBuf::from(next);
        let listener = UnixListener::bind(&next).map_err(failed("listen on", path))?;
        let named = fs::set_permissions(&next, fs::Permissions::from_mode(0o600))
            .and_then(|()| fs::rename(&next, path));
        if let Err(source) = named {
            let _ = fs::remove_file(&next);
            return Err(failed("listen on", path)(source));
        }
        let door = client.map_or(Door::Owner, |name| Door::Client(Arc::from(name)));
        Ok(Self { kind: Kind::Unix(listener), door, tls: None, path: Some(path.to_owned()) })
    }

    /// The next connection.
    pub(crate) fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        match &self.kind {
            Kind::Tcp(listener) => listener.poll_accept(context).map_ok(|(stream, _)| {
                // Otherwise small parts wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                Stream::Tcp(stream)
            }),
            Kind::Unix(listener) => {
                listener.poll_accept(context).map_ok(|(stream, _)| Stream::Unix(stream))
            }
        }
    }

    /// Whether the peer may connect at all: only the owner, on the owner's socket.
    pub(crate) fn admits(&self, stream: &Stream) -> bool {
        match (&self.door, stream) {
            (Door::Owner, Stream::Unix(stream)) => {
                let own = rustix::process::geteuid().as_raw();
                stream.peer_cred().is_ok_and(|peer| peer.uid() == own)
            }
            (Door::Owner, Stream::Tcp(_) | Stream::Tls(_)) => false,
            // A port requires a token in each request. A client socket is protected by its mode,
            // because a container has other user ids.
            (Door::Tcp | Door::Client(_), _) => true,
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Listener").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

fn failed(action: &'static str, place: &Path) -> impl Fn(io::Error) -> DoorError {
    let place = place.display().to_string();
    move |source| DoorError::Io { action, place: place.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_directory_has_one_server_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let first = take(directory.path()).unwrap();
        assert!(matches!(take(directory.path()), Err(DoorError::AlreadyServed { .. })));
        drop(first);
        take(directory.path()).unwrap();
    }

    #[tokio::test]
    async fn what_a_dead_server_left_is_replaced_and_anything_else_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("serve.sock");
        // A socket without a listening process.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = Listener::unix(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        drop(listener);
        assert!(!path.exists());
        auth_store::write_atomic(&path, b"mine").unwrap();
        let refused = Listener::unix(&path, None);
        assert!(matches!(refused, Err(DoorError::InTheWay { .. })));
        assert_eq!(auth_store::read_regular(&path).unwrap(), b"mine");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_taken_port_is_named_and_a_wide_one_refused() {
        let first = Listener::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let Kind::Tcp(listener) = &first.kind else { panic!("it is a port") };
        let address = listener.local_addr().unwrap();
        let taken = Listener::tcp(address).await;
        assert!(matches!(taken, Err(DoorError::PortTaken { .. })));
        let wide = Listener::tcp("0.0.0.0:0".parse().unwrap()).await;
        assert!(matches!(wide, Err(DoorError::NotLoopback { .. })));
    }
}
