//! Durations as people write and read them.

use std::time::Duration;

use auth_store::Timestamp;

/// A duration; a bare number means seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    duration(text, 1_000.0)
}

/// A duration; a bare number means days.
pub(crate) fn days(text: &str) -> Result<Duration, String> {
    duration(text, 86_400_000.0)
}

/// The time from `now` until `end` in at most two units: `45s`, `1m 30s`, `4h 10m`, `3d 4h`, `211d`.
pub(crate) fn until(end: Timestamp, now: Timestamp) -> String {
    let seconds = end.0.saturating_sub(now.0).max(0) / 1_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let (large, small) = match (minutes, hours, days) {
        (0, ..) => ((seconds, "s"), None),
        (..10, ..) => ((minutes, "m"), Some((seconds % 60, "s"))),
        (..60, ..) => ((minutes, "m"), None),
        (_, ..24, _) => ((hours, "h"), Some((minutes % 60, "m"))),
        (_, _, ..10) => ((days, "d"), Some((hours % 24, "h"))),
        _ => ((days, "d"), None),
    };
    match small {
        Some((number, unit)) if number > 0 => format!("{}{} {number}{unit}", large.0, large.1),
        _ => format!("{}{}", large.0, large.1),
    }
}

/// A number and a unit; a bare number counts in units of `bare` milliseconds.
fn duration(text: &str, bare: f64) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" => bare,
        "ms" => 1.0,
        "s" => 1_000.0,
        "m" | "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        "w" => 604_800_000.0,
        _ => return Err("use a number with `ms`, `s`, `m`, `h`, `d` or `w`, such as `90s`".into()),
    };
    let number: f64 = number.parse().map_err(|_| "use a number with a unit, such as `90s`")?;
    Duration::try_from_secs_f64(number * unit / 1_000.0).map_err(|_| "too long".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remaining_time_is_told_in_at_most_two_units() {
        let check = |seconds: i64, want: &str| {
            assert_eq!(until(Timestamp(seconds * 1_000), Timestamp(0)), want);
        };
        for (seconds, want) in [
            (-1, "0s"),
            (45, "45s"),
            (90, "1m 30s"),
            (120, "2m"),
            (50 * 60 + 3, "50m"),
            (4 * 3_600, "4h"),
            (4 * 3_600 + 601, "4h 10m"),
            (76 * 3_600, "3d 4h"),
            (211 * 86_400 + 7_200, "211d"),
        ] {
            check(seconds, want);
        }
        assert_eq!(until(Timestamp(i64::MAX), Timestamp(i64::MIN)), "106751991167d");
    }

    #[test]
    fn durations_have_a_unit_or_the_options_own() {
        assert_eq!(seconds("90"), Ok(Duration::from_secs(90)));
        assert_eq!(seconds("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(seconds("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(days("30"), days("30d"));
        for text in ["", "s", "-1s", "1 year", "1e400"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
