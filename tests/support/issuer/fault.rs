//! Faults between a client and an issuer, injected on command.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::http::Response;

/// One fault, injected once, at the next request for its path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Fault {
    /// Hang up without reading the request.
    DropBeforeRead,
    /// Hang up after reading the request; nothing is carried out.
    DropAfterRead,
    /// Carry the request out, then hang up without a response.
    DropAfterCommit,
    /// Carry the request out, send the head and half of the body, hang up.
    HalfBody,
    /// Carry the request out, then reset the connection without a response.
    ResetAfterCommit,
    /// Carry the request out, then send the response byte by byte.
    Drip {
        /// The pause before each byte, in milliseconds.
        every_ms: u64,
    },
    /// Carry the request out, then respond with 200 and an empty body.
    Blank,
    /// Respond with 200 and a JSON text of this size; nothing is carried out.
    Oversized {
        /// In bytes.
        bytes: usize,
    },
    /// Carry the request out, then send the response in another format.
    Reshaped {
        /// The format.
        shape: Shape,
    },
    /// Read the request, then do nothing until `release`.
    HoldRequest,
    /// Carry the request out, then hold the response until `release`.
    HoldAnswer,
    /// Respond with this status, these headers and this body; nothing is carried out.
    Status {
        /// The status code.
        status: u16,
        /// Additional headers, such as `retry-after`.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body, served as JSON.
        #[serde(default)]
        body: String,
    },
    /// A captive portal: 200 and an HTML page; nothing is carried out.
    Html,
    /// 307 to this address; nothing is carried out.
    Redirect {
        /// The target.
        to: String,
    },
    /// Bytes that are not HTTP; nothing is carried out.
    Garbage,
}

/// Formats of a response other than plain JSON with status 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Compressed, although the client did not ask for it.
    Gzip,
    /// A form instead of JSON.
    Form,
    /// With half a surrogate pair in a name.
    Surrogate,
    /// Inside another object: `{"data": …}`.
    Wrapped,
    /// With status 500.
    Failed,
    /// In the middle of an HTML page.
    Page,
    /// In a content coding that this program cannot decode.
    Zstd,
}

impl Shape {
    /// The response in this format.
    pub(super) fn apply(self, mut reply: Response) -> Response {
        let text = reply.text();
        let mut set = |name: &str, value: &str| {
            reply.headers.retain(|(known, _)| known != name);
            reply.headers.push((name.to_owned(), value.to_owned()));
        };
        match self {
            Self::Gzip => {
                set("content-encoding", "gzip");
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(text.as_bytes()).expect("memory");
                reply.body = encoder.finish().expect("memory");
            }
            Self::Form => {
                set("content-type", "application/x-www-form-urlencoded");
                let object: Value = serde_json::from_str(&text).expect("JSON");
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                for (name, value) in object.as_object().expect("an object") {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    form.append_pair(name, &value);
                }
                reply.body = form.finish().into_bytes();
            }
            Self::Surrogate => {
                reply.body = format!("{{\"account\":{{\"name\":\"Team \\ud83d\"}},{}", &text[1..])
                    .into_bytes();
            }
            Self::Wrapped => reply.body = format!("{{\"data\":{text}}}").into_bytes(),
            Self::Failed => reply.status = 500,
            Self::Page => {
                set("content-type", "text/html");
                reply.body = format!("<html><body>{text}</body></html>").into_bytes();
            }
            Self::Zstd => {
                set("content-encoding", "zstd");
                let sealed = text.bytes().map(|byte| byte ^ 0x80);
                reply.body = b"\x28\xb5\x2f\xfd".iter().copied().chain(sealed).collect();
            }
        }
        reply
    }
}

impl Fault {
    /// An error response with a JSON body.
    pub fn status(status: u16, body: &str) -> Self {
        Self::Status { status, headers: Vec::new(), body: body.to_owned() }
    }
}
