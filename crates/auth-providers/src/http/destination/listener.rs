//! Who listens on a port of this machine. Plain `http` is spoken to loopback addresses only, and any
//! user of the machine can open a port there, so a secret goes only to a listener of ours or of the
//! administrator.

use url::Url;

/// Sees whether the listener at `url` may get a secret. `is_connected`: a connection to it stands, so
/// there is one.
///
/// # Errors
/// It belongs to another user.
pub(crate) fn check(url: &str, is_connected: bool) -> Result<(), String> {
    let port = Url::parse(url).ok().and_then(|url| url.port_or_known_default());
    let Some((port, owners)) = port.and_then(|port| Some((port, listeners(port)?))) else {
        return Ok(());
    };
    judge(&owners, own_user(), is_connected).map_err(|owner| match owner {
        Some(user) => format!(
            "nothing was sent: the program that listens on port {port} belongs to another user of this machine (user id {user})"
        ),
        None => format!("nothing was sent: the system does not say who listens on port {port}"),
    })
}

/// The owner that is refused; `None`: there is no owner.
fn judge(owners: &[u32], own: u32, is_connected: bool) -> Result<(), Option<u32>> {
    if owners.is_empty() && is_connected {
        return Err(None);
    }
    match owners.iter().find(|owner| **owner != own && **owner != ADMINISTRATOR) {
        Some(owner) => Err(Some(*owner)),
        None => Ok(()),
    }
}

#[cfg(target_os = "linux")]
fn listeners(port: u16) -> Option<Vec<u32>> {
    auth_pkce::listeners_on(port)
}

/// Other systems do not tell without a library of their own.
#[cfg(not(target_os = "linux"))]
fn listeners(_port: u16) -> Option<Vec<u32>> {
    None
}

#[cfg(unix)]
fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
fn own_user() -> u32 {
    ADMINISTRATOR
}

const ADMINISTRATOR: u32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_another_user_gets_nothing_and_ours_and_the_administrators_do() {
        assert_eq!(judge(&[1000], 1000, true), Ok(()));
        assert_eq!(judge(&[0], 1000, true), Ok(()));
        assert_eq!(judge(&[], 1000, false), Ok(()));
        assert_eq!(judge(&[], 1000, true), Err(None));
        assert_eq!(judge(&[1001], 1000, false), Err(Some(1001)));
        // Both address families may have one.
        assert_eq!(judge(&[1000, 1001], 1000, true), Err(Some(1001)));
        assert_eq!(judge(&[1000], 0, true), Err(Some(1000)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn our_own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        assert_eq!(check(&url, true), Ok(()));
        drop(listener);
        assert!(check(&url, true).unwrap_err().contains("does not say who listens"));
        assert_eq!(check(&url, false), Ok(()));
    }
}
