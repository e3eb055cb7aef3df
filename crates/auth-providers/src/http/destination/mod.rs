//! The sending door: the only place where a secret gets into a request.
//!
//! The secrets of a credential go to the origins that were known when it was made, and nowhere else.
//! A request with a body or with header fields can only be built by a [`Destination`], and there is
//! one only for an address of such an origin.

pub(crate) mod listener;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::http::{HttpRequest, Method, PLUGIN_SCHEME, address};

/// The origins (RFC 6454 §4) that the secrets of one credential may be sent to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Destinations {
    origins: BTreeSet<String>,
}

impl Destinations {
    /// The origins of these addresses. An address that may not be used at all adds none.
    pub fn from_urls<'a>(urls: impl IntoIterator<Item = &'a str>) -> Self {
        Self { origins: urls.into_iter().filter_map(origin).collect() }
    }

    /// Both sets.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self { origins: self.origins.union(&other.origins).cloned().collect() }
    }

    /// Whether the address `url` is of one of the origins.
    pub fn allow(&self, url: &str) -> bool {
        origin(url).is_some_and(|origin| self.origins.contains(&origin))
    }

    /// The origins, in alphabetical order.
    pub fn origins(&self) -> Vec<String> {
        self.origins.iter().cloned().collect()
    }

    /// The address `url` as a destination. `what` is it, for the error: `token endpoint`.
    pub(crate) fn admit(
        &self,
        url: &str,
        what: &'static str,
    ) -> Result<Destination, ForeignDestination> {
        if self.allow(url) {
            return Ok(Destination { url: url.to_owned() });
        }
        let wanted = origin(url).unwrap_or_else(|| "no address that can be used".to_owned());
        Err(ForeignDestination { what, wanted, allowed: self.origins() })
    }
}

/// A secret was to be sent to an origin that it is not for. Nothing was sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ForeignDestination {
    /// What is there, by the provider's entry: `revocation endpoint`.
    pub what: &'static str,
    /// Its origin.
    pub wanted: String,
    /// The origins that the secret is for.
    pub allowed: Vec<String>,
}

impl fmt::Display for ForeignDestination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, wanted, allowed } = self;
        write!(
            formatter,
            "nothing was sent: the {what} of the provider's entry is at `{wanted}`, "
        )?;
        match &allowed[..] {
            [] => formatter.write_str("and no destination is recorded for this credential"),
            allowed => {
                write!(formatter, "and this credential is for `{}` only", allowed.join("`, `"))
            }
        }
    }
}

impl std::error::Error for ForeignDestination {}

/// An address that the secrets of a credential may be sent to.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    url: String,
}

impl Destination {
    /// The address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A `GET` with these header fields, which asks for JSON.
    pub(crate) fn get(&self, headers: Vec<(String, String)>, timeout: Duration) -> HttpRequest {
        self.request(Method::Get, headers, None, timeout)
    }

    /// A `POST` of `body` with these header fields, which asks for JSON.
    pub(crate) fn post(
        &self,
        content_type: &str,
        body: Vec<u8>,
        headers: Vec<(String, String)>,
        timeout: Duration,
    ) -> HttpRequest {
        let content_type = ("content-type".to_owned(), content_type.to_owned());
        let headers = std::iter::once(content_type).chain(headers).collect();
        self.request(Method::Post, headers, Some(body), timeout)
    }

    fn request(
        &self,
        method: Method,
        headers: Vec<(String, String)>,
        body: Option<Vec<u8>>,
        timeout: Duration,
    ) -> HttpRequest {
        let mut request = HttpRequest::get(self.url.clone(), timeout);
        request.method = method;
        request.headers.extend(headers);
        request.body = body;
        request.carries_secret = true;
        request
    }
}

/// The origin of an address that may be used; of a plugin, its own address.
fn origin(url: &str) -> Option<String> {
    if url.starts_with(PLUGIN_SCHEME) {
        return Some(url.to_owned());
    }
    Some(address::parse(url).ok()?.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Destinations {
        Destinations::from_urls([
            "https://a.example/token",
            "http://127.0.0.1:8080/x",
            "plugin:acme",
        ])
    }

    #[test]
    fn a_secret_may_go_to_the_recorded_origins_and_to_none_that_looks_like_one() {
        for url in [
            "https://a.example/other?path=1",
            "https://A.EXAMPLE:443/revoke",
            "http://127.0.0.1:8080/",
            "plugin:acme",
        ] {
            assert!(known().allow(url), "{url}");
        }
        for url in [
            "https://a.example:444/token",
            "http://a.example/token",
            "https://a.example.evil/token",
            "https://evil/?https://a.example/token",
            "https://a.example@evil/token",
            "http://127.0.0.1:8081/",
            "http://localhost:8080/",
            "plugin:other",
            "file:///etc/passwd",
            "",
        ] {
            assert!(!known().allow(url), "{url}");
        }
    }

    #[test]
    fn what_is_refused_names_both_sides_and_no_path() {
        let refused = known().admit("https://evil.example/r?secret", "revocation endpoint");
        assert_eq!(
            refused.unwrap_err().to_string(),
            "nothing was sent: the revocation endpoint of the provider's entry is at \
             `https://evil.example`, and this credential is for `http://127.0.0.1:8080`, \
             `https://a.example`, `plugin:acme` only"
        );
        let refused = Destinations::default().admit("https://evil.example/", "probe");
        assert!(refused.unwrap_err().to_string().contains("no destination is recorded"));
    }

    #[test]
    fn a_request_of_the_door_carries_a_secret_and_one_without_it_does_not() {
        let to = known().admit("https://a.example/token", "token endpoint").unwrap();
        let timeout = Duration::from_secs(1);
        let request = to.post("text/plain", b"secret".to_vec(), Vec::new(), timeout);
        assert!(request.carries_secret() && request.body() == Some(b"secret"));
        assert!(to.get(vec![("authorization".into(), "secret".into())], timeout).carries_secret());
        assert!(!HttpRequest::get("https://a.example/", timeout).carries_secret());
    }
}
