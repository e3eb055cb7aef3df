//! The reset that the body of an error states.

use std::time::Duration;

use auth_store::{Timestamp, trim};
use serde_json::Value;

use crate::cooldown::facts::{Facts, headers};
use crate::cooldown::reset_time;

/// Codex's `resets_at` and `resets_in_seconds`, Google's `retryDelay`, the headers that
/// `OpenRouter` forwards, and times that Google and Z.AI give only in words.
pub(crate) fn stated_reset(body: &Value, now: Timestamp) -> Option<Timestamp> {
    let own = reset_of(&body["error"], now);
    // An error in the middle of an OpenAI stream is inside the response object.
    let stated = own.max(reset_of(&body["response"]["error"], now));
    stated.or_else(|| said(body, now))
}

fn reset_of(error: &Value, now: Timestamp) -> Option<Timestamp> {
    let at = text(&error["resets_at"]).and_then(|text| reset_time::parse(&text));
    let wait = ["resets_in_seconds", "retry_after"].iter().find_map(|name| text(&error[name]));
    let wait = wait.and_then(|text| reset_time::parse_from(&text, now));
    let details = error["details"].as_array().into_iter().flatten();
    let delays = details.flat_map(|it| [&it["retryDelay"], &it["metadata"]["quotaResetDelay"]]);
    let delay = delays.filter_map(text).filter_map(|text| reset_time::parse_from(&text, now)).max();
    let passed_on = headers(&error["metadata"]["headers"]);
    let passed_on = passed_on.iter().filter(|(name, _)| {
        name.eq_ignore_ascii_case("x-ratelimit-reset") || name.eq_ignore_ascii_case("retry-after")
    });
    let passed_on = passed_on.filter_map(|(_, value)| reset_time::parse_from(value, now)).max();
    at.max(wait).max(delay).max(passed_on)
}

/// The time in the message text.
fn said(body: &Value, now: Timestamp) -> Option<Timestamp> {
    let facts = Facts::from_body(body);
    // Google: "Please retry in 10h17m5.7s."
    let wait = facts.message.split_once("retry in ").and_then(|(_, rest)| {
        let word = rest.split_whitespace().next()?;
        reset_time::wait(word.trim_end_matches(['.', ',']))
    });
    if let Some(wait) = wait {
        return Some(now.plus(wait));
    }
    // Z.AI: "will reset at 2026-01-29 18:00:00", in Beijing time, in two languages.
    if facts.codes.iter().any(|code| BEIJING.contains(&code.as_str())) {
        let starts = facts.message.char_indices().map(|(at, _)| at);
        let times = starts.filter_map(|at| facts.message.get(at..at + 19));
        let mut times = times.filter(|text| text.as_bytes()[10] == b' ');
        return times.find_map(reset_time::parse).map(|at| at.minus(Duration::from_hours(8)));
    }
    // Google's daily quotas reset at midnight in California: 8:00 UTC, or an hour earlier.
    let details = body["error"]["details"].as_array().into_iter().flatten();
    let mut violations = details.filter_map(|it| it["violations"].as_array()).flatten();
    let is_daily = |it: &Value| it["quotaId"].as_str().is_some_and(|id| id.contains("PerDay"));
    violations.any(is_daily).then(|| next_eight(now))
}

fn next_eight(now: Timestamp) -> Timestamp {
    let (day, eight) = (86_400_000, 8 * 3_600_000);
    Timestamp((now.0 - eight).div_euclid(day) * day + day + eight)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(trim(text).to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Z.AI's codes for quota windows.
const BEIJING: [&str; 8] = ["1308", "1310", "1316", "1317", "1318", "1319", "1320", "1321"];
