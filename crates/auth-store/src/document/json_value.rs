//! The meaning of a JSON value, as far as the store's file needs it.

use std::borrow::Cow;
use std::ops::Range;

use crate::document::json_layout::Layout;
use crate::document::json_text::{self, skip_space, skip_value};
use crate::id;
use crate::time::Timestamp;

/// The text of a JSON string, if `raw` is one.
pub(crate) fn string(raw: Option<&[u8]>) -> Option<String> {
    raw.and_then(json_text::text).map(Cow::into_owned)
}

/// Whether there is no text, or only white space.
pub(crate) fn is_blank(raw: Option<&[u8]>) -> bool {
    raw.and_then(json_text::text).is_none_or(|text| id::trim(&text).is_empty())
}

/// Like [`string`], for a name: see [`json_text::name`].
pub(crate) fn name(raw: Option<&[u8]>) -> Option<String> {
    raw.and_then(json_text::name).map(Cow::into_owned)
}

/// The JSON text of a name: an escape that [`json_text::name`] kept becomes an escape again.
pub(crate) fn name_text(name: &str) -> String {
    let quoted = serde_json::Value::from(name).to_string();
    let mut text = String::with_capacity(quoted.len());
    let mut rest = quoted.as_str();
    while let Some((before, after)) = rest.split_once("\\\\") {
        let is_half = |digits: &str| {
            digits.starts_with("ud")
                && digits[2..].starts_with(['8', '9', 'a', 'b', 'c', 'd', 'e', 'f'])
                && digits[3..]
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        text.push_str(before);
        text.push_str(if after.get(..5).is_some_and(is_half) { "\\" } else { "\\\\" });
        rest = after;
    }
    text + rest
}

/// The value of `raw` according to JavaScript's `Number`.
pub(crate) fn number(raw: &[u8]) -> f64 {
    let mut raw = raw;
    let mut is_inner = false;
    // An array is read as its elements, joined with commas.
    while let Some(elements) = elements(raw) {
        match elements[..] {
            [] => return 0.0,
            [only] => raw = only,
            _ => return f64::NAN,
        }
        is_inner = true;
    }
    match raw {
        b"true" if !is_inner => 1.0,
        b"false" if !is_inner => 0.0,
        b"null" => 0.0,
        [b'"', ..] => number_of_text(id::trim(&string(Some(raw)).unwrap_or_default())),
        [b'-' | b'0'..=b'9', ..] => number_of_text(&String::from_utf8_lossy(raw)),
        _ => f64::NAN,
    }
}

fn number_of_text(text: &str) -> f64 {
    for (prefixes, radix) in [(["0x", "0X"], 16), (["0o", "0O"], 8), (["0b", "0B"], 2)] {
        if let Some(digits) = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix)) {
            let digits: Option<Vec<_>> =
                digits.chars().map(|digit| digit.to_digit(radix)).collect();
            let digits = digits.filter(|digits| !digits.is_empty());
            return digits.map_or(f64::NAN, |digits| {
                digits.into_iter().fold(0.0, |sum, digit| sum * f64::from(radix) + f64::from(digit))
            });
        }
    }
    match text {
        "" => 0.0,
        "Infinity" | "+Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        _ if text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) => {
            text.parse().unwrap_or(f64::NAN)
        }
        _ => f64::NAN,
    }
}

/// A JSON number as an integer, if `raw` is one: fractions are truncated, and a number that is too
/// large becomes the largest.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what we want")]
pub(crate) fn integer(raw: Option<&[u8]>) -> Option<i64> {
    let text = std::str::from_utf8(raw?).ok()?;
    let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let number = || text.parse::<f64>().ok().map(|number| number as i64);
    is_number.then(|| text.parse().ok().or_else(number)).flatten()
}

/// The time in `raw`, in any notation. Also `None` if it cannot be read: see
/// [`is_unreadable_time`].
pub(crate) fn time(raw: Option<&[u8]>) -> Option<Timestamp> {
    match raw? {
        [b'"', ..] => Timestamp::read(&string(raw)?),
        number @ [b'-' | b'0'..=b'9', ..] => Timestamp::read(std::str::from_utf8(number).ok()?),
        _ => None,
    }
}

/// Whether there is something in the place of a time, and not a time.
pub(crate) fn is_unreadable_time(raw: Option<&[u8]>) -> bool {
    raw.is_some_and(|raw| raw != b"null") && time(raw).is_none()
}

/// The value `raw` on one line, without white space.
pub(crate) fn compact(raw: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(raw.len());
    Layout::from_text(b"", b":", b"").write(raw, &mut text);
    text
}

/// The elements of the array `raw`.
pub(crate) fn elements(raw: &[u8]) -> Option<Vec<&[u8]>> {
    Some(places(raw)?.into_iter().map(|place| &raw[place]).collect())
}

/// The array `raw` without the elements that satisfy `is_gone`; all others keep their text.
pub(crate) fn without(raw: &[u8], is_gone: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let places = places(raw)?;
    let (first, last) = (places.first()?, places.last()?);
    let mut out = raw[..first.start].to_vec();
    let (mut end, mut is_first) = (first.start, true);
    for place in &places {
        if !is_gone(&raw[place.clone()]) {
            let start = if is_first { place.start } else { end };
            out.extend_from_slice(&raw[start..place.end]);
            is_first = false;
        }
        end = place.end;
    }
    if is_first {
        return Some(b"[]".to_vec());
    }
    out.extend_from_slice(&raw[last.end..]);
    Some(out)
}

/// The positions of the elements of an array.
fn places(raw: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut next = skip_space(raw, 1);
    let mut places = Vec::new();
    if raw.first() != Some(&b'[') {
        return None;
    }
    while raw.get(next) != Some(&b']') {
        let end = skip_value(raw, next).ok()?;
        places.push(next..end);
        next = skip_space(raw, end);
        if raw.get(next) == Some(&b',') {
            next = skip_space(raw, next + 1);
        }
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_saturate() {
        let read = |text: &str| integer(Some(text.as_bytes()));
        assert_eq!((read("1e300"), read("1e999")), (Some(i64::MAX), Some(i64::MAX)));
        assert_eq!((read("-2.9"), read("-0"), read("5")), (Some(-2), Some(0), Some(5)));
        assert_eq!((read("\"5\""), read("true"), read("[5]")), (None, None, None));
    }

    #[test]
    fn a_number_is_what_javascript_makes_of_a_value() {
        for (text, wanted) in [
            ("1", 1.0),
            ("1.5", 1.5),
            ("-0", -0.0),
            ("1e999", f64::INFINITY),
            ("true", 1.0),
            ("false", 0.0),
            ("null", 0.0),
            ("\"1\"", 1.0),
            ("\" 2\\n\"", 2.0),
            ("\"\"", 0.0),
            ("\"0x10\"", 16.0),
            ("\".5\"", 0.5),
            ("\"+1.\"", 1.0),
            ("\"Infinity\"", f64::INFINITY),
            ("[]", 0.0),
            ("[[\"3\"]]", 3.0),
            ("[null]", 0.0),
        ] {
            let number = number(text.as_bytes());
            assert_eq!(number.to_string(), wanted.to_string(), "{text}");
        }
        for text in [
            "\"x\"", "{}", "[1,2]", "[true]", "\"inf\"", "\"nan\"", "\"0x\"", "\"1 2\"",
            "\"-0x1\"", "\"1e\"",
        ] {
            assert!(number(text.as_bytes()).is_nan(), "{text}");
        }
    }

    #[test]
    fn a_name_is_written_as_it_was_read() {
        for text in [
            r#""x\ud83d""#,
            r#""\\\ud83dz""#,
            r#""\\u0041""#,
            r#""a\\\"b""#,
            r#""é""#,
            r#""\ud83d\\\ude00""#,
        ] {
            assert_eq!(name_text(&name(Some(text.as_bytes())).unwrap()), text);
        }
    }

    #[test]
    fn a_time_is_read_however_it_is_written() {
        let read = |text: &str| time(Some(text.as_bytes()));
        let wanted = Some(Timestamp(1_795_372_124_000));
        for text in [
            "1795372124000",
            "1795372124000.9",
            "1.795372124e12",
            "1795372124",
            "1795372124.0",
            "\"1795372124000\"",
            "\" 1795372124 \"",
            "\"2026-11-22T18:28:44Z\"",
        ] {
            assert_eq!(read(text), wanted, "{text}");
            assert!(!is_unreadable_time(Some(text.as_bytes())), "{text}");
        }
        for text in ["true", "{}", "[1795372124000]", "\"soon\"", "\"\""] {
            assert_eq!(read(text), None, "{text}");
            assert!(is_unreadable_time(Some(text.as_bytes())), "{text}");
        }
        assert!(!is_unreadable_time(None) && !is_unreadable_time(Some(b"null")));
    }

    #[test]
    fn an_array_loses_what_goes_and_nothing_else() {
        let without = |raw: &str, gone: &str| {
            let rest = without(raw.as_bytes(), |it| string(Some(it)).as_deref() == Some(gone));
            rest.map(|rest| String::from_utf8(rest).unwrap())
        };
        assert_eq!(without("[ \"a\" ,5,\"\\u0061\",\n \"b\" ]", "a").unwrap(), "[ 5,\n \"b\" ]");
        assert_eq!(without("[1, \"a\"]", "a").unwrap(), "[1]");
        assert_eq!(without("[ \"a\" ]", "a").unwrap(), "[]");
        assert_eq!((without("[]", "a"), without("5", "a")), (None, None));
        assert_eq!(elements(b"[1 ,[2,3],\"]\"]").unwrap(), [&b"1"[..], b"[2,3]", b"\"]\""]);
    }
}
