//! Validates a plugin's output line by line, as values. Nothing here touches a process.

use auth_store::Secret;
use serde_json::{Map, Value};

use crate::http::address;
use crate::plugin::message::{Failure, Message, Prompt, PromptKind};
use crate::plugin::protocol::{LONGEST_LINE, MOST_MESSAGES, MOST_PROMPTS, VERSIONS};
use crate::text;

/// The operation that a plugin performs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation {
    /// Log in.
    Login,
    /// Renew a login.
    Refresh,
    /// End a login at the provider.
    Revoke,
}

/// The state of one conversation with a plugin.
#[derive(Debug)]
pub struct Conversation {
    id: String,
    operation: Operation,
    is_greeted: bool,
    pending: Option<String>,
    messages: u32,
    prompts: u32,
}

/// The plugin's introduction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hello {
    /// The newest protocol version that both sides support.
    pub version: u32,
    /// The provider's name for people; empty if the plugin sends none.
    pub label: String,
    /// The plugin's operations, as the words of its requests.
    pub operations: Vec<String>,
}

/// What a line of a plugin asks for. Every text for the user is one clean line.
#[derive(Debug)]
pub enum Event {
    /// The plugin has started.
    Hello(Hello),
    /// Show progress; an empty text is a sign of life.
    Progress(String),
    /// Send the user to this address.
    Open {
        /// The address: `https`, or `http` on a loopback host.
        url: String,
        /// The reason to open it.
        text: String,
    },
    /// Show an address, and the code to enter there.
    DeviceCode {
        /// The address.
        url: String,
        /// The code.
        code: String,
        /// The lifetime of the code in seconds.
        expires_in: Option<u64>,
    },
    /// Ask the user.
    Prompt(Prompt),
    /// Success. After a login or a refresh it has a credential, which contains secrets and is not
    /// validated yet.
    Result(Box<PluginReply>),
    /// Failure.
    Error(Failure),
}

/// A result as received.
pub struct PluginReply {
    /// The credential; empty if there is none.
    pub(crate) credential: Map<String, Value>,
    pub(crate) line: Vec<u8>,
}

/// How a plugin violated the protocol. The text contains no secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Violation {
    /// It supports only unknown protocol versions: update it, or this program.
    #[error("the plugin speaks no version of the protocol that is known here: {0}")]
    Version(String),
    /// It breaks a rule of the protocol: its author has to correct it.
    #[error("the plugin broke the protocol: {0}")]
    Protocol(String),
}

impl Operation {
    /// The word in `operations`, and the `type` of the request.
    pub fn word(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Refresh => "refresh",
            Self::Revoke => "revoke",
        }
    }
}

impl Conversation {
    /// A conversation with the plugin of the provider `id`, for `operation`.
    pub fn new(id: &str, operation: Operation) -> Self {
        Self {
            id: id.to_owned(),
            operation,
            is_greeted: false,
            pending: None,
            messages: 0,
            prompts: 0,
        }
    }

    /// The id of the open question.
    pub fn pending(&self) -> Option<&str> {
        self.pending.as_deref()
    }

    /// The open question was answered.
    pub fn received(&mut self) {
        self.pending = None;
    }

    /// Validates the next line, without its line end.
    pub fn accept(&mut self, line: &[u8]) -> Result<Event, Violation> {
        self.messages += 1;
        if self.messages > MOST_MESSAGES {
            return Err(violation("more messages than one conversation may have"));
        }
        if line.len() > LONGEST_LINE {
            return Err(violation("a line that is too long"));
        }
        let message = parse(line)?;
        if let Message::Hello { .. } = &message {
            if self.is_greeted {
                return Err(violation("a second `hello`"));
            }
        } else if !self.is_greeted {
            return Err(violation("its first message is not `hello`"));
        }
        match message {
            Message::Hello { versions, id, label, operations } => {
                self.is_greeted = true;
                self.greeted(&versions, &id, &label, &operations)
            }
            Message::Progress { text } => Ok(Event::Progress(text::clean(&text))),
            Message::Open { url, text } => {
                self.only_in_login("open")?;
                Ok(Event::Open { url: page(&url)?, text: text::clean(&text) })
            }
            Message::DeviceCode { url, code, expires_in } => {
                self.only_in_login("device_code")?;
                let is_plain = is_word(&code, LONGEST_CODE);
                if !is_plain {
                    return Err(violation("`device_code` with a code that cannot be typed"));
                }
                Ok(Event::DeviceCode { url: page(&url)?, code, expires_in })
            }
            Message::Prompt(prompt) => {
                self.only_in_login("prompt")?;
                if self.pending.is_some() {
                    return Err(violation("a question before the one before it was answered"));
                }
                self.prompts += 1;
                if self.prompts > MOST_PROMPTS {
                    return Err(violation("more questions than one login may have"));
                }
                let prompt = question(prompt)?;
                self.pending = Some(prompt.id.clone());
                Ok(Event::Prompt(prompt))
            }
            Message::Result { credential } => {
                let needs_one = self.operation != Operation::Revoke;
                if needs_one && credential.is_empty() {
                    return Err(violation("a `result` without a credential"));
                }
                Ok(Event::Result(Box::new(PluginReply { credential, line: line.to_vec() })))
            }
            Message::Error(failure) => Ok(Event::Error(cleaned(&failure))),
        }
    }

    fn greeted(
        &self,
        versions: &[u32],
        id: &str,
        label: &str,
        operations: &[String],
    ) -> Result<Event, Violation> {
        let common = versions.iter().filter(|version| VERSIONS.contains(version)).max();
        let Some(version) = common else {
            let said: Vec<_> = versions.iter().take(9).map(u32::to_string).collect();
            return Err(Violation::Version(format!(
                "{} against {}",
                said.join(", "),
                VERSIONS.map(|version| version.to_string()).join(", ")
            )));
        };
        if id != self.id {
            let id = text::clean(id);
            return Err(Violation::Protocol(format!(
                "it is for the provider `{id}`, not `{}`",
                self.id
            )));
        }
        Ok(Event::Hello(Hello {
            version: *version,
            label: text::clean(label),
            operations: operations.iter().take(9).map(|word| text::clean(word)).collect(),
        }))
    }

    fn only_in_login(&self, word: &str) -> Result<(), Violation> {
        if self.operation == Operation::Login {
            return Ok(());
        }
        let operation = self.operation.word();
        Err(Violation::Protocol(format!("`{word}` in a `{operation}`, where there is no person")))
    }
}

impl Failure {
    /// This failure with every occurrence of `secret` removed from its texts.
    #[must_use]
    pub(crate) fn without(self, secret: &Secret) -> Self {
        Self {
            code: text::without(&self.code, secret),
            message: text::without(&self.message, secret),
            ..self
        }
    }

    /// The text for the user: the message, else the code, else the kind.
    pub(crate) fn words(&self) -> String {
        match (self.message.as_str(), self.code.as_str()) {
            ("", "") => format!("the plugin says `{}`", self.kind),
            ("", code) => code.to_owned(),
            (message, _) => message.to_owned(),
        }
    }
}

/// The message on a line. The error for an invalid line does not repeat its content, which may be
/// secret.
fn parse(line: &[u8]) -> Result<Message, Violation> {
    let value: Value = serde_json::from_slice(line).map_err(|error| {
        Violation::Protocol(format!("a line is not JSON, at column {}", error.column()))
    })?;
    let Some(word) = value.get("type").and_then(Value::as_str) else {
        return Err(violation("a line is no object with a `type`"));
    };
    if !Message::TYPES.contains(&word) {
        // Only text that looks like a protocol word is shown.
        let is_word =
            word.len() <= 20 && word.bytes().all(|it| it.is_ascii_lowercase() || it == b'_');
        let word = if is_word { word } else { "…" };
        return Err(Violation::Protocol(format!("there is no message `{word}`")));
    }
    let word = word.to_owned();
    serde_path_to_error::deserialize(value).map_err(|error| {
        let inner = error.inner().to_string();
        // Only this error names no value.
        let what = inner.split_once(" at ").map_or(inner.as_str(), |(what, _)| what);
        let what = if what.starts_with("missing field") {
            what.to_owned()
        } else {
            "a field has the wrong type".to_owned()
        };
        Violation::Protocol(format!("`{word}`: {}", text::clean(&what)))
    })
}

/// A question, checked so that it can be shown and answered.
fn question(prompt: Prompt) -> Result<Prompt, Violation> {
    if !is_word(&prompt.id, LONGEST_NAME) {
        return Err(violation("`prompt`: its `id` is empty, too long or not plain"));
    }
    let is_choice = prompt.kind == PromptKind::Choose;
    if is_choice && !(1..=MOST_CHOICES).contains(&prompt.choices.len()) {
        return Err(violation("`prompt`: nothing, or too much, to choose from"));
    }
    let is_one = |value: &String| prompt.choices.iter().any(|choice| choice.value == *value);
    if is_choice && prompt.default.as_ref().is_some_and(|value| !is_one(value)) {
        return Err(violation("`prompt`: its `default` is none of the choices"));
    }
    let text = text::clean(&prompt.text);
    if text.is_empty() {
        return Err(violation("`prompt`: it asks nothing"));
    }
    let choices = prompt.choices.into_iter().map(|mut choice| {
        choice.label = text::clean(&choice.label);
        choice
    });
    Ok(Prompt { text, choices: choices.collect(), ..prompt })
}

fn page(url: &str) -> Result<String, Violation> {
    if url.len() > LONGEST_URL {
        return Err(violation("an address that is too long"));
    }
    match address::parse(url) {
        Ok(url) => Ok(url.into()),
        Err(reason) => Err(Violation::Protocol(format!("an address that is not opened: {reason}"))),
    }
}

fn cleaned(failure: &Failure) -> Failure {
    Failure {
        code: text::clean(&failure.code),
        message: text::clean(&failure.message),
        ..failure.clone()
    }
}

/// Visible ASCII with single spaces, up to some length.
fn is_word(text: &str, longest: usize) -> bool {
    !text.is_empty()
        && text.len() <= longest
        && text.trim() == text
        && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

fn violation(what: &str) -> Violation {
    Violation::Protocol(what.to_owned())
}

impl std::fmt::Debug for PluginReply {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Answer(REDACTED)")
    }
}

const LONGEST_URL: usize = 4096;
const LONGEST_NAME: usize = 64;
const LONGEST_CODE: usize = 64;
const MOST_CHOICES: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = r#"{"type":"hello","versions":[1,7],"id":"acme","label":"Acme\u001b[1m"}"#;

    /// The event for the last of `lines`, after a `hello`.
    fn said(operation: Operation, lines: &[&str]) -> Result<Event, String> {
        let mut conversation = Conversation::new("acme", operation);
        let mut event = conversation.accept(HELLO.as_bytes());
        for line in lines {
            event = conversation.accept(line.as_bytes());
        }
        event.map_err(|violation| violation.to_string())
    }

    #[track_caller]
    fn breaks(operation: Operation, lines: &[&str], reason: &str) {
        let violation = said(operation, lines).unwrap_err();
        assert!(violation.contains(reason), "{violation}");
    }

    #[test]
    fn a_hello_is_for_a_version_and_a_provider() {
        let Ok(Event::Hello(hello)) = said(Operation::Login, &[]) else { panic!("no hello") };
        assert_eq!((hello.version, hello.label.as_str()), (1, "Acme[1m"));
        breaks(Operation::Login, &[HELLO], "a second `hello`");
        for (line, reason) in [
            (r#"{"type":"hello","versions":[2,3],"id":"acme"}"#, "2, 3 against 1"),
            (r#"{"type":"hello","versions":[1],"id":"other"}"#, "for the provider `other`"),
            (r#"{"type":"hello","id":"acme"}"#, "missing field `versions`"),
            (r#"{"type":"progress"}"#, "not `hello`"),
        ] {
            let violation = Conversation::new("acme", Operation::Login).accept(line.as_bytes());
            assert!(violation.unwrap_err().to_string().contains(reason), "{line}");
        }
    }

    #[test]
    fn what_is_no_message_is_told_without_its_content() {
        for (line, reason) in [
            ("SECRET", "not JSON, at column 1"),
            ("\"SECRET\"", "no object with a `type`"),
            (r#"{"type":"dance"}"#, "no message `dance`"),
            (r#"{"type":"SECRET"}"#, "no message `…`"),
            (r#"{"type":"result","credential":"SECRET"}"#, "`result`: a field has the wrong type"),
            (r#"{"type":"error","kind":{"SECRET":1}}"#, "`error`: a field has the wrong type"),
            (r#"{"type":"result"}"#, "without a credential"),
        ] {
            let violation = said(Operation::Refresh, &[line]).unwrap_err();
            assert!(violation.contains(reason) && !violation.contains("SECRET"), "{violation}");
        }
    }

    #[test]
    fn there_is_no_user_in_a_refresh() {
        for line in [
            r#"{"type":"open","url":"https://a.example/"}"#,
            r#"{"type":"device_code","url":"https://a.example/","code":"A"}"#,
            r#"{"type":"prompt","id":"a","kind":"text","text":"Name"}"#,
        ] {
            breaks(Operation::Refresh, &[line], "where there is no person");
            breaks(Operation::Revoke, &[line], "where there is no person");
            assert!(said(Operation::Login, &[line]).is_ok(), "{line}");
        }
    }

    #[test]
    fn one_question_at_a_time_and_each_can_be_answered() {
        let ask = |more: &str| format!(r#"{{"type":"prompt","id":"a","text":"Which?",{more}}}"#);
        let text = ask(r#""kind":"text""#);
        breaks(Operation::Login, &[&text, &text], "before the one before it");
        breaks(Operation::Login, &[&ask(r#""kind":"choose""#)], "nothing, or too much");
        let bad = ask(r#""kind":"choose","choices":[{"value":"x","label":"X"}],"default":"y""#);
        breaks(Operation::Login, &[&bad], "none of the choices");
        breaks(Operation::Login, &[&ask(r#""kind":"shout""#)], "wrong type");

        let mut conversation = Conversation::new("acme", Operation::Login);
        conversation.accept(HELLO.as_bytes()).unwrap();
        for _ in 0..MOST_PROMPTS {
            conversation.accept(text.as_bytes()).unwrap();
            assert_eq!(conversation.pending(), Some("a"));
            conversation.received();
        }
        assert!(
            conversation
                .accept(text.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("more questions")
        );
    }

    #[test]
    fn nobody_is_sent_to_an_address_that_is_not_one() {
        for url in
            ["http://a.example/", "file:///etc/passwd", "javascript:1", "https://u@a.example/"]
        {
            let line = format!(r#"{{"type":"open","url":"{url}"}}"#);
            breaks(Operation::Login, &[&line], "an address that is not opened");
        }
        let line = r#"{"type":"device_code","url":"https://a.example/","code":"A\u0007"}"#;
        breaks(Operation::Login, &[line], "cannot be typed");
    }

    #[test]
    fn a_flood_ends() {
        let mut conversation = Conversation::new("acme", Operation::Login);
        conversation.accept(HELLO.as_bytes()).unwrap();
        for _ in 1..MOST_MESSAGES {
            conversation.accept(br#"{"type":"progress"}"#).unwrap();
        }
        assert!(conversation.accept(br#"{"type":"progress"}"#).is_err());
        let long = format!(r#"{{"type":"progress","text":"{}"}}"#, "x".repeat(LONGEST_LINE));
        breaks(Operation::Login, &[&long], "too long");
    }
}
