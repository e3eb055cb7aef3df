//! The credential store of an agent: one file, `auth-profiles.json`, its locks, its atomic
//! writes, and the records of what became of each refresh token.
//!
//! The whole surface of a [`Store`] is three verbs: [read](Store::read),
//! [update](Store::update) with a closure, and [lock for refresh](Store::lock_for_refresh).
//! Nobody else writes the file.
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
//! The file belongs to Clawdbot and to people too. So every write is atomic and happens under two
//! locks: a kernel lock among processes of ours, and the directory that Clawdbot takes for a lock.
//! What we do not understand survives an edit; a file that does not parse is an error, never an
//! empty store; a file of a newer version is only read.
//!
//! A refresh token that an issuer rotates may be sent once. [`Records`] has a lock and a durable
//! record for each, named by a hash of the token, so that agents with copies of it find each
//! other. The protocol itself is in the crate `auth-providers`.

mod answer;
mod atomic;
mod credential;
mod directory_lock;
mod document;
mod document_edit;
mod error;
mod file_lock;
mod id;
mod json;
mod json_edit;
mod json_layout;
mod json_text;
mod json_value;
mod jwt;
mod legacy;
mod lock_holder;
mod lock_memory;
mod model_usage;
mod open;
mod place;
mod presence;
mod read_through;
mod record;
mod recovery;
mod reference;
mod rescue;
mod runtime_cache;
mod secret;
mod state_directory;
mod store;
mod store_lock;
mod text;
mod time;
mod trust;
mod usage;

pub use answer::{AnswerFile, StoredAnswer};
pub use atomic::{
    create_private_directory, replace_if_unchanged, write_atomic, write_atomic_unsynced,
};
pub use credential::{Credential, Kind, OAuthCredential, Profile};
pub use document::{Document, Malformed, ParseError, Unusable};
pub use error::StoreError;
pub use file_lock::hold;
pub use id::{ProfileId, ProviderId, trim};
pub use jwt::unverified_claims;
pub use legacy::{Imported, LegacyEntries, import_legacy};
#[doc(hidden)]
pub use lock_holder::{LockHolder, holder_of_lock};
pub use model_usage::ModelUsage;
pub use open::{open_regular, read_regular, read_regular_text};
pub use place::superseded_by;
pub use record::{Record, Records, State, TokenKey, TokenLock};
pub use recovery::{Recoveries, Recovery};
pub use reference::KeyReference;
pub use runtime_cache::RuntimeCache;
pub use secret::Secret;
pub use state_directory::StateDirectory;
pub use store::Store;
pub use store_lock::StoreLock;
pub use text::{is_hostile, printable};
pub use time::{Clock, SystemClock, Timestamp, since_boot};
pub use usage::Usage;
