//! The credential store of an agent: one file, `auth-profiles.json`, its locks, its atomic
//! writes, and the records of what became of each refresh token.

mod answer;
mod atomic;
mod credential;
mod directory_lock;
mod document;
mod error;
mod file_lock;
mod id;
mod json;
mod jwt;
mod record;
mod secret;
mod state_directory;
mod store;
mod time;
mod usage;

pub use answer::{AnswerFile, StoredAnswer};
pub use atomic::{create_private_directory, write_atomic};
pub use credential::{Credential, Kind, OAuthCredential, Profile};
pub use document::{Document, Malformed, ParseError};
pub use error::StoreError;
pub use id::{ProfileId, ProviderId, trim};
pub use jwt::unverified_claims;
pub use record::{Record, Records, State, TokenKey, TokenLock};
pub use secret::Secret;
pub use state_directory::StateDirectory;
pub use store::{Store, StoreLock};
pub use time::{Clock, SystemClock, Timestamp};
pub use usage::Usage;
