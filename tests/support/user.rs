//! A scripted user: reads the pages of a third-party authorization server, logs in, consents or
//! refuses.
//!
//! It has no code for particular servers. It follows redirects on the server with a cookie jar, and
//! stops when the server redirects the browser to the client's redirect URI: that address is
//! fetched (so the loopback listener gets it) or returned (so a test can paste it).

use crate::html::{self, Button, Form};
use crate::http::{self, Response};
use std::io;
use url::Url;

const ACCEPT: [&str; 7] = ["accept", "allow", "authorize", "yes", "continue", "approve", "confirm"];
const REFUSE: [&str; 5] = ["deny", "abort", "cancel", "refuse", "no"];

/// The user at the browser.
#[derive(Clone, Debug)]
pub struct User {
    name: String,
    password: String,
    refuses: bool,
    /// The device code for a page that asks for one.
    code: String,
    cookies: Vec<Cookie>,
}

/// The next step: the address, whether to use `POST`, and the fields.
type Step = (String, bool, Vec<(String, String)>);

#[derive(Clone, Debug)]
struct Cookie {
    name: String,
    value: String,
    path: String,
}

impl User {
    /// A user who logs in under this name and consents to everything.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            password: format!("{name}-pass-1"),
            refuses: false,
            code: String::new(),
            cookies: Vec::new(),
        }
    }

    /// A user who refuses every consent.
    #[must_use]
    pub fn who_refuses(mut self) -> Self {
        self.refuses = true;
        self
    }

    /// Walks through the server's pages and delivers the redirect to the listener. Returns the
    /// listener's page.
    pub fn visit(&mut self, authorization_url: &str) -> io::Result<Response> {
        let redirect = self.walk(authorization_url)?;
        http::get(&redirect)
    }

    /// Walks through the server's pages. Returns the final address of the browser, without fetching
    /// it.
    pub fn walk(&mut self, authorization_url: &str) -> io::Result<String> {
        let url = Url::parse(authorization_url).map_err(io::Error::other)?;
        let stop = url
            .query_pairs()
            .find(|(name, _)| name == "redirect_uri")
            .map(|(_, value)| value.into_owned())
            .ok_or_else(|| io::Error::other(format!("no redirect_uri in {url}")))?;
        self.go(url, Some(&stop))
    }

    /// Opens the page for device codes, enters the code, and continues until nothing is left to do.
    /// Returns the last page.
    pub fn enter_code(&mut self, verification_uri: &str, user_code: &str) -> io::Result<String> {
        user_code.clone_into(&mut self.code);
        self.go(Url::parse(verification_uri).map_err(io::Error::other)?, None)
    }

    /// Walks up to the address `stop`, or to a page without anything to do.
    fn go(&mut self, mut url: Url, stop: Option<&str>) -> io::Result<String> {
        let mut form: Option<String> = None;
        for _ in 0..25 {
            let response = self.fetch(&url, form.take().as_deref())?;
            if (300..400).contains(&response.status) {
                let location = response.header("location").unwrap_or_default();
                url = url.join(location).map_err(io::Error::other)?;
                if stop.is_some() && url.as_str().split(['?', '#']).next() == stop {
                    return Ok(url.into());
                }
                continue;
            }
            let page = response.text();
            let Some((action, post, fields)) = self.choose(&page) else {
                if stop.is_none() && response.status == 200 {
                    return Ok(page);
                }
                let why = format!("{}: nothing to do on {url}: {page}", response.status);
                return Err(io::Error::other(why));
            };
            url = url.join(&action).map_err(io::Error::other)?;
            let fields: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            if post {
                form = Some(http::encode(&fields));
            } else if !fields.is_empty() {
                url.set_query(Some(&http::encode(&fields)));
            }
        }
        Err(io::Error::other("gave up: too many pages"))
    }

    /// This user's next step on a page; `None` if there is nothing to do.
    fn choose(&self, page: &str) -> Option<Step> {
        let (forms, links) = html::read(page);
        if let Some(form) = forms.iter().find(|form| form.fields.iter().any(asks_who)) {
            let reply = |field: &html::Field| match field.kind.as_str() {
                "password" => self.password.clone(),
                _ if asks_who(field) => self.name.clone(),
                _ => field.value.clone(),
            };
            let fields = form.fields.iter().map(|field| (field.name.clone(), reply(field)));
            return Some((form.action.clone(), form.post, fields.collect()));
        }
        let asks_code = |field: &html::Field| field.kind != "hidden" && field.name == "user_code";
        if let Some(form) = forms.iter().find(|form| form.fields.iter().any(asks_code)) {
            let reply = |field: &html::Field| {
                if asks_code(field) { self.code.clone() } else { field.value.clone() }
            };
            let fields = form.fields.iter().map(|field| (field.name.clone(), reply(field)));
            return Some((form.action.clone(), form.post, fields.collect()));
        }
        if self.refuses
            && let Some(link) = links.iter().find(|link| link.contains("abort"))
        {
            return Some((link.clone(), false, Vec::new()));
        }
        let words: &[&str] = if self.refuses { &REFUSE } else { &ACCEPT };
        forms.iter().find_map(|form| press(form, words))
    }

    fn fetch(&mut self, url: &Url, form: Option<&str>) -> io::Result<Response> {
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .filter(|cookie| covers(&cookie.path, url.path()))
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        let cookies = cookies.join("; ");
        let mut headers = vec![("accept", "text/html,*/*"), ("cookie", cookies.as_str())];
        let response = if let Some(form) = form {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
            http::send("POST", url.as_str(), &headers, form.as_bytes())?
        } else {
            http::send("GET", url.as_str(), &headers, &[])?
        };
        for (name, value) in &response.headers {
            if name == "set-cookie" {
                self.keep(value);
            }
        }
        Ok(response)
    }

    fn keep(&mut self, set_cookie: &str) {
        let mut parts = set_cookie.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            return;
        };
        let path = parts
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.eq_ignore_ascii_case("path"))
            .map_or("/", |(_, path)| path);
        self.cookies.retain(|cookie| cookie.name != name || cookie.path != path);
        if !value.is_empty() {
            let (name, value, path) = (name.to_owned(), value.to_owned(), path.to_owned());
            self.cookies.push(Cookie { name, value, path });
        }
    }
}

fn asks_who(field: &html::Field) -> bool {
    field.kind != "hidden" && matches!(field.name.as_str(), "login" | "username" | "user")
}

fn press(form: &Form, words: &[&str]) -> Option<Step> {
    let says = |button: &Button| {
        let name = button.name.clone().unwrap_or_default();
        let all = format!("{name} {} {}", button.value, button.text).to_lowercase();
        all.split_whitespace().any(|word| words.contains(&word))
    };
    let button = form.buttons.iter().find(|button| says(button))?;
    let mut fields: Vec<_> =
        form.fields.iter().map(|field| (field.name.clone(), field.value.clone())).collect();
    if let Some(name) = &button.name {
        fields.push((name.clone(), button.value.clone()));
    }
    Some((form.action.clone(), form.post, fields))
}

/// Whether a cookie's path covers a request path (RFC 6265 §5.1.4).
fn covers(cookie: &str, path: &str) -> bool {
    path == cookie
        || path
            .strip_prefix(cookie)
            .is_some_and(|rest| cookie.ends_with('/') || rest.starts_with('/'))
}
