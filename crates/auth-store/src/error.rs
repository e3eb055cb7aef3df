//! What can go wrong with a store, grouped by what the caller does next.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::id::ProfileId;

/// Why a store could not be read or written. The file is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file is not a store, and there is no backup to recover from. The user has to fix it or
    /// move it away. It is never overwritten.
    #[error("`{}` is damaged: {error}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and how.
        error: ParseError,
    },
    /// A newer program wrote the file, so we only read it. The user has to use that program, or to
    /// update this one.
    #[error("`{}` is of version {version}, which is newer than this program writes", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: f64,
    },
    /// A part of the file has an unexpected type, and a change would have replaced it. Nothing was
    /// written. The user has to correct the file.
    #[error("`{}`: {error}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The part, and what is wrong with it.
        error: Unusable,
    },
    /// The credentials moved to a database beside the file, so we only read the file.
    #[error(
        "`{}` is not where this agent's credentials live: `{}` shows that OpenClaw keeps them in a database",
        path.display(),
        database.display()
    )]
    Superseded {
        /// The file.
        path: PathBuf,
        /// The database, or the file that shows that there is one.
        database: PathBuf,
    },
    /// A lock was held until the timeout. Nothing was written. Try again later.
    #[error("could not lock `{}` in {seconds} s: {holder}", path.display())]
    Busy {
        /// The lock.
        path: PathBuf,
        /// The timeout.
        seconds: u64,
        /// The holder, if it is known.
        holder: String,
    },
    /// Another user could control the file, or something other than a regular file is at its path
    /// or at that of one of its siblings. The user has to look at it.
    #[error("refused to use `{}`: {reason}", path.display())]
    Unsafe {
        /// The path that was refused.
        path: PathBuf,
        /// Why that is not safe.
        reason: &'static str,
    },
    /// The operating system refused.
    #[error("could not {action} `{}`", path.display())]
    Io {
        /// The verb for the message.
        action: &'static str,
        /// The object of the verb.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl StoreError {
    /// For `map_err`: the operating system refused to `action` `path`, or we did, because the file is
    /// not believed.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.get_ref().and_then(|cause| cause.downcast_ref()) {
            Some(Refused(reason)) => Self::Unsafe { path: path.to_owned(), reason },
            None => Self::Io { action, path: path.to_owned(), source },
        }
    }
}

/// Why bytes are not a store. The caller keeps the bytes, and reports where the damage is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseError {
    /// The byte offset.
    pub offset: usize,
    /// What is wrong there, without any of the file's text.
    pub reason: &'static str,
    /// Whether the bytes are valid JSON anyway. Then nothing is damaged: another program or the
    /// user wrote them, and no backup replaces them.
    pub is_json: bool,
}

impl fmt::Display for ParseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at byte {}", self.reason, self.offset)
    }
}

/// A part of the file with an unexpected type. It is ignored when the file is read, and never
/// replaced.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unusable {
    /// The part, in words.
    pub part: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Unusable {
    pub(crate) fn section(name: &str) -> Self {
        Self { part: format!("`{name}`"), reason: "is not an object" }
    }

    pub(crate) fn entry(section: &str, id: &ProfileId) -> Self {
        Self { part: format!("the entry `{id}` of `{section}`"), reason: "is not an object" }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.part, self.reason)
    }
}

/// The cause of an error: why a file is not believed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) &'static str);

impl From<Refused> for io::Error {
    fn from(cause: Refused) -> Self {
        Self::other(cause)
    }
}

/// Whether it was not the operating system that refused to open a file, but we: what is in it could
/// be of another user, or it is no regular file, or too large. The error says which.
pub fn is_refused(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.downcast_ref::<Refused>().is_some())
}
