//! What can go wrong between a client and an issuer, on command.

use serde::{Deserialize, Serialize};

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

impl Fault {
    /// An error answer with a JSON body.
    pub fn status(status: u16, body: &str) -> Self {
        Self::Status { status, headers: Vec::new(), body: body.to_owned() }
    }
}
