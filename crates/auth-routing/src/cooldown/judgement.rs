//! The class of a response. A proxy needs finer distinctions than the six failure reasons of the
//! store.

use auth_store::Timestamp;

use crate::cooldown::FailureReason;
use crate::cooldown::facts::{Facts, plain};
use crate::cooldown::limits::{self, Window};
use crate::cooldown::response::{Failure, Response, Verdict};

/// The kinds of responses that are handled differently.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Class {
    /// The request was served.
    Served,
    /// The credential is refused: a refreshed one may be accepted (401).
    Credential,
    /// The account may not do this (403).
    Forbidden,
    /// The account has to pay first.
    Billing,
    /// A limit of the account is reached.
    Limit,
    /// This request was refused temporarily; no limit of the account is reached.
    Momentary,
    /// The provider is overloaded for all users.
    Overload,
    /// The provider is not available, without a reason.
    Unavailable,
    /// A page from a proxy or firewall in front of the provider, which says nothing about the
    /// account.
    Wall,
    /// The request itself is refused.
    Request,
    /// Anything else: the request may have been carried out.
    Fault,
}

/// The judgement of a response.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Its class.
    pub class: Class,
    /// Why it failed; `None` for [`Class::Served`].
    pub failure: Option<Failure>,
    /// Whether the exhausted limit applies to one model family only.
    pub is_of_one_model: bool,
    /// The quota windows in its headers.
    pub windows: Vec<Window>,
}

impl Response {
    /// Judges the response at `now`.
    ///
    /// ```
    /// use auth_routing::Timestamp;
    /// use auth_routing::cooldown::judgement::Class;
    /// use auth_routing::cooldown::response::Response;
    ///
    /// let answer = Response::parse("HTTP/1.1 529\r\n\r\n{\"error\": {\"type\": \"overloaded_error\"}}")?;
    /// assert_eq!(answer.judge(Timestamp(0)).class, Class::Overload);
    /// # Ok::<(), auth_routing::cooldown::response::NotAResponse>(())
    /// ```
    pub fn judge(&self, now: Timestamp) -> Judgement {
        let windows = self.windows(now);
        let Verdict::Failed(failure) = self.verdict(now) else {
            return Judgement {
                class: Class::Served,
                failure: None,
                is_of_one_model: false,
                windows,
            };
        };
        let class = self.class(failure.reason, &windows);
        let is_of_one_model = class == Class::Limit && limits::is_of_one_model(&windows);
        Judgement { class, failure: Some(failure), is_of_one_model, windows }
    }

    fn class(&self, reason: FailureReason, windows: &[Window]) -> Class {
        let is_page = self.header("content-type").is_some_and(|it| it.contains("text/html"))
            || self.body.trim_start().starts_with('<');
        if is_page {
            return Class::Wall;
        }
        let facts = Facts::from_body(&self.json());
        let message = facts.message.to_lowercase();
        let is_overload = facts.codes.iter().any(|code| OVERLOAD.contains(&plain(code).as_str()))
            || OVERLOAD_PHRASES.iter().any(|phrase| message.contains(phrase));
        match (reason, self.status) {
            (FailureReason::Billing, _) => Class::Billing,
            (_, Some(529)) => Class::Overload,
            (FailureReason::RateLimit, _) if is_overload => Class::Overload,
            (FailureReason::RateLimit, Some(429)) if self.is_momentary(windows) => Class::Momentary,
            (FailureReason::RateLimit, _) => Class::Limit,
            (FailureReason::Auth, None | Some(200..=299 | 401)) => Class::Credential,
            (FailureReason::Auth, _) => Class::Forbidden,
            (_, Some(503)) if is_overload => Class::Overload,
            (_, Some(503)) => Class::Unavailable,
            (FailureReason::Format, _) => Class::Request,
            _ => Class::Fault,
        }
    }

    /// Whether the response says that a retry is worthwhile, and names no limit.
    fn is_momentary(&self, windows: &[Window]) -> bool {
        let says_so = self.header("x-should-retry").is_some_and(|value| value == "true");
        let names = ["retry-after", "retry-after-ms", "x-ratelimit-user-retry-after"];
        says_so && windows.is_empty() && names.iter().all(|name| self.header(name).is_none())
    }
}

/// The codes of an overloaded provider, in lower case with only letters and digits. Z.AI's 1302 and
/// 1305 and MiniMax's 1041 and 2045 pass within seconds.
const OVERLOAD: [&str; 13] = [
    "overloadederror",
    "overloaded",
    "serverisoverloaded",
    "serveroverloaded",
    "serviceunavailableerror",
    "slowdown",
    "engineoverloaded",
    "engineoverloadederror",
    "modeloverloaded",
    "1302",
    "1305",
    "minimax1041",
    "minimax2045",
];

const OVERLOAD_PHRASES: [&str; 2] = ["at capacity", "overloaded"];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// 2026-01-29T00:00:00Z
    const NOW: Timestamp = Timestamp(1_769_644_800_000);

    #[track_caller]
    fn check(head: &str, body: &str, class: Class, seconds: Option<u64>) {
        let text = format!("HTTP/1.1 {}\r\n\r\n{body}", head.replace('\n', "\r\n"));
        let judged = Response::parse(&text).unwrap().judge(NOW);
        let until = judged.failure.and_then(|failure| failure.until);
        let expected = seconds.map(|it| NOW.plus(Duration::from_secs(it)));
        assert_eq!((judged.class, until), (class, expected), "{head} {body}");
    }

    #[test]
    fn each_row_of_the_table_has_its_class() {
        check("200", "{}", Class::Served, None);
        check("401", r#"{"error":{"type":"authentication_error"}}"#, Class::Credential, None);
        check("403", r#"{"error":{"type":"permission_error"}}"#, Class::Forbidden, None);
        check("403\ncontent-type: text/html", "<html>wall</html>", Class::Wall, None);
        check("503", "<!doctype html>", Class::Wall, None);
        check("402", r#"{"error":{"message":"pay"}}"#, Class::Billing, None);
        check("429", r#"{"error":{"code":"insufficient_quota"}}"#, Class::Billing, None);
        check("429\nretry-after: 20", "{}", Class::Limit, Some(20));
        check("429\nx-should-retry: true", "{}", Class::Momentary, None);
        check("429\nx-should-retry: true\nretry-after: 9", "{}", Class::Limit, Some(9));
        check("529", "{}", Class::Overload, None);
        check("503", r#"{"error":{"message":"Model is at capacity"}}"#, Class::Overload, None);
        check("503", "{}", Class::Unavailable, None);
        check("500", "{}", Class::Fault, None);
        check("502", "{}", Class::Fault, None);
        check("408", "{}", Class::Fault, None);
        check("400", "{}", Class::Request, None);
        check("404", r#"{"error":{"code":"model_not_found"}}"#, Class::Request, None);
        check("422", "{}", Class::Request, None);
    }

    #[test]
    fn errors_inside_a_200_are_seen() {
        let failed = r#"{"type":"response.failed","response":{"error":{"code":"CODE"}}}"#;
        for (code, class) in [
            ("server_is_overloaded", Class::Overload),
            ("slow_down", Class::Overload),
            ("service_unavailable_error", Class::Overload),
            ("usage_limit_reached", Class::Limit),
        ] {
            check("200", &failed.replace("CODE", code), class, None);
        }
        let limit = r#"{"type":"response.failed","response":{"error":{"code":"usage_limit_reached","resets_in_seconds":4242}}}"#;
        check("200", limit, Class::Limit, Some(4242));
        let anthropic = r#"{"type":"error","error":{"type":"overloaded_error"}}"#;
        check("200", anthropic, Class::Overload, None);
        check("200", r#"{"base_resp":{"status_code":2056}}"#, Class::Limit, None);
        check("200", r#"{"base_resp":{"status_code":1008}}"#, Class::Billing, None);
        check("200", r#"{"base_resp":{"status_code":0}}"#, Class::Served, None);
    }

    #[test]
    fn a_window_of_one_model_is_said_to_be_one() {
        let head = "HTTP/1.1 429\r\nanthropic-ratelimit-unified-7d_oi-status: rejected\r\nanthropic-ratelimit-unified-7d_oi-reset: 1769652000\r\n\r\n";
        assert!(Response::parse(head).unwrap().judge(NOW).is_of_one_model);
        let account = head.replace("7d_oi", "7d");
        assert!(!Response::parse(&account).unwrap().judge(NOW).is_of_one_model);
    }

    #[test]
    fn what_only_one_provider_says_is_understood() {
        check(
            "429\nanthropic-ratelimit-unified-5h-status: rejected\nanthropic-ratelimit-unified-5h-reset: 1769652000\nanthropic-ratelimit-unified-7d-status: allowed\nanthropic-ratelimit-unified-7d-reset: 1770080400",
            "",
            Class::Limit,
            Some(7200),
        );
        check(
            "429\nx-codex-primary-used-percent: 100\nx-codex-primary-reset-at: 1769652000",
            "",
            Class::Limit,
            Some(7200),
        );
        check("429\nx-ratelimit-user-retry-after: 77", "", Class::Limit, Some(77));
        let zai = r#"{"error":{"code":"1308","message":"Usage limit reached. Your limit will reset at 2026-01-29 09:00:00"}}"#;
        check("429", zai, Class::Limit, Some(3600));
        let chinese =
            r#"{"error":{"code":"1310","message":"已达到限额，将在 2026-01-29 09:00:00 重置"}}"#;
        check("429", chinese, Class::Limit, Some(3600));
        check("429", r#"{"error":{"code":"1302","message":"slow"}}"#, Class::Overload, None);
        let words = r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"Please retry in 10h17m5s."}}"#;
        check("429", words, Class::Limit, Some(37_025));
        let delay = r#"[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"reason":"QUOTA_EXHAUSTED","metadata":{"quotaResetDelay":"90s"}}]}}]"#;
        check("429", delay, Class::Limit, Some(90));
        let daily = r#"{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"GenerateRequestsPerDayPerProject"}]}]}}"#;
        check("429", daily, Class::Limit, Some(8 * 3600));
    }
}
