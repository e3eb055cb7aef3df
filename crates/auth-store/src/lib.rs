//! The credential store of an agent: one file, `auth-profiles.json`, its locks, its atomic
//! writes, and the records of what became of each refresh token.

mod credential;
mod document;
mod id;
mod json;
mod jwt;
mod secret;
mod time;
mod usage;

pub use credential::{Credential, Kind, OAuthCredential, Profile};
pub use document::{Document, Malformed, ParseError};
pub use id::{ProfileId, ProviderId, trim};
pub use jwt::unverified_claims;
pub use secret::Secret;
pub use time::{Clock, SystemClock, Timestamp};
pub use usage::Usage;
