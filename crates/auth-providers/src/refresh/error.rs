//! Why a refresh ends without a credential, grouped by what the caller does next.

use std::path::PathBuf;

use auth_store::{ProfileId, StoreError, Timestamp};

use crate::oauth::endpoint::TargetError;

/// Why there is no credential. The stored one is kept in every case.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// There is no such profile. Look at the list.
    #[error("there is no profile `{profile}`")]
    UnknownProfile {
        /// The profile.
        profile: ProfileId,
    },
    /// There is nothing to refresh with. The user logs in again.
    #[error("`{profile}` needs a new login: {reason}")]
    NeedsLogin {
        /// The profile.
        profile: ProfileId,
        /// Why.
        reason: &'static str,
    },
    /// The issuer refused exactly this refresh token. The user logs in again; until then nothing is
    /// sent.
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
    /// Another agent has a later token of the same account, so this one is a stale copy. Share that
    /// agent's profile, log in here, or force the refresh.
    #[error("`{profile}` is a stale copy: `{}` has a later token of the same account", store.display())]
    StaleCopy {
        /// The profile.
        profile: ProfileId,
        /// The store with the later token.
        store: PathBuf,
    },
    /// A response does not match the profile; it is kept. A user has to look at it.
    #[error("an answer for `{profile}` could not be merged ({reason}); it is kept beside `{}`", store.display())]
    Unmerged {
        /// The profile.
        profile: ProfileId,
        /// The store next to the response file.
        store: PathBuf,
        /// Why it does not match.
        reason: String,
    },
    /// The profile belongs to another account now than when the refresh began. Either nothing was
    /// sent, or the new tokens are with the other agents that hold a copy of the old login.
    #[error("`{profile}` belongs to another account now")]
    OtherAccount {
        /// The profile.
        profile: ProfileId,
    },
    /// The provider's entry is wrong or incomplete. Fix the manifest or the environment.
    #[error("`{profile}` cannot be refreshed")]
    Target {
        /// The profile.
        profile: ProfileId,
        /// What is wrong.
        #[source]
        target: TargetError,
    },
    /// The issuer refused the client, not the token. Fix the manifest or the environment.
    #[error("the issuer refused our client for `{profile}`: {code}")]
    Misconfigured {
        /// The profile.
        profile: ProfileId,
        /// The issuer's error code and explanation.
        code: String,
    },
    /// The issuer could not be reached, or did not respond. Try again, not before `retry_at`; use
    /// another profile meanwhile.
    #[error("`{profile}` could not be refreshed now: {reason}")]
    Unavailable {
        /// The profile.
        profile: ProfileId,
        /// Why.
        reason: String,
        /// Nothing is sent before this time.
        retry_at: Option<Timestamp>,
    },
    /// The result could not have been saved, so nothing was sent. Free disk space, or make the
    /// directory writable.
    #[error("nothing was sent for `{profile}`, because the result could not be saved")]
    CannotSave {
        /// The profile.
        profile: ProfileId,
        /// The cause.
        source: StoreError,
    },
    /// The store kept changing during every attempt. Try again later.
    #[error("`{profile}` kept changing while it was being refreshed")]
    Unfinished {
        /// The profile.
        profile: ProfileId,
    },
    /// The store or a lock is not available.
    #[error(transparent)]
    Store(#[from] StoreError),
}
