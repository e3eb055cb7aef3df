//! A refresh token and its successors: who holds which, and which of them is alive.

use std::collections::HashSet;

use auth_store::{
    Credential, Document, OAuthCredential, ProfileId, Record, Records, State, Store, StoreError,
    TokenKey, TokenLock,
};

use super::left_behind::settle_intent;
use super::{Current, Doors, RefreshError, Wanted, key_of};
use crate::provider::Provider;

/// The token at the end of a chain of successors, and the record that leads there.
struct End {
    key: TokenKey,
    named_by: Record,
}

/// Where the successors of a token lead.
enum Chain {
    /// To this one; `None` if there is no successor.
    Ends(Option<End>),
    /// Back to one of these, which are all.
    Closes(HashSet<TokenKey>),
}

/// Follows the successors of `from`. A token seen twice ends the search.
fn chain(from: TokenKey, records: &Records) -> Result<Chain, StoreError> {
    let mut seen = HashSet::from([from]);
    let mut key = from;
    let mut end = None;
    while let Some(record) = records.peek(key)?.filter(|record| record.state == State::Consumed) {
        let Some(next) = record.successor else { break };
        if !seen.insert(next) {
            return Ok(Chain::Closes(seen));
        }
        key = next;
        end = Some(End { key, named_by: record });
    }
    Ok(Chain::Ends(end))
}

/// Whether the successors of `from` lead to `to`.
pub(super) fn leads_to(
    from: TokenKey,
    to: TokenKey,
    records: &Records,
) -> Result<bool, StoreError> {
    let mut seen = HashSet::from([from]);
    let mut key = from;
    while let Some(record) = records.peek(key)? {
        let next = record.successor.filter(|_| record.state == State::Consumed);
        let Some(next) = next.filter(|next| seen.insert(*next)) else { return Ok(false) };
        if next == to {
            return Ok(true);
        }
        key = next;
    }
    Ok(false)
}

/// Whether a login's token was used up since we obtained it. Such a token is written nowhere: the
/// one that took its place may be in that very store's backup, and nowhere else.
pub(super) fn is_used_up(
    login: &OAuthCredential,
    provider: &Provider,
    records: &Records,
) -> Result<bool, StoreError> {
    let Some(key) = key_of(provider, login) else { return Ok(false) };
    Ok(records.peek(key)?.is_some_and(|record| {
        record.state == State::Consumed && login.obtained_at.is_none_or(|at| record.at > at)
    }))
}

/// What the token that a store holds now is to the one that was locked.
enum Relation {
    /// It took its place.
    Successor,
    /// Something else happened; start again.
    Unrelated,
    /// It is another account's.
    OtherAccount,
}

/// Judges the token that took the place of the locked one before we held the store.
fn relation(
    before: &Current,
    current: &Current,
    records: &Records,
) -> Result<Relation, StoreError> {
    if !is_same_account(before.identity(), current.identity()) {
        return Ok(Relation::OtherAccount);
    }
    let is_later = current.login.expires > before.login.expires;
    if is_later && !leads_to(current.key, before.key, records)? {
        Ok(Relation::Successor)
    } else {
        Ok(Relation::Unrelated)
    }
}

/// The store holds another token than the locked one: records that token as the successor, if it
/// is one.
///
/// # Errors
/// It is another account's.
pub(super) fn note_successor(
    lock: &TokenLock,
    before: &Current,
    current: &Current,
    wanted: &Wanted,
    doors: Doors<'_>,
) -> Result<(), RefreshError> {
    let (profile, at) = (&wanted.profile, doors.clock.now());
    match relation(before, current, doors.records)? {
        Relation::Successor => {
            let path = doors.store.canonical_path();
            let consumed = Record::new(State::Consumed, &path, profile, at);
            lock.write(&Record { successor: Some(current.key), ..consumed })?;
            Ok(())
        }
        Relation::Unrelated => Ok(()),
        Relation::OtherAccount => Err(RefreshError::OtherAccount { profile: profile.clone() }),
    }
}

/// What tells one account from another: the login with its account id, and the e-mail address.
pub(super) type Identity<'a> = (&'a OAuthCredential, Option<&'a str>);

/// Whether two logins are of one account: by its id, else by the address, else there is nothing
/// that says otherwise.
pub(super) fn is_same_account(one: Identity<'_>, other: Identity<'_>) -> bool {
    match (&one.0.account_id, &other.0.account_id) {
        (Some(one), Some(other)) => one == other,
        _ => match (one.1, other.1) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        },
    }
}

/// Whether two credentials may be of one account, as far as they say themselves.
pub(super) fn is_of_same_account(one: Option<&Credential>, other: &Credential) -> bool {
    match (one, other) {
        (Some(Credential::OAuth(one)), Credential::OAuth(other)) => {
            is_same_account((one, None), (other, None))
        }
        _ => true,
    }
}

/// The refresh tokens of `provider` in a document, by profile.
pub(super) fn logins(
    document: &Document,
    provider: &Provider,
) -> Vec<(ProfileId, OAuthCredential, TokenKey)> {
    let profiles = document.profiles().filter(|profile| provider.is_called(&profile.provider));
    let logins = profiles.filter_map(|profile| {
        let Some(Credential::OAuth(login)) = document.credential(&profile.id) else { return None };
        let key = key_of(provider, &login)?;
        Some((profile.id, login, key))
    });
    logins.collect()
}

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
            State::Intent
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
    let named = doors.store.elsewhere(&end.named_by.store);
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

/// An issuer may give us a token once more that was used up before: it is living again, so its
/// record is cleared, as a login would. `lock` is that of the token which was sent.
pub(super) fn revive(lock: TokenLock, successor: TokenKey, wanted: &Wanted, doors: Doors<'_>) {
    let key = lock.key();
    // Never two locks of one kind.
    drop(lock);
    // Should it fail, the chain is closed, and whoever comes makes the best of it.
    if successor == key || !leads_to(successor, key, doors.records).unwrap_or(false) {
        return;
    }
    let path = doors.store.canonical_path();
    let living = Record::new(State::None, &path, &wanted.profile, doors.clock.now());
    let written =
        doors.records.lock(successor, doors.patience).and_then(|lock| lock.write(&living));
    if let Err(error) = written {
        tracing::warn!(%error, "the record of a token that came back was not cleared");
    }
}

/// Forgets what became of the token of a new login: the issuer has just given it to us. That it
/// was given to our store is noted, where it can be.
pub fn clear_record(
    login: &OAuthCredential,
    profile: &ProfileId,
    provider: &Provider,
    doors: Doors<'_>,
) -> Result<(), StoreError> {
    let Some(key) = key_of(provider, login) else { return Ok(()) };
    let path = doors.store.canonical_path();
    let begun = Record::new(State::None, &path, profile, doors.clock.now());
    if doors.records.peek(key)?.is_none() {
        // Without the note it counts as a copy, should another agent have a later login.
        if let Ok(Some(lock)) = doors.records.try_lock(key) {
            let _ = lock.write(&begun);
        }
        return Ok(());
    }
    doors.records.lock(key, doors.patience)?.write(&begun)
}
