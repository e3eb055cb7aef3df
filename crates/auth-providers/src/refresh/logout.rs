//! Logout: removes a login at the user's request.

use std::path::PathBuf;

use auth_store::{Credential, Document, OAuthCredential, ProfileId, Record, State, TokenKey};

use crate::backend::revoke::Revocation;
use crate::provider::Provider;
use crate::refresh::copies::{give_to_successors, holders, is_awaited};
use crate::refresh::error::RefreshError;
use crate::refresh::recovery::{is_open, recover_intent, remove_finished_responses};
use crate::refresh::request::{RefreshContext, attempts, key_of};

/// The result of a logout.
#[derive(Clone, Debug)]
pub struct LoggedOut {
    /// The result of the revocation at the issuer.
    pub revocation: Revocation,
    /// The other agents' stores that still hold the same refresh token. If it was revoked, it is
    /// invalid there too.
    pub others: Vec<PathBuf>,
}

/// Removes the profile from our store, after `revoke` had the chance to revoke it. The profile is
/// removed whatever the result of the revocation.
///
/// A refresh that a crashed process left unfinished is finished first, so that the current token is
/// revoked.
pub async fn logout(
    profile: &ProfileId,
    provider: Option<&Provider>,
    revoke: impl AsyncFn(&OAuthCredential) -> Revocation,
    context: RefreshContext<'_>,
) -> Result<LoggedOut, RefreshError> {
    end(profile, provider, revoke, |_| true, context).await
}

/// The same, but the profile is removed only if it was revoked.
pub async fn logout_if_revoked(
    profile: &ProfileId,
    provider: &Provider,
    revoke: impl AsyncFn(&OAuthCredential) -> Revocation,
    context: RefreshContext<'_>,
) -> Result<LoggedOut, RefreshError> {
    let is_done = |revocation: &Revocation| *revocation == Revocation::Done;
    end(profile, Some(provider), revoke, is_done, context).await
}

/// Ends a login, and removes its profile if what became of the login `removes` it.
async fn end(
    profile: &ProfileId,
    provider: Option<&Provider>,
    revoke: impl AsyncFn(&OAuthCredential) -> Revocation,
    removes: impl Fn(&Revocation) -> bool,
    context: RefreshContext<'_>,
) -> Result<LoggedOut, RefreshError> {
    // What the issuer said about a token is not asked again.
    let mut asked: Option<(TokenKey, Revocation)> = None;
    for _ in attempts() {
        let document = context.store.read()?;
        if !document.contains(profile) {
            return Err(RefreshError::UnknownProfile { profile: profile.clone() });
        }
        let login = match document.credential(profile) {
            Some(Credential::OAuth(login)) => login,
            _ => OAuthCredential::default(),
        };
        // Check first: a revoked login that cannot be removed is useless.
        context.store.check_writable()?;
        let known = provider.and_then(|provider| Some((provider, key_of(provider, &login)?)));
        let Some((provider, key)) = known else {
            // There is no refresh token to send, so no other process can be waiting for its lock.
            let revocation =
                if login.access.is_blank() { Revocation::NotOffered } else { revoke(&login).await };
            let revocation = unless_foreign(revocation, profile)?;
            if removes(&revocation) {
                context.store.update(|document| document.remove(profile))?;
            }
            return Ok(LoggedOut { revocation, others: Vec::new() });
        };

        let lock = context.records.lock(key, context.timeout)?;
        let document = context.store.read()?;
        let is_unchanged = |document: &Document| match document.credential(profile) {
            Some(Credential::OAuth(now)) => key_of(provider, &now) == Some(key),
            _ => false,
        };
        if !is_unchanged(&document) {
            continue;
        }
        if let Some(record) = lock.record()?.filter(is_open) {
            let email = document.profile(profile).and_then(|profile| profile.email);
            match recover_intent(&lock, &record, (&login, email.as_deref()), provider, context) {
                // An unreadable response is removed with its login.
                Ok(false) | Err(RefreshError::Unmerged { .. }) => {}
                Ok(true) => continue,
                Err(error) => return Err(error),
            }
        }
        give_to_successors(&login, provider, context)?;
        let others = holders(key, provider, context);
        let revocation = match asked.take() {
            Some((of, revocation)) if of == key => revocation,
            _ => unless_foreign(revoke(&login).await, profile)?,
        };
        if !removes(&revocation) {
            return Ok(LoggedOut { revocation, others });
        }
        if revocation == Revocation::Done {
            let path = context.store.canonical_path();
            lock.write(&Record::new(State::Revoked, &path, profile, context.clock.now()))?;
        }
        let mut store = context.store.lock_for_refresh()?;
        if revocation != Revocation::Done && is_awaited(&login, provider, context)? {
            // A refresh was finished meanwhile, and another agent's copy leads to this token.
            asked = Some((key, revocation));
            continue;
        }
        let is_ended = store.update(|document| {
            let is_another = document.contains(profile) && !is_unchanged(document);
            if !is_another {
                document.remove(profile);
            }
            !is_another
        })?;
        if !is_ended {
            // Another process stored a new token during the revocation: revoke that one too.
            continue;
        }
        remove_finished_responses(&store, context);
        // With a record of `State::None`, the response would look like one of an unknown token.
        store.remove_response(key)?;
        store.remove_kept_response(key)?;
        lock.remove_rescued()?;
        return Ok(LoggedOut { revocation, others });
    }
    Err(RefreshError::Unfinished { profile: profile.clone() })
}

/// The profile stays if its tokens are not for the address of the revocation endpoint: the user
/// decides whether they are.
fn unless_foreign(revocation: Revocation, profile: &ProfileId) -> Result<Revocation, RefreshError> {
    match revocation {
        Revocation::Foreign(foreign) => {
            Err(RefreshError::Target { profile: profile.clone(), target: foreign.into() })
        }
        revocation => Ok(revocation),
    }
}
