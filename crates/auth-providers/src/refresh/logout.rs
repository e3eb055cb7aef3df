//! Dropping a login on purpose.

use std::path::PathBuf;

use auth_store::{Credential, Document, OAuthCredential, ProfileId, Record, State};

use crate::backend::revoke::Revocation;
use crate::provider::Provider;
use crate::refresh::copies::{give_to_successors, holders};
use crate::refresh::error::RefreshError;
use crate::refresh::recovery::{recover_intent, remove_finished_responses};
use crate::refresh::request::{RefreshContext, attempts, key_of};

/// What a logout did.
#[derive(Clone, Debug)]
pub struct LoggedOut {
    /// What became of the login at its issuer.
    pub revocation: Revocation,
    /// The other agents' stores that still hold the same refresh token. If it was revoked, it is
    /// dead there too.
    pub others: Vec<PathBuf>,
}

/// Removes the profile from our store, after `revoke` was given the chance to revoke it. It is
/// removed whatever came of that.
///
/// A refresh that a dead process left half done is finished first, so that it is the living token
/// that is revoked.
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
        // What was revoked and could not be removed would be of no use to anybody.
        context.store.check_writable()?;
        let known = provider.and_then(|provider| Some((provider, key_of(provider, &login)?)));
        let Some((provider, key)) = known else {
            // Nothing that could be sent, so nothing that anybody else could be waiting for.
            let revocation =
                if login.access.is_blank() { Revocation::NotOffered } else { revoke(&login).await };
            let revocation = unless_foreign(revocation, profile)?;
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
                // What nobody can read goes with the login it was for.
                Ok(false) | Err(RefreshError::Unmerged { .. }) => {}
                Ok(true) => continue,
                Err(error) => return Err(error),
            }
        }
        give_to_successors(&login, provider, context)?;
        let others = holders(key, provider, context);
        let revocation = unless_foreign(revoke(&login).await, profile)?;
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
            // Somebody stored another token while the issuer was asked: it has to end, too.
            continue;
        }
        remove_finished_responses(&store, context);
        // With a record that says nothing it counts as one that nobody knows of.
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
