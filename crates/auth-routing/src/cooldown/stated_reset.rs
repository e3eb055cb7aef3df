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
    // Google's quotas of a day begin anew at midnight in California, and no waiting helps where
    // the limit is none.
    let details = body["error"]["details"].as_array().into_iter().flatten();
    let mut violations = details.filter_map(|it| it["violations"].as_array()).flatten();
    let is_daily = |it: &Value| it["quotaId"].as_str().is_some_and(|id| id.contains("PerDay"));
    violations.any(is_daily).then(|| next_midnight_in_california(now))
}

/// Whether Google says that the plan has nothing of this at all.
pub(crate) fn is_not_in_the_plan(body: &Value) -> bool {
    let details = body["error"]["details"].as_array().into_iter().flatten();
    let mut violations = details.filter_map(|it| it["violations"].as_array()).flatten();
    violations.any(|it| text(&it["quotaValue"]).as_deref() == Some("0"))
        || Facts::from_body(body).message.contains("limit: 0,")
}

fn next_midnight_in_california(now: Timestamp) -> Timestamp {
    let next = |hour: i64| {
        let (day, start) = (86_400_000, hour * 3_600_000);
        Timestamp((now.0.saturating_sub(start)).div_euclid(day).saturating_mul(day))
            .plus(Duration::from_hours(24))
            .plus(Duration::from_hours(hour.unsigned_abs()))
    };
    let in_summer = next(7);
    if is_summer_in_california(in_summer) {
        return in_summer;
    }
    let in_winter = next(8);
    // The day on which summer ends begins in summer.
    let is_over = !is_summer_in_california(in_winter);
    if is_over { in_winter } else { in_winter.plus(Duration::from_hours(24)) }
}

/// At a midnight: after the second Sunday of March, and up to the first of November.
fn is_summer_in_california(at: Timestamp) -> bool {
    let days = at.0.div_euclid(86_400_000);
    // Days since 1 March of a year, by the calendar of 400 years (1970-01-01 is day 719468 of it).
    let of_era = (days + 719_468).rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let since_march = of_era - (365 * year + year / 4 - year / 100);
    // 1970-01-01 was a Thursday.
    let weekday_of_1_march = (days - since_march + 4).rem_euclid(7);
    let first_sunday = |month: i64| (7 - (weekday_of_1_march + month).rem_euclid(7)).rem_euclid(7);
    (first_sunday(0) + 8..=245 + first_sunday(245)).contains(&since_march)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_in_california_ends_at_eight_or_in_summer_at_seven() {
        let next = |text: &str| next_midnight_in_california(reset_time::parse(text).unwrap());
        for (now, midnight) in [
            ("2026-01-29T00:00:00Z", "2026-01-29T08:00:00Z"),
            ("2026-01-29T08:00:00Z", "2026-01-30T08:00:00Z"),
            ("2026-03-07T09:00:00Z", "2026-03-08T08:00:00Z"),
            ("2026-03-08T09:00:00Z", "2026-03-09T07:00:00Z"),
            ("2026-07-04T06:59:00Z", "2026-07-04T07:00:00Z"),
            ("2026-10-31T08:00:00Z", "2026-11-01T07:00:00Z"),
            ("2026-11-01T07:30:00Z", "2026-11-02T08:00:00Z"),
            ("2027-02-28T12:00:00Z", "2027-03-01T08:00:00Z"),
            ("2028-03-12T12:00:00Z", "2028-03-13T07:00:00Z"),
        ] {
            assert_eq!(Some(next(now)), reset_time::parse(midnight), "{now}");
        }
        let _no_clock_panics = (
            next_midnight_in_california(Timestamp(i64::MAX)),
            next_midnight_in_california(Timestamp(i64::MIN)),
        );
    }
}
