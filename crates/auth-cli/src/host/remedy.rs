//! What helps: a command that can be pasted as it is, and what it does.

use std::borrow::Cow;
use std::fmt;

/// A command that helps, and what it does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Remedy {
    /// What it does: `log in again`.
    pub what: Cow<'static, str>,
    /// The command, with real values in it.
    pub command: String,
}

/// The commands of a hint, in their order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Remedies(pub Vec<Remedy>);

impl Remedy {
    /// A remedy.
    pub fn new(what: impl Into<Cow<'static, str>>, command: impl Into<String>) -> Self {
        Self { what: what.into(), command: command.into() }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A question needs no colon.
        let colon = if self.what.ends_with('?') { "" } else { ":" };
        write!(formatter, "{}{colon} {}", self.what, self.command)
    }
}
