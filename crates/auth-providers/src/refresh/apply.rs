//! Applies a response to the store and to the record of the token.

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

/// Reads a stored response to a refresh. Its texts never contain the token that was sent, since
/// some issuers repeat it; if that token is no longer known, the issuer's own words are left out. A
/// response that proves nothing and may hold tokens is [`TokenResponse::Unread`].
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

/// What happened to the tokens of a response.
pub(super) enum Applied {
    /// They are in the store. Other agents that hold the old token still need them.
    Stored {
        /// The tokens of the response.
        tokens: Box<Tokens>,
        /// The token that replaces the one that was sent; the same one, if it was not rotated.
        successor: TokenKey,
    },
    /// They match no login in this store, because the profile holds another login now, so they are
    /// still in their response file. Another agent may hold the old token.
    Homeless {
        /// The tokens of the response.
        tokens: Box<Tokens>,
        /// Why they do not match.
        reason: String,
    },
}

/// Writes the response to the token of `lock` to the locked store, then to the token's record, and
/// only then removes the response file. `sent` is the login with that token, if one still exists.
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

/// Removes the response to the token of `lock` from both places where it can be.
pub(super) fn remove_response(lock: &TokenLock, store: &StoreLock) -> Result<(), StoreError> {
    if let Err(error) = lock.remove_rescued() {
        tracing::warn!(%error, "a rescued answer is left over");
    }
    store.remove_response(lock.key())
}

/// Writes the tokens over every login of this store whose refresh token they replace. Returns the
/// key of the successor, or why there is none.
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
    // If this fails, the response is still in its file, and the next caller finishes it.
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
                    // An earlier attempt stored this token before it crashed, and it may have been
                    // used up since. But a token issued in exchange for the one in the store is
                    // valid, even if it was used up before.
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

/// Whether Clawdbot refreshed `earlier` to get `later`. Clawdbot keeps our `obtained_at`.
fn is_moved_on(later: &OAuthCredential, earlier: &OAuthCredential) -> bool {
    later.obtained_at.is_some()
        && later.obtained_at == earlier.obtained_at
        && later.refresh != earlier.refresh
        && later.expires > earlier.expires
}

/// Whether Clawdbot refreshed `login` to get `sent`, and `login` was written back after that.
fn is_one_before(login: &OAuthCredential, sent: &OAuthCredential) -> bool {
    login.obtained_at == sent.obtained_at
        && login.refresh != sent.refresh
        && login.expires.is_some()
        && login.expires < sent.expires
        && is_same_account((login, None), (sent, None))
}

/// When to try again: at the issuer's time, else after some seconds, more after each consecutive
/// failure. The delay has a random part, so that waiting callers do not all return at once.
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
