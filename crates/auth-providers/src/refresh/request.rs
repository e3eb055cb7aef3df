//! What all parts of a refresh share: the request, its context, and the login.

use std::time::Duration;

use auth_store::{
    Clock, Credential, Document, EndpointKey, EndpointNote, OAuthCredential, ProfileId, Records,
    Secret, Store, Timestamp, TokenKey,
};
use sha2::{Digest as _, Sha256};

use crate::backend::target::RefreshTarget;
use crate::http::HttpClient;
use crate::oauth::endpoint::TargetError;
use crate::provider::Provider;
use crate::refresh::account::Identity;
use crate::refresh::error::RefreshError;

/// The stores, records, network and clock that a refresh uses.
#[derive(Clone, Copy)]
pub struct RefreshContext<'a> {
    /// The store that has the profile.
    pub store: &'a Store,
    /// The stores of the other agents, which may hold copies of the same refresh token.
    pub siblings: &'a [Store],
    /// The record of each refresh token.
    pub records: &'a Records,
    /// The network.
    pub http: &'a dyn HttpClient,
    /// The time.
    pub clock: &'a dyn Clock,
    /// How long to wait for another process that refreshes the same token.
    pub timeout: Duration,
}

/// The caller's request.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Wanted {
    /// The profile.
    pub profile: ProfileId,
    /// The minimum remaining lifetime of the credential.
    pub at_least: Duration,
    /// Whether to refresh even if no refresh is due.
    pub force: Force,
    /// If set, force only if the access token in the store still has this SHA-256 (hexadecimal),
    /// which is that of the failed token.
    pub only_if: Option<String>,
}

/// How strongly a caller forces a refresh.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Force {
    /// Refresh only a credential that is about to expire.
    #[default]
    No,
    /// Refresh even a valid credential, and ignore a wait that the issuer has set.
    Refresh,
    /// Send even a token that was refused before, or that is a stale copy. Once.
    Send,
}

/// The SHA-256 of a token (hexadecimal), by which callers name it without showing it.
pub fn token_sha256(token: &Secret) -> String {
    hex::encode(Sha256::digest(token.expose()))
}

impl Wanted {
    /// A request for a credential of `profile` that can be used now.
    pub fn now(profile: ProfileId) -> Self {
        Self { profile, at_least: Duration::ZERO, force: Force::No, only_if: None }
    }

    /// This request, with `force` bound to the access token that `document` has now. If the token
    /// changes, another process has already done what `force` asks for.
    #[must_use]
    pub fn about(&self, document: &Document) -> Self {
        let is_open = self.force != Force::No && self.only_if.is_none();
        let known = document.credential(&self.profile).filter(|_| is_open);
        let hash = |it: Credential| hex::encode(Sha256::digest(it.bearer().expose()));
        Self { only_if: known.map(hash).or_else(|| self.only_if.clone()), ..self.clone() }
    }

    pub(super) fn forces(&self, login: &OAuthCredential) -> bool {
        self.force != Force::No
            && self.only_if.as_ref().is_none_or(|wanted| {
                wanted.eq_ignore_ascii_case(&hex::encode(Sha256::digest(login.access.expose())))
            })
    }
}

/// The login in a store, and the target of its refresh token.
pub(super) struct Current {
    pub(super) login: OAuthCredential,
    pub(super) email: Option<String>,
    pub(super) target: RefreshTarget,
    pub(super) key: TokenKey,
}

impl Current {
    pub(super) fn identity(&self) -> Identity<'_> {
        (&self.login, self.email.as_deref())
    }
}

/// Whether the endpoint of a login may be asked: one that asked to be left alone is not, whichever
/// token it was about. A forced refresh asks all the same.
pub(super) fn check_endpoint(
    current: &Current,
    wanted: &Wanted,
    context: RefreshContext<'_>,
    now: Timestamp,
) -> Result<(), RefreshError> {
    let endpoint = current.target.endpoint_key();
    match context.records.endpoint_note(endpoint, now) {
        Some(note) if !wanted.forces(&current.login) => Err(not_asked(&wanted.profile, note)),
        _ => Ok(()),
    }
}

/// Why nothing was sent for a profile whose endpoint asked to be left alone.
pub fn not_asked(profile: &ProfileId, note: EndpointNote) -> RefreshError {
    RefreshError::Unavailable {
        profile: profile.clone(),
        reason: format!(
            "its server answered {} to another refresh, and was not asked again",
            note.status
        ),
        retry_at: Some(note.retry_at),
    }
}

/// What a refresh found in the store.
pub(super) enum Look {
    /// There is nothing to refresh: use this credential as it is.
    Done(Box<Credential>),
    Login(Box<Current>),
}

/// Finds the profile, and checks whether it can be refreshed.
pub(super) fn look(
    document: &Document,
    wanted: &Wanted,
    provider: &Provider,
    now: Timestamp,
) -> Result<Look, RefreshError> {
    let profile = &wanted.profile;
    let credential = document
        .credential(profile)
        .ok_or_else(|| RefreshError::UnknownProfile { profile: profile.clone() })?;
    let unless_ended = |credential: Credential, reason: &'static str| {
        if credential.is_valid(now) {
            Ok(Look::Done(Box::new(credential)))
        } else {
            Err(RefreshError::NeedsLogin { profile: profile.clone(), reason })
        }
    };
    let Credential::OAuth(login) = credential else {
        let reason = match &credential {
            credential if credential.bearer().is_blank() => "it is empty",
            _ => "it has expired and cannot be refreshed",
        };
        return unless_ended(credential, reason);
    };
    if login.refresh.is_blank() {
        let reason = "its access token has expired, and there is no refresh token";
        return unless_ended(Credential::OAuth(login), reason);
    }
    match provider.refresh_target(&login) {
        Ok(target) => {
            let email = document.profile(profile).and_then(|profile| profile.email);
            let key = key(&target, &login.refresh);
            Ok(Look::Login(Box::new(Current { login, email, target, key })))
        }
        Err(TargetError::NotRefreshable { .. }) => {
            // Even if the refresh token cannot be used, the access token is valid until its expiry.
            let mut usable = login;
            usable.refresh = Secret::default();
            let reason =
                "its access token has expired, and logins of this provider are not refreshed";
            unless_ended(Credential::OAuth(usable), reason)
        }
        // What is missing for a refresh is no reason not to use what is valid.
        Err(TargetError::Incomplete { .. })
            if !wanted.forces(&login) && Credential::OAuth(login.clone()).is_valid(now) =>
        {
            Ok(Look::Done(Box::new(Credential::OAuth(login))))
        }
        Err(target @ TargetError::Foreign(_)) if !wanted.forces(&login) => {
            // Its access token is good until its end.
            let usable = Credential::OAuth(login);
            if usable.is_valid(now.plus(wanted.at_least)) {
                return Ok(Look::Done(Box::new(usable)));
            }
            Err(RefreshError::Target { profile: profile.clone(), target })
        }
        Err(target) => Err(RefreshError::Target { profile: profile.clone(), target }),
    }
}

/// The key of a refresh token.
pub(super) fn key(target: &RefreshTarget, refresh: &Secret) -> TokenKey {
    TokenKey::new(&target.token_endpoint, &target.client_id, refresh)
}

/// The key of a login's refresh token; `None` if it has none or has no target.
pub fn key_of(provider: &Provider, login: &OAuthCredential) -> Option<TokenKey> {
    if login.refresh.is_blank() {
        return None;
    }
    provider.refresh_target(login).ok().map(|target| key(&target, &login.refresh))
}

/// The endpoint and the client of a login; `None` if it cannot be refreshed.
pub fn endpoint_of(provider: &Provider, login: &OAuthCredential) -> Option<EndpointKey> {
    if login.refresh.is_blank() {
        return None;
    }
    provider.refresh_target(login).ok().map(|target| target.endpoint_key())
}

/// The attempts of one caller: the first, and five restarts.
pub(super) type Attempts = std::ops::RangeInclusive<u32>;

/// All attempts, for a caller that starts.
pub(super) fn attempts() -> Attempts {
    0..=RESTARTS
}

/// How many times to start again before giving up on a store that keeps changing.
const RESTARTS: u32 = 5;
