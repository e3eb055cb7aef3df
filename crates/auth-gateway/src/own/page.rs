//! The page at `/`: for the user of this machine, who comes by a link that is good once.

use std::fmt::Write as _;

use auth_store::Timestamp;
use bytes::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION,
    REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde_json::Value;

use crate::accounts::Accounts;
use crate::client::asked::Caller;
use crate::client::guests::COOKIE_NAME;
use crate::gateway::Gateway;

impl<A: Accounts> Gateway<A> {
    /// The query of a link that opens the page once.
    pub fn one_time_link(&self) -> String {
        format!("/?{LINK}={}", self.guests.link())
    }

    /// The page, or the way to it; `None` for whoever did not come by a link.
    pub(crate) fn page(&self, parts: &Parts) -> Option<Response<Bytes>> {
        if parts.method != Method::GET {
            return None;
        }
        let link = parts.uri.query().and_then(|query| query.strip_prefix(LINK)?.strip_prefix('='));
        if let Some(link) = link {
            return Some(match self.guests.enter(link) {
                Some(secret) => entered(&secret),
                None => html(StatusCode::FORBIDDEN, "<p>This link was used, or is none.</p>"),
            });
        }
        if !self.guests.knows(&parts.headers) {
            return None;
        }
        let text = rendered(&self.status(&Caller::Owner), self.clock.now());
        Some(html(StatusCode::OK, &text))
    }
}

/// Sends the browser on to the address without the link, which is then in no history.
fn entered(secret: &str) -> Response<Bytes> {
    let mut response = html(StatusCode::SEE_OTHER, "");
    let cookie = format!("{COOKIE_NAME}={secret}; Path=/; HttpOnly; SameSite=Strict");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/"));
    response
}

fn html(status: StatusCode, body: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(format!("{HEAD}{body}</body></html>")));
    *response.status_mut() = status;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The status as a page. Whatever others wrote into it is text.
fn rendered(status: &Value, now: Timestamp) -> String {
    let mut page = String::from("<h1>Accounts</h1>");
    let text = |value: &Value| escaped(value.as_str().unwrap_or_default());
    let all = status["providers"].as_array();
    if all.is_none_or(Vec::is_empty) {
        page.push_str("<p>No profile of a provider that is served.</p>");
    }
    for provider in all.into_iter().flatten() {
        let _ = write!(page, "<h2>{}</h2><table>", text(&provider["provider"]));
        for profile in provider["profiles"].as_array().into_iter().flatten() {
            let (state, class) = match profile["cooldownUntil"].as_i64().map(Timestamp) {
                Some(end) => (format!("in cooldown for {}", left(end, now)), "cooldown"),
                None if profile["isNext"] == true => ("next".to_owned(), "next"),
                None => ("ready".to_owned(), "ready"),
            };
            let _ = write!(
                page,
                "<tr class={class}><td>{}<td>{}<td>{state}<td>",
                text(&profile["profileId"]),
                text(&profile["type"])
            );
            for window in profile["windows"].as_array().into_iter().flatten() {
                let Some(used) = window["used"].as_f64() else { continue };
                let reset = window["resetAt"].as_i64().map(|end| left(Timestamp(end), now));
                let reset = reset.map(|left| format!(", anew in {left}")).unwrap_or_default();
                let _ = write!(
                    page,
                    "<label>{} <meter value={:.3}></meter> {:.0} %{reset}</label>",
                    text(&window["name"]),
                    used.clamp(0.0, 1.0),
                    used * 100.0
                );
            }
        }
        page.push_str("</table>");
    }
    let open = status["openAnswers"].as_i64().unwrap_or_default();
    let _ = write!(page, "<p>Answers on their way: {open}</p>");
    page
}

fn left(end: Timestamp, now: Timestamp) -> String {
    let minutes = end.since(now).as_secs().div_ceil(60);
    match minutes {
        0..=99 => format!("{minutes} min"),
        100..=5_999 => format!("{} h", minutes.div_ceil(60)),
        _ => format!("{} days", minutes.div_ceil(1440)),
    }
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

const LINK: &str = "once";

const HEADERS: [(HeaderName, &str); 6] = [
    (CONTENT_TYPE, "text/html; charset=utf-8"),
    (CACHE_CONTROL, "no-store"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    ),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
];

const HEAD: &str = "<!doctype html><html lang=en><head><meta charset=utf-8><title>clawdbot serve</title>\
<meta name=viewport content='width=device-width'><meta http-equiv=refresh content=10><style>\
:root{color-scheme:light dark;--line:#ccc;--next:#0a6b2d;--cooldown:#9a3b00}\
@media(prefers-color-scheme:dark){:root{--line:#444;--next:#5fd38a;--cooldown:#ffb074}}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;width:100%}td{border-top:1px solid var(--line);padding:.4rem .6rem}\
label{display:block;white-space:nowrap}.next td:nth-child(3){color:var(--next);font-weight:600}\
.cooldown td:nth-child(3){color:var(--cooldown)}</style></head><body>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_text() {
        let status = serde_json::json!({"providers": [{"provider": "<script>", "profiles": [
            {"profileId": "a'\"&b", "type": "oauth", "isNext": true, "cooldownUntil": null,
             "windows": [{"name": "5h", "used": 0.25, "resetAt": 3_600_000}]},
            {"profileId": "c", "type": "api_key", "isNext": false, "cooldownUntil": 60_000, "windows": []},
        ]}]});
        let page = rendered(&status, Timestamp(0));
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"), "{page}");
        assert!(page.contains("a&#39;&quot;&amp;b") && page.contains("25 %, anew in 60 min"));
        assert!(page.contains("in cooldown for 1 min"));
    }
}
