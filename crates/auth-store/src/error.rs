//! What can go wrong with a store, grouped by what the caller does next.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::id::ProfileId;

/// Why a store could not be read or written. Nothing was lost: the file is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file is not a store and there was no backup to recover from. Show the person where;
    /// they mend it or move it away. It is never overwritten.
    #[error("`{}` is damaged: {error}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and how.
        error: ParseError,
    },
    /// A newer program wrote the file, so we only read it. Tell the person to use that program,
    /// or to update this one.
    #[error("`{}` is of version {version}, which is newer than this program writes", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: f64,
    },
    /// A part of the file is something else than it should be, and a change would have replaced it.
    /// Nothing was written; the person corrects the file.
    #[error("`{}`: {error}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The part, and what is wrong with it.
        error: Unusable,
    },
    /// The credentials have moved to a database beside the file, so we only read what is left.
    #[error(
        "`{}` is no longer where this agent's credentials live: `{}` is beside it",
        path.display(),
        database.display()
    )]
    Superseded {
        /// The file.
        path: PathBuf,
        /// The database, or what shows that there is one.
        database: PathBuf,
    },
    /// A lock could not be had in time. Try again later; nothing was written.
    #[error("could not lock `{}` in {seconds} s: {holder}", path.display())]
    Busy {
        /// The lock.
        path: PathBuf,
        /// How long we waited.
        seconds: u64,
        /// Who has it, as far as we know.
        holder: String,
    },
    /// The file, or something at the place of one of its siblings, could be under the control of
    /// somebody else. The person has to look at it.
    #[error("refused to use `{}`: {reason}", path.display())]
    Unsafe {
        /// What we found.
        path: PathBuf,
        /// Why that is not safe.
        reason: &'static str,
    },
    /// The operating system refused.
    #[error("could not {action} `{}`", path.display())]
    Io {
        /// The verb.
        action: &'static str,
        /// Its object.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl StoreError {
    /// For `map_err`: the operating system refused to `action` `path`, or we did, since it is no
    /// regular file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.get_ref().and_then(|cause| cause.downcast_ref()) {
            Some(NotRegular(reason)) => Self::Unsafe { path: path.to_owned(), reason },
            None => Self::Io { action, path: path.to_owned(), source },
        }
    }
}

/// Why bytes are not a store. The caller keeps them, and says where the damage is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseError {
    /// The byte offset of the damage.
    pub offset: usize,
    /// What is wrong there, without any of the file's text.
    pub reason: &'static str,
    /// Whether it is JSON all the same. Then nothing is damaged: somebody wrote that, and no backup
    /// takes its place.
    pub is_json: bool,
}

impl fmt::Display for ParseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at byte {}", self.reason, self.offset)
    }
}

/// A part of the file that is something else than it should be. It is ignored when the file is
/// read, and never replaced.
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

/// The cause of an error: there is something else than a regular file.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotRegular(pub(crate) &'static str);

impl From<NotRegular> for io::Error {
    fn from(cause: NotRegular) -> Self {
        Self::other(cause)
    }
}
