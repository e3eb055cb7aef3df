//! What can go wrong between a client and an issuer, on command.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::http::Response;

/// One fault, played once, at the next request of its path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Fault {
    /// Hang up without having read the request.
    DropBeforeRead,
    /// Hang up after the request was read; nothing was carried out.
    DropAfterRead,
    /// Carry the request out, then hang up without an answer.
    DropAfterCommit,
    /// Carry the request out, send the head and half of the body, hang up.
    HalfBody,
    /// Carry the request out, then reset the connection without an answer.
    ResetAfterCommit,
    /// Carry the request out, then send the answer byte by byte.
    Drip {
        /// The pause before each byte, in milliseconds.
        every_ms: u64,
    },
    /// Carry the request out, then answer 200 with nothing in it.
    Blank,
    /// 200 and a JSON text of this size; nothing is carried out.
    Oversized {
        /// In bytes.
        bytes: usize,
    },
    /// Carry the request out, then send the answer in another shape.
    Reshaped {
        /// Which.
        shape: Shape,
    },
    /// Read the request, then do nothing until `release`.
    HoldRequest,
    /// Carry the request out, then keep the answer until `release`.
    HoldAnswer,
    /// Answer with this status, these headers and this body; nothing is carried out.
    Status {
        /// The status code.
        status: u16,
        /// Extra headers, such as `retry-after`.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body, served as JSON.
        #[serde(default)]
        body: String,
    },
    /// A captive portal: 200 and a page; nothing is carried out.
    Html,
    /// 307 to this address; nothing is carried out.
    Redirect {
        /// Where to.
        to: String,
    },
    /// Bytes that are no HTTP; nothing is carried out.
    Garbage,
}

/// What an answer looks like that is not plain JSON with status 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Compressed, although nobody asked for it.
    Gzip,
    /// A form instead of JSON.
    Form,
    /// With half a surrogate pair in a name.
    Surrogate,
    /// In another object: `{"data": …}`.
    Wrapped,
    /// With status 500.
    Failed,
    /// In the middle of a page.
    Page,
    /// In a coding that this program cannot undo.
    Zstd,
}

impl Shape {
    /// The answer in this shape.
    pub(super) fn of(self, mut answer: Response) -> Response {
        let text = answer.text();
        let mut set = |name: &str, value: &str| {
            answer.headers.retain(|(known, _)| known != name);
            answer.headers.push((name.to_owned(), value.to_owned()));
        };
        match self {
            Self::Gzip => {
                set("content-encoding", "gzip");
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(text.as_bytes()).expect("memory");
                answer.body = encoder.finish().expect("memory");
            }
            Self::Form => {
                set("content-type", "application/x-www-form-urlencoded");
                let object: Value = serde_json::from_str(&text).expect("JSON");
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                for (name, value) in object.as_object().expect("an object") {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    form.append_pair(name, &value);
                }
                answer.body = form.finish().into_bytes();
            }
            Self::Surrogate => {
                answer.body = format!("{{\"account\":{{\"name\":\"Team \\ud83d\"}},{}", &text[1..])
                    .into_bytes();
            }
            Self::Wrapped => answer.body = format!("{{\"data\":{text}}}").into_bytes(),
            Self::Failed => answer.status = 500,
            Self::Page => {
                set("content-type", "text/html");
                answer.body = format!("<html><body>{text}</body></html>").into_bytes();
            }
            Self::Zstd => {
                set("content-encoding", "zstd");
                let sealed = text.bytes().map(|byte| byte ^ 0x80);
                answer.body = b"\x28\xb5\x2f\xfd".iter().copied().chain(sealed).collect();
            }
        }
        answer
    }
}

impl Fault {
    /// An error answer with a JSON body.
    pub fn status(status: u16, body: &str) -> Self {
        Self::Status { status, headers: Vec::new(), body: body.to_owned() }
    }
}
