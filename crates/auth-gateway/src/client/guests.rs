//! The browsers of the user of this machine, which come by links that are good once.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hyper::HeaderMap;
use hyper::header::COOKIE;

use crate::accounts::Fingerprint;

/// Who may see the page: the hashes of links that were not used yet, and of the browsers that came
/// by one.
#[derive(Debug, Default)]
pub(crate) struct Guests {
    links: Mutex<Vec<Fingerprint>>,
    browsers: Mutex<Vec<Fingerprint>>,
}

impl Guests {
    /// The query of a link that opens the page once.
    pub(crate) fn link(&self) -> String {
        let secret = secret();
        lock(&self.links).push(Fingerprint::from_text(&secret));
        secret
    }

    /// Uses a link up. The secret of the browser that came by it, if the link was good.
    pub(crate) fn enter(&self, link: &str) -> Option<String> {
        let link = Fingerprint::from_text(link);
        let mut links = lock(&self.links);
        let at = links.iter().position(|known| *known == link)?;
        links.remove(at);
        let secret = secret();
        lock(&self.browsers).push(Fingerprint::from_text(&secret));
        Some(secret)
    }

    pub(crate) fn knows(&self, headers: &HeaderMap) -> bool {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|it| it.to_str().ok());
        let mut ours = cookies
            .flat_map(|it| it.split(';'))
            .filter_map(|cookie| cookie.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('='));
        let browsers = lock(&self.browsers);
        ours.any(|secret| browsers.contains(&Fingerprint::from_text(secret)))
    }
}

fn secret() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

fn lock(all: &Mutex<Vec<Fingerprint>>) -> std::sync::MutexGuard<'_, Vec<Fingerprint>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The cookie of a browser that came by a link.
pub(crate) const COOKIE_NAME: &str = "clawdbot_page";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_good_once_and_a_browser_is_known_by_its_own_secret() {
        let guests = Guests::default();
        let link = guests.link();
        assert!(guests.enter("another").is_none());
        let secret = guests.enter(&link).unwrap();
        assert!(guests.enter(&link).is_none());
        let with = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, text.parse().unwrap());
            guests.knows(&headers)
        };
        assert!(with(&format!("a=b; {COOKIE_NAME}={secret}")));
        assert!(!with(&format!("{COOKIE_NAME}={link}")) && !with("a=b"));
    }
}
