//! Text for the user: masked secrets, times, columns.

use std::borrow::Cow;
use std::fmt::Write as _;

use auth_store::{Credential, Secret, Timestamp, trim};
use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthStr;

/// The displayable form of a credential's secret; for a key that is kept elsewhere, its place.
pub fn shown(credential: &Credential) -> String {
    match credential {
        Credential::Reference(reference) => reference.to_string(),
        credential => masked(credential.bearer()),
    }
}

/// The displayable form of a key or token, so that its owner recognizes it: the first and last
/// eight characters of a long one, four of a shorter one, nothing of a short one.
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

/// A point in time in that zone, with the zone's offset: `2026-01-29 01:00:00 +01:00`; in UTC as
/// [`utc`] has it.
pub fn local(at: Timestamp, zone: &TimeZone) -> String {
    let Ok(instant) = jiff::Timestamp::from_millisecond(at.0) else { return utc(at) };
    let zoned = instant.to_zoned_datetime(zone.clone());
    if zoned.offset().is_zero() {
        return utc(at);
    }
    zoned.strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// How many columns of a terminal the text takes.
pub fn columns(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// The text with spaces after it, up to that many columns.
pub fn padded(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(columns(text));
    format!("{text}{}", " ".repeat(missing))
}

/// A point in time as programs write it: `2026-01-29T00:00:00Z` (RFC 3339 §5.6).
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

/// `text` on one line, without characters that could change the terminal: for text from files,
/// servers and plugins.
pub fn printable(text: &str) -> String {
    auth_store::printable(text).into_owned()
}

/// The same in one line, for a name inside a sentence.
pub(crate) fn one_line(text: &str) -> String {
    printable(&text.replace(['\n', '\r', '\t'], " "))
}

/// One line of output for a terminal.
pub fn line_for_terminal(text: &str) -> String {
    printable(&text.replace('\t', " "))
}

/// One line of output for a terminal, keeping our own colors.
pub(crate) fn styled_for_terminal(text: &str) -> String {
    let Some((before, after)) = text.split_once('\u{1b}') else { return line_for_terminal(text) };
    let sequence = SEQUENCES
        .iter()
        .find_map(|it| it.strip_prefix('\u{1b}').filter(|it| after.starts_with(it)));
    let escape = if sequence.is_some() { '\u{1b}' } else { char::REPLACEMENT_CHARACTER };
    let (sequence, rest) = after.split_at(sequence.map_or(0, str::len));
    format!("{}{escape}{sequence}{}", line_for_terminal(before), styled_for_terminal(rest))
}

/// The only escape sequences that we send to a terminal: those of
/// [`Style`](crate::host::style::Style).
pub(crate) const SEQUENCES: [&str; 5] =
    ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m"];

/// Output for a terminal: lines of [`printable`] text, whatever they contain; a tab becomes a
/// space.
pub fn for_terminal(text: &str) -> String {
    text.replace('\t', " ").split('\n').map(auth_store::printable).collect::<Vec<_>>().join("\n")
}

/// JSON in which characters that could change a terminal are escaped; JSON itself requires that for
/// C0 only (RFC 8259 §7).
pub fn json_for_terminal(json: &str) -> Cow<'_, str> {
    // Line breaks between members are not part of a string; those inside one are escaped already.
    let is_odd = |c: char| c != '\n' && auth_store::is_hostile(c);
    if !json.contains(is_odd) {
        return json.into();
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_odd(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out.into()
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
    fn nothing_that_is_printed_can_change_the_terminal() {
        let hostile = "a\u{1b}[31mb\u{9b}c\u{202e}d\te\r\nf";
        assert_eq!(for_terminal(hostile), "a\u{fffd}[31mb\u{fffd}c\u{fffd}d e\u{fffd}\nf");
        let value = serde_json::json!({ "a\u{e0001}": hostile, "b": "日本" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let escaped = json_for_terminal(&text);
        assert!(!escaped.chars().any(|c| c != '\n' && auth_store::is_hostile(c)), "{escaped}");
        assert!(escaped.contains("日本"));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }

    #[test]
    fn of_a_styled_line_only_our_own_sequences_are_kept() {
        assert_eq!(
            styled_for_terminal("\u{1b}[31mred\u{1b}[0m \u{1b}[2J\u{1b}[38mx\u{1b}]0;y\n\u{1b}"),
            "\u{1b}[31mred\u{1b}[0m \u{fffd}[2J\u{fffd}[38mx\u{fffd}]0;y\u{fffd}\u{fffd}"
        );
    }

    #[test]
    fn a_local_time_has_its_offset_and_a_far_one_is_told_in_utc() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let check = |at: i64, want: &str| assert_eq!(local(Timestamp(at), &zone), want);
        check(1_769_644_800_000, "2026-01-29 01:00:00 +01:00");
        check(1_783_036_800_000, "2026-07-03 02:00:00 +02:00");
        assert_eq!(local(Timestamp(1_769_644_800_000), &TimeZone::UTC), "2026-01-29 00:00:00Z");
        assert_eq!(local(Timestamp(i64::MAX), &zone), utc(Timestamp(i64::MAX)));
    }

    #[test]
    fn columns_are_those_of_the_terminal() {
        assert_eq!((columns("ab"), columns("日本"), columns("e\u{301}")), (2, 4, 1));
        assert_eq!(padded("日本", 5), "日本 ");
        assert_eq!(padded("too long", 3), "too long");
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(utc(Timestamp(1_769_644_800_000)), "2026-01-29 00:00:00Z");
        assert_eq!(utc(Timestamp(951_782_399_999)), "2000-02-28 23:59:59Z");
        assert_eq!(utc(Timestamp(-1)), "1969-12-31 23:59:59Z");
        assert_eq!(utc(Timestamp(i64::MAX)).len(), "292278994-08-17 07:12:55Z".len());
    }
}
