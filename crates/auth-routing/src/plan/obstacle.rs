//! What a plan cannot know from the store alone: that asking for a candidate fails now.

use std::fmt;

use auth_store::Timestamp;

/// Why asking for a candidate fails now, although no rule leaves it out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Obstacle {
    /// Its access token has ended, and its issuer refused the refresh token with this code.
    Refused(String),
    /// Its access token has ended, and the response to its refresh is kept and could not be read.
    Unmerged(String),
    /// Its access token has ended, and its issuer is not asked again before then.
    Waiting(Option<Timestamp>),
    /// Its access token has ended, and nothing can renew it, for this reason.
    CannotRefresh(String),
    /// Its key is kept elsewhere, and is not there, for this reason.
    NoKey(String),
}

impl Obstacle {
    /// A short name for JSON output.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(_) => "needs_login",
            Self::Unmerged(_) => "unmerged",
            Self::Waiting(_) => "waiting",
            Self::CannotRefresh(_) => "cannot_refresh",
            Self::NoKey(_) => "no_key",
        }
    }

    /// Whether it goes away without anyone doing anything.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Waiting(_))
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(code) => {
                write!(formatter, "the issuer refused the refresh token ({code})")
            }
            Self::Unmerged(reason) => {
                write!(formatter, "the token response could not be read ({reason})")
            }
            Self::Waiting(_) => {
                formatter.write_str("the issuer could not answer; it is asked again later")
            }
            Self::CannotRefresh(reason) => {
                write!(formatter, "the access token has expired: {reason}")
            }
            Self::NoKey(reason) => write!(formatter, "the key could not be read: {reason}"),
        }
    }
}
