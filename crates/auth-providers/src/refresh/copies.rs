//! Copies of one login in several agents: finds the newest, and distributes new tokens.

use std::path::PathBuf;
use std::time::Duration;

use auth_store::{
    Credential, Document, OAuthCredential, ProfileId, Record, Records, State, Store, StoreError,
    Timestamp, TokenKey, TokenLock,
};

use crate::oauth::tokens::Tokens;
use crate::provider::Provider;
use crate::refresh::account::is_same_account;
use crate::refresh::apply;
use crate::refresh::error::RefreshError;
use crate::refresh::request::{Current, RefreshContext, Wanted, key_of};
use crate::refresh::rotation_chain::{is_used_up, leads_to, logins};

/// The store of another agent that holds the same profile and account with a later expiry. If there
/// is one, the token in our store is a stale copy.
pub(super) fn newer_copy(
    current: &Current,
    wanted: &Wanted,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<Option<PathBuf>, StoreError> {
    let newer = |store: &&Store| {
        // An agent whose store cannot be read must not block a refresh.
        let document = store.read().ok()?;
        let Some(Credential::OAuth(login)) = document.credential(&wanted.profile) else {
            return None;
        };
        let email = document.profile(&wanted.profile).and_then(|profile| profile.email);
        let is_known = current.login.account_id.is_some() && login.account_id.is_some()
            || current.email.is_some() && email.is_some();
        let is_newer = is_known
            && is_same_account(current.identity(), (&login, email.as_deref()))
            && key_of(provider, &login).is_some_and(|key| key != current.key)
            && login.expires > current.login.expires;
        is_newer.then_some(login)
    };
    for store in context.siblings {
        if let Some(login) = newer(&store)
            && !(is_of_another_login(&current.login, &login) && is_own(current, context)?)
        {
            return Ok(Some(store.path().to_owned()));
        }
    }
    Ok(None)
}

/// Whether the issuer issued this token for our own store: by a login, whose record says so, or by
/// a refresh of one.
fn is_own(current: &Current, context: RefreshContext<'_>) -> Result<bool, StoreError> {
    let here = context.store.canonical_path();
    Ok(context.records.all()?.into_iter().any(|(key, record)| {
        let is_begun = key == current.key && record.state == State::None;
        record.store == here && (is_begun || record.successor == Some(current.key))
    }))
}

/// A copy that Clawdbot has refreshed keeps the `obtained_at` of the original login.
fn is_of_another_login(one: &OAuthCredential, other: &OAuthCredential) -> bool {
    one.obtained_at.is_some() && other.obtained_at.is_some() && one.obtained_at != other.obtained_at
}

/// Writes the tokens to every other agent that still holds the token they replace. Best effort: a
/// store that is missed finds the new token through the old token's record.
pub(super) fn propagate(
    tokens: &Tokens,
    received_at: Timestamp,
    sent: TokenKey,
    provider: &Provider,
    context: RefreshContext<'_>,
) {
    for store in context.siblings {
        give(tokens, received_at, store, provider, context.records, |held| held == sent);
    }
}

/// Writes the tokens to a store over the logins whose keys satisfy `is_replaced`. Returns the
/// profile that has them now, and the key of its token.
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
    let updated = store.clone().with_timeout(SIBLING_TIMEOUT).update(|document| {
        let mut given = None;
        for (id, login, _) in replaced(document) {
            if let Ok(renewed) = tokens.merge(&login, received_at)
                && is_used_up(&renewed, provider, records).is_ok_and(|is_past| !is_past)
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

/// Handles tokens whose login is gone from `left`, the store that requested them: writes them to
/// the other agents that hold the token of `lock` or an earlier one of its rotation chain. Only if
/// one of them accepts the tokens is the record written and the response file removed. `false`: no
/// agent holds a matching token.
pub(super) fn find_home(
    tokens: &Tokens,
    received_at: Timestamp,
    lock: &TokenLock,
    left: &Store,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<bool, RefreshError> {
    let sent = lock.key();
    let left_path = left.canonical_path();
    // If the records cannot be read, the response stays for the next caller.
    let leads_there = |held| leads_to(held, sent, context.records).unwrap_or(false);
    let is_replaced = |held: TokenKey| held == sent || leads_there(held);
    let mut home = None;
    for store in std::iter::once(context.store).chain(context.siblings) {
        let path = store.canonical_path();
        if path != left_path
            && let Some((profile, key)) =
                give(tokens, received_at, store, provider, context.records, is_replaced)
        {
            home = home.or(Some((path, profile, key)));
        }
    }
    let Some((path, profile, successor)) = home else { return Ok(false) };
    let state = if successor == sent { State::None } else { State::Consumed };
    let consumed = Record::new(state, &path, &profile, context.clock.now());
    lock.write(&Record { successor: Some(successor), ..consumed })?;
    let left = left.lock_for_refresh()?;
    apply::remove_response(lock, &left)?;
    left.remove_kept_response(sent)?;
    Ok(true)
}

/// Before a login is removed from our store: writes it to every agent that holds an earlier token
/// of its rotation chain, since they could not find it afterwards.
pub(super) fn give_to_successors(
    login: &OAuthCredential,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<(), StoreError> {
    let Some(living) = key_of(provider, login) else { return Ok(()) };
    for store in context.siblings {
        if !is_behind(store, living, provider, context)? {
            continue;
        }
        store.update(|document| -> Result<(), StoreError> {
            for id in behind(document, living, provider, context.records)? {
                document.renew(&id, &Credential::OAuth(login.clone()));
            }
            Ok(())
        })??;
    }
    Ok(())
}

/// Whether an agent holds a token that was used up in favour of this login's. It is asked again once
/// our store is locked: a refresh may have recorded that meanwhile, and crashed. No other store is
/// waited for.
pub(super) fn is_awaited(
    login: &OAuthCredential,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<bool, StoreError> {
    let Some(living) = key_of(provider, login) else { return Ok(false) };
    for store in context.siblings {
        let store = store.clone().with_timeout(Duration::ZERO);
        if is_behind(&store, living, provider, context)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_behind(
    store: &Store,
    living: TokenKey,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<bool, StoreError> {
    match store.read() {
        Ok(document) => Ok(!behind(&document, living, provider, context.records)?.is_empty()),
        Err(error) if may_be_read_later(&error) => Err(error),
        // Whatever is in it, nobody can use it.
        Err(_) => Ok(false),
    }
}

/// The profiles whose tokens were used up in favour of `living`.
fn behind(
    document: &Document,
    living: TokenKey,
    provider: &Provider,
    records: &Records,
) -> Result<Vec<ProfileId>, StoreError> {
    let mut behind = Vec::new();
    for (id, _, key) in logins(document, provider) {
        if leads_to(key, living, records)? {
            behind.push(id);
        }
    }
    Ok(behind)
}

/// Whether the read error is temporary. A store of another user can never be read.
fn may_be_read_later(error: &StoreError) -> bool {
    match error {
        StoreError::Io { source, .. } => source.kind() != std::io::ErrorKind::PermissionDenied,
        _ => false,
    }
}

/// The other agents' stores that hold the token `key`, and are affected if it is revoked.
pub fn holders(key: TokenKey, provider: &Provider, context: RefreshContext<'_>) -> Vec<PathBuf> {
    let holds_it = |store: &&Store| {
        store.read().is_ok_and(|document| {
            logins(&document, provider).iter().any(|(_, _, held)| *held == key)
        })
    };
    context.siblings.iter().filter(holds_it).map(|store| store.path().to_owned()).collect()
}

/// A short timeout, because other callers wait for us. An agent that is missed finds the token
/// through its record.
const SIBLING_TIMEOUT: Duration = Duration::from_secs(3);
