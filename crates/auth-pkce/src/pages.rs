//! The pages that the browser shows: static text only. No value of any request can get into a page.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

/// Why a login with a code failed after all; each has its own page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// The issuer, the user or an account rule refused the login.
    Denied,
    /// The response does not belong to this login or comes from another issuer.
    Mismatch,
    /// The response arrived too late.
    Expired,
    /// The issuer did not exchange the code for a credential.
    NotExchanged,
    /// The credential could not be saved.
    NotSaved,
}

/// All pages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Page {
    SignedIn,
    Failed(Failure),
    /// For a second visit while the first is being processed, or after it.
    AlreadyReceived,
    /// On the way to the address of the login.
    Opening,
    BadRequest,
    NotHere,
}

pub(crate) type PageResponse = Response<Full<Bytes>>;

impl Page {
    /// The page as a response, with its usual status and the headers of every response.
    pub(crate) fn response(self) -> PageResponse {
        self.response_with(self.status())
    }

    /// The page with another status, for refusals that have a more specific one.
    pub(crate) fn response_with(self, status: StatusCode) -> PageResponse {
        let mut response = Response::new(Full::new(Bytes::from(self.html())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(SECURITY_POLICY));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET"));
        }
        response
    }

    /// A redirect to the page at an address without code and state, so that neither stays in the
    /// browser history.
    pub(crate) fn response_at(self, location: &str) -> PageResponse {
        let mut response = self.response_with(StatusCode::SEE_OTHER);
        if let Ok(location) = HeaderValue::from_str(location) {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }

    fn status(self) -> StatusCode {
        match self {
            Self::SignedIn => StatusCode::OK,
            Self::Opening => StatusCode::SEE_OTHER,
            Self::Failed(Failure::Denied) => StatusCode::FORBIDDEN,
            Self::Failed(Failure::Mismatch) | Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Failed(Failure::Expired) => StatusCode::GONE,
            Self::Failed(Failure::NotExchanged) => StatusCode::BAD_GATEWAY,
            Self::Failed(Failure::NotSaved) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::AlreadyReceived => StatusCode::CONFLICT,
            Self::NotHere => StatusCode::NOT_FOUND,
        }
    }

    fn html(self) -> String {
        let (tone, title, text) = match self {
            Self::SignedIn => (
                Tone::Good,
                "You are signed in",
                "Your credential is saved. You can close this window and go back to the terminal.",
            ),
            Self::Failed(Failure::Denied) => (
                Tone::Bad,
                "The login was refused",
                "Nothing was saved. The terminal says why; you can close this window and try again there.",
            ),
            Self::Failed(Failure::Mismatch) => (
                Tone::Bad,
                "This is not the login that was started",
                "The answer belongs to another login, so it was ignored. \
                 Open the address that the terminal shows, in this browser.",
            ),
            Self::Failed(Failure::Expired) => (
                Tone::Bad,
                "This login has expired",
                "Nothing was saved. Start the login again in the terminal.",
            ),
            Self::Failed(Failure::NotExchanged) => (
                Tone::Bad,
                "The login could not be completed",
                "The provider did not issue a credential. The terminal says why; start the login again there.",
            ),
            Self::Failed(Failure::NotSaved) => (
                Tone::Bad,
                "The credential was not saved",
                "You signed in, but the credential could not be saved on this computer. \
                 The terminal says why; start the login again there.",
            ),
            Self::AlreadyReceived => (
                Tone::Calm,
                "This login has already been answered",
                "The terminal shows how it ended. You can close this window.",
            ),
            Self::Opening => (
                Tone::Calm,
                "The login is opening",
                "If nothing happens, open the address that the terminal shows.",
            ),
            Self::BadRequest => (
                Tone::Calm,
                "This is not an answer to the login",
                "The terminal is still waiting. Open the address that it shows.",
            ),
            Self::NotHere => (
                Tone::Calm,
                "There is nothing here",
                "This address only receives the answer to a login.",
            ),
        };
        let (tone, mark) = match tone {
            Tone::Good => ("good", r#"<path d="M10 16.5l4.5 4.5L22.5 12"/>"#),
            Tone::Bad => ("bad", r#"<path d="M11.5 11.5l9 9M20.5 11.5l-9 9"/>"#),
            Tone::Calm => ("calm", r#"<path d="M16 15v7M16 10.2v.1"/>"#),
        };
        TEMPLATE
            .replace("{tone}", tone)
            .replace("{mark}", mark)
            .replace("{title}", title)
            .replace("{text}", text)
    }
}

enum Tone {
    Good,
    Bad,
    Calm,
}

const TEMPLATE: &str = include_str!("pages/page.html");
const SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Page; 10] = [
        Page::SignedIn,
        Page::Failed(Failure::Denied),
        Page::Failed(Failure::Mismatch),
        Page::Failed(Failure::Expired),
        Page::Failed(Failure::NotExchanged),
        Page::Failed(Failure::NotSaved),
        Page::AlreadyReceived,
        Page::Opening,
        Page::BadRequest,
        Page::NotHere,
    ];

    #[test]
    fn every_page_is_whole_and_different() {
        let pages: std::collections::BTreeSet<String> =
            ALL.iter().map(|page| page.html()).collect();
        assert_eq!(pages.len(), ALL.len());
        for html in pages {
            for placeholder in ["{title}", "{text}", "{tone}", "{mark}"] {
                assert!(!html.contains(placeholder), "{placeholder}");
            }
        }
    }

    #[test]
    fn no_page_has_a_script_or_asks_for_anything() {
        for page in ALL {
            let html = page.html();
            for forbidden in
                ["<script", "http:", "https:", "src=", "href=", "url(", "@import", "javascript"]
            {
                assert!(!html.contains(forbidden), "{page:?} has {forbidden}");
            }
        }
    }

    #[test]
    fn only_success_is_a_success_to_programs_too() {
        for page in ALL {
            assert_eq!(page.status().is_success(), page == Page::SignedIn, "{page:?}");
        }
    }
}
