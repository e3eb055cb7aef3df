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
    /// The end of what came, where the secret may have begun.
    held: BytesMut,
}

impl Veil {
    pub(crate) fn over(live: &Live) -> Self {
        let secret = auth_store::trim(live.secret.expose());
        // A very short secret would match ordinary text.
        let is_secret = secret.len() >= SHORTEST;
        let secret = is_secret.then(|| Finder::new(secret.as_bytes()).into_owned());
        Self { secret, held: BytesMut::new() }
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

    /// Whether it is in a text.
    pub(crate) fn is_in(&self, text: &[u8]) -> bool {
        self.secret.as_ref().is_some_and(|secret| secret.find(text).is_some())
    }

    /// How much is held back.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// The next part of a body, with stars where it stood. Where the part ends with its beginning,
    /// that is held back until more is known.
    pub(crate) fn next(&mut self, part: Bytes) -> Bytes {
        let Some(secret) = &self.secret else { return part };
        let part = if self.held.is_empty() {
            part
        } else {
            let mut both = std::mem::take(&mut self.held);
            both.extend_from_slice(&part);
            both.freeze()
        };
        let covered = self.cover(part);
        let needle = secret.needle();
        let from = covered.len().saturating_sub(needle.len() - 1);
        let begins = memchr::memchr_iter(needle[0], &covered[from..])
            .map(|at| from + at)
            .find(|at| needle.starts_with(&covered[*at..]));
        let Some(at) = begins else { return covered };
        self.held = BytesMut::from(&covered[at..]);
        covered.slice(..at)
    }

    /// What was held back, at the end of the body.
    pub(crate) fn rest(&mut self) -> Option<Bytes> {
        (!self.held.is_empty()).then(|| std::mem::take(&mut self.held).freeze())
    }

    fn cover(&self, part: Bytes) -> Bytes {
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
    fn a_secret_is_covered_however_it_is_cut() {
        let text = b"sk-sk-secret-1 and sk-secret";
        for cut in 0..text.len() {
            for other in cut..text.len() {
                let mut veil = Veil::over(&Live::api_key("sk-secret-1"));
                let mut all = Vec::new();
                for part in [&text[..cut], &text[cut..other], &text[other..]] {
                    let passed = veil.next(Bytes::copy_from_slice(part));
                    assert!(!veil.is_in(&passed));
                    all.extend_from_slice(&passed);
                }
                all.extend_from_slice(&veil.rest().unwrap_or_default());
                assert_eq!(all, b"sk-*********** and sk-secret", "cut at {cut} and {other}");
            }
        }
    }

    #[test]
    fn the_end_of_an_event_is_not_held_back() {
        let mut veil = Veil::over(&Live::api_key("sk-secret-1"));
        let event = Bytes::from_static(b"data: {}\n\n");
        assert_eq!(veil.next(event.clone()), event);
        assert_eq!(veil.held(), 0);
    }

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
