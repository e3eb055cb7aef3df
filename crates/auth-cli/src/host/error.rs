//! The error of a command: what happened, where, what to do next; and the exit code.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use auth_store::{ProfileId, StoreError, is_open_to_others};
use serde_json::{Map, Value};

use crate::host::remedy::{Remedies, Remedy};
use crate::host::shell_quote::{moved_away, word};

/// The exit codes. The numbers are part of the interface; `docs/cli.md` lists them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Exit {
    /// Success.
    Done = 0,
    /// `models status --check`: a credential expired or is missing. `doctor`: some findings are not
    /// fixed.
    Expired = 1,
    /// `models status --check`: a credential expires soon.
    Expiring = 2,
    /// There is no credential for the request.
    NoCredential = 3,
    /// The user has to log in again.
    LogInAgain = 4,
    /// It may work later.
    TryLater = 5,
    /// All profiles are in cooldown.
    AllRest = 6,
    /// A lock was not available in time.
    Locked = 7,
    /// The store is damaged, or newer than this program.
    Store = 8,
    /// The arguments, or the configuration, are invalid.
    Usage = 64,
    /// Something could not be written.
    CannotWrite = 74,
    /// `exec`: the program is there and cannot be run.
    NotExecutable = 126,
    /// `exec`: there is no such program.
    NotFound = 127,
    /// Interrupted by the user.
    Interrupted = 130,
}

impl Exit {
    /// All exit codes.
    pub const ALL: [Self; 14] = [
        Self::Done,
        Self::Expired,
        Self::Expiring,
        Self::NoCredential,
        Self::LogInAgain,
        Self::TryLater,
        Self::AllRest,
        Self::Locked,
        Self::Store,
        Self::Usage,
        Self::CannotWrite,
        Self::NotExecutable,
        Self::NotFound,
        Self::Interrupted,
    ];
}

/// A failed command.
#[derive(Debug)]
pub struct CliError {
    /// The exit code.
    pub exit: Exit,
    /// The kind of failure, for programs: a word that does not change.
    pub code: Cow<'static, str>,
    /// What happened. Never contains a secret.
    pub message: String,
    /// What to do next: the exact command, if there is one.
    pub hint: Option<String>,
    /// The commands of the hint.
    pub remedies: Option<Box<Remedies>>,
    /// The profile concerned.
    pub profile: Option<ProfileId>,
    /// The file concerned.
    pub path: Option<Box<PathBuf>>,
}

impl CliError {
    /// A failure that ends the program with `exit`.
    pub fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            exit,
            code: code.into(),
            message: message.into(),
            hint: None,
            remedies: None,
            profile: None,
            path: None,
        }
    }

    /// The error for invalid arguments.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// The error for standard output that cannot be written.
    #[expect(clippy::needless_pass_by_value, reason = "for `map_err(CliError::stdout)`")]
    pub fn stdout(source: io::Error) -> Self {
        let code = match source.kind() {
            io::ErrorKind::BrokenPipe => READER_LEFT,
            _ => "cannot_write",
        };
        Self::new(Exit::CannotWrite, code, format!("could not write the output: {source}"))
    }

    /// Whether whoever read our output has what they wanted, and left: that is no failure to speak
    /// of.
    pub fn is_reader_gone(&self) -> bool {
        self.code == READER_LEFT
    }

    /// This error with another message.
    #[must_use]
    pub fn message(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..self }
    }

    /// This error with a hint about what to do next.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same with a command that helps; further ones are alternatives.
    #[must_use]
    pub fn remedy(mut self, remedy: Remedy) -> Self {
        self.hint = Some(match self.hint {
            Some(hint) if hint.ends_with('?') => format!("{hint} Or {remedy}"),
            Some(hint) => format!("{hint}; or {remedy}"),
            None => remedy.to_string(),
        });
        self.remedies.get_or_insert_default().0.push(remedy);
        self
    }

    /// This error with the profile concerned.
    #[must_use]
    pub fn profile(self, profile: &ProfileId) -> Self {
        Self { profile: Some(profile.clone()), ..self }
    }

    /// This error with the file concerned.
    #[must_use]
    pub fn path(self, path: &Path) -> Self {
        Self { path: Some(Box::new(path.to_owned())), ..self }
    }

    /// The error as a value: `{code, message, hint, profileId?, path?}`, and the exit code.
    pub fn to_json(&self) -> Value {
        let mut error = Map::new();
        error.insert("code".to_owned(), self.code.as_ref().into());
        error.insert("message".to_owned(), self.message.clone().into());
        error.insert("hint".to_owned(), self.hint.clone().into());
        if let Some(remedies) = &self.remedies {
            let commands: Vec<_> = remedies.0.iter().map(|it| it.command.as_str()).collect();
            error.insert("commands".to_owned(), commands.into());
        }
        if let Some(profile) = &self.profile {
            error.insert("profileId".to_owned(), profile.as_str().into());
        }
        if let Some(path) = &self.path {
            error.insert("path".to_owned(), path.display().to_string().into());
        }
        error.insert("exit".to_owned(), (self.exit as u8).into());
        Value::Object(error)
    }

    /// The error that another process of ours wrote with [`to_json`](Self::to_json).
    pub fn from_json(error: &Value) -> Self {
        let text = |name: &str| error[name].as_str().map(str::to_owned);
        let exit = Exit::ALL.into_iter().find(|exit| error["exit"] == *exit as u8);
        Self {
            exit: exit.unwrap_or(Exit::TryLater),
            code: text("code").unwrap_or_else(|| "unknown".to_owned()).into(),
            message: text("message").unwrap_or_default(),
            hint: text("hint"),
            remedies: {
                let commands = error["commands"].as_array().into_iter().flatten();
                let commands = commands.filter_map(Value::as_str);
                let all: Vec<_> = commands.map(|command| Remedy::new("", command)).collect();
                (!all.is_empty()).then(|| Box::new(Remedies(all)))
            },
            profile: text("profileId").map(ProfileId::from),
            path: text("path").map(|path| Box::new(PathBuf::from(path))),
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for CliError {}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        let message = chain(&error);
        match error {
            StoreError::Damaged { path, .. } => Self::new(Exit::Store, "store_damaged", message)
                .hint(format!(
                    "nothing was overwritten; fix the file, or move it away and log in again: {}",
                    moved_away(&path, "damaged")
                ))
                .path(&path),
            StoreError::Newer { path, .. } => Self::new(Exit::Store, "store_newer", message)
                .hint("update this program, or use the one that wrote the file")
                .path(&path),
            StoreError::Unusable { path, .. } => Self::new(Exit::Store, "store_unusable", message)
                .hint(format!(
                    "nothing was written; correct it or remove it in the file: \"${{EDITOR:-vi}}\" {}",
                    word(path.display())
                ))
                .path(&path),
            StoreError::Superseded { path, .. } => {
                Self::new(Exit::Store, "store_superseded", message)
                    .hint("nothing is written beside it; use a directory of our own: export CLAWDBOT_STATE_DIR=~/.clawdbot-sink, then clawdbot models auth import --from openclaw")
                    .path(&path)
            }
            StoreError::Busy { path, .. } => Self::new(Exit::Locked, "locked", message)
                .hint("nothing was written; try again")
                .path(&path),
            StoreError::Unsafe { path, reason } => {
                let shown = word(path.display());
                let hint = if is_open_to_others(reason) {
                    format!("look at what is in it, then: chmod go-w {shown}")
                } else {
                    format!("look at it: ls -ld {shown}")
                };
                Self::new(Exit::CannotWrite, "unsafe_file", message).hint(hint).path(&path)
            }
            StoreError::Io { path, source, .. } => {
                let hint = hint_at(source.kind());
                Self::new(Exit::CannotWrite, "cannot_write", message).hint(hint).path(&path)
            }
            _ => Self::new(Exit::CannotWrite, "store", message),
        }
    }
}

/// The hint for an error of the operating system.
fn hint_at(kind: io::ErrorKind) -> &'static str {
    use io::ErrorKind as Kind;
    match kind {
        Kind::StorageFull | Kind::QuotaExceeded => "make room on that disk, then try again",
        Kind::FileTooLarge => "raise the limit on the size of files (ulimit -f), then try again",
        Kind::ReadOnlyFilesystem => "make that file system writable, then try again",
        Kind::PermissionDenied => "see who may write there, and who you are: ls -ld, id",
        _ => "look at that file and its disk, then try again",
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The code of an error that nobody is told.
const READER_LEFT: &str = "reader_left";
