//! What every part of a refresh shares: the request, what it acts on, and the login it is about.

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

/// What a refresh acts on.
#[derive(Clone, Copy)]
pub struct RefreshContext<'a> {
    /// The store that has the profile.
    pub store: &'a Store,
    /// The stores of the other agents, which may hold copies of the same refresh token.
    pub siblings: &'a [Store],
    /// What became of each refresh token.
    pub records: &'a Records,
    /// The network.
    pub http: &'a dyn HttpClient,
    /// The time.
    pub clock: &'a dyn Clock,
    /// How long to wait for others who refresh the same token.
    pub timeout: Duration,
}

/// What the caller wants.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Wanted {
    /// Of which profile.
    pub profile: ProfileId,
    /// The credential must live at least that long.
    pub at_least: Duration,
    /// Whether to refresh what needs no refresh.
    pub force: Force,
    /// Forces only if the access token in the store still has this SHA-256 (hexadecimal): it is
    /// the one that failed.
    pub only_if: Option<String>,
}

/// How much a caller insists.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Force {
    /// Refresh what is about to end.
    #[default]
    No,
    /// Refresh what is still valid, and do not wait for a time the issuer has set.
    Refresh,
    /// Send even a token that was refused before, or that is a stale copy. Once.
    Send,
}

/// The SHA-256 of a token (hexadecimal), by which callers name it without showing it.
pub fn token_sha256(token: &Secret) -> String {
    hex::encode(Sha256::digest(token.expose()))
}

impl Wanted {
    /// A credential of `profile` that can be used now.
    pub fn now(profile: ProfileId) -> Self {
        Self { profile, at_least: Duration::ZERO, force: Force::No, only_if: None }
    }

    /// The same; and `force` is about the access token that `document` has now. Once that is
    /// gone, somebody has done for us what it asks for.
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

/// A login as it is in a store now, and where its refresh token goes.
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

/// What a profile is to a refresh.
pub(super) enum Look {
    /// There is nothing to refresh: use this, as it is.
    Done(Credential),
    Login(Box<Current>),
}

/// Finds the profile, and whether it is one that can be refreshed.
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
            Ok(Look::Done(credential))
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
            // Whatever its refresh token is for, the access token is good until its end.
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
            Ok(Look::Done(Credential::OAuth(login)))
        }
        Err(target @ TargetError::Foreign(_)) if !wanted.forces(&login) => {
            // Its access token is good until its end.
            let usable = Credential::OAuth(login);
            if usable.is_valid(now.plus(wanted.at_least)) {
                return Ok(Look::Done(usable));
            }
            Err(RefreshError::Target { profile: profile.clone(), target })
        }
        Err(target) => Err(RefreshError::Target { profile: profile.clone(), target }),
    }
}

/// The name of a refresh token.
pub(super) fn key(target: &RefreshTarget, refresh: &Secret) -> TokenKey {
    TokenKey::new(&target.token_endpoint, &target.client_id, refresh)
}

/// The name of a login's refresh token; `None` if it has none or it cannot be sent anywhere.
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

/// The attempts of one caller: the first, and five times it may start again.
pub(super) type Attempts = std::ops::RangeInclusive<u32>;

/// All the attempts of a caller who begins.
pub(super) fn attempts() -> Attempts {
    0..=RESTARTS
}

/// How often we start again before we give up on a store that keeps changing under us.
const RESTARTS: u32 = 5;
