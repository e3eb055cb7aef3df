//! What can go wrong with a store, grouped by what the caller does next.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

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
    #[error("`{}` has a newer version than this program writes", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
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
}

impl fmt::Display for ParseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at byte {}", self.reason, self.offset)
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
