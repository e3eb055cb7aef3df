//! The credential store of an agent: one file, `auth-profiles.json`, its locks, its atomic
//! writes, and a record for each refresh token.
//!
//! A [`Store`] has three verbs: [read](Store::read), [update](Store::update) with a closure, and
//! [lock for refresh](Store::lock_for_refresh). No other code writes the file.
//!
//! ```
//! use auth_store::{Credential, ProfileId, Store};
//!
//! let directory = tempfile::tempdir()?;
//! let store = Store::at(directory.path().join("auth-profiles.json"));
//!
//! let id = ProfileId::from("acme:work");
//! let key = Credential::ApiKey("not-a-real-key".into());
//! store.update(|document| document.put(&id, "acme", &key, &serde_json::Map::new()))?;
//!
//! let document = store.read()?;
//! let profile = document.profile(&id).ok_or("it was just stored")?;
//! assert_eq!(profile.provider.as_str(), "acme");
//! assert_eq!(format!("{:?}", document.credential(&id)), "Some(ApiKey(REDACTED))");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Clawdbot and users edit the file too. So every write is atomic and happens under two locks: a
//! kernel lock for our processes, and the directory that Clawdbot uses as a lock. Unknown members
//! survive an edit. A file that does not parse is an error, never an empty store. A file of a newer
//! version is only read.
//!
//! A refresh token that an issuer rotates may be sent only once. [`Records`] has a lock and a durable
//! record for each token, named by a hash of it, so that agents with copies of one token find each
//! other. The refresh protocol itself is in the crate `auth-providers`.

mod clawdbot_lock;
mod document;
mod error;
mod fs;
mod id;
mod jwt;
pub mod paths;
mod refresh_record;
mod secret;
mod store;
mod text;
mod time;
mod variable;

#[doc(hidden)]
pub use clawdbot_lock::openclaw::{LockHolder, holder_of_lock};
pub use document::credential::{Credential, Kind, OAuthCredential, Profile};
pub use document::entry::Entry;
pub use document::reference::KeyReference;
pub use document::usage::Usage;
pub use document::{Document, Malformed};
pub use error::{ParseError, StoreError, Unusable, is_refused};
pub use fs::atomic::{
    create_private as create_private_file, create_private_directory, replace_if_unchanged,
    write_atomic, write_atomic_unsynced,
};
pub use fs::flock::{hold, open_or_create as open_lock_file};
pub use fs::open::{
    open_regular, read_at_most, read_private, read_regular, read_regular_text, read_text_at_most,
};
pub use fs::owner::is_open_to_others;
pub use fs::program::{UnsafeProgram, check_program, check_up_to_the_root};
pub use fs::root::Root;
pub use fs::stamp::Stamp;
pub use id::{ProfileId, ProviderId, is_white_space, trim};
pub use jwt::unverified_claims;
pub use refresh_record::response_file::{ResponseFile, StoredResponse};
pub use refresh_record::token_key::TokenKey;
pub use refresh_record::{Record, Records, State, TokenLock};
pub use secret::Secret;
pub use store::Store;
pub use store::audit::{AuditEvent, AuditKind, AuditLog};
pub use store::legacy_import::{Imported, LegacyEntries, import_legacy};
pub use store::lock::StoreLock;
pub use store::model_usage::ModelUsage;
pub use store::place::superseded_by;
pub use store::recovery::{Recoveries, Recovery};
pub use store::runtime_cache::RuntimeCache;
pub use store::state_directory::StateDirectory;
pub use text::{is_hostile, printable};
pub use time::{Clock, SystemClock, Timestamp, since_boot};
pub use variable::{VariableName, VariableNameError};
