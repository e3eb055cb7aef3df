//! What a provider's HTTP response says about the profile that was used.
//!
//! The status and the error code decide. The message text counts only if neither is conclusive, or
//! if a provider is known to report one reason under another's code.
//!
//! ```
//! use std::time::Duration;
//!
//! use auth_routing::cooldown::response::{Response, Verdict};
//! use auth_routing::{FailureReason, Timestamp};
//!
//! let response = Response::parse(
//!     "HTTP/1.1 429 Too Many Requests\r\nretry-after: 90\r\n\r\n\
//!      {\"error\": {\"type\": \"rate_limit_error\", \"message\": \"Slow down\"}}",
//! )?;
//! let now = Timestamp(1_769_644_800_000);
//! let Verdict::Failed(failure) = response.verdict(now) else { panic!("it failed") };
//! assert_eq!(failure.reason, FailureReason::RateLimit);
//! assert_eq!(failure.until, Some(now.plus(Duration::from_secs(90))));
//! assert_eq!(failure.raw, "429 rate_limit_error: Slow down");
//! # Ok::<(), auth_routing::cooldown::response::NotAResponse>(())
//! ```

use std::time::Duration;

use auth_store::{Timestamp, trim};
use serde_json::Value;

use crate::cooldown::FailureReason;
use crate::cooldown::facts::{Facts, headers, plain};
use crate::cooldown::limits::{self, Window};
use crate::cooldown::redact;
use crate::cooldown::reset_time;
use crate::cooldown::stated_reset::stated_reset;

/// A response, as far as it shows why a request failed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// The status code, if it is known.
    pub status: Option<u16>,
    /// The headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body, usually JSON.
    pub body: String,
}

/// The meaning of a response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The provider served the request.
    Worked,
    /// The request failed.
    Failed(Failure),
}

/// Why a request failed, and until when the next one would fail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// The reason, in the words of the store.
    pub reason: FailureReason,
    /// When the provider will serve the profile again, if it said so. Always after `now`.
    pub until: Option<Timestamp>,
    /// The provider's own words: status, code, message; short, on one line, and without anything
    /// that looks like a secret.
    pub raw: String,
}

/// The text is not an HTTP response. Tell the user about the accepted formats: `curl -i`, or JSON.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "it is neither an HTTP answer as `curl -i` prints it, nor {{status, headers, body}} as JSON"
)]
pub struct NotAResponse;

impl Response {
    /// Reads a response in the format of `curl -i` (the last one, if redirects or a proxy produced
    /// several), as JSON `{status, headers, body}`, or as a JSON body alone.
    pub fn parse(text: &str) -> Result<Self, NotAResponse> {
        let text = text.trim_start_matches('\u{feff}').trim_start();
        if text.starts_with("HTTP/") {
            return Self::from_http(text).ok_or(NotAResponse);
        }
        let value: Value = serde_json::from_str(text).map_err(|_| NotAResponse)?;
        let members = value.as_object().ok_or(NotAResponse)?;
        let is_wrapped = members.contains_key("body")
            || members.contains_key("headers")
            || !members.contains_key("error")
                && members.get("status").is_some_and(Value::is_number);
        if !is_wrapped {
            return Ok(Self { body: text.to_owned(), ..Self::default() });
        }
        let status = match &value["status"] {
            Value::String(text) => text.parse().ok(),
            status => status.as_u64().and_then(|status| u16::try_from(status).ok()),
        };
        let body = match &value["body"] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            body => body.to_string(),
        };
        Ok(Self { status, headers: headers(&value["headers"]), body })
    }

    fn from_http(mut text: &str) -> Option<Self> {
        loop {
            let (head, rest) = split_head(text);
            let mut lines = head.lines();
            let status: u16 = lines.next()?.split_whitespace().nth(1)?.parse().ok()?;
            if rest.starts_with("HTTP/") {
                text = rest;
                continue;
            }
            let headers = lines.filter_map(|line| line.split_once(':'));
            let headers = headers.map(|(name, value)| (trim(name).into(), trim(value).into()));
            return Some(Self {
                status: Some(status),
                headers: headers.collect(),
                body: rest.to_owned(),
            });
        }
    }

    /// The value of a header; the first one, if it is repeated.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The meaning of the response at `now`.
    pub fn verdict(&self, now: Timestamp) -> Verdict {
        let body = self.json();
        let facts = Facts::from_body(&body);
        let status = match self.status {
            // An error in the middle of a successful response names the status itself.
            None | Some(200..=299) => facts.status.or(self.status),
            status => status,
        };
        if matches!(status, Some(200..=299)) && !facts.is_error
            || status.is_none() && !facts.is_error && !body.is_null()
        {
            return Verdict::Worked;
        }
        let reason = self.reason(status, &facts);
        let until = match reason {
            FailureReason::Auth | FailureReason::Format => None,
            // The headers describe the rate limit, and its reset does not settle the bill.
            FailureReason::Billing => stated_reset(&body, now),
            _ => self.reset(&body, now),
        };
        let until = until.filter(|until| now < *until).map(|it| it.min(now.plus(LONGEST)));
        let message = if body.is_null() { first_line(&self.body) } else { &facts.message };
        let raw = redact::redact(status, facts.codes.first().map(String::as_str), message);
        Verdict::Failed(Failure { reason, until, raw })
    }

    fn reason(&self, status: Option<u16>, facts: &Facts) -> FailureReason {
        use FailureReason as Reason;
        // Codex's workspaces pay for what is above the plan.
        let reached = self.header("x-codex-rate-limit-reached-type").unwrap_or_default();
        if reached.contains("credits_depleted") {
            return Reason::Billing;
        }
        if let Some(reason) = facts.codes.iter().find_map(|code| reason_of_code(code)) {
            return reason;
        }
        let is_page = self.header("content-type").is_some_and(|it| it.contains("text/html"));
        match status {
            Some(402) => Reason::Billing,
            // A page from a proxy or firewall in front of the provider, which knows nothing about
            // the profile.
            Some(403) if is_page => Reason::Unknown,
            // The text was refused, not the account.
            Some(403) if facts.is_moderated => Reason::Format,
            Some(401 | 403 | 407) => Reason::Auth,
            Some(429 | 529) => Reason::RateLimit,
            Some(503) if facts.message.to_lowercase().contains("overloaded") => Reason::RateLimit,
            Some(408 | 425 | 502..=504 | 520..=524) => Reason::Timeout,
            Some(400..=499) => reason_of_text(&facts.message).unwrap_or(Reason::Format),
            Some(_) => Reason::Unknown,
            None if facts.codes.iter().any(|code| is_general(code)) => {
                reason_of_text(&facts.message).unwrap_or(Reason::Format)
            }
            None => reason_of_text(&facts.message).unwrap_or(Reason::Unknown),
        }
    }

    /// The body as JSON; for an event stream, the event with the error.
    pub(crate) fn json(&self) -> Value {
        match serde_json::from_str::<Value>(&self.body) {
            // Google wraps an error in a list if the response would have been a stream.
            Ok(Value::Array(values)) => return values.into_iter().next().unwrap_or_default(),
            Ok(value) => return value,
            Err(_) => {}
        }
        let events = self.body.lines().rev().filter_map(|line| line.strip_prefix("data:"));
        let mut values = events.filter_map(|data| serde_json::from_str::<Value>(data).ok());
        values.find(|value| Facts::from_body(value).is_error).unwrap_or_default()
    }

    /// When the provider will serve the profile again: the later of the times in the body and in
    /// `Retry-After`, else the headers of the exhausted limits.
    fn reset(&self, body: &Value, now: Timestamp) -> Option<Timestamp> {
        let stated = stated_reset(body, now).max(self.retry_after(now));
        stated.or_else(|| limits::exhausted_until(&self.windows(now)))
    }

    fn retry_after(&self, now: Timestamp) -> Option<Timestamp> {
        let milliseconds = self.header("retry-after-ms").and_then(|text| text.parse::<f64>().ok());
        let exact = milliseconds.and_then(|it| Duration::try_from_secs_f64(it / 1e3).ok());
        let usual =
            self.header("retry-after").or_else(|| self.header("x-ratelimit-user-retry-after"));
        exact.map(|wait| now.plus(wait)).or_else(|| reset_time::parse_from(usual?, now))
    }

    /// The quota windows in the headers.
    pub fn windows(&self, now: Timestamp) -> Vec<Window> {
        let headers: Vec<_> = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        limits::windows(&headers, now)
    }
}

/// The reason for an error code that is unambiguous, in any spelling.
fn reason_of_code(code: &str) -> Option<FailureReason> {
    let plain = plain(code);
    let found = CODES.iter().find(|(_, codes)| codes.split_whitespace().any(|it| it == plain));
    found.map(|(reason, _)| *reason)
}

/// Codes that only say that there was an error in the request.
fn is_general(code: &str) -> bool {
    ["invalid_request_error", "invalid_argument", "bad_request"]
        .iter()
        .any(|general| code.eq_ignore_ascii_case(general))
}

/// Reasons that some providers give only in words, with the code of an invalid request.
fn reason_of_text(message: &str) -> Option<FailureReason> {
    let message = message.to_lowercase();
    let found = PHRASES.iter().find(|(_, phrases)| phrases.iter().any(|it| message.contains(it)));
    found.map(|(reason, _)| *reason)
}

/// The lines before the first empty one, and the rest after it.
fn split_head(text: &str) -> (&str, &str) {
    let ends = ["\r\n\r\n", "\n\n"].into_iter();
    let ends = ends.filter_map(|end| Some((text.find(end)?, end.len())));
    match ends.min() {
        Some((at, length)) => (&text[..at], &text[at + length..]),
        None => (text, ""),
    }
}

fn first_line(text: &str) -> &str {
    let is_markup = trim(text).starts_with('<');
    text.lines().map(trim).find(|line| !line.is_empty() && !is_markup).unwrap_or_default()
}

/// No quota window is longer than a month.
const LONGEST: Duration = Duration::from_hours(32 * 24);

/// Error codes in lower case, with only letters and digits.
const CODES: [(FailureReason, &str); 5] = [
    (
        FailureReason::Billing,
        "insufficientquota insufficientbalance insufficientcredits insufficientfunds billingerror
         billinghardlimitreached billingnotactive billingdisabled paymentrequired creditsexhausted
         exceededcurrentquotaerror usagenotincluded creditsrequired outofcredits arrearage minimax1008
         1113",
    ),
    (
        FailureReason::RateLimit,
        "ratelimiterror ratelimitexceeded ratelimitreachederror ratelimited userratelimitexceeded
         toomanyrequests resourceexhausted usagelimitreached usagelimitexceeded quotaexhausted throttling
         throttlingexception requests tokens slowdown overloadederror overloaded
         engineoverloadederror engineoverloaded serveroverloaded serverisoverloaded
         serviceunavailableerror modeloverloaded minimax1002 minimax1039 minimax1041 minimax2045
         minimax2056 1302 1303 1305 1308 1310 1316 1317 1318 1319 1320 1321",
    ),
    (
        FailureReason::Auth,
        "authenticationerror permissionerror invalidapikey incorrectapikeyerror apikeyinvalid
         apikeyserviceblocked apikeyexpired invalidauthenticationerror invalidauthentication
         unauthenticated unauthorized permissiondenied accessdenied forbidden tokenexpired
         tokeninvalidated tokenrevoked expiredtoken invalidtoken sessionexpired accountdeactivated
         accountsuspended consumersuspended consumerinvalid insufficientpermissions missingscopes
         insufficientscope invalidorganization organizationdeactivated
         unsupportedcountryregionterritory minimax1004 minimax2049 1000 1001 1002 1003 1004",
    ),
    (
        FailureReason::Format,
        "contextlengthexceeded stringabovemaxlength contentpolicyviolation contentfilter
         invalidprompt unsupportedparameter unsupportedvalue invalidvalue missingrequiredparameter
         unknownparameter notfounderror modelnotfound notfound requesttoolarge
         unprocessableentity validationerror minimax2013",
    ),
    (
        FailureReason::Timeout,
        "timeouterror timeout requesttimeout deadlineexceeded upstreamtimeout gatewaytimeout
         minimax1001",
    ),
];

/// Phrases that are unambiguous anywhere in a message.
const PHRASES: [(FailureReason, &[&str]); 2] = [
    (
        FailureReason::Billing,
        &[
            "credit balance is too low",
            "insufficient balance",
            "insufficient credits",
            "insufficient funds",
            "billing hard limit",
        ],
    ),
    (
        FailureReason::Auth,
        &[
            "api key not valid",
            "incorrect api key",
            "invalid api key",
            "organization has been disabled",
            "only authorized for use with claude code",
        ],
    ),
];
