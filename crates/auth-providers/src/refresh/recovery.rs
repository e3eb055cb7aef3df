//! Crash recovery: finishes the work of a process that crashed after it sent a token, or before it
//! stored the response.

use std::time::Duration;

use auth_store::{
    Record, Secret, State, StoreError, StoreLock, StoredResponse, TokenKey, TokenLock,
};

use crate::oauth::response::TokenResponse;
use crate::provider::Provider;
use crate::refresh::account::{Identity, is_same_account};
use crate::refresh::apply::{self, Applied};
use crate::refresh::copies::{find_home, propagate};
use crate::refresh::error::RefreshError;
use crate::refresh::request::{RefreshContext, Wanted, key_of};
use crate::refresh::rotation_chain::{leads_to, logins};

/// Determines what became of a token whose process crashed, or whose response was unreadable, using
/// the store that the refresh was for. `true`: the outcome is recorded, start again. `false`: the
/// outcome is unknown.
pub(super) fn recover_intent(
    lock: &TokenLock,
    record: &Record,
    account: Identity<'_>,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<bool, RefreshError> {
    recover_intent_with(lock, record, account, provider, context, apply::read)
}

/// Like [`recover_intent`], with another function to read the response.
pub(super) fn recover_intent_with(
    lock: &TokenLock,
    record: &Record,
    account: Identity<'_>,
    provider: &Provider,
    context: RefreshContext<'_>,
    read: fn(&StoredResponse, Option<&Secret>, &Provider) -> TokenResponse,
) -> Result<bool, RefreshError> {
    let named = context.store.elsewhere(&record.store).with_timeout(context.timeout);
    if !named.has_directory()? {
        return Ok(false);
    }
    let mut store = named.lock_for_refresh()?;
    let wanted = Wanted::now(record.profile.clone());
    let document = store.read()?;
    let held = logins(&document, provider);
    if let Some(stored) = response_to(lock, &store)? {
        let holder = held.iter().find(|(_, _, key)| *key == lock.key()).map(|(_, login, _)| login);
        let holder =
            holder.or(Some(account.0).filter(|it| key_of(provider, it) == Some(lock.key())));
        let response = read(&stored, holder.map(|login| &login.refresh), provider);
        let (at, key) = (stored.received_at, lock.key());
        let applied = apply::apply_response(
            response, at, holder, lock, &mut store, &wanted, provider, context,
        );
        let path = store.path().to_owned();
        if is_judged(&applied) {
            store.remove_kept_response(key)?;
        }
        drop(store);
        return match applied {
            Ok(Applied::Stored { tokens, .. }) => {
                propagate(&tokens, at, key, provider, context);
                Ok(true)
            }
            Ok(Applied::Homeless { tokens, reason }) => {
                if find_home(&tokens, at, lock, &named, provider, context)? {
                    Ok(true)
                } else {
                    let profile = wanted.profile;
                    Err(RefreshError::Unmerged { profile, store: path, reason })
                }
            }
            // The outcome is in the record now; the caller reads it.
            Err(_) if is_judged(&applied) => Ok(true),
            Err(error) => Err(error),
        };
    }
    if record.state == State::Unmerged {
        return Ok(false);
    }
    // Without the response, the only trace of a finished refresh is a later token of that account
    // in that profile.
    let there = held.into_iter().find(|(id, _, _)| *id == record.profile);
    let later = there.filter(|(id, login, key)| {
        let email = document.profile(id).and_then(|profile| profile.email);
        *key != lock.key()
            && is_same_account(account, (login, email.as_deref()))
            && login.expires > account.0.expires
    });
    let successor = match later {
        Some((_, _, key)) if !leads_to(key, lock.key(), context.records)? => Some(key),
        _ => None,
    };
    apply::remove_response(lock, &store)?;
    let Some(key) = successor else { return Ok(false) };
    lock.write(&Record {
        state: State::Consumed,
        successor: Some(key),
        at: context.clock.now(),
        ..record.clone()
    })?;
    Ok(true)
}

/// The response to the token of `lock`: from the crashed process, or the kept one.
pub(super) fn response_to(
    lock: &TokenLock,
    store: &StoreLock,
) -> Result<Option<StoredResponse>, StoreError> {
    if let Some(left) = store.stored_response(lock.key())? {
        return Ok(Some(left));
    }
    match lock.rescued()? {
        None => store.kept_response(lock.key()),
        rescued => Ok(rescued),
    }
}

/// Whether the issuer's refusal or failure was written to the record.
fn is_judged(applied: &Result<Applied, RefreshError>) -> bool {
    matches!(
        applied,
        Err(RefreshError::Rejected { .. }
            | RefreshError::Misconfigured { .. }
            | RefreshError::Unavailable { .. })
    )
}

/// The result of recovering the responses to other tokens next to a store.
pub(super) enum Recovered {
    /// There was nothing to finish.
    Nothing,
    /// Something was finished: look again.
    Finished,
    /// Another process is about to finish the response of this token, and waits for the store.
    WithAnother(TokenKey),
}

/// Finishes the responses next to the locked store whose processes crashed before they updated the
/// record of their token. This must happen before any other token of that store is sent: after the
/// token in such a response is used up, the response cannot be told from one that still has to be
/// stored.
///
/// The lock of such a token is not waited for. If it is held, a living process still waits for the
/// response, or has it and waits for this store.
pub(super) fn recover_crashed(
    store: &mut StoreLock,
    except: TokenKey,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<Recovered, RefreshError> {
    remove_finished_responses(store, context);
    let mut recovered = Recovered::Nothing;
    for key in store.responses()?.into_iter().filter(|key| *key != except) {
        let document = store.read()?;
        let is_ours = |record: &Record| {
            let profile = document.profile(&record.profile);
            record.state == State::Intent
                && record.store == store.path()
                && profile.is_some_and(|profile| provider.is_called(&profile.provider))
        };
        if !context.records.peek(key)?.is_some_and(|record| is_ours(&record)) {
            continue;
        }
        let stored = store.stored_response(key)?;
        let Some(lock) = context.records.try_lock(key)? else {
            if stored.is_none() {
                continue;
            }
            return Ok(Recovered::WithAnother(key));
        };
        let Some(stored) = stored else {
            // The file was reserved, and no response came.
            store.remove_response(key)?;
            continue;
        };
        let Some(record) = lock.record()?.filter(is_ours) else { continue };
        let wanted = Wanted::now(record.profile);
        let response = apply::read(&stored, None, provider);
        let at = stored.received_at;
        // The other agents find the new token through the record.
        match apply::apply_response(response, at, None, &lock, store, &wanted, provider, context) {
            // The response stays in its file, and is reported to the user.
            Ok(Applied::Homeless { .. }) => {}
            Err(RefreshError::Store(error)) => return Err(error.into()),
            Ok(Applied::Stored { .. }) | Err(_) => recovered = Recovered::Finished,
        }
    }
    Ok(recovered)
}

/// Removes the response files next to a store whose tokens are already stored: their process
/// crashed before it could remove them.
pub(super) fn remove_finished_responses(store: &StoreLock, context: RefreshContext<'_>) {
    // Best effort; a later send checks again.
    for key in store.responses().unwrap_or_default() {
        // Without a record the outcome is unknown, so the file stays.
        if let Ok(Some(record)) = context.records.peek(key)
            && !is_open(&record)
        {
            // The next caller tries again.
            let _ = store.remove_response(key);
        }
    }
    for key in context.records.rescued() {
        // If another process holds the lock, it takes care of the file.
        if let Ok(Some(lock)) = context.records.try_lock(key)
            && let Ok(Some(record)) = lock.record()
            && !is_open(&record)
        {
            let _ = lock.remove_rescued();
        }
    }
}

/// Whether the response to a token may still have to be stored.
pub(super) fn is_open(record: &Record) -> bool {
    matches!(record.state, State::Intent | State::Unmerged)
}

/// Cleans up after a crashed process of ours and releases its lock on the store, so that Clawdbot
/// need not wait until that lock looks stale. Best effort.
pub fn clear_up(context: RefreshContext<'_>) {
    if let Ok(store) = context.store.clone().with_timeout(CLEAR_UP).lock_for_refresh() {
        remove_finished_responses(&store, context);
    }
}

/// A process that holds the lock longer than this is alive.
const CLEAR_UP: Duration = Duration::from_secs(1);
