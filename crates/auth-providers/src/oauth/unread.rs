//! Responses that were not understood but may still hold tokens.
//!
//! An issuer that rotates refresh tokens has voided the old one by then, and the new one exists in
//! these bytes only. So they are kept, unless nothing in them looks like a token.

use auth_store::Secret;
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::http::body::Body;
use crate::http::json;
use crate::http::{LARGEST_BODY, NO_STATUS};

/// Why an unreadable response must be kept; `None` if nothing in it looks like a token. A
/// repetition of the token that was `sent` does not count.
pub(crate) fn why_kept(
    status: u16,
    headers: &[(String, String)],
    bytes: &[u8],
    sent: Option<&Secret>,
) -> Option<String> {
    let body = Body::read(headers, bytes);
    let received = match status {
        NO_STATUS => "the plugin answered".to_owned(),
        status => format!("the server answered {status}"),
    };
    let found = found(&body, sent);
    if !found.is_empty() {
        let found = found.join(" and ");
        return Some(format!("{received}, with {found} in something that is no token response"));
    }
    if !matches!(status, 200..300 | NO_STATUS) || body.is_page() {
        return None;
    }
    if let Some(encoding) = body.unknown_encoding() {
        return Some(format!("{received}, in {encoding}"));
    }
    let is_cut = bytes.len() >= LARGEST_BODY || body.text().len() >= LARGEST_BODY;
    is_cut.then(|| format!("{received}, with more than {} MiB", LARGEST_BODY >> 20))
}

/// Whatever looks like a token in the body, in words for people: the members that hold one, and
/// JWTs.
pub(crate) fn found(body: &Body, sent: Option<&Secret>) -> Vec<&'static str> {
    // In some character sets the letters of a name have NUL bytes between them.
    let text = body.text().replace('\0', "");
    let lower = text.to_ascii_lowercase();
    let is_sent = |value: &str| sent.is_some_and(|sent| repeats(value, sent.expose()));
    let mut found: Vec<_> = MEMBERS
        .into_iter()
        .filter(|name| values(&text, &lower, name, body.is_page()).any(|value| !is_sent(value)))
        .collect();
    if found.is_empty() && jwts(&text).any(|jwt| !is_sent(jwt)) {
        found.push("a JWT");
    }
    found
}

/// Whether the line of a plugin has something that looks like a token.
pub(crate) fn holds_tokens(line: &[u8]) -> bool {
    !found(&Body::read(&[], line), None).is_empty()
}

/// Whether `value` is `sent`, or a truncated part of it.
fn repeats(value: &str, sent: &str) -> bool {
    let cut = value.trim_end_matches(['.', '…', '*']);
    let decoded = form_urlencoded::parse(value.as_bytes()).next();
    value == sent
        || cut.len() >= TELLING && sent.starts_with(cut)
        || decoded.is_some_and(|(decoded, _)| decoded == sent)
}

/// The only object with tokens anywhere in the text: in another object, in a page, in a string.
/// Guessing is safe here: this runs only when the user asks for it, and nothing is sent.
pub(crate) fn only_tokens(body: &Body) -> Option<Map<String, Value>> {
    let text = body.text().replace("&quot;", "\"").replace("&#34;", "\"");
    let mut all = Vec::new();
    collect_text(&text, &mut all, 2);
    if all.is_empty() {
        // A form whose status is not a success.
        collect(Value::Object(body.object().unwrap_or_default()), &mut all, 0);
    }
    all.dedup();
    match <[_; 1]>::try_from(all) {
        Ok([tokens]) => Some(tokens),
        Err(_) => None,
    }
}

/// Collects the objects with tokens from a text.
fn collect_text(text: &str, all: &mut Vec<Map<String, Value>>, depth: usize) {
    let (mut rest, mut attempts) = (text, MOST_ATTEMPTS);
    while let Some(start) = rest.find('{').filter(|_| attempts > 0) {
        rest = &rest[start..];
        attempts -= 1;
        match json::object(rest).filter(|read| read.is_whole) {
            Some(read) => {
                collect(Value::Object(read.members), all, depth);
                rest = &rest[read.end..];
            }
            None => rest = &rest[1..],
        }
    }
}

fn collect(value: Value, all: &mut Vec<Map<String, Value>>, depth: usize) {
    match value {
        Value::Object(object) => {
            let renamed = |(name, value): (&String, &Value)| (snake_case(name), value.clone());
            let tokens: Map<_, _> = object.iter().map(renamed).collect();
            let has = |name: &str| tokens.get(name).is_some_and(Value::is_string);
            if has("refresh_token") || has("access_token") {
                all.push(tokens);
            } else {
                object.into_iter().for_each(|(_, value)| collect(value, all, depth));
            }
        }
        Value::Array(items) => items.into_iter().for_each(|item| collect(item, all, depth)),
        Value::String(text) if depth > 0 => collect_text(&text, all, depth - 1),
        _ => {}
    }
}

/// `refreshToken` as `refresh_token`.
fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// The values of the member `name` in a text that may be JSON, or JSON in a string, a form, or XML.
/// In an HTML page only JSON counts, since its links have fields with such names. `lower` is the
/// text in lower case.
fn values<'a>(
    text: &'a str,
    lower: &'a str,
    name: &'static str,
    is_page: bool,
) -> impl Iterator<Item = &'a str> {
    let (first, second) = name.split_once('_').unwrap_or((name, ""));
    lower.match_indices(first).filter_map(move |(place, _)| {
        if text[..place].ends_with(|c: char| c.is_ascii_alphanumeric()) {
            return None;
        }
        let is_tag = text[..place].ends_with('<');
        let rest = after(&text[place..], first)?;
        let rest = ["_", "-", "\\u005f", "\\u005F", "%5F", "%5f"]
            .into_iter()
            .find_map(|it| rest.strip_prefix(it))
            .unwrap_or(rest);
        let rest = after(rest, second)?;
        let (rest, is_quoted) = without_quotes(rest);
        let rest = rest.trim_start();
        let rest = match rest.chars().next()? {
            ':' if is_quoted => &rest[1..],
            '=' if !is_page => &rest[1..],
            '>' if is_tag && !is_page => &rest[1..],
            _ => return None,
        };
        let (rest, _) = without_quotes(rest.trim_start());
        let is_end = |c: char| c.is_whitespace() || "\"'\\&<>,;{}[]()".contains(c);
        let value = &rest[..rest.find(is_end).unwrap_or(rest.len())];
        let is_none = ["", "null", "none", "undefined", "true", "false"]
            .iter()
            .any(|none| value.eq_ignore_ascii_case(none));
        (!is_none).then_some(value)
    })
}

/// The text after `word`, if `text` starts with it. Case is ignored.
fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let start = text.get(..word.len())?;
    start.eq_ignore_ascii_case(word).then(|| &text[word.len()..])
}

/// `text` without the quotes at its start, however they are escaped, and whether there were any.
fn without_quotes(text: &str) -> (&str, bool) {
    let mut rest = text;
    while let Some(inner) = ["\\", "\"", "'", "&quot;", "&#34;", "&#x22;", "%22"]
        .into_iter()
        .find_map(|quote| rest.strip_prefix(quote))
    {
        rest = inner;
    }
    (rest, rest.len() < text.len())
}

/// Whatever looks like a JWT (RFC 7519 §3): its header is an object, which in base64 starts with
/// `eyJ`.
fn jwts(text: &str) -> impl Iterator<Item = &str> {
    let is_of_jwt = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.match_indices("eyJ").filter_map(move |(place, _)| {
        let rest = &text[place..];
        let jwt = &rest[..rest.find(|c| !is_of_jwt(c)).unwrap_or(rest.len())];
        let mut parts = jwt.split('.');
        let is_long = |part: Option<&str>| part.is_some_and(|part| part.len() >= 10);
        let is_jwt = is_long(parts.next()) && is_long(parts.next()) && parts.next().is_some();
        is_jwt.then_some(jwt)
    })
}

const MEMBERS: [&str; 3] = ["refresh_token", "access_token", "id_token"];
/// This many characters in common are not a coincidence.
const TELLING: usize = 8;
/// A text with this many braces that start no object is not a token response.
const MOST_ATTEMPTS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn why(status: u16, text: &str) -> Option<String> {
        why_kept(status, &[], text.as_bytes(), Some(&"the-old-token".into()))
    }

    #[test]
    fn a_token_is_found_whatever_is_around_it() {
        for text in [
            r#"{"refresh_token":"r2""#,
            r#"{"data":{"refresh_token" : "r2"}}"#,
            r#"<html><script>{"access_token":"n","refresh_token":"r2"}</script></html>"#,
            r#"{"body":"{\"refresh_token\":\"r2\"}"}"#,
            r#"{"body":"{\\\"refresh_token\\\":\\\"r2\\\"}"}"#,
            "<p>&quot;refresh_token&quot;:&quot;r2&quot;</p><html>",
            "{'refreshToken': 'r2'}",
            r#"{"Refresh-Token":"r2"}"#,
            r#"{"refresh\u005ftoken":"r2"}"#,
            "x=1&refresh_token=r2",
            "ok: access_token=n",
            "<xml><refresh_token>r2</refresh_token></xml>",
            r#"{"id_token":"i"}"#,
            "\u{1}\u{2}{\"refresh_token\":\"r2\"}\u{3}",
            &r#""refresh_token":"r2""#.replace("", "\0"),
            "it is eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.c2ln",
        ] {
            for status in [200, 400, 500, 302] {
                assert!(why(status, text).is_some(), "{status} {text}");
            }
        }
    }

    #[test]
    fn words_about_tokens_are_none() {
        for text in [
            "",
            "{}",
            r#"{"error":"invalid_request","error_description":"refresh_token is missing"}"#,
            r#"{"error":"x","error_description":"the refresh_token: expired"}"#,
            r#"{"refresh_token":""}"#,
            r#"{"refresh_token":null,"access_token": null}"#,
            r#"{"sent":{"refresh_token":"the-old-token"}}"#,
            r#"{"sent":"refresh_token=the-old-tok..."}"#,
            r#"{"sent":"refresh_token=the%2Dold%2dtoken"}"#,
            r#"{"valid_token":"x","token":"y","csrf_token":"z"}"#,
            r#"<html><a href="/login?access_token=abc&id_token=d">in</a></html>"#,
            "<html><meta name=\"refresh_token\"></html>",
            "eyJ.eyJ.x and eyJhbGciOiJub25lIn0.short.x",
            "<html>Welcome to our hotel</html>",
        ] {
            for status in [200, 400, 500, 302] {
                assert_eq!(why(status, text), None, "{status} {text}");
            }
        }
    }

    #[test]
    fn what_nobody_can_read_is_kept_where_the_server_says_that_it_worked() {
        let zstd = [("content-encoding".to_owned(), "zstd".to_owned())];
        let bytes = b"\x28\xb5\x2f\xfd\x04\x00\xd9\x01\x00";
        assert!(why_kept(200, &zstd, bytes, None).unwrap().contains("`zstd`"));
        assert!(why_kept(206, &[], bytes, None).unwrap().contains("not known here"));
        assert_eq!(why_kept(502, &zstd, bytes, None), None);
        assert_eq!(why_kept(200, &zstd, b"", None), None);
        let long = vec![b'x'; LARGEST_BODY];
        assert!(why_kept(200, &[], &long, None).unwrap().contains("16 MiB"));
        assert_eq!(why_kept(200, &[], &long[1..], None), None);
    }

    #[test]
    fn a_user_may_have_the_only_tokens_that_are_there() {
        let only = |text: &str| {
            let body = Body::read(&[], text.as_bytes());
            only_tokens(&body).map(|found| found["refresh_token"].as_str().unwrap().to_owned())
        };
        for text in [
            r#"{"data":{"access_token":"n","refresh_token":"r2"}}"#,
            r#"{"data":[1,{"refreshToken":"r2"}]}"#,
            r#"<html>if (a) { b } {"access_token":"n","refresh_token":"r2"}</html>"#,
            r#"{"body":"{\"refresh_token\":\"r2\"}"}"#,
            "<html>{&quot;refresh_token&quot;:&quot;r2&quot;}",
            r#"{"refresh_token":"r2"}{"refresh_token":"r2"}"#,
            "access_token=n&refresh_token=r2",
        ] {
            assert_eq!(only(text).as_deref(), Some("r2"), "{text}");
        }
        for text in [
            r#"{"a":{"refresh_token":"r2"},"b":{"refresh_token":"r3"}}"#,
            r#"{"refresh_token":7}"#,
            "{}",
        ] {
            assert_eq!(only(text), None, "{text}");
        }
        let _no_time_without_end = only(&"{".repeat(100_000));
    }
}
