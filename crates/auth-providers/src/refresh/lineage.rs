//! A refresh token and its successors: who holds which, and which of them is alive.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use auth_store::{
    Credential, Document, OAuthCredential, ProfileId, Record, Records, State, Store, StoreError,
    StoreLock, Timestamp, TokenKey, TokenLock,
};

use super::settle::{self, Settled};
use super::{Current, Doors, RefreshError, Wanted, key_of};
use crate::provider::Provider;
use crate::tokens::Tokens;

/// The token at the end of a chain of successors, and the record that leads there.
struct End {
    key: TokenKey,
    named_by: Record,
}

/// What tells one account from another: the login with its account id, and the e-mail address.
pub(super) type Identity<'a> = (&'a OAuthCredential, Option<&'a str>);

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
pub(super) fn leads_to(from: TokenKey, to: TokenKey, records: &Records) -> bool {
    let mut seen = HashSet::from([from]);
    let mut key = from;
    while let Ok(Some(record)) = records.peek(key) {
        let next = record.successor.filter(|_| record.state == State::Consumed);
        let Some(next) = next.filter(|next| seen.insert(*next)) else { return false };
        if next == to {
            return true;
        }
        key = next;
    }
    false
}

/// Whether a login's token was used up since we obtained it. Such a token is written nowhere: the
/// one that took its place may be in that very store's backup, and nowhere else.
fn is_used_up(login: &OAuthCredential, provider: &Provider, records: &Records) -> bool {
    let record = key_of(provider, login).and_then(|key| records.peek(key).ok()?);
    record.is_some_and(|record| {
        record.state == State::Consumed && login.obtained_at.is_none_or(|at| record.at > at)
    })
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
fn relation(before: &Current, current: &Current, records: &Records) -> Relation {
    if !is_same_account(before.identity(), current.identity()) {
        return Relation::OtherAccount;
    }
    let is_later = current.login.expires > before.login.expires;
    if is_later && !leads_to(current.key, before.key, records) {
        Relation::Successor
    } else {
        Relation::Unrelated
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
    match relation(before, current, doors.records) {
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
fn logins(document: &Document, provider: &Provider) -> Vec<(ProfileId, OAuthCredential, TokenKey)> {
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
        doors.store.update(|document| {
            let Some(Credential::OAuth(login)) = document.credential(&wanted.profile) else {
                return;
            };
            if key_of(provider, &login) == Some(used_up)
                && !is_used_up(&found, provider, doors.records)
            {
                document.renew(&wanted.profile, &Credential::OAuth(found.clone()));
            }
        })?;
        Ok(())
    };
    let end = match chain(used_up, doors.records)? {
        Chain::Ends(end) => end.ok_or_else(lost)?,
        // Nothing of it may be sent. What was received last is the best there is.
        Chain::Closes(all) => {
            let own = everywhere(doors.store, provider, doors).filter(|(_, login, key)| {
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
    if let Some(found) = find(&end, provider, doors) {
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
            _ if find(&end, provider, doors).is_some() => Ok(()),
            _ => Err(lost()),
        },
        None if find(&end, provider, doors).is_some() => Ok(()),
        None => Err(lost()),
    }
}

/// The login with the token at the end of a chain.
fn find(end: &End, provider: &Provider, doors: Doors<'_>) -> Option<OAuthCredential> {
    let named = Store::at(&end.named_by.store);
    everywhere(&named, provider, doors)
        .find(|(_, _, key)| *key == end.key)
        .map(|(_, login, _)| login)
}

/// All logins of a provider: in the store that a record names, in ours, in the other agents', and
/// in the backup of each.
fn everywhere<'a>(
    named: &'a Store,
    provider: &'a Provider,
    doors: Doors<'a>,
) -> impl Iterator<Item = (ProfileId, OAuthCredential, TokenKey)> + 'a {
    let stores = [named, doors.store].into_iter().chain(doors.siblings);
    let documents = stores.flat_map(|store| [store.read().ok(), store.backup()]).flatten();
    documents.flat_map(|document| logins(&document, provider))
}

/// Finds out what became of a token whose process died with it, at the store on whose behalf it
/// was sent. `true`: it is known now, start again. `false`: nobody knows, so it is sent again.
pub(super) fn settle_intent(
    lock: &TokenLock,
    record: &Record,
    account: Identity<'_>,
    provider: &Provider,
    doors: Doors<'_>,
) -> Result<bool, RefreshError> {
    if !record.store.parent().is_some_and(std::path::Path::is_dir) {
        return Ok(false);
    }
    let named = Store::at(&record.store).with_patience(doors.patience);
    let mut store = named.lock_for_refresh()?;
    let wanted = Wanted::now(record.profile.clone());
    let document = store.read()?;
    let held = logins(&document, provider);
    let stored = match store.stored_answer(lock.key())? {
        None => lock.rescued()?,
        stored => stored,
    };
    if let Some(stored) = stored {
        let holder = held.iter().find(|(_, _, key)| *key == lock.key()).map(|(_, login, _)| login);
        let holder =
            holder.or(Some(account.0).filter(|it| key_of(provider, it) == Some(lock.key())));
        let answer = settle::read(&stored, &[], holder.map(|login| &login.refresh), provider);
        let (at, key) = (stored.received_at, lock.key());
        let settled =
            settle::settle(answer, at, holder, lock, &mut store, &wanted, provider, doors);
        let path = store.path().to_owned();
        drop(store);
        return match settled {
            Ok(Settled::Stored { tokens, .. }) => {
                propagate(&tokens, at, key, provider, doors);
                Ok(true)
            }
            Ok(Settled::Homeless { tokens, reason }) => {
                if find_home(&tokens, at, lock, &named, provider, doors)? {
                    Ok(true)
                } else {
                    let profile = wanted.profile;
                    Err(RefreshError::Unmerged { profile, store: path, reason })
                }
            }
            // The record says so now; the caller reads it.
            Err(
                RefreshError::Rejected { .. }
                | RefreshError::Misconfigured { .. }
                | RefreshError::Unavailable { .. },
            ) => Ok(true),
            Err(error) => Err(error),
        };
    }
    // Without the answer, a later token of that account in that profile is the only trace that a
    // finished refresh leaves.
    let successor =
        held.into_iter().filter(|(id, _, _)| *id == record.profile).find(|(id, login, key)| {
            let email = document.profile(id).and_then(|profile| profile.email);
            *key != lock.key()
                && is_same_account(account, (login, email.as_deref()))
                && login.expires > account.0.expires
                && !leads_to(*key, lock.key(), doors.records)
        });
    settle::remove_answer(lock, &store)?;
    let Some((_, _, key)) = successor else { return Ok(false) };
    lock.write(&Record {
        state: State::Consumed,
        successor: Some(key),
        at: doors.clock.now(),
        ..record.clone()
    })?;
    Ok(true)
}

/// Before a login is replaced: finishes what a dead process left of its refresh. `true`: the
/// store was changed, so look again.
pub fn finish_begun(
    login: &OAuthCredential,
    email: Option<&str>,
    provider: &Provider,
    doors: Doors<'_>,
) -> Result<bool, RefreshError> {
    let Some(key) = key_of(provider, login) else { return Ok(false) };
    let is_begun = |record: &Record| record.state == State::Intent;
    if !doors.records.peek(key)?.is_some_and(|record| is_begun(&record)) {
        return Ok(false);
    }
    let lock = doors.records.lock(key, doors.patience)?;
    match lock.record()?.filter(is_begun) {
        Some(record) => settle_intent(&lock, &record, (login, email), provider, doors),
        None => Ok(true),
    }
}

/// Gives the tokens to every other agent that still holds the token they replace. Best effort:
/// whoever is missed finds the way by the token's record.
pub(super) fn propagate(
    tokens: &Tokens,
    received_at: Timestamp,
    sent: TokenKey,
    provider: &Provider,
    doors: Doors<'_>,
) {
    for store in doors.siblings {
        give(tokens, received_at, store, provider, doors.records, |held| held == sent);
    }
}

/// Gives the tokens to a store in the place of those that `is_replaced`. The profile that has them
/// now, and the key of its token.
fn give(
    tokens: &Tokens,
    received_at: Timestamp,
    store: &Store,
    provider: &Provider,
    records: &Records,
    is_replaced: impl Fn(TokenKey) -> bool,
) -> Option<(ProfileId, TokenKey)> {
    let replaced = |document: &Document| {
        let all = logins(document, provider).into_iter();
        all.filter(|(_, _, key)| is_replaced(*key)).collect::<Vec<_>>()
    };
    if store.read().map_or(true, |document| replaced(&document).is_empty()) {
        return None;
    }
    let updated = store.clone().with_patience(SIBLING_PATIENCE).update(|document| {
        let mut given = None;
        for (id, login, _) in replaced(document) {
            if let Ok(renewed) = tokens.merge(&login, received_at)
                && !is_used_up(&renewed, provider, records)
            {
                given = key_of(provider, &renewed).map(|key| (id.clone(), key)).or(given);
                document.renew(&id, &Credential::OAuth(renewed));
            }
        }
        given
    });
    updated.unwrap_or_else(|error| {
        tracing::warn!(store = %store.path().display(), %error, "a copy was not renewed");
        None
    })
}

/// The login for which tokens came is gone from `left`, the store for which they were asked: gives
/// them to the other agents that hold the token of `lock` or one before it. Only when one of them
/// has them is that recorded, and the answer's file removed. `false`: nobody wants them.
pub(super) fn find_home(
    tokens: &Tokens,
    received_at: Timestamp,
    lock: &TokenLock,
    left: &Store,
    provider: &Provider,
    doors: Doors<'_>,
) -> Result<bool, RefreshError> {
    let sent = lock.key();
    let left_path = left.canonical_path();
    let is_replaced = |held: TokenKey| held == sent || leads_to(held, sent, doors.records);
    let mut home = None;
    for store in std::iter::once(doors.store).chain(doors.siblings) {
        let path = store.canonical_path();
        if path != left_path
            && let Some((profile, key)) =
                give(tokens, received_at, store, provider, doors.records, is_replaced)
        {
            home = home.or(Some((path, profile, key)));
        }
    }
    let Some((path, profile, successor)) = home else { return Ok(false) };
    let state = if successor == sent { State::None } else { State::Consumed };
    let consumed = Record::new(state, &path, &profile, doors.clock.now());
    lock.write(&Record { successor: Some(successor), ..consumed })?;
    settle::remove_answer(lock, &left.lock_for_refresh()?)?;
    Ok(true)
}

/// An issuer may give us a token once more that was used up before: it is living again, so its
/// record is cleared, as a login would. `lock` is that of the token which was sent.
pub(super) fn revive(lock: TokenLock, successor: TokenKey, wanted: &Wanted, doors: Doors<'_>) {
    let key = lock.key();
    // Never two locks of one kind.
    drop(lock);
    if successor == key || !leads_to(successor, key, doors.records) {
        return;
    }
    let path = doors.store.canonical_path();
    let living = Record::new(State::None, &path, &wanted.profile, doors.clock.now());
    // Should it fail, the chain is closed, and whoever comes makes the best of it.
    let written =
        doors.records.lock(successor, doors.patience).and_then(|lock| lock.write(&living));
    if let Err(error) = written {
        tracing::warn!(%error, "the record of a token that came back was not cleared");
    }
}

/// The store of another agent that holds the same profile and account with a later end: the
/// token in ours is a copy that was left behind.
pub(super) fn newer_copy(
    current: &Current,
    wanted: &Wanted,
    provider: &Provider,
    doors: Doors<'_>,
) -> Option<PathBuf> {
    let is_newer = |store: &&Store| {
        let Ok(document) = store.read() else { return false };
        let Some(Credential::OAuth(login)) = document.credential(&wanted.profile) else {
            return false;
        };
        let email = document.profile(&wanted.profile).and_then(|profile| profile.email);
        let is_known = current.login.account_id.is_some() && login.account_id.is_some()
            || current.email.is_some() && email.is_some();
        is_known
            && is_same_account(current.identity(), (&login, email.as_deref()))
            && key_of(provider, &login).is_some_and(|key| key != current.key)
            && login.expires > current.login.expires
            && !(is_of_another_login(&current.login, &login) && is_own(current, doors))
    };
    doors.siblings.iter().find(is_newer).map(|store| store.path().to_owned())
}

/// Whether the issuer gave us this token for our own store: by a login, whose record says so, or
/// in the place of one before it.
fn is_own(current: &Current, doors: Doors<'_>) -> bool {
    let here = doors.store.canonical_path();
    doors.records.all().into_iter().any(|(key, record)| {
        let is_begun = key == current.key && record.state == State::None;
        record.store == here && (is_begun || record.successor == Some(current.key))
    })
}

/// A copy that Clawdbot moved on keeps the time at which the login it was made of was obtained.
fn is_of_another_login(one: &OAuthCredential, other: &OAuthCredential) -> bool {
    one.obtained_at.is_some() && other.obtained_at.is_some() && one.obtained_at != other.obtained_at
}

/// The other agents' stores that hold the token `key`: who is affected if it is revoked.
pub fn holders(key: TokenKey, provider: &Provider, doors: Doors<'_>) -> Vec<PathBuf> {
    let holds_it = |store: &&Store| {
        store.read().is_ok_and(|document| {
            logins(&document, provider).iter().any(|(_, _, held)| *held == key)
        })
    };
    doors.siblings.iter().filter(holds_it).map(|store| store.path().to_owned()).collect()
}

/// After a process of ours died: gives its lock on the store back, and clears up after it, so
/// that Clawdbot need not wait until that looks stale. Best effort.
pub fn clear_up(doors: Doors<'_>) {
    if let Ok(store) = doors.store.clone().with_patience(CLEAR_UP).lock_for_refresh() {
        remove_settled_answers(&store, doors);
    }
}

/// Removes the answers beside a store that are in it already: their process died before it could.
pub(super) fn remove_settled_answers(store: &StoreLock, doors: Doors<'_>) {
    for key in store.answers() {
        // Without any record nobody knows, so it stays.
        if let Ok(Some(record)) = doors.records.peek(key)
            && record.state != State::Intent
        {
            // Whoever comes next tries again.
            let _ = store.remove_answer(key);
        }
    }
}

/// What there was of other tokens beside a store.
pub(super) enum LeftBehind {
    /// Nothing that could be finished.
    Nothing,
    /// Something was: look again.
    Finished,
    /// Somebody is about to finish the answer of this token, and waits for the store.
    WithAnother(TokenKey),
}

/// Finishes the answers beside the locked store whose processes died before their tokens had a
/// record. It must be done before any other token of that store is sent: once the token from such
/// an answer is used up, the answer cannot be told from one that is still to be stored.
///
/// Nobody who lives can be at it without holding this store, so the lock of such a token is free,
/// or belongs to one who waits for this store. It is not waited for.
pub(super) fn finish_left_behind(
    store: &mut StoreLock,
    except: TokenKey,
    provider: &Provider,
    doors: Doors<'_>,
) -> Result<LeftBehind, RefreshError> {
    remove_settled_answers(store, doors);
    let mut left_behind = LeftBehind::Nothing;
    for key in store.answers().into_iter().filter(|key| *key != except) {
        let is_ours = |record: &Record| {
            let document = store.read().ok();
            let profile = document.and_then(|document| document.profile(&record.profile));
            record.state == State::Intent
                && record.store == store.path()
                && profile.is_some_and(|profile| provider.is_called(&profile.provider))
        };
        if !doors.records.peek(key)?.is_some_and(|record| is_ours(&record)) {
            continue;
        }
        let stored = store.stored_answer(key)?;
        let Some(lock) = doors.records.try_lock(key)? else {
            if stored.is_none() {
                continue;
            }
            return Ok(LeftBehind::WithAnother(key));
        };
        let Some(stored) = stored else {
            // Its place was reserved, and nothing came.
            store.remove_answer(key)?;
            continue;
        };
        let Some(record) = lock.record()?.filter(is_ours) else { continue };
        let wanted = Wanted::now(record.profile);
        let answer = settle::read(&stored, &[], None, provider);
        let at = stored.received_at;
        // The other agents find their way by the record.
        match settle::settle(answer, at, None, &lock, store, &wanted, provider, doors) {
            // It stays, and is told to people.
            Ok(Settled::Homeless { .. }) => {}
            Err(RefreshError::Store(error)) => return Err(error.into()),
            Ok(Settled::Stored { .. }) | Err(_) => left_behind = LeftBehind::Finished,
        }
    }
    Ok(left_behind)
}

/// Before a login is dropped from our store: gives it to every agent whose token was used up in
/// its favour, since they could not find it any more.
pub fn give_to_successors(
    login: &OAuthCredential,
    provider: &Provider,
    doors: Doors<'_>,
) -> Result<(), StoreError> {
    let Some(living) = key_of(provider, login) else { return Ok(()) };
    let leads_here = |key: TokenKey| leads_to(key, living, doors.records);
    for store in doors.siblings {
        let Ok(document) = store.read() else { continue };
        if !logins(&document, provider).iter().any(|(_, _, key)| leads_here(*key)) {
            continue;
        }
        store.update(|document| {
            for (id, _, key) in logins(document, provider) {
                if leads_here(key) {
                    document.renew(&id, &Credential::OAuth(login.clone()));
                }
            }
        })?;
    }
    Ok(())
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

/// Whoever holds the lock longer than that is alive.
const CLEAR_UP: Duration = Duration::from_secs(1);
/// Whoever cannot be given a token that soon finds it by its record; meanwhile others wait for us.
const SIBLING_PATIENCE: Duration = Duration::from_secs(3);
