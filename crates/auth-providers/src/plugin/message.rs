//! The messages, as they stand on a line.

use std::fmt;

use auth_store::Secret;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Map;

/// What we ask of a plugin: the one request of a conversation.
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
    /// Renew a login.
    Refresh {
        /// The version of the protocol.
        version: u32,
        /// The provider's id.
        provider: String,
        /// The refresh token, as the plugin gave it.
        #[serde(serialize_with = "exposed")]
        refresh_token: Secret,
        /// The account the plugin named at the login.
        #[serde(skip_serializing_if = "Option::is_none")]
        account_id: Option<String>,
        /// How many milliseconds are left.
        timeout_ms: u64,
    },
    /// End a login at the provider.
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

/// What a user answered.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// Text, a secret, or the value of a choice.
    #[serde(serialize_with = "exposed")]
    Text(Secret),
    /// Whether they confirmed.
    Confirmed(bool),
    /// Nobody answers.
    NoUser,
}

/// A question to the user.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Prompt {
    /// The plugin's name for it: comes back with the response.
    pub id: String,
    /// What sort of answer is wanted.
    pub kind: PromptKind,
    /// The question.
    pub text: String,
    /// The answers to choose from.
    #[serde(default)]
    pub choices: Vec<Choice>,
    /// What an empty answer means: text, or the value of a choice.
    #[serde(default)]
    pub default: Option<String>,
}

/// What sort of answer is wanted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum PromptKind {
    /// A line of text.
    Text,
    /// A line of text that is not shown while it is typed.
    Secret,
    /// One of the choices.
    Choose,
    /// Yes or no.
    Confirm,
}

/// One of the answers to choose from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Choice {
    /// What comes back.
    pub value: String,
    /// What is shown.
    pub label: String,
}

/// How an operation failed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Failure {
    /// What follows from it.
    pub kind: FailureKind,
    /// A word for programs, such as `invalid_grant`; empty if there is none.
    #[serde(default)]
    pub code: String,
    /// A sentence for people; empty if there is none.
    #[serde(default)]
    pub message: String,
    /// How many seconds to wait before the next attempt.
    #[serde(default)]
    pub retry_after: Option<u64>,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(from = "String")]
pub enum FailureKind {
    /// The provider refuses the user, or exactly this refresh token: a new login is needed.
    Rejected,
    /// The plugin's configuration is wrong; the login may be good.
    Misconfigured,
    /// Nothing is proved: try again later. So are kinds that nobody here knows.
    Unavailable,
    /// The refresh token was sent and no response came: nobody knows whether it was used up.
    Unknown,
    /// The user, or nobody, answered.
    Canceled,
    /// The plugin does not do this operation.
    Unsupported,
    /// The plugin does not speak this version.
    UnsupportedVersion,
    /// The request makes no sense to the plugin.
    InvalidRequest,
}

/// A message of a plugin. It may hold secrets, so it has no `Debug`.
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
    /// The words of `type`.
    pub(super) const TYPES: [&str; 7] =
        ["hello", "progress", "open", "device_code", "prompt", "result", "error"];
}

impl Request {
    /// The line that is sent, with its end.
    pub(crate) fn line(&self) -> Vec<u8> {
        line(self)
    }
}

/// The line that answers `prompt`, with its end.
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
    // Strings, numbers and booleans: nothing of it can fail.
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
