//! Logout: removes a login at the user's request.

use std::path::PathBuf;

use auth_store::{Credential, Document, OAuthCredential, ProfileId, Record, State};

use crate::backend::revoke::Revocation;
use crate::provider::Provider;
use crate::refresh::copies::{give_to_successors, holders};
use crate::refresh::error::RefreshError;
use crate::refresh::recovery::{recover_intent, remove_finished_responses};
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
            context.store.update(|document| document.remove(profile))?;
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
        let is_open = |record: &Record| matches!(record.state, State::Intent | State::Unmerged);
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
        let revocation = revoke(&login).await;
        if revocation == Revocation::Done {
            let path = context.store.canonical_path();
            lock.write(&Record::new(State::Revoked, &path, profile, context.clock.now()))?;
        }
        let mut store = context.store.lock_for_refresh()?;
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
