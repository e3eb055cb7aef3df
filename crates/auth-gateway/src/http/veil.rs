//! Removes a credential that a provider repeats, so that it never reaches the client.

use bytes::{Bytes, BytesMut};
use hyper::HeaderMap;
use hyper::header::HeaderName;
use memchr::memmem::Finder;

use crate::accounts::Live;

/// Masks one secret in a response.
#[derive(Debug)]
pub(crate) struct Veil {
    secret: Option<Finder<'static>>,
}

impl Veil {
    pub(crate) fn over(live: &Live) -> Self {
        let secret = auth_store::trim(live.secret.expose());
        // A very short secret would match ordinary text.
        let is_secret = secret.len() >= SHORTEST;
        Self { secret: is_secret.then(|| Finder::new(secret.as_bytes()).into_owned()) }
    }

    /// Removes the headers that contain it.
    pub(crate) fn cover_headers(&self, headers: &mut HeaderMap) {
        let Some(secret) = &self.secret else { return };
        let has_it = headers.iter().filter(|(_, value)| secret.find(value.as_bytes()).is_some());
        let names: Vec<HeaderName> = has_it.map(|(name, _)| name.clone()).collect();
        for name in names {
            headers.remove(name);
        }
    }

    /// The part of a body, with the secret replaced by asterisks.
    pub(crate) fn cover(&self, part: Bytes) -> Bytes {
        let Some(secret) = &self.secret else { return part };
        if secret.find(&part).is_none() {
            return part;
        }
        let mut covered = BytesMut::from(&part[..]);
        while let Some(at) = secret.find(&covered) {
            covered[at..at + secret.needle().len()].fill(b'*');
        }
        covered.freeze()
    }
}

const SHORTEST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_covered_and_nothing_else_is_changed() {
        let veil = Veil::over(&Live::api_key("sk-secret-1"));
        let text = Bytes::from_static(b"no sk-secret-1 and sk-secret-1");
        assert_eq!(veil.cover(text), &b"no *********** and ***********"[..]);
        let clean = Bytes::from_static(b"sk-secret-2");
        assert_eq!(veil.cover(clean.clone()), clean);
        let mut headers = HeaderMap::new();
        headers.insert("location", "/x?key=sk-secret-1".parse().unwrap());
        headers.insert("request-id", "r".parse().unwrap());
        veil.cover_headers(&mut headers);
        assert_eq!(headers.len(), 1);
    }
}
