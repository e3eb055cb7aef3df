//! Rotation chains: a refresh token and its successors, the stores that hold them, and which of
//! them is current.

use std::collections::HashSet;

use auth_store::{
    Credential, Document, OAuthCredential, ProfileId, Record, Records, State, StoreError, TokenKey,
    TokenLock,
};

use crate::provider::Provider;
use crate::refresh::account::is_same_account;
use crate::refresh::error::RefreshError;
use crate::refresh::request::{Current, RefreshContext, Wanted, key_of};

/// The last token of a rotation chain, and the record that names it.
pub(super) struct End {
    pub(super) key: TokenKey,
    pub(super) named_by: Record,
}

/// The end of a rotation chain.
pub(super) enum Chain {
    /// It ends at this token; `None` if there is no successor.
    Ends(Option<End>),
    /// It is a cycle; these are all tokens seen.
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

/// Whether a login's token was used up after we obtained it. Such a token is never written to a
/// store: that store may hold its successor in the backup, and it may exist nowhere else.
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

/// The relation of the token now in the store to the locked token.
enum Relation {
    /// It is a successor of the locked token.
    Successor,
    /// There is no such relation; start again.
    Unrelated,
    /// It belongs to another account.
    OtherAccount,
}

/// Classifies the token that replaced the locked one before we had the store's lock.
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

/// Called if the store holds another token than the locked one: records that token as the
/// successor, if it is one.
///
/// # Errors
/// It belongs to another account.
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

/// The logins of `provider` in a document, with their profiles and token keys.
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

/// An issuer may issue a token again that was used up before. It is valid again, so its record is
/// cleared, as a login does. `lock` is the lock of the token that was sent.
pub(super) fn revive(
    lock: TokenLock,
    successor: TokenKey,
    wanted: &Wanted,
    context: RefreshContext<'_>,
) {
    let key = lock.key();
    // Never hold two locks of one kind.
    drop(lock);
    // If this fails, the chain stays a cycle, which `heal` can handle.
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

/// Clears the record of a new login's token, because the issuer has just issued it. If possible,
/// the record also notes that it was issued for our store.
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
        // Without this note the login counts as a copy if another agent has a later one.
        if let Ok(Some(lock)) = context.records.try_lock(key) {
            let _ = lock.write(&begun);
        }
        return Ok(());
    }
    context.records.lock(key, context.timeout)?.write(&begun)
}
