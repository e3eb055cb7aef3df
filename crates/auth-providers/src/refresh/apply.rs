//! What a response means for the store and for the record of the token.

use std::time::Duration;

use auth_store::{
    Credential, OAuthCredential, Record, Secret, State, StoreError, StoreLock, StoredResponse,
    Timestamp, TokenKey, TokenLock,
};

use crate::oauth::response::TokenResponse;
use crate::oauth::tokens::Tokens;
use crate::oauth::unread;
use crate::provider::Provider;
use crate::refresh::account::is_same_account;
use crate::refresh::error::RefreshError;
use crate::refresh::request::{RefreshContext, Wanted, key, key_of};
use crate::refresh::rotation_chain;

/// What a response to a refresh says, without the token that was sent: issuers are known to repeat it. Where
/// nobody has that token any more, the issuer's own words are left out. What proves nothing and may
/// hold tokens is [`TokenResponse::Unread`].
pub fn read(
    response: &StoredResponse,
    sent: Option<&Secret>,
    provider: &Provider,
) -> TokenResponse {
    let StoredResponse { status, received_at, headers, body } = response;
    let read = match provider.read_response(*status, headers, body, *received_at) {
        unavailable @ TokenResponse::Unavailable { .. } => {
            match unread::why_kept(*status, headers, body, sent) {
                Some(reason) => TokenResponse::Unread { reason },
                None => unavailable,
            }
        }
        read => read,
    };
    match sent {
        Some(sent) => read.without(sent),
        None => read.without_words(),
    }
}

/// What became of tokens that came.
pub(super) enum Applied {
    /// They are in the store, and now for the other agents that hold the old one.
    Stored {
        /// What came.
        tokens: Box<Tokens>,
        /// The token that took the place of the one sent; the same, if it was not rotated.
        successor: TokenKey,
    },
    /// They fit nothing in this store, so they are in their file still: the profile holds another
    /// login now. Another agent may have the old token.
    Homeless {
        /// What came.
        tokens: Box<Tokens>,
        /// Why they do not fit.
        reason: String,
    },
}

/// Puts the response to the token of `lock` into the locked store, then into the token's record,
/// and only then removes its file. `sent` is the login whose token that is, if anybody still has
/// it.
#[expect(clippy::too_many_arguments, reason = "an answer, and everything it changes")]
pub(super) fn apply_response(
    response: TokenResponse,
    received_at: Timestamp,
    sent: Option<&OAuthCredential>,
    lock: &TokenLock,
    store: &mut StoreLock,
    wanted: &Wanted,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<Applied, RefreshError> {
    let profile = &wanted.profile;
    let path = store.path().to_owned();
    let record = |state: State| Record::new(state, &path, profile, context.clock.now());
    let code_of = |code: String, description: Option<String>| match description {
        Some(description) => format!("{code}: {description}"),
        None => code,
    };
    match response {
        TokenResponse::Tokens(tokens) => {
            let merged =
                merge(&tokens, received_at, sent, lock.key(), store, wanted, provider, context)?;
            let successor = match merged {
                Ok(successor) => successor,
                Err(reason) => return Ok(Applied::Homeless { tokens, reason }),
            };
            let state = if successor == lock.key() { State::None } else { State::Consumed };
            let consumed = Record { successor: Some(successor), ..record(state) };
            lock.write(&consumed)?;
            remove_response(lock, store)?;
            store.remove_kept_response(lock.key())?;
            Ok(Applied::Stored { tokens, successor })
        }
        TokenResponse::Rejected { code, .. } => {
            let rejected = Record { code: Some(code.clone()), ..record(State::Rejected) };
            lock.write(&rejected)?;
            remove_response(lock, store)?;
            Err(RefreshError::Rejected { profile: profile.clone(), code })
        }
        TokenResponse::LoginRequired { code, .. } => {
            // The token is not dead, so it is asked about again, but not by every caller.
            let retry_at = context.clock.now().plus(AFTER_LOGIN_REQUIRED);
            let waiting = Record {
                code: Some(code.clone()),
                retry_at: Some(retry_at),
                ..record(State::Waiting)
            };
            lock.write(&waiting)?;
            remove_response(lock, store)?;
            Err(RefreshError::LoginRequired { profile: profile.clone(), code })
        }
        TokenResponse::Misconfigured { code, description } => {
            let retry_at = context.clock.now().plus(AFTER_MISCONFIGURED);
            let code = code_of(code, description);
            let waiting = Record {
                code: Some(code.clone()),
                retry_at: Some(retry_at),
                ..record(State::Waiting)
            };
            lock.write(&waiting)?;
            remove_response(lock, store)?;
            Err(RefreshError::Misconfigured { profile: profile.clone(), code })
        }
        TokenResponse::Unavailable { reason, retry_after } => {
            let retry_at = wait(lock, retry_after, context.clock.now());
            let waiting = Record {
                code: Some(reason.clone()),
                retry_at: Some(retry_at),
                ..record(State::Waiting)
            };
            lock.write(&waiting)?;
            remove_response(lock, store)?;
            Err(RefreshError::Unavailable {
                profile: profile.clone(),
                reason,
                retry_at: Some(retry_at),
            })
        }
        TokenResponse::Unread { reason } => {
            store.keep_response(lock.key())?;
            if lock.record()?.is_none_or(|known| known.state != State::Unmerged) {
                lock.write(&Record { code: Some(reason.clone()), ..record(State::Unmerged) })?;
            }
            Err(RefreshError::Unmerged { profile: profile.clone(), store: path, reason })
        }
    }
}

/// Removes the response to the token of `lock`, wherever it was put.
pub(super) fn remove_response(lock: &TokenLock, store: &StoreLock) -> Result<(), StoreError> {
    if let Err(error) = lock.remove_rescued() {
        tracing::warn!(%error, "a rescued answer is left over");
    }
    store.remove_response(lock.key())
}

/// Writes the tokens over every login of this store whose refresh token they replace. The key of
/// the successor, or why there is none.
///
/// Should somebody have written without the lock meanwhile, ours win only over what they were
/// made from: the token that was sent, or one before it, of which there need not be a record if
/// it was a Clawdbot that used it up. And should a Clawdbot have moved on what was put there
/// before somebody died, or what was sent, theirs is the successor.
#[expect(clippy::too_many_arguments, reason = "an answer, and everything it changes")]
fn merge(
    tokens: &Tokens,
    received_at: Timestamp,
    sent_login: Option<&OAuthCredential>,
    sent: TokenKey,
    store: &mut StoreLock,
    wanted: &Wanted,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<Result<TokenKey, String>, RefreshError> {
    // Should it fail, the response is in its file, and the next caller finishes it.
    let merged = store.update(|document| -> Result<_, StoreError> {
        let ids: Vec<_> = document.profiles().map(|profile| profile.id).collect();
        let mut successor = Err("the profile holds another login now".to_owned());
        let mut renewals = Vec::new();
        for id in ids {
            let Some(Credential::OAuth(login)) = document.credential(&id) else { continue };
            let is_wanted = id == wanted.profile;
            let Some(held) = key_of(provider, &login) else { continue };
            let is_replaced = held == sent
                || is_wanted
                    && (rotation_chain::leads_to(held, sent, context.records)?
                        || sent_login.is_some_and(|sent| is_one_before(&login, sent)));
            if !(is_replaced || is_wanted && tokens.has_rotated()) {
                continue;
            }
            match tokens.merge(&login, received_at) {
                Ok(renewed) => {
                    let renewed_key = provider
                        .refresh_target(&renewed)
                        .map(|target| key(&target, &renewed.refresh))
                        .map_err(|error| error.to_string());
                    // Put there before somebody died, and perhaps used up since. But what comes in
                    // exchange for the very token that is there is living, whatever it once was.
                    let is_past = match &renewed_key {
                        Ok(new) if held != sent => {
                            rotation_chain::leads_to(*new, held, context.records)?
                        }
                        _ => false,
                    };
                    // Without its lock during the request, a Clawdbot may have sent the token too.
                    let is_theirs = is_moved_on(&login, &renewed)
                        || held != sent && sent_login.is_some_and(|sent| is_moved_on(&login, sent));
                    if is_wanted && is_theirs {
                        successor = Ok(held);
                        continue;
                    }
                    let is_there = renewed_key.as_ref() == Ok(&held);
                    if !(is_replaced || is_past || is_there) {
                        continue;
                    }
                    if is_wanted || successor.is_err() {
                        successor = renewed_key;
                    }
                    if is_past {
                        continue;
                    }
                    renewals.push((id, Credential::OAuth(renewed)));
                }
                Err(error) if is_wanted && is_replaced => successor = Err(error.to_string()),
                Err(_) => {}
            }
        }
        for (id, renewed) in renewals {
            document.renew(&id, &renewed);
        }
        Ok(successor)
    })??;
    Ok(merged)
}

/// Whether a Clawdbot made `later` of `earlier`: it keeps the time at which we obtained that.
fn is_moved_on(later: &OAuthCredential, earlier: &OAuthCredential) -> bool {
    later.obtained_at.is_some()
        && later.obtained_at == earlier.obtained_at
        && later.refresh != earlier.refresh
        && later.expires > earlier.expires
}

/// Whether a Clawdbot made `sent` of `login`, which it saved once more since.
fn is_one_before(login: &OAuthCredential, sent: &OAuthCredential) -> bool {
    login.obtained_at == sent.obtained_at
        && login.refresh != sent.refresh
        && login.expires.is_some()
        && login.expires < sent.expires
        && is_same_account((login, None), (sent, None))
}

/// When to ask again: when the issuer says, else after some seconds, more with every failure in a
/// row. A part of it is chance, so that those who wait do not all come back at once.
pub(super) fn wait(lock: &TokenLock, retry_after: Option<Duration>, now: Timestamp) -> Timestamp {
    if let Some(retry_after) = retry_after {
        return now.plus(retry_after);
    }
    let failures = lock.failures_in_a_row().unwrap_or(0).min(6);
    let longest = (FIRST_WAIT * 2_u32.pow(failures)).min(LONGEST_WAIT);
    now.plus(longest.mul_f64(rand::random_range(0.6..=1.0)))
}

const AFTER_LOGIN_REQUIRED: Duration = Duration::from_mins(10);
const AFTER_MISCONFIGURED: Duration = Duration::from_secs(5);
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_mins(1);
