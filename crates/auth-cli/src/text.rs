//! Words for people: masked secrets, times, columns.

use auth_store::{Credential, Secret, Timestamp, trim};

/// What may be shown of a credential's secret: of a key that is kept elsewhere, where.
pub fn shown(credential: &Credential) -> String {
    match credential {
        Credential::Reference(reference) => reference.to_string(),
        credential => masked(credential.bearer()),
    }
}

/// What may be shown of a key or token, so that its owner knows it again: the first and last eight
/// characters of a long one, four of a shorter one, nothing of a short one.
pub fn masked(secret: &Secret) -> String {
    let text: Vec<char> = trim(secret.expose()).chars().collect();
    let shown = match text.len() {
        0 => return "missing".to_owned(),
        1..=16 => return "****".to_owned(),
        17..=23 => 4,
        _ => 8,
    };
    let start: String = text[..shown].iter().collect();
    let end: String = text[text.len() - shown..].iter().collect();
    format!("{start}...{end}")
}

/// A point in time in UTC: `2026-01-29 00:00:00Z`.
pub fn utc(at: Timestamp) -> String {
    written(at, ' ')
}

/// The same as programs write it: `2026-01-29T00:00:00Z` (RFC 3339 §5.6).
pub fn rfc3339(at: Timestamp) -> String {
    written(at, 'T')
}

fn written(at: Timestamp, between: char) -> String {
    let seconds = at.0.div_euclid(1_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}{between}{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of the `days`-th day after 1970-01-01 in the proleptic Gregorian calendar
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// `text` without characters that could change the terminal, for what comes from files.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_never_shows_most_of_a_secret() {
        let check = |text: &str, want: &str| assert_eq!(masked(&Secret::new(text)), want);
        check(" ", "missing");
        check("short-key-16char", "****");
        check("seventeen-chars-x", "seve...rs-x");
        check("zai-key-0123456789abcdef", "zai-key-...89abcdef");
        check("日本日本日本日本日本日本日本日本日本", "日本日本...日本日本");
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(utc(Timestamp(1_769_644_800_000)), "2026-01-29 00:00:00Z");
        assert_eq!(utc(Timestamp(951_782_399_999)), "2000-02-28 23:59:59Z");
        assert_eq!(utc(Timestamp(-1)), "1969-12-31 23:59:59Z");
        assert_eq!(utc(Timestamp(i64::MAX)).len(), "292278994-08-17 07:12:55Z".len());
    }
}
