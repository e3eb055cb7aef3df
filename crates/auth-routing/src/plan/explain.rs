//! A plan in words: the output of `models auth explain`.

use std::fmt;

use crate::plan::{Exclusion, Source, Warning, Why};

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::StoredOrder => "the agent's stored order",
            Self::ConfigOrder => "auth.order in the config",
            Self::ConfigProfiles => "auth.profiles in the config",
            Self::Profiles => "the stored profiles",
        })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned => formatter.write_str("pinned"),
            Self::Listed(place) => write!(formatter, "number {place} in the order"),
            Self::LeastRecentlyUsed { kind, last_used: None } => {
                write!(formatter, "{}, no use reported", kind.as_str())
            }
            Self::LeastRecentlyUsed { kind, last_used: Some(_) } => {
                write!(formatter, "{}, least recently used", kind.as_str())
            }
            Self::InCooldown { reason: None, .. } => formatter.write_str("in cooldown"),
            Self::InCooldown { reason: Some(reason), .. } => {
                write!(formatter, "in cooldown: {reason}")
            }
        }
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => formatter.write_str("not stored"),
            Self::ForeignProvider(provider) => write!(formatter, "a profile of `{provider}`"),
            Self::DeclaredForeign(provider) => {
                write!(formatter, "auth.profiles says it is a profile of `{provider}`")
            }
            Self::ModeMismatch { declared, stored } => write!(
                formatter,
                "auth.profiles says `{declared}`, stored is `{}`",
                stored.as_str()
            ),
            Self::NoSecret => formatter.write_str("it has no secret"),
            Self::Expired(_) => formatter.write_str("the token has expired"),
            Self::NotListed(source) => write!(formatter, "not in {source}"),
            Self::NotRequired => formatter.write_str("another profile is pinned"),
            Self::Blocked(obstacle) => write!(formatter, "{obstacle}"),
        }
    }
}

impl Exclusion {
    /// A short name for JSON output.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown_profile",
            Self::ForeignProvider(_) => "foreign_provider",
            Self::DeclaredForeign(_) => "declared_foreign",
            Self::ModeMismatch { .. } => "mode_mismatch",
            Self::NoSecret => "no_secret",
            Self::Expired(_) => "expired",
            Self::NotListed(_) => "not_listed",
            Self::NotRequired => "not_pinned",
            Self::Blocked(obstacle) => obstacle.code(),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyOrder => formatter.write_str("the order is empty, so no profile is used"),
            Self::NoKnownProfile => formatter
                .write_str("no id in the order is a profile of the provider, so none is used"),
            Self::UnknownId(id) => write!(formatter, "the order names `{id}`, which is not stored"),
            Self::ForeignId(id) => {
                write!(formatter, "the order names `{id}`, a profile of another provider")
            }
        }
    }
}
