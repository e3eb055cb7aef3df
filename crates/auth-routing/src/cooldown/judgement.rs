//! The class of a response. A proxy needs finer distinctions than the six failure reasons of the
//! store.

use std::time::Duration;

use auth_store::Timestamp;

use crate::cooldown::FailureReason;
use crate::cooldown::facts::{Facts, plain};
use crate::cooldown::limits::{self, Window};
use crate::cooldown::response::{Failure, Response, Verdict};
use crate::cooldown::stated_reset::is_not_in_the_plan;

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

/// What a response costs the account that it was asked with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cost {
    /// Nothing: it says nothing about the account.
    Nothing,
    /// A cooldown of seconds, which never grows: the provider has too much to do.
    Pause(Timestamp),
    /// It counts as a failure.
    Failure,
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

impl Judgement {
    /// What it costs the account at `now`.
    pub fn cost(&self, now: Timestamp) -> Cost {
        let until = self.failure.as_ref().and_then(|failure| failure.until);
        match self.class {
            Class::Overload => Cost::Pause(overload_end(until, now)),
            Class::Unavailable if until.is_some() => Cost::Pause(overload_end(until, now)),
            Class::Credential | Class::Forbidden | Class::Billing | Class::Limit => Cost::Failure,
            // A model that is not there may be there for another account.
            Class::Request if self.is_of_one_model => Cost::Failure,
            _ => Cost::Nothing,
        }
    }
}

/// The end of a cooldown for overload: seconds, which never grow.
pub fn overload_end(stated: Option<Timestamp>, now: Timestamp) -> Timestamp {
    stated.unwrap_or_else(|| now.plus(OVERLOADED)).min(now.plus(LONGEST_OVERLOAD))
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
        let mut failure = failure;
        let class = self.class(failure.reason, &windows);
        let facts = Facts::from_body(&self.json());
        let has_code =
            |codes: &[&str]| facts.codes.iter().any(|code| codes.contains(&plain(code).as_str()));
        let is_of_one_model = match class {
            Class::Limit => limits::is_of_one_model(&windows) || is_not_in_the_plan(&self.json()),
            Class::Request => has_code(&NO_SUCH_MODEL),
            _ => false,
        };
        // Who is used up says so, or when it ends; all else is over in seconds.
        if class == Class::Limit && failure.until.is_none() && !has_code(&WINDOWS) {
            failure.until = Some(now.plus(WITHOUT_A_WINDOW));
        }
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

/// Codes of a limit that is used up for longer, in the same form.
const WINDOWS: [&str; 14] = [
    "usagelimitreached",
    "usagelimitexceeded",
    "quotaexhausted",
    "minimax1039",
    "minimax2056",
    "1308",
    "1310",
    "1316",
    "1317",
    "1318",
    "1319",
    "1320",
    "1321",
    "freeusagelimiterror",
];

/// Codes of a model that is not there, or not for this account.
const NO_SUCH_MODEL: [&str; 3] = ["modelnotfound", "modelnotavailable", "modelnotsupported"];

/// The cooldown after a refusal that names no window.
const WITHOUT_A_WINDOW: Duration = Duration::from_secs(30);

const OVERLOADED: Duration = Duration::from_secs(5);
const LONGEST_OVERLOAD: Duration = Duration::from_secs(30);

const OVERLOAD_PHRASES: [&str; 2] = ["at capacity", "overloaded"];

#[cfg(test)]
mod tests {
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

    /// Each row is a response as its provider sends it, made up: head, body, what it costs, and until when.
    #[test]
    fn what_each_response_costs_the_account() {
        let pause = |seconds: u64| Cost::Pause(NOW.plus(Duration::from_secs(seconds)));
        let (nothing, failure) = (Cost::Nothing, Cost::Failure);
        let rows: &[(&str, &str, Cost, Option<u64>)] = &[
            // Overload is nobody's fault, however it is said and however often.
            ("529", r#"{"type":"error","error":{"type":"overloaded_error"}}"#, pause(5), None),
            ("529\nretry-after: 20", "{}", pause(20), Some(20)),
            ("529\nretry-after: 9000", "{}", pause(30), Some(9000)),
            ("503", r#"{"error":{"code":"server_is_overloaded"}}"#, pause(5), None),
            (
                "200",
                r#"data: {"type":"response.failed","response":{"error":{"code":"server_is_overloaded"}}}"#,
                pause(5),
                None,
            ),
            (
                "200",
                r#"data: {"type":"error","error":{"type":"overloaded_error"}}"#,
                pause(5),
                None,
            ),
            (
                "429",
                r#"{"error":{"type":"engine_overloaded_error","message":"The engine is currently overloaded"}}"#,
                pause(5),
                None,
            ),
            ("429", r#"{"error":{"code":1302,"message":"Rate limit"}}"#, pause(5), None),
            (
                "200",
                r#"{"base_resp":{"status_code":1041,"status_msg":"conn limit"}}"#,
                pause(5),
                None,
            ),
            ("503\nretry-after: 8", "{}", pause(8), Some(8)),
            // What is about the request, or about what stands in between, costs nothing.
            ("503", "{}", nothing, None),
            (
                "429\nx-should-retry: true",
                r#"{"type":"error","error":{"type":"rate_limit_error"}}"#,
                nothing,
                None,
            ),
            ("403\ncontent-type: text/html", "<html>", nothing, None),
            ("500", "{}", nothing, None),
            ("502", "", nothing, None),
            ("504", "", nothing, None),
            ("408", "", nothing, None),
            ("400", "{}", nothing, None),
            ("404", "{}", nothing, None),
            ("413", "{}", nothing, None),
            ("422", "{}", nothing, None),
            // A model that this account has not.
            ("404", r#"{"error":{"code":"model_not_found"}}"#, failure, None),
            // What is about the account counts.
            ("401", "{}", failure, None),
            ("403", r#"{"error":{"type":"permission_error"}}"#, failure, None),
            (
                "402",
                r#"{"error":{"code":402,"metadata":{"limit_source":"credits"}}}"#,
                failure,
                None,
            ),
            ("403", r#"{"error":{"type":"exceeded_current_quota_error"}}"#, failure, None),
            ("429", r#"{"error":{"type":"insufficient_quota"}}"#, failure, None),
            ("429\nretry-after: 77", "{}", failure, Some(77)),
            // Without a window it is over in seconds, each time.
            ("429", "{}", failure, Some(30)),
            ("429", r#"{"error":{"type":"rate_limit_reached_error"}}"#, failure, Some(30)),
            // A window without an end takes the usual steps.
            ("429", r#"{"error":{"type":"usage_limit_reached"}}"#, failure, None),
            ("200", r#"{"base_resp":{"status_code":2056}}"#, failure, None),
            ("429", r#"{"error":{"code":"1316","message":"weekly limit"}}"#, failure, None),
            // Each provider's own way to say when.
            ("429\nx-codex-primary-reset-at: 1769652000", "{}", failure, Some(7200)),
            (
                "429\nx-codex-primary-used-percent: 100\nx-codex-primary-reset-at: 1769652000\nx-codex-secondary-used-percent: 12\nx-codex-secondary-reset-at: 1770000000",
                "{}",
                failure,
                Some(7200),
            ),
            (
                "200",
                r#"data: {"type":"response.failed","response":{"error":{"code":"usage_limit_reached","resets_in_seconds":4242}}}"#,
                failure,
                Some(4242),
            ),
            (
                "429",
                r#"{"error":{"type":"usage_limit_reached","plan_type":"plus","resets_at":1769648400}}"#,
                failure,
                Some(3600),
            ),
            (
                "429\nx-ratelimit-user-retry-after: 77\nx-ratelimit-exceeded: global-chat",
                "",
                failure,
                Some(77),
            ),
            (
                "429",
                r#"{"error":{"code":1308,"message":"Usage limit reached for 5 hour. Your limit will reset at 2026-01-29 09:00:00"}}"#,
                failure,
                Some(3600),
            ),
            (
                "429",
                r#"{"error":{"code":"1310","message":"已达到每周使用上限,限额将在 2026-01-29 10:00:00 重置"}}"#,
                failure,
                Some(7200),
            ),
            (
                "429",
                r#"[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"You have exhausted your capacity on this model. Your quota will reset after 10h17m5.7s. Please retry in 10h17m5.7s."}}]"#,
                failure,
                Some(37_025),
            ),
            (
                "429",
                r#"{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"reason":"RATE_LIMIT_EXCEEDED","metadata":{"quotaResetDelay":"539.477544ms"}},{"retryDelay":"46s"}]}}"#,
                failure,
                Some(46),
            ),
            (
                "429",
                r#"{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel"}]}]}}"#,
                failure,
                Some(28_800),
            ),
            (
                "429\nX-RateLimit-Reset: 1769648400000",
                r#"{"error":{"code":429}}"#,
                failure,
                Some(3600),
            ),
        ];
        for (head, body, cost, seconds) in rows {
            let text = format!("HTTP/1.1 {}\r\n\r\n{body}", head.replace('\n', "\r\n"));
            let judged = Response::parse(&text).unwrap().judge(NOW);
            assert_eq!(judged.cost(NOW), *cost, "{head} {body}");
            let until = judged.failure.and_then(|failure| failure.until);
            let until = until.map(|until| until.since(NOW).as_secs());
            assert_eq!(until, *seconds, "{head} {body}");
        }
    }

    #[test]
    fn a_plan_that_has_nothing_of_a_model_is_about_that_model() {
        let body = r#"{"error":{"status":"RESOURCE_EXHAUSTED","message":"Quota exceeded for metric: x, limit: 0, model: gemini-pro","details":[{"violations":[{"quotaId":"GenerateRequestsPerDayPerProject"}]}]}}"#;
        let judged = Response::parse(&format!("HTTP/1.1 429\r\n\r\n{body}")).unwrap().judge(NOW);
        assert!(judged.is_of_one_model);
        assert_eq!(judged.failure.unwrap().until, Some(NOW.plus(Duration::from_hours(8))));
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
