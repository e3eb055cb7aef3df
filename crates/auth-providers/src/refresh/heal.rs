//! A copy of a login whose token was used up: finds the living token, and puts it in its place.

use auth_store::{
    Credential, OAuthCredential, ProfileId, State, Store, StoreError, TokenKey, TokenLock,
};

use crate::provider::Provider;
use crate::refresh::account::is_same_account;
use crate::refresh::error::RefreshError;
use crate::refresh::lineage::{Chain, End, chain, is_used_up, logins};
use crate::refresh::recovery::settle_intent;
use crate::refresh::request::{Current, Doors, Wanted, key_of};

/// Writes the living end of a used-up token's chain over the copy in our store. `lock` is that of
/// the used-up token.
pub(super) fn heal(
    lock: TokenLock,
    current: &Current,
    wanted: &Wanted,
    provider: &Provider,
    doors: Doors<'_>,
) -> Result<(), RefreshError> {
    let lost = || RefreshError::NeedsLogin {
        profile: wanted.profile.clone(),
        reason: "its refresh token was used up, and the one that took its place is nowhere",
    };
    let used_up = lock.key();
    let put = |found: OAuthCredential| -> Result<(), RefreshError> {
        let put = doors.store.update(|document| -> Result<(), StoreError> {
            if let Some(Credential::OAuth(login)) = document.credential(&wanted.profile)
                && key_of(provider, &login) == Some(used_up)
                && !is_used_up(&found, provider, doors.records)?
            {
                document.renew(&wanted.profile, &Credential::OAuth(found.clone()));
            }
            Ok(())
        })?;
        Ok(put?)
    };
    let end = match chain(used_up, doors.records)? {
        Chain::Ends(end) => end.ok_or_else(lost)?,
        // Nothing of it may be sent. What was received last is the best there is.
        Chain::Closes(all) => {
            let (all_logins, unread) = everywhere(doors.store, provider, doors);
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
    if let Some(found) = find(&end, provider, doors)? {
        if !is_same_account(current.identity(), (&found, None)) {
            return Err(RefreshError::OtherAccount { profile: wanted.profile.clone() });
        }
        return put(found);
    }

    // Nobody has it, so perhaps its refresh is under way, or was when its process died.
    drop(lock);
    let lock = doors.records.lock(end.key, doors.patience)?;
    match lock.record()? {
        Some(record) => match record.state {
            State::Intent | State::Unmerged
                if settle_intent(&lock, &record, current.identity(), provider, doors)? =>
            {
                Ok(())
            }
            State::Consumed => Ok(()),
            State::Rejected | State::Revoked => Err(RefreshError::Rejected {
                profile: wanted.profile.clone(),
                code: record.code.unwrap_or_else(|| "revoked".to_owned()),
            }),
            _ if find(&end, provider, doors)?.is_some() => Ok(()),
            _ => Err(lost()),
        },
        None if find(&end, provider, doors)?.is_some() => Ok(()),
        None => Err(lost()),
    }
}

/// The login with the token at the end of a chain.
///
/// # Errors
/// It was not found, and may be in a store that could not be read.
fn find(
    end: &End,
    provider: &Provider,
    doors: Doors<'_>,
) -> Result<Option<OAuthCredential>, StoreError> {
    let named = Store::at(&end.named_by.store);
    let (logins, unread) = everywhere(&named, provider, doors);
    match logins.into_iter().find(|(_, _, key)| *key == end.key) {
        Some((_, login, _)) => Ok(Some(login)),
        None => unread.map_or(Ok(None), Err),
    }
}

/// All logins of a provider: in the store that a record names, in ours, in the other agents', and
/// in the backup of each; and why one of these could not be read, if so.
fn everywhere(
    named: &Store,
    provider: &Provider,
    doors: Doors<'_>,
) -> (Vec<(ProfileId, OAuthCredential, TokenKey)>, Option<StoreError>) {
    let (mut all, mut unread) = (Vec::new(), None);
    for store in [named, doors.store].into_iter().chain(doors.siblings) {
        for document in [store.read().map(Some), store.backup()] {
            match document {
                Ok(document) => all.extend(document.iter().flat_map(|it| logins(it, provider))),
                Err(error) => unread = unread.or(Some(error)),
            }
        }
    }
    (all, unread)
}
