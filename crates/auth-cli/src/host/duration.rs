//! Parses durations.

use std::time::Duration;

/// A duration; a bare number means seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    duration(text, 1_000.0)
}

/// A duration; a bare number means days.
pub(crate) fn days(text: &str) -> Result<Duration, String> {
    duration(text, 86_400_000.0)
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
