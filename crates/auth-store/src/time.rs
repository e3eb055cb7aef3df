//! Points in time. Only this module reads the clock.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Milliseconds since the Unix epoch, as in the file. Arithmetic saturates, so that no clock
/// value and no number in a file can make it panic.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Reads a time in any common notation: milliseconds or seconds since the epoch, also with a
    /// fraction, or a date of ISO 8601 (UTC if it names no zone). `None` for other text.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(number) = text.parse() {
            return Some(Self(in_milliseconds(number)));
        }
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
        match text.parse() {
            Ok(number) if is_number => Some(Self::from_number(number)),
            _ => Self::from_date(text),
        }
    }

    /// Reads a date of ISO 8601: a day, optionally with a time of day and a zone. UTC if it names no
    /// zone.
    pub fn from_date(text: &str) -> Option<Self> {
        date(text.as_bytes())
    }

    /// Reads a time from a number. A fraction is truncated, and a number that is too large becomes
    /// the largest.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "`as` saturates"
    )]
    fn from_number(number: f64) -> Self {
        let is_seconds = (SECONDS.start as f64..SECONDS.end as f64).contains(&number);
        Self(if is_seconds { number * 1000.0 } else { number } as i64)
    }

    /// This instant, `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(milliseconds(duration)))
    }

    /// This instant, `duration` earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(milliseconds(duration)))
    }

    /// How long from `earlier` to this instant; zero if `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).try_into().unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Timestamp;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a time")
            }

            fn visit_i64<E>(self, number: i64) -> Result<Timestamp, E> {
                Ok(Timestamp(in_milliseconds(number)))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Timestamp, E> {
                Ok(Timestamp(in_milliseconds(number.try_into().unwrap_or(i64::MAX))))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Timestamp, E> {
                Ok(Timestamp::from_number(number))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::read(text).ok_or_else(|| E::custom("not a time"))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

fn in_milliseconds(number: i64) -> i64 {
    if SECONDS.contains(&number) { number * 1000 } else { number }
}

/// Numbers that are read as seconds: 1973 to 5138. As milliseconds they would be in 1970 to 1973.
const SECONDS: Range<i64> = 100_000_000..100_000_000_000;

fn date(mut text: &[u8]) -> Option<Timestamp> {
    let rest = &mut text;
    let year = digits(rest, 4)?;
    let month = skip(rest, b"-").then(|| digits(rest, 2))??;
    let day = skip(rest, b"-").then(|| digits(rest, 2))??;
    let (mut seconds, mut milliseconds) = (0, 0);
    if skip(rest, b"Tt ") {
        let hour = digits(rest, 2).filter(|hour| *hour < 24)?;
        let minute = skip(rest, b":").then(|| digits(rest, 2))??;
        let second = if skip(rest, b":") { digits(rest, 2)? } else { 0 };
        if minute > 59 || second > 60 {
            return None;
        }
        if skip(rest, b".,") {
            let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let fraction = digits(&mut &rest[..], length.min(3))?;
            milliseconds = fraction * [100, 10, 1][length.clamp(1, 3) - 1];
            *rest = &rest[length..];
        }
        skip(rest, b" ");
        let is_west = rest.first() == Some(&b'-');
        if !skip(rest, b"Zz") && skip(rest, b"+-") {
            let hours = digits(rest, 2)?;
            skip(rest, b":");
            let minutes = if rest.is_empty() { 0 } else { digits(rest, 2)? };
            seconds = (hours * 60 + minutes) * if is_west { 60 } else { -60 };
        }
        seconds += (hour * 60 + minute) * 60 + second;
    }
    if !rest.is_empty() || !(1..=12).contains(&month) || !(1..=days(year, month)).contains(&day) {
        return None;
    }
    let leap_days = |years: i64| years / 4 - years / 100 + years / 400;
    let before: i64 = (1..month).map(|month| days(year, month)).sum();
    // Years are counted from 0, which was a leap year; the epoch is 719,528 days after its start.
    let start = if year == 0 { 0 } else { year * 365 + leap_days(year - 1) + 1 };
    let days = start + before + day - 1 - 719_528;
    Some(Timestamp((days * 86_400 + seconds) * 1000 + milliseconds))
}

fn days(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Takes `count` digits from the start of `rest`.
fn digits(rest: &mut &[u8], count: usize) -> Option<i64> {
    let (number, after) = rest.split_at_checked(count)?;
    if number.is_empty() || !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    *rest = after;
    Some(number.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
}

/// Takes one of these bytes from the start of `rest`, and returns whether it was there.
fn skip(rest: &mut &[u8], one_of: &[u8]) -> bool {
    match rest.split_first() {
        Some((first, after)) if one_of.contains(first) => {
            *rest = after;
            true
        }
        _ => false,
    }
}

fn milliseconds(duration: Duration) -> i64 {
    duration.as_millis().try_into().unwrap_or(i64::MAX)
}

/// A wall clock, passed as a parameter.
pub trait Clock: Send + Sync {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where time enters")]
    fn now(&self) -> Timestamp {
        let now = std::time::SystemTime::now();
        match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => Timestamp(milliseconds(after)),
            Err(before) => Timestamp(-milliseconds(before.duration())),
        }
    }
}

/// The time since a fixed instant, for measuring. It includes the time that the machine sleeps, and
/// changes of the clock do not affect it.
pub fn since_boot() -> Duration {
    #[cfg(unix)]
    {
        use rustix::time::{ClockId, clock_gettime};
        // On other systems the monotonic clock includes sleep.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let clock = ClockId::Boottime;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let clock = ClockId::Monotonic;
        let time = clock_gettime(clock);
        Duration::new(
            time.tv_sec.try_into().unwrap_or_default(),
            time.tv_nsec.try_into().unwrap_or_default(),
        )
    }
    #[cfg(not(unix))]
    {
        static START: std::sync::LazyLock<std::time::Instant> =
            std::sync::LazyLock::new(std::time::Instant::now);
        START.elapsed()
    }
}

/// A fixed clock, for tests and for commands that must use a single time throughout.
impl Clock for Timestamp {
    fn now(&self) -> Timestamp {
        *self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let hour = Duration::from_hours(1);
        assert_eq!(Timestamp(i64::MAX).plus(hour), Timestamp(i64::MAX));
        assert_eq!(Timestamp(i64::MIN).minus(hour), Timestamp(i64::MIN));
        assert_eq!(Timestamp(i64::MIN).since(Timestamp(i64::MAX)), Duration::ZERO);
        assert_eq!(Timestamp(5_000).since(Timestamp(2_000)), Duration::from_secs(3));
    }

    #[test]
    fn a_time_is_read_from_numbers_and_dates() {
        let read = |text: &str| Timestamp::read(text).map(|it| it.0);
        for (text, wanted) in [
            ("1795372124931", 1_795_372_124_931),
            (" 1795372124931.7 ", 1_795_372_124_931),
            ("1.795372124931e12", 1_795_372_124_931),
            ("1795372124", 1_795_372_124_000),
            ("1795372124.5", 1_795_372_124_500),
            ("-1795372124", -1_795_372_124),
            ("0", 0),
            ("99999999", 99_999_999),
            ("1e999", i64::MAX),
            ("9223372036854775807", i64::MAX),
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400_000),
            ("2026-11-22T18:28:44.931Z", 1_795_372_124_931),
            ("2026-11-22t18:28:44.9314567z", 1_795_372_124_931),
            ("2026-11-22 18:28:44", 1_795_372_124_000),
            ("2026-11-22T18:28Z", 1_795_372_080_000),
            ("2026-11-22T20:28:44+02:00", 1_795_372_124_000),
            ("2026-11-22T13:28:44-0500", 1_795_372_124_000),
            ("1969-12-31T23:59:59.9Z", -100),
        ] {
            assert_eq!(read(text), Some(wanted), "{text}");
        }
        for text in [
            "",
            "soon",
            "NaN",
            "Infinity",
            "-inf",
            "0x10",
            "2026-11",
            "2026-13-01",
            "2026-02-29",
            "1900-02-29",
            "2026-11-22T",
            "2026-11-22T25:00Z",
            "2026-11-22T18:28:44+2",
            "26-11-22",
            "1-2",
            "2026-11-22T18:28:44.x",
            "2026-11-22x",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_in_a_file_of_ours_is_read_as_tolerantly() {
        let read = |text: &str| serde_json::from_str::<Timestamp>(text).ok().map(|it| it.0);
        for text in ["1795372124000", "1795372124", "1795372124000.4", "\"2026-11-22T18:28:44Z\""] {
            assert_eq!(read(text), Some(1_795_372_124_000), "{text}");
        }
        assert_eq!((read("null"), read("\"soon\""), read("[1]")), (None, None, None));
        assert_eq!(serde_json::to_string(&Timestamp(5)).unwrap(), "5");
    }

    proptest! {
        #[test]
        fn every_second_of_a_date_is_read_as_what_it_was(
            day in 0..40_000_i64, second in 0..86_400_i64, offset in -900..900_i64,
        ) {
            // The only date that is read as this day.
            let dates = (1970..2100_i64)
                .filter(|year| (day / 366 - 1..=day / 365 + 1).contains(&(year - 1970)))
                .flat_map(|year| (1..=12).flat_map(move |month| (1..=31).map(move |it| (year, month, it))));
            let mut dates = dates.map(|(year, month, it)| format!("{year:04}-{month:02}-{it:02}"));
            let date = dates.find(|text| Timestamp::from_date(text) == Some(Timestamp(day * 86_400_000)));
            let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs());
            let text = format!(
                "{}T{:02}:{:02}:{:02}{sign}{:02}:{:02}",
                date.unwrap(), second / 3_600, second / 60 % 60, second % 60, minutes / 60, minutes % 60,
            );
            let at = Timestamp((day * 86_400 + second - offset * 60) * 1_000);
            prop_assert_eq!(Timestamp::from_date(&text), Some(at), "{}", text);
        }
    }
}
