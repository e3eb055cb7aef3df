//! Refresh: one function for every caller, and one request no matter how many callers there are.
//!
//! Read [`refresh`] first; it is the whole protocol in a dozen lines. `prepare` is the part before
//! anything is sent, [`send`](send()) the part after which a token may be used up. A caller that
//! may be killed at any time runs `send` in another process.
//!
//! Locks are always taken in the order *token* (one refresh token, for all agents) → *store* →
//! *directory* (Clawdbot's) → *endpoint*. A process that holds a store never waits for a token. The
//! store is not locked while the issuer is asked.

mod account;
mod apply;
mod copies;
mod error;
mod heal;
mod kept;
mod logout;
mod recovery;
mod replace;
mod request;
mod rotation_chain;
mod send;

use std::time::Duration;

use auth_store::{Credential, Record, State, Timestamp, TokenLock};

use crate::oauth::response::requires_login;
use crate::provider::Provider;
use account::is_of_same_account;
use request::{Attempts, Current, Look, attempts, check_endpoint, look};

pub use crate::backend::revoke::Revocation;
pub use apply::read as read_response;
pub use copies::holders;
pub use error::RefreshError;
pub use kept::{KeptResponse, kept_response, merge_kept_response, remove_kept_response};
pub use logout::{LoggedOut, logout, logout_if_revoked};
pub use recovery::clear_up;
pub use replace::{Replaced, replace};
pub use request::{Force, RefreshContext, Wanted, endpoint_of, key_of, not_asked, token_sha256};
pub use rotation_chain::clear_record;
pub use send::{block_on, send, send_blocking};

/// The credential of a profile, refreshed first if it is due.
///
/// No matter how many processes call this at once, one of them uses the refresh token; the others
/// wait for it and read what it stored. The function blocks while it waits for locks, so give it a
/// thread of its own.
///
/// `sender` is given the lock of the refresh token and returns what [`send`](send()) does: it is
/// [`send_blocking`], or a function that runs it in a process that outlives the caller. After the
/// request is sent, the token response is saved only if `send` runs to its end.
pub fn refresh<E: From<RefreshError>>(
    wanted: &Wanted,
    provider: &Provider,
    context: RefreshContext<'_>,
    mut sender: impl FnMut(TokenLock, &Wanted) -> Result<bool, E>,
) -> Result<Credential, E> {
    let document = context.store.read().map_err(RefreshError::from)?;
    let before = document.credential(&wanted.profile);
    let mut wanted = wanted.about(&document);
    let mut attempts = attempts();
    loop {
        match prepare(&wanted, provider, context, &mut attempts)? {
            Prepared::Valid(credential) => return Ok(credential),
            Prepared::Send(lock) => {
                let sent = sender(lock, &wanted);
                let usable = after_send(sent, &mut wanted, before.as_ref(), context)?;
                if let Some(credential) = usable {
                    return Ok(credential);
                }
            }
        }
    }
}

/// The next step after looking at the store.
enum Prepared {
    /// Nothing: this credential can be used.
    Valid(Credential),
    /// Send the refresh token of this lock.
    Send(TokenLock),
}

/// Judges the result of a send: the credential if it can be used now, `None` to start again. A
/// force applies once, so afterwards `wanted` forces nothing. `before` is the stored credential at
/// the start of the call.
fn after_send<E: From<RefreshError>>(
    sent: Result<bool, E>,
    wanted: &mut Wanted,
    before: Option<&Credential>,
    context: RefreshContext<'_>,
) -> Result<Option<Credential>, E> {
    let was_forced = wanted.force != Force::No;
    let now = context.clock.now();
    let stored = || context.store.read().ok()?.credential(&wanted.profile);
    match sent {
        Ok(false) => Ok(None),
        Ok(true) => {
            let stored = stored();
            wanted.force = Force::No;
            match stored {
                Some(credential) if credential.is_valid(now) => Ok(Some(credential)),
                Some(_) => Err(E::from(RefreshError::Unavailable {
                    profile: wanted.profile.clone(),
                    reason: "the issuer gave an access token that has already ended".to_owned(),
                    retry_at: None,
                })),
                None => Ok(None),
            }
        }
        // A failed refresh does not invalidate a valid access token. But a token of another
        // account, stored meanwhile, is not what the caller asked for.
        Err(error) => match stored() {
            Some(credential)
                if !was_forced
                    && credential.is_valid(now.plus(wanted.at_least))
                    && is_of_same_account(before, &credential) =>
            {
                Ok(Some(credential))
            }
            _ => Err(error),
        },
    }
}

/// Everything before the request: returns a credential that needs no refresh, adopts the result of
/// another process, obeys the token's record, and recovers the work of a crashed process. Sends
/// nothing. Each new look at the store uses up one of the caller's `attempts`.
fn prepare(
    wanted: &Wanted,
    provider: &Provider,
    context: RefreshContext<'_>,
    attempts: &mut Attempts,
) -> Result<Prepared, RefreshError> {
    for _ in attempts {
        let now = context.clock.now();
        let current = match look(&context.store.read()?, wanted, provider, now)? {
            Look::Done(credential) => return Ok(Prepared::Valid(*credential)),
            Look::Login(current) => current,
        };
        let forced = wanted.forces(&current.login);
        let credential = Credential::OAuth(current.login.clone());
        if !forced && credential.is_fresh(now, wanted.at_least) {
            return Ok(Prepared::Valid(credential));
        }
        let is_usable = !forced && credential.is_valid(now.plus(wanted.at_least));
        let lock = if is_usable {
            match context.records.try_lock(current.key) {
                Ok(Some(lock)) => lock,
                // Another process holds the lock, or the lock is not available. This credential is
                // still valid.
                Ok(None) | Err(_) => return Ok(Prepared::Valid(credential)),
            }
        } else {
            context.records.lock(current.key, context.timeout)?
        };
        match decide(lock, &current, now, wanted, provider, context) {
            Ok(Decision::Again) => {}
            Ok(Decision::Send(lock)) => return Ok(Prepared::Send(lock)),
            Err(_) if is_usable => return Ok(Prepared::Valid(credential)),
            Err(error) => return Err(error),
        }
    }
    Err(RefreshError::Unfinished { profile: wanted.profile.clone() })
}

enum Decision {
    Again,
    Send(TokenLock),
}

/// What the record of the locked token allows. `began` is when the wait for the lock began.
fn decide(
    lock: TokenLock,
    before: &Current,
    began: Timestamp,
    wanted: &Wanted,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<Decision, RefreshError> {
    let now = context.clock.now();
    let profile = &wanted.profile;
    let Look::Login(current) = look(&context.store.read()?, wanted, provider, now)? else {
        return Ok(Decision::Again);
    };
    let forced = wanted.forces(&current.login);
    let is_fresh = Credential::OAuth(current.login.clone()).is_fresh(now, wanted.at_least);
    let record = lock.record()?;
    if current.key != lock.key() {
        // The token changed while we waited. Our own refresh leaves a record; a login or Clawdbot
        // does not.
        if record.is_none() {
            rotation_chain::note_successor(&lock, before, &current, wanted, context)?;
        }
        return Ok(Decision::Again);
    }
    if !forced && is_fresh {
        return Ok(Decision::Again);
    }
    let insists = forced && wanted.force == Force::Send;
    // Whether the record was written while we waited for the lock.
    let is_of_our_wait = |record: &Record| began < record.at && record.at <= now;
    let unavailable = |record: Record, retry_at: Option<Timestamp>| RefreshError::Unavailable {
        profile: profile.clone(),
        reason: record.code.unwrap_or_else(|| "the issuer could not answer".to_owned()),
        retry_at,
    };
    let Some(record) = record else {
        if !insists && let Some(store) = copies::newer_copy(&current, wanted, provider, context)? {
            return Err(RefreshError::StaleCopy { profile: profile.clone(), store });
        }
        check_endpoint(&current, wanted, context, now)?;
        return Ok(Decision::Send(lock));
    };
    let apply_response = |record: &Record, insists: bool| match recovery::recover_intent(
        &lock,
        record,
        current.identity(),
        provider,
        context,
    ) {
        Err(RefreshError::Unmerged { .. }) if insists && record.state == State::Unmerged => {
            Ok(false)
        }
        applied => applied,
    };
    match record.state {
        State::Consumed => {
            heal::heal(lock, &current, wanted, provider, context)?;
            return Ok(Decision::Again);
        }
        State::Rejected | State::Revoked if !insists => {
            // No later step looks for the response to a refused token, so remove it here if a
            // process crashed before removing it.
            if context.store.responses().is_ok_and(|responses| responses.contains(&current.key)) {
                clear_up(context);
            }
            return Err(RefreshError::Rejected {
                profile: profile.clone(),
                code: record.code.unwrap_or_else(|| "revoked".to_owned()),
            });
        }
        State::Waiting if !forced => {
            // If the clock was set back, no caller may wait longer than the longest wait we ever
            // write.
            let ahead = record.retry_at.filter(|at| *at > now && at.since(now) <= LONGEST_WAIT);
            if ahead.is_some() || is_of_our_wait(&record) {
                if let Some(code) = record.code.as_deref().filter(|code| requires_login(code)) {
                    let (profile, code) = (profile.clone(), code.to_owned());
                    return Err(RefreshError::LoginRequired { profile, code });
                }
                return Err(unavailable(record, ahead));
            }
        }
        // A newer version may be able to read a response that an older one could not.
        State::Intent | State::Unmerged if apply_response(&record, insists)? => {
            return Ok(Decision::Again);
        }
        // The process we waited for got no response: report the same result. The next caller sends.
        State::Intent if !forced && record.code.is_some() && is_of_our_wait(&record) => {
            return Err(unavailable(record, None));
        }
        _ => {}
    }
    if !insists && let Some(kept) = lock.unmerged()? {
        let reason = kept.code.unwrap_or_else(|| "it could not be read".to_owned());
        return Err(RefreshError::Unmerged { profile: profile.clone(), store: kept.store, reason });
    }
    check_endpoint(&current, wanted, context, now)?;
    Ok(Decision::Send(lock))
}

/// A longer wait is not accepted from any issuer; the margin allows for clock differences.
const LONGEST_WAIT: Duration = Duration::from_mins(61);
