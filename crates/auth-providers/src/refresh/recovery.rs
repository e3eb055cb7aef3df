//! What a process left behind that died with a token sent, or with its answer not yet stored.

use std::time::Duration;

use auth_store::{
    OAuthCredential, Record, Secret, State, Store, StoreError, StoreLock, StoredAnswer, TokenKey,
    TokenLock,
};

use crate::oauth::response::Answer;
use crate::provider::Provider;
use crate::refresh::account::{Identity, is_same_account};
use crate::refresh::apply::{self, Settled};
use crate::refresh::copies::{find_home, propagate};
use crate::refresh::error::RefreshError;
use crate::refresh::lineage::{leads_to, logins};
use crate::refresh::request::{Doors, Wanted, key_of};

/// Finds out what became of a token whose process died with it, or whose answer nobody could read,
/// at the store on whose behalf it was sent. `true`: it is known now, start again. `false`: nobody
/// knows.
pub(super) fn settle_intent(
    lock: &TokenLock,
    record: &Record,
    account: Identity<'_>,
    provider: &Provider,
    doors: Doors<'_>,
) -> Result<bool, RefreshError> {
    settle_intent_by(lock, record, account, provider, doors, apply::read)
}

/// The same, with another way to read the answer.
pub(super) fn settle_intent_by(
    lock: &TokenLock,
    record: &Record,
    account: Identity<'_>,
    provider: &Provider,
    doors: Doors<'_>,
    read: fn(&StoredAnswer, Option<&Secret>, &Provider) -> Answer,
) -> Result<bool, RefreshError> {
    let named = Store::at(&record.store).with_patience(doors.patience);
    if !named.has_directory()? {
        return Ok(false);
    }
    let mut store = named.lock_for_refresh()?;
    let wanted = Wanted::now(record.profile.clone());
    let document = store.read()?;
    let held = logins(&document, provider);
    if let Some(stored) = answer_to(lock, &store)? {
        let holder = held.iter().find(|(_, _, key)| *key == lock.key()).map(|(_, login, _)| login);
        let holder =
            holder.or(Some(account.0).filter(|it| key_of(provider, it) == Some(lock.key())));
        let answer = read(&stored, holder.map(|login| &login.refresh), provider);
        let (at, key) = (stored.received_at, lock.key());
        let settled = apply::settle(answer, at, holder, lock, &mut store, &wanted, provider, doors);
        let path = store.path().to_owned();
        if is_judged(&settled) {
            store.remove_kept_answer(key)?;
        }
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
            Err(_) if is_judged(&settled) => Ok(true),
            Err(error) => Err(error),
        };
    }
    if record.state == State::Unmerged {
        return Ok(false);
    }
    // Without the answer, a later token of that account in that profile is the only trace that a
    // finished refresh leaves.
    let there = held.into_iter().find(|(id, _, _)| *id == record.profile);
    let later = there.filter(|(id, login, key)| {
        let email = document.profile(id).and_then(|profile| profile.email);
        *key != lock.key()
            && is_same_account(account, (login, email.as_deref()))
            && login.expires > account.0.expires
    });
    let successor = match later {
        Some((_, _, key)) if !leads_to(key, lock.key(), doors.records)? => Some(key),
        _ => None,
    };
    apply::remove_answer(lock, &store)?;
    let Some(key) = successor else { return Ok(false) };
    lock.write(&Record {
        state: State::Consumed,
        successor: Some(key),
        at: doors.clock.now(),
        ..record.clone()
    })?;
    Ok(true)
}

/// The answer to the token of `lock`: the one that its process left, or the one that was kept.
pub(super) fn answer_to(
    lock: &TokenLock,
    store: &StoreLock,
) -> Result<Option<StoredAnswer>, StoreError> {
    if let Some(left) = store.stored_answer(lock.key())? {
        return Ok(Some(left));
    }
    match lock.rescued()? {
        None => store.kept_answer(lock.key()),
        rescued => Ok(rescued),
    }
}

/// Whether the issuer said no, and the record says so now.
fn is_judged(settled: &Result<Settled, RefreshError>) -> bool {
    matches!(
        settled,
        Err(RefreshError::Rejected { .. }
            | RefreshError::Misconfigured { .. }
            | RefreshError::Unavailable { .. })
    )
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
    if !doors.records.peek(key)?.is_some_and(|record| is_open(&record)) {
        return Ok(false);
    }
    let lock = doors.records.lock(key, doors.patience)?;
    match lock.record()?.filter(is_open) {
        Some(record) => settle_intent(&lock, &record, (login, email), provider, doors),
        None => Ok(true),
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
    for key in store.answers()?.into_iter().filter(|key| *key != except) {
        let document = store.read()?;
        let is_ours = |record: &Record| {
            let profile = document.profile(&record.profile);
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
        let answer = apply::read(&stored, None, provider);
        let at = stored.received_at;
        // The other agents find their way by the record.
        match apply::settle(answer, at, None, &lock, store, &wanted, provider, doors) {
            // It stays, and is told to people.
            Ok(Settled::Homeless { .. }) => {}
            Err(RefreshError::Store(error)) => return Err(error.into()),
            Ok(Settled::Stored { .. }) | Err(_) => left_behind = LeftBehind::Finished,
        }
    }
    Ok(left_behind)
}

/// Removes the answers beside a store that are in it already: their process died before it could.
pub(super) fn remove_settled_answers(store: &StoreLock, doors: Doors<'_>) {
    // Best effort; who sends a token looks again.
    for key in store.answers().unwrap_or_default() {
        // Without any record nobody knows, so it stays.
        if let Ok(Some(record)) = doors.records.peek(key)
            && !is_open(&record)
        {
            // Whoever comes next tries again.
            let _ = store.remove_answer(key);
        }
    }
    for key in doors.records.rescued() {
        // Whoever holds its lock takes care of it.
        if let Ok(Some(lock)) = doors.records.try_lock(key)
            && let Ok(Some(record)) = lock.record()
            && !is_open(&record)
        {
            let _ = lock.remove_rescued();
        }
    }
}

/// Whether the answer to a token is not in any store yet.
fn is_open(record: &Record) -> bool {
    matches!(record.state, State::Intent | State::Unmerged)
}

/// After a process of ours died: gives its lock on the store back, and clears up after it, so
/// that Clawdbot need not wait until that looks stale. Best effort.
pub fn clear_up(doors: Doors<'_>) {
    if let Ok(store) = doors.store.clone().with_patience(CLEAR_UP).lock_for_refresh() {
        remove_settled_answers(&store, doors);
    }
}

/// Whoever holds the lock longer than that is alive.
const CLEAR_UP: Duration = Duration::from_secs(1);
