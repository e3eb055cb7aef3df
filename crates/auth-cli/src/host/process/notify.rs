//! Tells a service manager how it is with us (`sd_notify(3)`): that we are ready, that we are ending.

use crate::host::context::Context;

/// We accept connections.
pub(crate) fn ready(context: &Context) {
    tell("READY=1", context);
}

/// We end, and may take our time.
pub(crate) fn stopping(context: &Context) {
    tell("STOPPING=1", context);
}

/// Nobody may have asked, and nobody need listen.
#[cfg(target_os = "linux")]
fn tell(what: &str, context: &Context) {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let Some(place) = context.env("NOTIFY_SOCKET").filter(|place| !place.is_empty()) else {
        return;
    };
    let address = match place.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(place),
    };
    let sent = address
        .and_then(|address| UnixDatagram::unbound()?.send_to_addr(what.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::debug!("the service manager was not told: {error}");
    }
}

#[cfg(not(target_os = "linux"))]
fn tell(_what: &str, _context: &Context) {}
