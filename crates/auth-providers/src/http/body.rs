//! The body of a response: decodes it, finds the text, and finds the object in the text.
//!
//! We ask for plain JSON. Servers and proxies send other formats anyway, and the tokens in such a
//! response exist nowhere else.

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::http::json;

/// A response body, decoded as far as possible.
pub(crate) struct Body {
    text: String,
    content_type: String,
    /// Whether the text is UTF-8. All JSON is.
    is_utf8: bool,
    /// The content coding that could not be decoded.
    sealed: Option<String>,
}

impl Body {
    /// Reads `bytes`, using the header fields `headers` that came with them.
    pub(crate) fn read(headers: &[(String, String)], bytes: &[u8]) -> Self {
        let content_type = header(headers, "content-type").unwrap_or_default();
        let (plain, sealed) =
            undone(header(headers, "content-encoding").unwrap_or_default(), bytes);
        let wide = utf_16(&plain);
        Self {
            is_utf8: wide.is_none(),
            text: wide.unwrap_or_else(|| {
                let plain = plain.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&plain);
                String::from_utf8_lossy(plain).into_owned()
            }),
            content_type: content_type.to_ascii_lowercase(),
            sealed,
        }
    }

    /// The object in the body: JSON, or a form.
    pub(crate) fn object(&self) -> Option<Map<String, Value>> {
        self.json().or_else(|| self.form())
    }

    /// The JSON object at the start of the body. A guard against scripts (`)]}'`) before it is
    /// ignored, as is anything after it. An object without an end counts only if it already has
    /// both tokens.
    pub(crate) fn json(&self) -> Option<Map<String, Value>> {
        if self.sealed.is_some() || !self.is_utf8 {
            return None;
        }
        let text = self.text.trim_start();
        let text = text.strip_prefix(")]}'").map_or(text, |text| text.trim_start_matches(','));
        let read = json::object(text)?;
        let has = |name: &str| read.members.get(name).is_some_and(Value::is_string);
        let is_enough = read.is_whole || has("access_token") && has("refresh_token");
        is_enough.then_some(read.members)
    }

    /// The fields of a form. RFC 6749 requires JSON, but some servers reply in the format of the
    /// request.
    fn form(&self) -> Option<Map<String, Value>> {
        let text = self.text.trim();
        let is_form = text.contains('=') && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_form || text.starts_with(['<', '[', '{', '"']) {
            return None;
        }
        let pairs = form_urlencoded::parse(text.as_bytes()).into_owned();
        let fields: Map<_, _> = pairs.map(|(name, value)| (name, Value::from(value))).collect();
        let is_named = self.content_type.contains("form-urlencoded");
        (is_named || FORM_FIELDS.iter().any(|name| fields.contains_key(*name))).then_some(fields)
    }

    /// Whether the body is an HTML page, such as that of a captive portal.
    pub(crate) fn is_page(&self) -> bool {
        let start: String = self.text.trim_start().chars().take(1024).collect();
        let start = start.to_ascii_lowercase();
        let tags = ["<!doctype html", "<html", "<head", "<body"];
        self.content_type.contains("html") || tags.iter().any(|tag| start.contains(tag))
    }

    /// The text, in any format.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The common name of the content coding or character set that could not be decoded.
    pub(crate) fn unknown_encoding(&self) -> Option<String> {
        let is_odd = |c: char| {
            c == char::REPLACEMENT_CHARACTER || c.is_control() && !c.is_ascii_whitespace()
        };
        // Latin-1 text has a few characters that are not UTF-8; binary data has many.
        let start = || self.text.chars().take(4096);
        let odd = || start().filter(|c| is_odd(*c)).count();
        match &self.sealed {
            Some(coding) => Some(format!("the content coding `{coding}`")),
            None if !self.is_utf8 => Some("UTF-16".to_owned()),
            None if odd() * 8 > start().count() => {
                Some("an encoding that is not known here".to_owned())
            }
            None => None,
        }
    }
}

/// Decodes the content codings of `bytes` (RFC 9110 §8.4.1), the last one first. Also returns the
/// first coding that could not be decoded.
fn undone(codings: &str, bytes: &[u8]) -> (Vec<u8>, Option<String>) {
    let codings = codings.split(',').map(|coding| coding.trim().to_ascii_lowercase());
    // The two codings without a checksum can "succeed" on data in another format.
    let is_something = |bytes: &Vec<u8>| !bytes.is_empty();
    let mut plain = bytes.to_vec();
    for coding in codings.filter(|it| !it.is_empty() && it != "identity").rev() {
        let undone = match coding.as_str() {
            "gzip" | "x-gzip" => poured(MultiGzDecoder::new(&*plain)),
            "deflate" => poured(ZlibDecoder::new(&*plain))
                // Some servers omit the zlib frame that RFC 9110 §8.4.1.2 requires.
                .or_else(|| poured(DeflateDecoder::new(&*plain)).filter(is_something)),
            "br" => {
                poured(brotli_decompressor::Decompressor::new(&*plain, 4096)).filter(is_something)
            }
            _ => None,
        };
        match undone {
            Some(undone) => plain = undone,
            // The header field may be wrong.
            None if plain.is_empty() || looks_like_text(&plain) => {}
            None => {
                let coding: String =
                    coding.chars().filter(char::is_ascii_graphic).take(20).collect();
                return (plain, Some(coding));
            }
        }
    }
    if let (true, Some(unnamed)) =
        (plain.starts_with(b"\x1f\x8b"), poured(MultiGzDecoder::new(&*plain)))
    {
        plain = unnamed;
    }
    (plain, None)
}

/// The output of a decoder, up to the largest body allowed. A decoder that fails still counts if it
/// produced output: the stream may just be cut off.
fn poured(decoder: impl Read) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let is_whole = decoder.take(LARGEST_BODY as u64).read_to_end(&mut out).is_ok();
    (is_whole || looks_like_text(&out)).then_some(out)
}

/// Whether bytes start the way a response without a content coding would.
fn looks_like_text(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(64)];
    !start.is_empty() && start.iter().all(|it| it.is_ascii_graphic() || it.is_ascii_whitespace())
}

/// The text of `bytes`, if they are UTF-16: with a byte order mark, or with every other byte zero
/// at the start.
fn utf_16(bytes: &[u8]) -> Option<String> {
    let (rest, is_little) = match bytes {
        [0xff, 0xfe, rest @ ..] => (rest, true),
        [0xfe, 0xff, rest @ ..] => (rest, false),
        [a, 0, b, 0, ..] if *a > 0 && *b > 0 => (bytes, true),
        [0, a, 0, b, ..] if *a > 0 && *b > 0 => (bytes, false),
        _ => return None,
    };
    let join = if is_little { u16::from_le_bytes } else { u16::from_be_bytes };
    let units: Vec<u16> = rest.chunks_exact(2).map(|it| join([it[0], it[1]])).collect();
    Some(String::from_utf16_lossy(&units))
}

/// Every response that is a form has one of these.
const FORM_FIELDS: [&str; 4] = ["access_token", "refresh_token", "device_code", "error"];

/// The value of the header field `name` in `headers`. Names are compared without case.
pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// The largest response body that is read, in bytes. Token responses have a few kilobytes; the
/// limit protects our memory, and anything beyond it is lost.
pub const LARGEST_BODY: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use serde_json::json;

    use super::*;

    const TOKENS: &str = r#"{"access_token":"n","refresh_token":"r2","expires_in":3600}"#;

    fn with(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    fn encoded(coding: &str) -> Body {
        encoded_as(coding, coding)
    }

    /// The tokens encoded with `coding`, under a header field that may name another coding.
    fn encoded_as(coding: &str, named: &str) -> Body {
        let bytes = match coding {
            "gzip" => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(TOKENS.as_bytes()).unwrap();
                encoder.finish().unwrap()
            }
            "deflate" => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(TOKENS.as_bytes()).unwrap();
                encoder.finish().unwrap()
            }
            "raw deflate" => {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(TOKENS.as_bytes()).unwrap();
                encoder.finish().unwrap()
            }
            "br" => STANDARD.decode(BROTLI).unwrap(),
            "zstd" => b"\x28\xb5\x2f\xfd\x04\x00\xd9\x01\x00not really".to_vec(),
            _ => TOKENS.as_bytes().to_vec(),
        };
        Body::read(&with("content-encoding", named), &bytes)
    }

    /// The output of Node's `zlib.brotliCompressSync` for the tokens.
    const BROTLI: &str =
        "GzoA4CwO7MbW5zUmljjSV2uRr5m9KZdmUyw6BdNXMmWOcaID2jBdg23XbdiERnJdaiZUnEFxEOBmiw==";

    fn object(headers: &[(String, String)], bytes: &[u8]) -> Value {
        Body::read(headers, bytes).object().map_or(Value::Null, Value::Object)
    }

    fn tokens() -> Value {
        serde_json::from_str(TOKENS).unwrap()
    }

    #[test]
    fn the_usual_codings_are_undone_whoever_asked_for_them() {
        for (coding, named) in [
            ("gzip", "gzip"),
            ("gzip", " X-GZIP "),
            ("gzip", ""),
            ("gzip", "identity, gzip"),
            ("deflate", "deflate"),
            ("raw deflate", "deflate"),
            ("br", "br"),
            ("", "identity"),
            ("", "gzip"),
            ("", "zstd"),
        ] {
            let body = encoded_as(coding, named);
            assert_eq!(body.object().map(Value::Object), Some(tokens()), "{coding} as {named:?}");
            assert_eq!(body.unknown_encoding(), None, "{coding} as {named:?}");
        }
        let twice = {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&STANDARD.decode(BROTLI).unwrap()).unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(object(&with("content-encoding", "br, gzip"), &twice), tokens());
    }

    #[test]
    fn a_coding_that_cannot_be_undone_is_named() {
        let body = encoded("zstd");
        assert_eq!(body.object(), None);
        assert_eq!(body.unknown_encoding().unwrap(), "the content coding `zstd`");
        let body = encoded_as("br", "");
        assert_eq!(body.unknown_encoding().unwrap(), "an encoding that is not known here");
        let body = encoded_as("zstd", "\u{1b}[31m, zstd");
        assert!(!body.unknown_encoding().unwrap().contains('\u{1b}'));
    }

    #[test]
    fn a_compressed_response_that_is_cut_off_has_the_tokens_before_the_cut() {
        let padded =
            format!("{},\"pad\":\"{}\"}}", &TOKENS[..TOKENS.len() - 1], "x".repeat(90_000));
        let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
        encoder.write_all(padded.as_bytes()).unwrap();
        let bytes = encoder.finish().unwrap();
        let read = object(&with("content-encoding", "gzip"), &bytes[..80_000]);
        assert_eq!(read["refresh_token"], "r2");
        assert_eq!(object(&with("content-encoding", "gzip"), &bytes[..30]), Value::Null);
    }

    #[test]
    fn what_grows_without_end_is_cut() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        for _ in 0..20 {
            encoder.write_all(&vec![b' '; 1 << 20]).unwrap();
        }
        let bytes = encoder.finish().unwrap();
        assert_eq!(
            Body::read(&with("content-encoding", "gzip"), &bytes).text().len(),
            LARGEST_BODY
        );
    }

    #[test]
    fn a_form_is_an_object_of_texts() {
        let form = "access_token=n&refresh_token=r%202%2b&expires_in=3600&scope=&token_type=bearer";
        let read = object(&[], form.as_bytes());
        assert_eq!((&read["refresh_token"], &read["expires_in"]), (&json!("r 2+"), &json!("3600")));
        assert_eq!(object(&[], b"error=bad_refresh_token\r\n")["error"], "bad_refresh_token");
        let named = with("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        assert_eq!(object(&named, b"user=me")["user"], "me");
        for other in ["user=me", "", "ok", "<p class=a>", "access_token=n and more", "[a=b]"] {
            assert_eq!(object(&[], other.as_bytes()), Value::Null, "{other}");
        }
    }

    #[test]
    fn marks_guards_and_tails_are_ignored() {
        for body in [
            format!("\u{feff}{TOKENS}"),
            format!("\n\u{feff} {TOKENS}"),
            format!(")]}}'\n{TOKENS}"),
            format!(")]}}',\n{TOKENS}"),
            format!("{TOKENS}\n<!-- from your proxy -->"),
        ] {
            assert_eq!(object(&[], body.as_bytes()), tokens(), "{body}");
        }
        let latin_1 = b"{\"access_token\":\"a\",\"name\":\"Jos\xe9\"}";
        assert_eq!(object(&[], latin_1)["access_token"], "a");
        assert_eq!(Body::read(&[], latin_1).unknown_encoding(), None);
    }

    #[test]
    fn utf_16_is_known_and_not_taken_for_json() {
        let le: Vec<u8> = TOKENS.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = TOKENS.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [[b"\xff\xfe", &*le].concat(), [b"\xfe\xff", &*be].concat(), le, be] {
            let body = Body::read(&[], &bytes);
            assert_eq!((body.text(), body.object()), (TOKENS, None));
            assert_eq!(body.unknown_encoding().as_deref(), Some("UTF-16"));
        }
    }

    #[test]
    fn a_page_is_known_by_its_type_or_its_tags() {
        let page = |headers: &[(String, String)], text: &str| {
            Body::read(headers, text.as_bytes()).is_page()
        };
        assert!(page(&with("Content-Type", "text/HTML; charset=utf-8"), "Blocked"));
        assert!(page(&[], "\n<!-- x --><!DOCTYPE html><p>"));
        assert!(page(&[], "<html>sign in</html>"));
        assert!(!page(&with("content-type", "application/json"), TOKENS));
        assert!(!page(&[], ""));
    }
}
