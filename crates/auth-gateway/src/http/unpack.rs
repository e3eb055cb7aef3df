//! A decoded copy of an answer that comes in parts, to be looked at. What is passed on stays as it
//! was.

use std::fmt;
use std::io::{self, Write};

use flate2::write::{MultiGzDecoder, ZlibDecoder};
use hyper::header::{CONTENT_ENCODING, HeaderMap};

/// Decodes part after part.
pub(crate) struct Unpacker {
    coding: Option<Coding>,
    most: usize,
}

enum Coding {
    Gzip(MultiGzDecoder<Vec<u8>>),
    Deflate(ZlibDecoder<Vec<u8>>),
    Brotli(Box<brotli_decompressor::DecompressorWriter<Vec<u8>>>),
}

impl Unpacker {
    /// One for an answer with these headers; `None` where it is plain, or cannot be decoded.
    pub(crate) fn for_reply(headers: &HeaderMap) -> Option<Self> {
        let coding = headers.get(CONTENT_ENCODING)?.as_bytes();
        let coding = match coding {
            b"gzip" | b"x-gzip" => Coding::Gzip(MultiGzDecoder::new(Vec::new())),
            b"deflate" => Coding::Deflate(ZlibDecoder::new(Vec::new())),
            b"br" => Coding::Brotli(Box::new(brotli_decompressor::DecompressorWriter::new(
                Vec::new(),
                BUFFER,
            ))),
            _ => return None,
        };
        Some(Self { coding: Some(coding), most: LARGEST_PART })
    }

    /// What the next part yields. Once it could not be decoded, nothing more does.
    pub(crate) fn next(&mut self, part: &[u8]) -> Vec<u8> {
        let Some(coding) = &mut self.coding else { return Vec::new() };
        let mut all = Vec::new();
        // In pieces, so that a bomb is noticed before it is unpacked.
        for piece in part.chunks(PIECE) {
            match coding.next(piece) {
                Ok(mut decoded) if all.len() + decoded.len() <= self.most => {
                    all.append(&mut decoded);
                }
                _ => {
                    self.coding = None;
                    return all;
                }
            }
        }
        all
    }
}

impl Coding {
    fn next(&mut self, piece: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(decoder) => {
                decoder.write_all(piece)?;
                decoder.flush()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Self::Deflate(decoder) => {
                decoder.write_all(piece)?;
                decoder.flush()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Self::Brotli(decoder) => {
                decoder.write_all(piece)?;
                decoder.flush()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
        }
    }
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Unpacker").finish_non_exhaustive()
    }
}

const PIECE: usize = 1 << 10;
const BUFFER: usize = 4 << 10;
/// A part that yields more is not looked at.
const LARGEST_PART: usize = 8 << 20;
