//! The messages as they appear on a line.

use std::fmt;

use auth_store::Secret;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Map;

/// The single request of a conversation.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// Log in; ask the user as needed.
    Login {
        /// The version of the protocol.
        version: u32,
        /// The provider's id.
        provider: String,
    },
    /// Refresh a login.
    Refresh {
        /// The version of the protocol.
        version: u32,
        /// The provider's id.
        provider: String,
        /// The refresh token, as the plugin gave it.
        #[serde(serialize_with = "exposed")]
        refresh_token: Secret,
        /// The account that the plugin named at the login.
        #[serde(skip_serializing_if = "Option::is_none")]
        account_id: Option<String>,
        /// The remaining time in milliseconds.
        timeout_ms: u64,
    },
    /// Revoke a login at the provider.
    Revoke {
        /// The version of the protocol.
        version: u32,
        /// The provider's id.
        provider: String,
        /// The refresh token.
        #[serde(serialize_with = "exposed")]
        refresh_token: Secret,
        /// The access token.
        #[serde(serialize_with = "exposed")]
        access_token: Secret,
    },
}

/// The user's reply to a question.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// Text, a secret, or the value of a choice.
    #[serde(serialize_with = "exposed")]
    Text(Secret),
    /// Whether they confirmed.
    Confirmed(bool),
    /// There is no user to answer.
    NoUser,
}

/// A question to the user.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Prompt {
    /// The plugin's id for the question; the reply repeats it.
    pub id: String,
    /// The kind of reply that is expected.
    pub kind: PromptKind,
    /// The question.
    pub text: String,
    /// The choices.
    #[serde(default)]
    pub choices: Vec<Choice>,
    /// The meaning of an empty reply: text, or the value of a choice.
    #[serde(default)]
    pub default: Option<String>,
}

/// The kind of reply that is expected.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum PromptKind {
    /// A line of text.
    Text,
    /// A line of text that is not shown while the user types it.
    Secret,
    /// One of the choices.
    Choose,
    /// Yes or no.
    Confirm,
}

/// One of the choices.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Choice {
    /// The value that is sent back.
    pub value: String,
    /// The text that is shown.
    pub label: String,
}

/// How an operation failed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Failure {
    /// What the caller does next.
    pub kind: FailureKind,
    /// A machine-readable code, such as `invalid_grant`; empty if there is none.
    #[serde(default)]
    pub code: String,
    /// A sentence for the user; empty if there is none.
    #[serde(default)]
    pub message: String,
    /// How many seconds to wait before the next attempt.
    #[serde(default)]
    pub retry_after: Option<u64>,
}

/// What the caller does next after a failure.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(from = "String")]
pub enum FailureKind {
    /// The provider refuses the user, or exactly this refresh token: a new login is needed.
    Rejected,
    /// The plugin's configuration is wrong; the login may still be valid.
    Misconfigured,
    /// Nothing is proved: try again later. Unknown kinds count as this one.
    Unavailable,
    /// The refresh token was sent and no response came: it may or may not have been used up.
    Unknown,
    /// The user canceled, or there is no user to answer.
    Canceled,
    /// The plugin does not do this operation.
    Unsupported,
    /// The plugin does not support this protocol version.
    UnsupportedVersion,
    /// The request is invalid for the plugin.
    InvalidRequest,
}

/// A message of a plugin. It may contain secrets, so it has no `Debug`.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Message {
    Hello {
        versions: Vec<u32>,
        id: String,
        #[serde(default)]
        label: String,
        #[serde(default)]
        operations: Vec<String>,
    },
    Progress {
        #[serde(default)]
        text: String,
    },
    Open {
        url: String,
        #[serde(default)]
        text: String,
    },
    DeviceCode {
        url: String,
        code: String,
        #[serde(default)]
        expires_in: Option<u64>,
    },
    Prompt(Prompt),
    Result {
        #[serde(default)]
        credential: Map<String, serde_json::Value>,
    },
    Error(Failure),
}

impl Message {
    /// The values of `type`.
    pub(super) const TYPES: [&str; 7] =
        ["hello", "progress", "open", "device_code", "prompt", "result", "error"];
}

impl Request {
    /// The line to send, with its line end.
    pub(crate) fn line(&self) -> Vec<u8> {
        line(self)
    }
}

/// The line that replies to `prompt`, with its line end.
pub(super) fn response(prompt: &str, value: &Reply) -> Vec<u8> {
    #[derive(Serialize)]
    struct ReplyMessage<'a> {
        r#type: &'static str,
        id: &'a str,
        value: &'a Reply,
    }
    line(&ReplyMessage { r#type: "answer", id: prompt, value })
}

fn line(message: &impl Serialize) -> Vec<u8> {
    // Strings, numbers and booleans always serialize.
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line
}

fn exposed<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

impl FailureKind {
    const ALL: [(Self, &str); 8] = [
        (Self::Rejected, "rejected"),
        (Self::Misconfigured, "misconfigured"),
        (Self::Unavailable, "unavailable"),
        (Self::Unknown, "unknown"),
        (Self::Canceled, "canceled"),
        (Self::Unsupported, "unsupported"),
        (Self::UnsupportedVersion, "unsupported_version"),
        (Self::InvalidRequest, "invalid_request"),
    ];
}

impl From<String> for FailureKind {
    fn from(text: String) -> Self {
        let known = Self::ALL.into_iter().find(|(_, word)| *word == text);
        known.map_or(Self::Unavailable, |(kind, _)| kind)
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::ALL.into_iter().find(|(kind, _)| kind == self).map(|(_, word)| word);
        formatter.write_str(word.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_and_its_debug_has_no_secret() {
        let request = Request::Refresh {
            version: 1,
            provider: "acme".to_owned(),
            refresh_token: "r\n1".into(),
            account_id: None,
            timeout_ms: 5,
        };
        assert_eq!(
            String::from_utf8(request.line()).unwrap(),
            "{\"type\":\"refresh\",\"version\":1,\"provider\":\"acme\",\"refresh_token\":\"r\\n1\",\"timeout_ms\":5}\n"
        );
        assert!(!format!("{request:?}").contains("r\\n1"));
    }

    #[test]
    fn a_response_is_text_a_truth_or_nothing() {
        let lines = [Reply::Text("x".into()), Reply::Confirmed(true), Reply::NoUser]
            .map(|value| String::from_utf8(response("q", &value)).unwrap());
        assert_eq!(
            lines,
            [
                "{\"type\":\"answer\",\"id\":\"q\",\"value\":\"x\"}\n",
                "{\"type\":\"answer\",\"id\":\"q\",\"value\":true}\n",
                "{\"type\":\"answer\",\"id\":\"q\",\"value\":null}\n",
            ]
        );
    }

    #[test]
    fn a_failure_of_a_later_version_proves_nothing() {
        let failure: Failure = serde_json::from_str(r#"{"kind": "tired", "x": 1}"#).unwrap();
        assert_eq!(failure.kind, FailureKind::Unavailable);
    }
}
