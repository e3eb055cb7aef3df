//! A refresh token and its successors: who holds which, and which of them is alive.

use std::collections::HashSet;

use auth_store::{
    Credential, Document, OAuthCredential, ProfileId, Record, Records, State, StoreError, TokenKey,
    TokenLock,
};

use crate::provider::Provider;
use crate::refresh::account::is_same_account;
use crate::refresh::error::RefreshError;
use crate::refresh::request::{Current, RefreshContext, Wanted, key_of};

/// The token at the end of a chain of successors, and the record that leads there.
pub(super) struct End {
    pub(super) key: TokenKey,
    pub(super) named_by: Record,
}

/// Where the successors of a token lead.
pub(super) enum Chain {
    /// To this one; `None` if there is no successor.
    Ends(Option<End>),
    /// Back to one of these, which are all.
    Closes(HashSet<TokenKey>),
}

/// Follows the successors of `from`. A token seen twice ends the search.
pub(super) fn chain(from: TokenKey, records: &Records) -> Result<Chain, StoreError> {
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
    context: RefreshContext<'_>,
) -> Result<(), RefreshError> {
    let (profile, at) = (&wanted.profile, context.clock.now());
    match relation(before, current, context.records)? {
        Relation::Successor => {
            let path = context.store.canonical_path();
            let consumed = Record::new(State::Consumed, &path, profile, at);
            lock.write(&Record { successor: Some(current.key), ..consumed })?;
            Ok(())
        }
        Relation::Unrelated => Ok(()),
        Relation::OtherAccount => Err(RefreshError::OtherAccount { profile: profile.clone() }),
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

/// An issuer may give us a token once more that was used up before: it is living again, so its
/// record is cleared, as a login would. `lock` is that of the token which was sent.
pub(super) fn revive(
    lock: TokenLock,
    successor: TokenKey,
    wanted: &Wanted,
    context: RefreshContext<'_>,
) {
    let key = lock.key();
    // Never two locks of one kind.
    drop(lock);
    // Should it fail, the chain is closed, and whoever comes makes the best of it.
    if successor == key || !leads_to(successor, key, context.records).unwrap_or(false) {
        return;
    }
    let path = context.store.canonical_path();
    let living = Record::new(State::None, &path, &wanted.profile, context.clock.now());
    let written =
        context.records.lock(successor, context.timeout).and_then(|lock| lock.write(&living));
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
    context: RefreshContext<'_>,
) -> Result<(), StoreError> {
    let Some(key) = key_of(provider, login) else { return Ok(()) };
    let path = context.store.canonical_path();
    let begun = Record::new(State::None, &path, profile, context.clock.now());
    if context.records.peek(key)?.is_none() {
        // Without the note it counts as a copy, should another agent have a later login.
        if let Ok(Some(lock)) = context.records.try_lock(key) {
            let _ = lock.write(&begun);
        }
        return Ok(());
    }
    context.records.lock(key, context.timeout)?.write(&begun)
}
