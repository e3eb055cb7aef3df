//! Repairs a copy of a login whose token was used up: finds the current token and writes it over
//! the copy.

use auth_store::{
    Credential, OAuthCredential, ProfileId, State, Store, StoreError, TokenKey, TokenLock,
};

use crate::provider::Provider;
use crate::refresh::account::is_same_account;
use crate::refresh::error::RefreshError;
use crate::refresh::recovery::recover_intent;
use crate::refresh::request::{Current, RefreshContext, Wanted, key_of};
use crate::refresh::rotation_chain::{Chain, End, chain, is_used_up, logins};

/// Replaces the copy in our store with the last token of its rotation chain. `lock` is the lock of
/// the used-up token.
pub(super) fn heal(
    lock: TokenLock,
    current: &Current,
    wanted: &Wanted,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<(), RefreshError> {
    let lost = || RefreshError::NeedsLogin {
        profile: wanted.profile.clone(),
        reason: "its refresh token was used up, and the one that took its place is nowhere",
    };
    let used_up = lock.key();
    let put = |found: OAuthCredential| -> Result<(), RefreshError> {
        let put = context.store.update(|document| -> Result<(), StoreError> {
            if let Some(Credential::OAuth(login)) = document.credential(&wanted.profile)
                && key_of(provider, &login) == Some(used_up)
                && !is_used_up(&found, provider, context.records)?
            {
                document.renew(&wanted.profile, &Credential::OAuth(found.clone()));
            }
            Ok(())
        })?;
        Ok(put?)
    };
    let end = match chain(used_up, context.records)? {
        Chain::Ends(end) => end.ok_or_else(lost)?,
        // No token of a closed chain may be sent. The one received last is the best choice.
        Chain::Closes(all) => {
            let (all_logins, unread) = everywhere(context.store, provider, context);
            unread.map_or(Ok(()), Err)?;
            let own = all_logins.into_iter().filter(|(_, login, key)| {
                all.contains(key) && is_same_account(current.identity(), (login, None))
            });
            let newest = own.map(|(_, login, _)| login).max_by_key(|login| login.expires);
            let later = newest.filter(|login| login.expires > current.login.expires);
            return put(later.ok_or_else(|| RefreshError::NeedsLogin {
                profile: wanted.profile.clone(),
                reason: "its refresh tokens were all used up, each in favour of another",
            })?);
        }
    };
    if let Some(found) = find(&end, provider, context)? {
        if !is_same_account(current.identity(), (&found, None)) {
            return Err(RefreshError::OtherAccount { profile: wanted.profile.clone() });
        }
        return put(found);
    }

    // No store has the token, so its refresh may be in progress, or its process may have crashed.
    drop(lock);
    let lock = context.records.lock(end.key, context.timeout)?;
    match lock.record()? {
        Some(record) => match record.state {
            State::Intent | State::Unmerged
                if recover_intent(&lock, &record, current.identity(), provider, context)? =>
            {
                Ok(())
            }
            State::Consumed => Ok(()),
            State::Rejected | State::Revoked => Err(RefreshError::Rejected {
                profile: wanted.profile.clone(),
                code: record.code.unwrap_or_else(|| "revoked".to_owned()),
            }),
            _ if find(&end, provider, context)?.is_some() => Ok(()),
            _ => Err(lost()),
        },
        None if find(&end, provider, context)?.is_some() => Ok(()),
        None => Err(lost()),
    }
}

/// The login with the token at the end of a rotation chain.
///
/// # Errors
/// It was not found, and may be in a store that could not be read.
fn find(
    end: &End,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<Option<OAuthCredential>, StoreError> {
    let named = context.store.elsewhere(&end.named_by.store);
    let (logins, unread) = everywhere(&named, provider, context);
    match logins.into_iter().find(|(_, _, key)| *key == end.key) {
        Some((_, login, _)) => Ok(Some(login)),
        None => unread.map_or(Ok(None), Err),
    }
}

/// All logins of a provider: in the store that a record names, in ours, in the other agents', and
/// in the backup of each. Also the first read error, if any.
fn everywhere(
    named: &Store,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> (Vec<(ProfileId, OAuthCredential, TokenKey)>, Option<StoreError>) {
    let (mut all, mut unread) = (Vec::new(), None);
    for store in [named, context.store].into_iter().chain(context.siblings) {
        for document in [store.read().map(Some), store.backup()] {
            match document {
                Ok(document) => all.extend(document.iter().flat_map(|it| logins(it, provider))),
                Err(error) => unread = unread.or(Some(error)),
            }
        }
    }
    (all, unread)
}
