//! A limited, decoded copy of a body, for inspection. The forwarded body is unchanged.

use std::borrow::Cow;
use std::io::Read;

use hyper::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};

/// The decoded body; `None` if its encoding is unknown or invalid, or the result is larger than
/// `most`.
pub(crate) fn decoded<'a>(
    headers: &HeaderMap,
    body: &'a [u8],
    most: usize,
) -> Option<Cow<'a, [u8]>> {
    let Some(encoding) = headers.get(CONTENT_ENCODING) else {
        return Some(Cow::Borrowed(body));
    };
    match encoding.as_bytes() {
        b"identity" => Some(Cow::Borrowed(body)),
        b"zstd" => bounded(ruzstd::decoding::StreamingDecoder::new(body).ok()?, most),
        b"gzip" | b"x-gzip" => bounded(flate2::read::MultiGzDecoder::new(body), most),
        b"deflate" => bounded(flate2::read::ZlibDecoder::new(body), most),
        b"br" => bounded(brotli_decompressor::Decompressor::new(body, BUFFER), most),
        _ => None,
    }
}

/// The decoded start of a body that may be cut off, for inspecting its text.
pub(crate) fn decoded_part(headers: &HeaderMap, body: &[u8], most: usize) -> Vec<u8> {
    let mut part = Vec::new();
    let most = most as u64;
    let _ = match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => body.take(most).read_to_end(&mut part),
        Some(b"gzip" | b"x-gzip") => {
            flate2::read::MultiGzDecoder::new(body).take(most).read_to_end(&mut part)
        }
        Some(b"deflate") => flate2::read::ZlibDecoder::new(body).take(most).read_to_end(&mut part),
        Some(b"br") => {
            let reader = brotli_decompressor::Decompressor::new(body, BUFFER);
            reader.take(most).read_to_end(&mut part)
        }
        Some(b"zstd") => match ruzstd::decoding::StreamingDecoder::new(body) {
            Ok(reader) => reader.take(most).read_to_end(&mut part),
            Err(_) => Ok(0),
        },
        Some(_) => Ok(0),
    };
    part
}

fn bounded<'a>(reader: impl Read, most: usize) -> Option<Cow<'a, [u8]>> {
    let mut all = Vec::new();
    reader.take(most as u64 + 1).read_to_end(&mut all).ok()?;
    (all.len() <= most).then_some(Cow::Owned(all))
}

const BUFFER: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn encoded(encoding: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, encoding.parse().unwrap());
        headers
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_codex_and_others_send_can_be_read() {
        let body = br#"{"model": "m"}"#;
        let zstd = ruzstd::encoding::compress_to_vec(
            &body[..],
            ruzstd::encoding::CompressionLevel::Fastest,
        );
        assert_eq!(decoded(&encoded("zstd"), &zstd, 100).unwrap(), &body[..]);
        assert_eq!(decoded(&encoded("gzip"), &gzip(body), 100).unwrap(), &body[..]);
        assert_eq!(decoded(&HeaderMap::new(), body, 100).unwrap(), &body[..]);
        assert_eq!(decoded(&encoded("br"), body, 100), None);
        assert_eq!(decoded(&encoded("zstd"), body, 100), None);
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let bomb = gzip(&vec![0; 10 << 20]);
        assert!(bomb.len() < 100_000);
        assert_eq!(decoded(&encoded("gzip"), &bomb, 1 << 20), None);
        assert_eq!(decoded_part(&encoded("gzip"), &bomb, 1 << 10).len(), 1 << 10);
    }

    #[test]
    fn the_beginning_of_what_is_cut_off_can_be_read() {
        let words: Vec<u8> = (0..20_000u32).flat_map(|n| n.to_string().into_bytes()).collect();
        let whole = gzip(&words);
        let part = decoded_part(&encoded("gzip"), &whole[..whole.len() / 2], 1 << 20);
        assert!(part.len() > 100 && words.starts_with(&part));
    }
}
