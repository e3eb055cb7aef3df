//! Parses times and delays in the formats that providers use.

use std::time::Duration;

use auth_store::{Timestamp, trim};

/// A point in time as written by a user or a provider: `2026-01-29T10:00:00Z` with or without an
/// offset (RFC 3339 §5.6), an HTTP date (RFC 9110 §5.6.7, the preferred form), or seconds or
/// milliseconds since the epoch, distinguished by their size. A time without an offset is UTC, and
/// a date alone is its first instant.
///
/// ```
/// use auth_routing::{Timestamp, cooldown::reset_time};
///
/// let at = Some(Timestamp(1_769_680_800_000));
/// assert_eq!(reset_time::parse("2026-01-29T10:00:00Z"), at);
/// assert_eq!(reset_time::parse("2026-01-29 11:00:00+01:00"), at);
/// assert_eq!(reset_time::parse("Thu, 29 Jan 2026 10:00:00 GMT"), at);
/// assert_eq!(reset_time::parse("1769680800"), at);
/// assert_eq!(reset_time::parse("1769680800000"), at);
/// assert_eq!(reset_time::parse("soon"), None);
/// ```
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = trim(text);
    epoch(text).or_else(|| Timestamp::from_date(text)).or_else(|| http_date(text))
}

/// A point in time from a header that has a time or a delay from `now`. A number that is too small
/// for a time is seconds, and `6m0s`, `1.5s` or `20ms` are delays too.
pub fn parse_from(text: &str, now: Timestamp) -> Option<Timestamp> {
    parse(text).or_else(|| wait(text).map(|wait| now.plus(wait)))
}

/// A delay: a number of seconds, or `1h2m3s` with fractions and `ms`.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(auth_routing::cooldown::reset_time::wait("90"), Some(Duration::from_secs(90)));
/// assert_eq!(auth_routing::cooldown::reset_time::wait("6m0s"), Some(Duration::from_secs(360)));
/// assert_eq!(auth_routing::cooldown::reset_time::wait("1.5s"), Some(Duration::from_millis(1500)));
/// ```
pub fn wait(text: &str) -> Option<Duration> {
    let mut rest = trim(text);
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let unit = match &after[..letters] {
            "ms" => 0.001,
            "" | "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        if letters == 0 && !after.is_empty() {
            return None;
        }
        seconds += number.parse::<f64>().ok()? * unit;
        rest = &after[letters..];
    }
    Duration::try_from_secs_f64(seconds).ok()
}

/// Splits digits with at most one point from the rest.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Seconds since the epoch from 1e9 on, milliseconds from 1e12 on.
fn epoch(text: &str) -> Option<Timestamp> {
    let (number, "") = split_number(text)? else { return None };
    let number: f64 = number.parse().ok()?;
    let milliseconds = match number {
        number if number >= 1e15 => return None,
        number if number >= 1e12 => number,
        number if number >= 1e9 => number * 1e3,
        _ => return None,
    };
    #[expect(clippy::cast_possible_truncation, reason = "below 1e15")]
    Some(Timestamp(milliseconds as i64))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<Timestamp> {
    let (_weekday, rest) = text.split_once(", ")?;
    let words: Vec<_> = rest.split(' ').collect();
    let [day, month, year, clock, "GMT"] = words[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    Timestamp::from_date(&format!("{year}-{month:02}-{day}T{clock}Z"))
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let check = |text: &str, at: i64| assert_eq!(parse(text), Some(Timestamp(at)), "{text}");
        check("1970-01-01", 0);
        check("2000-02-29T23:59:59.9994Z", 951_868_799_999);
        check("2026-01-29T00:00:00-02:30", 1_769_653_800_000);
        check("2026-01-29 00:00", 1_769_644_800_000);
        check("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777_000);
        check(" 1769644800.5 ", 1_769_644_800_500);
    }

    #[test]
    fn what_is_no_point_in_time_is_none() {
        for text in [
            "",
            "90",
            "-1769644800",
            "1e12",
            "2026-02-30",
            "2026-13-01",
            "26-01-01",
            "2026-01-29T25:00",
            "2026-01-29T10:00:00+1",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "2026-01-29T10:00:00Zx",
            "99999999999999999999",
            "2026-01-29T10:00:00.x",
            "é026-01-29",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse_from("90", Timestamp(1)), Some(Timestamp(90_001)));
        assert_eq!(parse_from("1m", Timestamp(i64::MAX)), Some(Timestamp(i64::MAX)));
        for text in ["", "s", "1x", "1.2.3s", "1m 2s", "-1", "1e3"] {
            assert_eq!(wait(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>(), now in any::<i64>()) {
            let _ = parse_from(&text, Timestamp(now));
        }
    }
}
