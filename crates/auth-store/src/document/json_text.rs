//! JSON as bytes: finds the end of a value, and decodes strings.
//!
//! The grammar is that of JavaScript's `JSON.parse`, to any depth: nothing here recurses. The
//! content of a string is decoded only when it is needed, so half a surrogate pair, or bytes that
//! are not UTF-8, do not make a file unreadable.

use std::borrow::Cow;

use crate::document::ParseError;

/// The end of the value that begins at `at`.
pub(crate) fn skip_value(text: &[u8], mut at: usize) -> Result<usize, ParseError> {
    // The closing bracket of each open bracket.
    let mut open = Vec::new();
    loop {
        at = match text.get(at) {
            Some(b'"') => skip_string(text, at)?,
            Some(b'{') => match skip_space(text, at + 1) {
                end if text.get(end) == Some(&b'}') => end + 1,
                name => {
                    open.push(b'}');
                    at = skip_name(text, name)?.1;
                    continue;
                }
            },
            Some(b'[') => match skip_space(text, at + 1) {
                end if text.get(end) == Some(&b']') => end + 1,
                first => {
                    open.push(b']');
                    at = first;
                    continue;
                }
            },
            Some(b'-' | b'0'..=b'9') => skip_number(text, at)?,
            Some(b't') => skip_word(text, at, b"true")?,
            Some(b'f') => skip_word(text, at, b"false")?,
            Some(b'n') => skip_word(text, at, b"null")?,
            _ => return Err(flaw(text, at)),
        };
        loop {
            let Some(closing) = open.last() else { return Ok(at) };
            at = skip_space(text, at);
            match text.get(at) {
                Some(b',') if *closing == b'}' => {
                    at = skip_name(text, skip_space(text, at + 1))?.1;
                    break;
                }
                Some(b',') => {
                    at = skip_space(text, at + 1);
                    break;
                }
                Some(byte) if byte == closing => {
                    open.pop();
                    at += 1;
                }
                _ => return Err(flaw(text, at)),
            }
        }
    }
}

/// The end of the member name that begins at `at`, and the start of its value.
pub(crate) fn skip_name(text: &[u8], at: usize) -> Result<(usize, usize), ParseError> {
    if text.get(at) != Some(&b'"') {
        return Err(flaw(text, at));
    }
    let end = skip_string(text, at)?;
    let colon = skip_space(text, end);
    if text.get(colon) != Some(&b':') {
        return Err(flaw(text, colon));
    }
    Ok((end, skip_space(text, colon + 1)))
}

/// The first position from `at` on that is not white space.
pub(crate) fn skip_space(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    at + rest.iter().position(|byte| !is_space(byte)).unwrap_or(rest.len())
}

/// The end of the string whose opening quote is at `at`.
fn skip_string(text: &[u8], at: usize) -> Result<usize, ParseError> {
    let mut at = at + 1;
    loop {
        at = plain_until(text, at);
        match text.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => {
                at = match text.get(at + 1) {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at + 2,
                    Some(b'u') => {
                        let digits = text.get(at + 2..).unwrap_or_default().iter().take(4);
                        let count = digits.take_while(|byte| byte.is_ascii_hexdigit()).count();
                        if count < 4 {
                            return Err(flaw(text, at + 2 + count));
                        }
                        at + 6
                    }
                    _ => return Err(flaw(text, at + 1)),
                }
            }
            _ => return Err(flaw(text, at)),
        }
    }
}

/// The first position from `at` on with a quote, a backslash or a control character. Tokens are
/// long, so this examines many bytes at once.
fn plain_until(text: &[u8], mut at: usize) -> usize {
    const AT_ONCE: usize = 32;
    let is_special = |byte: &u8| matches!(byte, 0..0x20 | b'"' | b'\\');
    for chunk in text[at..].chunks_exact(AT_ONCE) {
        if chunk.iter().fold(false, |found, byte| found | is_special(byte)) {
            break;
        }
        at += AT_ONCE;
    }
    at + text[at..].iter().position(is_special).unwrap_or(text.len() - at)
}

fn skip_number(text: &[u8], at: usize) -> Result<usize, ParseError> {
    let digits = |at: usize| {
        let rest = text.get(at..).unwrap_or_default();
        match rest.iter().take_while(|byte| byte.is_ascii_digit()).count() {
            0 => Err(flaw(text, at)),
            count => Ok(at + count),
        }
    };
    let start = at + usize::from(text[at] == b'-');
    let mut at = if text.get(start) == Some(&b'0') { start + 1 } else { digits(start)? };
    if text.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        at = digits(at + 1 + usize::from(matches!(text.get(at + 1), Some(b'+' | b'-'))))?;
    }
    Ok(at)
}

fn skip_word(text: &[u8], at: usize, word: &[u8]) -> Result<usize, ParseError> {
    let rest = &text[at..];
    match rest.iter().zip(word).position(|(byte, wanted)| byte != wanted) {
        Some(wrong) => Err(flaw(text, at + wrong)),
        None if rest.len() < word.len() => Err(flaw(text, text.len())),
        None => Ok(at + word.len()),
    }
}

/// The error for an unexpected byte at `at`.
pub(crate) fn flaw(text: &[u8], at: usize) -> ParseError {
    let offset = at.min(text.len());
    let reason = if offset == text.len() { "unexpected end of the file" } else { "not JSON" };
    ParseError { offset, reason, is_json: false }
}

/// The decoded string `raw`, as JavaScript prints it: U+FFFD for half of a surrogate pair. `None`
/// if it is not a string.
pub(crate) fn text(raw: &[u8]) -> Option<Cow<'_, str>> {
    unescaped(raw, |out, _| out.push(char::REPLACEMENT_CHARACTER))
}

/// The decoded name `raw`: half of a surrogate pair stays an escape, so that two different names
/// never become equal.
pub(crate) fn name(raw: &[u8]) -> Option<Cow<'_, str>> {
    use std::fmt::Write as _;
    // Writing to a string cannot fail.
    let escape = |out: &mut String, half| write!(out, "\\u{half:04x}").unwrap_or_default();
    unescaped(raw, escape)
}

/// `half` writes a surrogate that is not part of a pair.
fn unescaped(raw: &[u8], half: impl Fn(&mut String, u16)) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let Some(first) = inner.iter().position(|byte| *byte == b'\\') else {
        return Some(lossy(inner));
    };
    let mut out = lossy(&inner[..first]).into_owned();
    let mut rest = &inner[first..];
    while let Some((escape, after)) = rest.split_at_checked(2) {
        rest = after;
        match escape[1] {
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => {
                let one = unit(rest)?;
                rest = &rest[4..];
                let other = rest.strip_prefix(b"\\u").and_then(unit);
                let pair = [one, other.unwrap_or_default()];
                match char::decode_utf16(pair).next() {
                    Some(Ok(c)) => {
                        out.push(c);
                        if c.len_utf16() == 2 {
                            rest = &rest[6..];
                        }
                    }
                    _ => half(&mut out, one),
                }
            }
            other => out.push(char::from(other)),
        }
        let plain = rest.iter().position(|byte| *byte == b'\\').unwrap_or(rest.len());
        out.push_str(&lossy(&rest[..plain]));
        rest = &rest[plain..];
    }
    Some(out.into())
}

/// Like `from_utf8_lossy`, but faster for valid UTF-8.
pub(crate) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// The four digits of an escape.
fn unit(digits: &[u8]) -> Option<u16> {
    u16::from_str_radix(std::str::from_utf8(digits.get(..4)?).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_parse_accepts_is_a_value_and_nothing_else_is() {
        let deep = format!("{}1{}", "[{\"a\":".repeat(50_000), "}]".repeat(50_000));
        for good in [
            "{}",
            "[ ]",
            "null",
            "true",
            "false",
            "0",
            "-0",
            "1.0",
            "-12.50e+03",
            "1E999",
            "\"\"",
            "\"\\ud83d\"",
            "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\uDEAD\"",
            "[1,[2,{\"a\" : [ ] , \"\":{}}]]",
            "{\"a\":1,\"a\":2}",
            &deep,
        ] {
            assert_eq!(skip_value(good.as_bytes(), 0), Ok(good.len()), "{good}");
        }
        for bad in [
            "",
            "{",
            "[",
            "[1,]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "[1}",
            "{\"a\":1]",
            "tru",
            "nul1",
            "-",
            "01x",
            "1.",
            "1e",
            ".5",
            "+1",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"a\nb\"",
            "'a'",
            "\"\\",
            "\"\\u12",
            "[1 2]",
            "NaN",
        ] {
            let end = skip_value(bad.as_bytes(), 0);
            assert!(end.is_err() || end.is_ok_and(|end| end < bad.len()), "{bad}");
        }
    }

    #[test]
    fn a_flaw_says_where_it_is() {
        let at = |text: &str| skip_value(text.as_bytes(), 0).unwrap_err();
        assert_eq!((at("{\"a\": x}").offset, at("{\"a\": x}").reason), (6, "not JSON"));
        assert_eq!((at("[\"a").offset, at("[\"a").reason), (3, "unexpected end of the file"));
        assert_eq!((at("[tru").offset, at("[trx").offset, at("\"\\u1x").offset), (4, 3, 4));
    }

    #[test]
    fn a_text_is_what_javascript_says_it_is() {
        let said = |raw: &[u8]| text(raw).map(Cow::into_owned);
        assert_eq!(
            said(br#""a\"\\\/\b\f\n\r\t\u0041\u00e9z""#).unwrap(),
            "a\"\\/\u{8}\u{c}\n\r\tA\u{e9}z"
        );
        assert_eq!(said(br#""\ud83d\ude00""#).unwrap(), "\u{1f600}");
        assert_eq!(said(br#""x\ud83dy\ude00\ud83d""#).unwrap(), "x\u{fffd}y\u{fffd}\u{fffd}");
        assert_eq!(said(br#""\ud83d\u0041""#).unwrap(), "\u{fffd}A");
        assert_eq!(said(b"\"Zo\xeb\"").unwrap(), "Zo\u{fffd}");
        assert_eq!((said(b"5"), said(b"\"")), (None, None));
    }

    #[test]
    fn two_names_are_not_one_by_half_a_character() {
        let said = |raw: &[u8]| name(raw).unwrap().into_owned();
        assert_eq!(said(br#""x\uD83D""#), "x\\ud83d");
        assert_ne!(said(br#""x\ud83d""#), said(br#""x\ud83e""#));
        assert_eq!(said(br#""\ud83d\ude00""#), "\u{1f600}");
    }
}
