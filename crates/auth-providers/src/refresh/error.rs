//! How a refresh can end without a credential, grouped by what the caller does next.

use std::path::PathBuf;

use auth_store::{ProfileId, StoreError, Timestamp};

use crate::oauth::endpoint::TargetError;

/// Why there is no credential. The stored one is kept, whatever the variant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// No such profile. Look at the list.
    #[error("there is no profile `{profile}`")]
    UnknownProfile {
        /// The profile.
        profile: ProfileId,
    },
    /// Nothing can be refreshed. The user logs in again.
    #[error("`{profile}` needs a new login: {reason}")]
    NeedsLogin {
        /// The profile.
        profile: ProfileId,
        /// Why.
        reason: &'static str,
    },
    /// The issuer refused exactly this refresh token. The user logs in again; until then
    /// nothing is sent.
    #[error("the issuer refused the refresh token of `{profile}`: {code}")]
    Rejected {
        /// The profile.
        profile: ProfileId,
        /// The issuer's error code.
        code: String,
    },
    /// The issuer wants the user to log in again before it renews anything. The token may be good,
    /// so it is asked about again later.
    #[error("the issuer wants a new login for `{profile}`: {code}")]
    LoginRequired {
        /// The profile.
        profile: ProfileId,
        /// The issuer's error code.
        code: String,
    },
    /// Another agent has a later token of the same account: this one is a copy that was left
    /// behind. Share that agent's profile, log in here, or force it.
    #[error("`{profile}` is a stale copy: `{}` has a later token of the same account", store.display())]
    StaleCopy {
        /// The profile.
        profile: ProfileId,
        /// The store with the later token.
        store: PathBuf,
    },
    /// A response came that does not fit the profile; it is kept. A user has to look at it.
    #[error("an answer for `{profile}` could not be merged ({reason}); it is kept beside `{}`", store.display())]
    Unmerged {
        /// The profile.
        profile: ProfileId,
        /// The store beside which the response lies.
        store: PathBuf,
        /// Why it does not fit.
        reason: String,
    },
    /// The profile belongs to another account now than when the refresh began. Nothing was sent,
    /// or what came is with the other agents that hold a copy of the old login.
    #[error("`{profile}` belongs to another account now")]
    OtherAccount {
        /// The profile.
        profile: ProfileId,
    },
    /// The provider's entry is wrong or incomplete. Mend the manifest or the environment.
    #[error("`{profile}` cannot be refreshed")]
    Target {
        /// The profile.
        profile: ProfileId,
        /// What is wrong.
        #[source]
        target: TargetError,
    },
    /// The issuer refused the client, not the token. Mend the manifest or the environment.
    #[error("the issuer refused our client for `{profile}`: {code}")]
    Misconfigured {
        /// The profile.
        profile: ProfileId,
        /// The issuer's error code and explanation.
        code: String,
    },
    /// The issuer could not be asked, or did not answer. Try again, not before `retry_at`; use
    /// another profile meanwhile.
    #[error("`{profile}` could not be refreshed now: {reason}")]
    Unavailable {
        /// The profile.
        profile: ProfileId,
        /// Why.
        reason: String,
        /// Nothing is sent before then.
        retry_at: Option<Timestamp>,
    },
    /// The result could not have been saved, so nothing was sent. Make room, or make the
    /// directory writable.
    #[error("nothing was sent for `{profile}`, because the result could not be saved")]
    CannotSave {
        /// The profile.
        profile: ProfileId,
        /// Why not.
        source: StoreError,
    },
    /// The store changed again and again while we looked. Try again later.
    #[error("`{profile}` kept changing while it was being refreshed")]
    Unfinished {
        /// The profile.
        profile: ProfileId,
    },
    /// The store, or a lock, could not be had.
    #[error(transparent)]
    Store(#[from] StoreError),
}
