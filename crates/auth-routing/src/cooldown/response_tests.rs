//! Responses of real providers, and their meaning.

use std::time::Duration;

use proptest::prelude::*;

use crate::cooldown::response::{Failure, Response, Verdict};
use crate::FailureReason;
use crate::Timestamp;

/// 2026-01-29T00:00:00Z
const NOW: Timestamp = Timestamp(1_769_644_800_000);

fn failure(text: &str) -> Failure {
    match Response::parse(text).unwrap().verdict(NOW) {
        Verdict::Failed(failure) => failure,
        Verdict::Worked => panic!("it worked: {text}"),
    }
}

#[track_caller]
fn check(head: &str, body: &str, reason: FailureReason, seconds: Option<u64>, raw: &str) {
    let failure = failure(&format!("HTTP/1.1 {}\r\n\r\n{body}", head.replace('\n', "\r\n")));
    let until = seconds.map(|it| NOW.plus(Duration::from_secs(it)));
    assert_eq!((failure.reason, failure.until), (reason, until), "{head} {body}");
    assert_eq!(failure.raw, raw);
}

#[test]
fn each_providers_errors_are_what_they_mean() {
    use FailureReason::{Auth, Billing, Format, RateLimit, Timeout, Unknown};
    let table: &[(&str, &str, FailureReason, Option<u64>, &str)] = &[
        // OpenAI
        (
            "429 Too Many Requests\nx-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 6m0s\nx-ratelimit-remaining-tokens: 5\nx-ratelimit-reset-tokens: 9h",
            r#"{"error":{"message":"Rate limit reached for gpt-5","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#,
            RateLimit,
            Some(360),
            "429 rate_limit_exceeded: Rate limit reached for gpt-5",
        ),
        (
            "429\nretry-after: 1\nx-ratelimit-reset-requests: 1s",
            r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#,
            Billing,
            None,
            "429 insufficient_quota: You exceeded your current quota",
        ),
        (
            "401 Unauthorized",
            r#"{"error":{"message":"Incorrect API key provided: sk-abcde***.","type":"invalid_request_error","code":"invalid_api_key"}}"#,
            Auth,
            None,
            "401 invalid_api_key: Incorrect API key provided: …",
        ),
        (
            "400",
            r#"{"error":{"message":"Unknown parameter","type":"invalid_request_error","code":null}}"#,
            Format,
            None,
            "400 invalid_request_error: Unknown parameter",
        ),
        (
            "404",
            r#"{"error":{"message":"The model does not exist","type":"invalid_request_error","code":"model_not_found"}}"#,
            Format,
            None,
            "404 model_not_found: The model does not exist",
        ),
        (
            "500",
            r#"{"error":{"message":"Sorry","type":"server_error"}}"#,
            Unknown,
            None,
            "500 server_error: Sorry",
        ),
        // Codex
        (
            "429\nx-codex-primary-used-percent: 100",
            r#"{"error":{"type":"usage_limit_reached","message":"The usage limit has been reached","plan_type":"plus","resets_in_seconds":7200}}"#,
            RateLimit,
            Some(7200),
            "429 usage_limit_reached: The usage limit has been reached",
        ),
        (
            "429\nretry-after: 5",
            r#"{"error":{"type":"usage_limit_reached","message":"m","resets_at":1769648400}}"#,
            RateLimit,
            Some(3600),
            "429 usage_limit_reached: m",
        ),
        (
            "429\nx-codex-primary-used-percent: 100\nx-codex-primary-reset-after-seconds: 60\nx-codex-secondary-used-percent: 3\nx-codex-secondary-reset-after-seconds: 600",
            "{}",
            RateLimit,
            Some(60),
            "429",
        ),
        ("401", r#"{"detail":"Unauthorized"}"#, Auth, None, "401: Unauthorized"),
        (
            "403",
            r#"{"error":{"type":"usage_not_included"}}"#,
            Billing,
            None,
            "403 usage_not_included",
        ),
        // Anthropic
        (
            "429\nretry-after: 17\nanthropic-ratelimit-tokens-reset: 2026-01-29T09:00:00Z",
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your account's rate limit."}}"#,
            RateLimit,
            Some(17),
            "429 rate_limit_error: This request would exceed your account's rate limit.",
        ),
        (
            "429\nanthropic-ratelimit-requests-remaining: 10\nanthropic-ratelimit-requests-reset: 2026-01-29T09:00:00Z\nanthropic-ratelimit-tokens-remaining: 0\nanthropic-ratelimit-tokens-reset: 2026-01-29T00:01:00Z",
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"m"}}"#,
            RateLimit,
            Some(60),
            "429 rate_limit_error: m",
        ),
        ("429\nanthropic-ratelimit-unified-reset: 1769662800", "", RateLimit, Some(18_000), "429"),
        (
            "529\nretry-after-ms: 1500",
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            RateLimit,
            None,
            "529 overloaded_error: Overloaded",
        ),
        (
            "400",
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#,
            Billing,
            None,
            "400 invalid_request_error: Your credit balance is too low to access the Anthropic API.",
        ),
        (
            "400",
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"billing: must be a string; quota, rate limit, expired, forbidden"}}"#,
            Format,
            None,
            "400 invalid_request_error: billing: must be a string; quota, rate limit, expired, forbidden",
        ),
        (
            "401",
            r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#,
            Auth,
            None,
            "401 authentication_error: invalid x-api-key",
        ),
        (
            "413",
            r#"{"type":"error","error":{"type":"request_too_large","message":"big"}}"#,
            Format,
            None,
            "413 request_too_large: big",
        ),
        (
            "500",
            r#"{"type":"error","error":{"type":"api_error","message":"Internal server error"}}"#,
            Unknown,
            None,
            "500 api_error: Internal server error",
        ),
        (
            "200 OK\ncontent-type: text/event-stream",
            "event: message_start\ndata: {\"type\":\"message_start\"}\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
            RateLimit,
            None,
            "200 overloaded_error: Overloaded",
        ),
        // Google
        (
            "429",
            r#"[{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34s"}]}}]"#,
            RateLimit,
            Some(34),
            "429 RESOURCE_EXHAUSTED: You exceeded your current quota, please check your plan and billing details.",
        ),
        (
            "400",
            r#"{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#,
            Auth,
            None,
            "400 API_KEY_INVALID: API key not valid.",
        ),
        (
            "403",
            r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"m","details":[{"reason":"BILLING_DISABLED"}]}}"#,
            Billing,
            None,
            "403 BILLING_DISABLED: m",
        ),
        (
            "403",
            r#"{"error":{"code":403,"message":"m","errors":[{"reason":"userRateLimitExceeded"}]}}"#,
            RateLimit,
            None,
            "403 userRateLimitExceeded: m",
        ),
        (
            "503",
            r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#,
            RateLimit,
            None,
            "503 UNAVAILABLE: The model is overloaded.",
        ),
        (
            "504",
            r#"{"error":{"code":504,"message":"m","status":"DEADLINE_EXCEEDED"}}"#,
            Timeout,
            None,
            "504 DEADLINE_EXCEEDED: m",
        ),
        // OpenRouter
        (
            "402",
            r#"{"error":{"code":402,"message":"Insufficient credits"}}"#,
            Billing,
            None,
            "402: Insufficient credits",
        ),
        (
            "200",
            r#"{"error":{"code":429,"message":"Rate limit exceeded: free-models-per-day","metadata":{"headers":{"X-RateLimit-Limit":"50","X-RateLimit-Reset":"1769731200000"}}}}"#,
            RateLimit,
            Some(86_400),
            "429: Rate limit exceeded: free-models-per-day",
        ),
        (
            "403",
            r#"{"error":{"code":403,"message":"Your input was flagged","metadata":{"reasons":["violence"],"flagged_input":"x"}}}"#,
            Format,
            None,
            "403: Your input was flagged",
        ),
        // Others
        (
            "200",
            r#"{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}"#,
            Billing,
            None,
            "200 minimax_1008: insufficient balance",
        ),
        (
            "429",
            r#"{"error":{"code":"1113","message":"no balance"}}"#,
            Billing,
            None,
            "429 1113: no balance",
        ),
        (
            "429",
            r#"{"error":{"type":"exceeded_current_quota_error","message":"m"}}"#,
            Billing,
            None,
            "429 exceeded_current_quota_error: m",
        ),
        ("401", "", Auth, None, "401"),
        (
            "403 Forbidden\ncontent-type: text/html; charset=UTF-8",
            "<html>\n<body>",
            Unknown,
            None,
            "403",
        ),
        ("403", "no", Auth, None, "403: no"),
        ("402", "", Billing, None, "402"),
        ("408", "", Timeout, None, "408"),
        ("422", r#"{"detail":[{"loc":["body"]}]}"#, Format, None, "422"),
        ("502", "<html>", Timeout, None, "502"),
        ("503\nretry-after: 120", "upstream", Timeout, Some(120), "503: upstream"),
        ("524", "", Timeout, None, "524"),
        ("302", "", Unknown, None, "302"),
        (
            "429\nretry-after: Thu, 29 Jan 2026 00:05:00 GMT",
            "slow down",
            RateLimit,
            Some(300),
            "429: slow down",
        ),
        // Impossible resets: in the past, or years ahead.
        ("429\nretry-after: 0", "", RateLimit, None, "429"),
        ("429\nx-ratelimit-reset: 1769644000", "", RateLimit, None, "429"),
        ("429\nretry-after: 999999999", "", RateLimit, Some(32 * 86_400), "429"),
    ];
    for (head, body, reason, seconds, raw) in table {
        if head.contains("retry-after-ms") {
            let text = format!("HTTP/1.1 {head}\n\n{body}");
            assert_eq!(failure(&text).until, Some(NOW.plus(Duration::from_millis(1500))));
            continue;
        }
        check(head, body, *reason, *seconds, raw);
    }
}

#[test]
fn a_response_may_be_json_or_a_body_alone() {
    let wrapped = failure(
        r#"{"status": 429, "headers": {"Retry-After": ["7"]}, "body": {"error": {"type": "rate_limit_error"}}}"#,
    );
    assert_eq!(wrapped.until, Some(NOW.plus(Duration::from_secs(7))));
    assert_eq!(wrapped.raw, "429 rate_limit_error");
    let pairs = failure(r#"{"status": "429", "headers": [["retry-after", "7"]], "body": "x"}"#);
    assert_eq!(pairs.until, wrapped.until);
    let body = failure(r#"{"error": {"type": "insufficient_quota", "message": "m"}}"#);
    assert_eq!((body.reason, body.raw.as_str()), (FailureReason::Billing, "insufficient_quota: m"));
    assert_eq!(failure(r#"{"status": 408}"#).reason, FailureReason::Timeout);
}

#[test]
fn a_response_without_an_error_worked() {
    for text in [
        "HTTP/2 200\n\n{\"id\": 1, \"error\": null}",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {\"type\":\"x\"}\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}",
        r#"{"status": 200, "body": {"base_resp": {"status_code": 0}}}"#,
        r#"{"choices": []}"#,
    ] {
        assert_eq!(Response::parse(text).unwrap().verdict(NOW), Verdict::Worked, "{text}");
    }
}

#[test]
fn of_several_responses_the_last_counts() {
    let text = "HTTP/1.1 200 Connection established\r\n\r\nHTTP/2 401\r\nx: y\r\n\r\nno";
    assert_eq!(failure(text).reason, FailureReason::Auth);
}

#[test]
fn what_is_no_response_is_said_to_be_none() {
    for text in
        ["", " ", "hello", "HTTP/1.1", "HTTP/1.1 abc\n\n", "[]", "12", "curl: (28) timed out"]
    {
        assert!(Response::parse(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_response_and_no_clock_panics(
        text in any::<String>(),
        header in "[a-z-]{0,30}(ratelimit|reset)?",
        value in any::<String>(),
        status in any::<u16>(),
        now in any::<i64>(),
    ) {
        let response = Response { status: Some(status), headers: vec![(header, value)], body: text.clone() };
        if let Verdict::Failed(failure) = response.verdict(Timestamp(now)) {
            prop_assert!(failure.until.is_none_or(|until| Timestamp(now) < until));
        }
        if let Ok(response) = Response::parse(&text) {
            let _ = response.verdict(Timestamp(now));
        }
    }
}
