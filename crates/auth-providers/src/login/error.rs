//! Why a login ends without a credential, grouped by what the caller does next.

use std::fmt;
use std::time::Duration;

use auth_pkce::CallbackError;
use auth_store::ProviderId;

use crate::http::HttpError;
use crate::oauth::endpoint::{Missing, TargetError};
use crate::provider::Provider;

/// Why a login failed. Nothing is stored.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// This provider does not support this login flow: paste a token or a key instead.
    #[error("`{provider}` has no login through a browser")]
    NoSuchFlow {
        /// The provider.
        provider: ProviderId,
    },
    /// The provider's entry cannot be used: correct the manifest or the environment.
    #[error("`{provider}`: {reason}")]
    Misconfigured {
        /// The provider.
        provider: ProviderId,
        /// What is wrong.
        reason: String,
    },
    /// The issuer's response ends the login, or the pasted text is not a response to it.
    #[error(transparent)]
    Callback(#[from] CallbackError),
    /// The issuer refuses the code: start again.
    #[error("the provider refused the code: {code}{}", .description.as_ref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Refused {
        /// The error code.
        code: String,
        /// The issuer's explanation.
        description: Option<String>,
    },
    /// The issuer could not be reached, or its response proves nothing: try again later.
    #[error("the provider did not answer as it should: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
    /// The response contradicts itself, possibly because of tampering. Start again.
    #[error("the provider's answer cannot be trusted: {reason}")]
    Untrusted {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The device code has expired: start again.
    #[error("the code was not entered in time")]
    CodeEnded,
    /// Device login is not enabled for this account: enable it at the provider, or use another way
    /// to log in.
    #[error("`{provider}` offers no login by device code to this account")]
    NoDeviceLogin {
        /// The provider.
        provider: ProviderId,
    },
    /// The user did not respond within this time: start again.
    #[error("no response within {} minutes", .0.as_secs() / 60)]
    TimedOut(Duration),
    /// There is no listener, and the user cannot paste here: use two commands, one to begin and one
    /// to finish.
    #[error("no answer can arrive: {reason}, and there is nothing to read a pasted answer from")]
    ListenerUnavailable {
        /// Why there is no listener.
        reason: String,
    },
    /// There is no such pending login: it was finished, or it expired after ten minutes.
    #[error("no unfinished login fits this answer")]
    NoneBegun,
    /// A code without its state fits several logins: name the provider, or paste the whole address.
    #[error("the code fits several unfinished logins: {}", list(.providers))]
    SeveralBegun {
        /// The provider of each.
        providers: Vec<ProviderId>,
    },
    /// The user canceled, or the provider's plugin did so on their behalf.
    #[error("the login was given up")]
    Canceled,
    /// The plugin violates the protocol: its author has to correct it.
    #[error("the plugin of `{provider}` cannot be used: {reason}")]
    Plugin {
        /// The provider.
        provider: ProviderId,
        /// What the plugin did wrong.
        reason: String,
    },
    /// The pending login cannot be written to disk.
    #[error(transparent)]
    Store(#[from] auth_store::StoreError),
}

impl LoginError {
    /// Whether a login that was begun can still be finished: nothing was proved, or what was handed
    /// over is no answer to it.
    pub(crate) fn leaves_login(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Callback(error) => !error.ends_login(),
            _ => false,
        }
    }
}

fn list(providers: &[ProviderId]) -> String {
    let names: Vec<_> = providers.iter().map(|provider| format!("`{provider}`")).collect();
    names.join(", ")
}

pub(crate) fn misconfigured(provider: &Provider, reason: &dyn fmt::Display) -> LoginError {
    LoginError::Misconfigured { provider: provider.id.clone(), reason: reason.to_string() }
}

/// The error for a provider entry that does not say where to request tokens.
pub(crate) fn target(provider: &Provider, error: &TargetError) -> LoginError {
    let mut reason = error.to_string();
    if let TargetError::Incomplete { missing, .. } = error {
        let names = match missing {
            Missing::ClientSecret => &provider.client_secret_env,
            _ => &provider.client_id_env,
        };
        if let Some(name) = names.first() {
            reason =
                format!("it needs a {missing} of your own in the environment variable `{name}`");
        }
    }
    misconfigured(provider, &reason)
}

pub(crate) fn unavailable(error: &HttpError) -> LoginError {
    LoginError::Unavailable { reason: error.to_string() }
}
