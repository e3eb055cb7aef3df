//! The loopback redirect registered at an issuer (RFC 8252 §7.3): host, ports, path.

use std::fmt;

use url::Host;

/// The loopback redirect of an issuer: host name, ports, and path.
///
/// Host and bind address differ on purpose: an issuer that registered `http://localhost:1455/…`
/// gets exactly that text, and the listener binds the literal loopback addresses, never a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Redirect {
    host: LoopbackHost,
    ports: Vec<u16>,
    path: String,
}

/// The two spellings of the loopback interface that issuers register.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LoopbackHost {
    /// `localhost`: a browser may use either address family, so both are bound.
    Localhost,
    /// `127.0.0.1`.
    Ipv4,
}

/// A redirect that no listener can serve: the description of the issuer must be corrected.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RedirectError {
    /// Only loopback hosts are served.
    #[error("the redirect host `{0}` is neither `localhost` nor `127.0.0.1`")]
    Host(String),
    /// The path is compared to the byte, so it must be in plain form.
    #[error("the redirect path `{0}` is not an absolute path of plain characters")]
    Path(String),
}

impl Redirect {
    /// Describes a redirect.
    ///
    /// `host` is `localhost` or `127.0.0.1`. `ports` are tried in turn; an empty list means any
    /// free port, for issuers that allow a variable port (RFC 8252 §7.3). `path` begins with `/`.
    ///
    /// # Errors
    /// [`RedirectError`] if host or path cannot be served.
    pub fn new(host: &str, ports: Vec<u16>, path: &str) -> Result<Self, RedirectError> {
        let host = match host {
            "localhost" => LoopbackHost::Localhost,
            "127.0.0.1" => LoopbackHost::Ipv4,
            _ => return Err(RedirectError::Host(host.to_owned())),
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        let is_relative = |segment: &str| segment == "." || segment == "..";
        if !path.starts_with('/')
            || path.contains("//")
            || !path.bytes().all(is_plain)
            || path.split('/').any(is_relative)
        {
            return Err(RedirectError::Path(path.to_owned()));
        }
        Ok(Self { host, ports, path: path.to_owned() })
    }

    /// The redirect URI for one port, for a login that opens no listener here.
    pub fn uri(&self, port: u16) -> String {
        format!("http://{}:{port}{}", self.host, self.path)
    }

    /// The ports to try in turn; an empty list means any free port.
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// The path of the redirect, with its leading `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn host(&self) -> LoopbackHost {
        self.host
    }
}

impl fmt::Display for LoopbackHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Localhost => "localhost",
            Self::Ipv4 => "127.0.0.1",
        })
    }
}

/// Whether this host can only be the machine itself.
pub(crate) fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uri_is_the_registered_text() {
        let redirect = Redirect::new("localhost", vec![1455, 1457], "/auth/callback").unwrap();
        assert_eq!(redirect.uri(1457), "http://localhost:1457/auth/callback");
        assert_eq!((redirect.ports(), redirect.path()), (&[1455, 1457][..], "/auth/callback"));
        let redirect = Redirect::new("127.0.0.1", vec![], "/").unwrap();
        assert_eq!(redirect.uri(80), "http://127.0.0.1:80/");
    }

    #[test]
    fn only_a_loopback_host_is_served() {
        for host in ["0.0.0.0", "::1", "example.org", "LOCALHOST", "localhost.example.org", ""] {
            assert_eq!(Redirect::new(host, vec![], "/"), Err(RedirectError::Host(host.into())));
        }
    }

    #[test]
    fn only_a_plain_path_is_served() {
        for path in [
            "",
            "callback",
            "//evil.example/",
            "/a?b",
            "/a#b",
            "/a b",
            "/a%20b",
            "/é",
            "/a/../b",
            "/a/./b",
        ] {
            assert_eq!(
                Redirect::new("localhost", vec![], path),
                Err(RedirectError::Path(path.into()))
            );
        }
    }
}
