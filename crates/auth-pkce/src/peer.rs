//! Whose process is at the other end of a connection on this machine.

use std::net::SocketAddr;

/// Whether the other end of a connection we accepted is a process of our user that still has it open.
/// `local` and `peer` are the addresses as the accepted socket sees them. Where the system does not
/// tell ([`IS_KNOWN`]), every peer counts as ours.
#[cfg(target_os = "linux")]
pub(crate) fn is_ours(local: SocketAddr, peer: SocketAddr) -> bool {
    // The system lists sockets while they come and go, so one that is there may be missed.
    (0..LOOKS).any(|_| crate::procfs::is_same_user(local, peer))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn is_ours(_local: SocketAddr, _peer: SocketAddr) -> bool {
    true
}

/// Whether the system tells whose a connection is.
pub(crate) const IS_KNOWN: bool = cfg!(target_os = "linux");

#[cfg(target_os = "linux")]
const LOOKS: u32 = 3;
