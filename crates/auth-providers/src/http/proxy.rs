//! The proxy on the way to other machines: what the environment says about it, and for which hosts
//! there is none.

use std::fmt;
use std::net::IpAddr;

use auth_store::Secret;
use url::{Host, Url};

use crate::text;

/// A proxy, as a variable of the environment names it, and the hosts that are reached without it.
#[derive(Clone)]
pub struct Proxy {
    /// The variable, for messages.
    variable: String,
    /// The address; it may hold a password.
    address: Secret,
    /// The hosts that are reached without it.
    exceptions: String,
}

impl Proxy {
    /// The proxy that the variable `variable` names, with the `exceptions` of `NO_PROXY`.
    pub fn new(variable: &str, address: &str, exceptions: &str) -> Self {
        Self {
            variable: variable.to_owned(),
            address: auth_store::trim(address).into(),
            exceptions: exceptions.to_owned(),
        }
    }

    /// Its address, as reqwest wants it. One without a scheme is an HTTP proxy.
    ///
    /// # Errors
    /// It is none: the variable, and what belongs there.
    pub(crate) fn url(&self) -> Result<Url, String> {
        let written = self.address.expose();
        let whole =
            if written.contains("://") { written.to_owned() } else { format!("http://{written}") };
        let refused = |why: &str| format!("{self} cannot be used: {why}");
        let url =
            Url::parse(&whole).map_err(|_| refused("it is no address; write http://HOST:PORT"))?;
        if !SCHEMES.contains(&url.scheme()) {
            return Err(refused(&format!("only {} are known", SCHEMES.join(", "))));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(refused("it names no host; write http://HOST:PORT"));
        }
        Ok(url)
    }

    /// Whether `url` is reached without it: `NO_PROXY` names hosts with all that is below them
    /// (`x`, `.x`, `*.x`), addresses and networks (`10.0.0.0/8`), each of them with a port, perhaps,
    /// and `*` is everything.
    pub(crate) fn is_passed_by(&self, url: &Url) -> bool {
        let entries = self.exceptions.split([',', ' ', '\t', '\n']).map(str::trim);
        entries.filter(|entry| !entry.is_empty()).any(|entry| is_about(entry, url))
    }
}

/// Whether an entry of `NO_PROXY` is about the host of `url`, and its port.
fn is_about(entry: &str, url: &Url) -> bool {
    if entry == "*" {
        return true;
    }
    let (name, port) = name_and_port(entry);
    if port.is_some() && port != url.port_or_known_default() {
        return false;
    }
    let name = name.trim_start_matches('*').trim_start_matches('.').trim_end_matches('.');
    match url.host() {
        Some(Host::Domain(host)) => {
            let (host, name) = (host.trim_end_matches('.'), name.to_ascii_lowercase());
            let before = host.strip_suffix(name.as_str());
            !name.is_empty() && before.is_some_and(|it| it.is_empty() || it.ends_with('.'))
        }
        Some(Host::Ipv4(address)) => is_in(name, address.into()),
        Some(Host::Ipv6(address)) => is_in(name, address.into()),
        None => false,
    }
}

/// `host:port`, `[v6]:port`, or a name alone. An IPv6 address without brackets has no port.
fn name_and_port(entry: &str) -> (&str, Option<u16>) {
    if let Some((address, rest)) = entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match entry.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

/// Whether `address` is the one in `written`, or of the network there (RFC 4632 §3.1).
fn is_in(written: &str, address: IpAddr) -> bool {
    let (network, length) = match written.split_once('/') {
        Some((network, length)) => (network, length.parse::<u32>().ok()),
        None => (written, Some(128)),
    };
    let (Ok(network), Some(length)) = (network.parse::<IpAddr>(), length) else { return false };
    let (bits, other, width) = match (network, address) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            (one.to_bits().into(), u128::from(other.to_bits()), 32)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits(), 128),
        _ => return false,
    };
    let ignored = width - length.min(width);
    bits.checked_shr(ignored).unwrap_or(0) == other.checked_shr(ignored).unwrap_or(0)
}

/// What it is called in messages: the variable and the host. People write passwords before that.
impl fmt::Display for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.address.expose().rsplit('@').next().unwrap_or_default();
        write!(formatter, "{} is `{}`", self.variable, text::clean(host))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The kinds of proxies there are.
const SCHEMES: [&str; 6] = ["http", "https", "socks5", "socks5h", "socks4", "socks4a"];

#[cfg(test)]
mod tests {
    use super::*;

    fn passed_by(exceptions: &str, url: &str) -> bool {
        let proxy = Proxy::new("HTTPS_PROXY", "http://proxy:3128", exceptions);
        proxy.is_passed_by(&Url::parse(url).unwrap())
    }

    #[test]
    fn hosts_are_excepted_with_what_is_below_them_and_by_port() {
        for (exceptions, url) in [
            ("example.com", "https://example.com/"),
            ("example.com", "https://a.example.com/"),
            (".example.com", "https://example.com/"),
            ("*.example.com", "https://a.b.example.com/"),
            ("Example.COM.", "https://example.com./"),
            ("other, example.com", "https://example.com/"),
            ("other example.com", "https://example.com/"),
            ("example.com:8443", "https://example.com:8443/"),
            ("*.example.com:443", "https://a.example.com/"),
            ("*", "https://anything/"),
            ("10.0.0.0/8", "https://10.1.2.3/"),
            ("10.1.2.3", "https://10.1.2.3/"),
            ("10.1.2.3:443", "https://10.1.2.3/"),
            ("::1", "https://[::1]:8443/"),
            ("[fd00::1]:8443", "https://[fd00::1]:8443/"),
            ("fd00::/8", "https://[fd00::1]/"),
            ("0.0.0.0/0", "https://9.9.9.9/"),
        ] {
            assert!(passed_by(exceptions, url), "{exceptions} {url}");
        }
        for (exceptions, url) in [
            ("", "https://example.com/"),
            (" , ", "https://example.com/"),
            ("example.com", "https://notexample.com/"),
            ("example.com", "https://example.com.evil/"),
            ("example.com:8443", "https://example.com/"),
            ("*.", "https://example.com/"),
            ("10.0.0.0/8", "https://11.1.2.3/"),
            ("10.0.0.0/x", "https://10.1.2.3/"),
            ("10.1.2.3", "https://10.1.2.30/"),
            ("[fd00::1]:8443", "https://[fd00::1]/"),
            ("fd00::/8", "https://10.0.0.1/"),
        ] {
            assert!(!passed_by(exceptions, url), "{exceptions} {url}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_an_error_that_names_the_variable_and_no_password() {
        let url = |address: &str| Proxy::new("ALL_PROXY", address, "").url();
        for (address, wanted) in [
            ("proxy:3128", "http://proxy:3128/"),
            ("http://me:pw@proxy:3128", "http://me:pw@proxy:3128/"),
            ("socks5h://127.0.0.1:1080", "socks5h://127.0.0.1:1080"),
        ] {
            assert_eq!(url(address).unwrap().as_str(), wanted);
        }
        for address in
            ["http://me:pw@", "ftp://me:pw@proxy", "http://me:pw@proxy:port", "::", "http://"]
        {
            let error = url(address).unwrap_err();
            assert!(error.starts_with("ALL_PROXY is `"), "{error}");
            assert!(!error.contains("pw"), "{error}");
        }
        assert!(!format!("{:?}", Proxy::new("A", "http://me:pw@proxy", "")).contains("pw"));
    }
}
