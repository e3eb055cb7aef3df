//! The request, from the first lock under which it may be sent to the last record of what came
//! of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use auth_store::{Credential, Record, State, StoreError, StoredResponse, Timestamp, TokenLock};

use crate::http::runtime::runtime;
use crate::http::{HttpError, HttpResponse};
use crate::provider::Provider;
use crate::refresh::apply::{self, Applied};
use crate::refresh::error::RefreshError;
use crate::refresh::recovery::Recovered;
use crate::refresh::request::{Look, RefreshContext, Wanted, look};
use crate::refresh::{copies, recovery, rotation_chain};

/// Sends the refresh token whose lock this is, and saves what comes back, before anything else is
/// done with it. `true`: something was sent and saved; `false`: start again, nothing was sent.
///
/// Nothing may stop this function between the request and its end.
pub async fn send(
    lock: TokenLock,
    wanted: &Wanted,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<bool, RefreshError> {
    let profile = &wanted.profile;
    let now = context.clock.now();
    let before = match look(&context.store.read()?, wanted, provider, now)? {
        Look::Login(before) if before.key == lock.key() => before,
        _ => return Ok(false),
    };
    let mut store = context.store.lock_for_refresh().map_err(|error| cannot_save(wanted, error))?;
    store.keep_alive();
    let Look::Login(current) = look(&store.read()?, wanted, provider, now)? else {
        return Ok(false);
    };
    let path = store.path().to_owned();
    let record = |state: State| Record::new(state, &path, profile, context.clock.now());

    if current.key != lock.key() {
        // Somebody else was here since: a login, or a Clawdbot.
        rotation_chain::note_successor(&lock, &before, &current, wanted, context)?;
        return Ok(false);
    }
    let is_fresh = Credential::OAuth(current.login.clone()).is_fresh(now, wanted.at_least);
    if is_fresh && !wanted.forces(&current.login) {
        return Ok(false);
    }

    match recovery::recover_crashed(&mut store, lock.key(), provider, context)? {
        Recovered::Nothing => {}
        Recovered::Finished => return Ok(false),
        Recovered::WithAnother(key) => {
            drop(store);
            drop(lock);
            drop(context.records.lock(key, context.timeout)?);
            return Ok(false);
        }
    }
    let mut response_file =
        store.reserve(lock.key()).map_err(|error| cannot_save(wanted, error))?;
    if let Err(error) = lock.write(&record(State::Intent)) {
        let _ = response_file.remove();
        return Err(cannot_save(wanted, error));
    }

    let mut was_sent = false;
    let mut delays = REPLAYS.iter().filter(|_| provider.replay_after_lost_response);
    let response: HttpResponse = loop {
        let rest = DEADLINE.saturating_sub(store.age());
        let timeout = if was_sent { rest } else { rest.min(FIRST_ATTEMPT) };
        let witness = store.witness();
        let request = current.target.request(&current.login.refresh, timeout);
        let request = request.gated(Arc::new(witness));
        let reason = match context.http.send(request).await {
            Ok(response) => break response,
            Err(HttpError::NotSent(reason)) if !was_sent => {
                let _ = response_file.remove();
                if !(store.witness())() {
                    // The directory lock was taken from us: as if nothing had happened.
                    lock.write(&lock.unmerged()?.unwrap_or_else(|| record(State::None)))?;
                    return Ok(false);
                }
                let retry_at = apply::wait(&lock, None, context.clock.now());
                let waiting = Record {
                    code: Some(reason.clone()),
                    retry_at: Some(retry_at),
                    ..record(State::Waiting)
                };
                lock.write(&waiting)?;
                return Err(unavailable(wanted, reason, Some(retry_at)));
            }
            Err(HttpError::NotSent(reason)) => reason,
            Err(HttpError::NoResponse(reason)) => {
                was_sent = true;
                reason
            }
        };
        // Nobody knows whether the token was used up. Sending it again is never worse than not
        // sending it: if it was not, it works; if it was, its successor exists nowhere.
        match delays.next() {
            Some(delay) if store.age() + *delay < DEADLINE => tokio::time::sleep(*delay).await,
            _ => {
                let _ = response_file.remove();
                // Those who wait for us share what became of it. Best effort: the intent is there.
                let without_response =
                    Record { code: Some(reason.clone()), ..record(State::Intent) };
                let _ = lock.write(&without_response);
                return Err(unavailable(wanted, reason, None));
            }
        }
    };

    let received_at = context.clock.now();
    let stored = StoredResponse {
        status: response.status,
        received_at,
        headers: response.headers.into_iter().filter(says_how_to_read).collect(),
        body: response.body,
    };
    let written = response_file.store(&stored);
    store.commit_whatever_happens();
    if let Err(error) = written {
        tracing::warn!(%error, "the answer goes to another disk");
        // Should this fail too, it still goes into the store from memory.
        if let Err(error) = lock.rescue(&stored) {
            tracing::warn!(%error, "the answer is in memory only");
        }
    }
    let sent = &current.login;
    let mut apply_response = || {
        let response = apply::read(&stored, Some(&sent.refresh), provider);
        let of = Some(sent);
        apply::apply_response(
            response,
            received_at,
            of,
            &lock,
            &mut store,
            wanted,
            provider,
            context,
        )
    };
    let applied = match apply_response() {
        // Once more, with a new file: what failed may have been that of the old one.
        Err(RefreshError::Store(StoreError::Io { .. })) => apply_response(),
        applied => applied,
    };
    drop(store);
    match applied? {
        Applied::Stored { tokens, successor } => {
            copies::propagate(&tokens, received_at, lock.key(), provider, context);
            rotation_chain::revive(lock, successor, wanted, context);
            Ok(true)
        }
        Applied::Homeless { tokens, reason } => {
            let is_taken =
                copies::find_home(&tokens, received_at, &lock, context.store, provider, context)?;
            Err(if is_taken {
                RefreshError::OtherAccount { profile: profile.clone() }
            } else {
                RefreshError::Unmerged { profile: profile.clone(), store: path, reason }
            })
        }
    }
}

/// [`send`] on a runtime of this thread.
pub fn send_blocking(
    lock: TokenLock,
    wanted: &Wanted,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<bool, RefreshError> {
    block_on(send(lock, wanted, provider, context))?
}

/// Runs `future` on a runtime of this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T, RefreshError> {
    let started = runtime().map_err(|source| StoreError::Io {
        action: "start the network for",
        path: PathBuf::new(),
        source,
    });
    Ok(started?.block_on(future))
}

/// What the operating system refuses before anything is sent is about saving the result.
fn cannot_save(wanted: &Wanted, error: StoreError) -> RefreshError {
    match error {
        source @ StoreError::Io { .. } => {
            RefreshError::CannotSave { profile: wanted.profile.clone(), source }
        }
        other => other.into(),
    }
}

/// Whether a header field is needed to read the body, now or from its file. Others may be secret.
fn says_how_to_read((name, value): &(String, String)) -> bool {
    READING.iter().any(|known| name.eq_ignore_ascii_case(known)) && value.len() <= LONGEST_FIELD
}

fn unavailable(wanted: &Wanted, reason: String, retry_at: Option<Timestamp>) -> RefreshError {
    RefreshError::Unavailable { profile: wanted.profile.clone(), reason, retry_at }
}

/// From the moment the directory lock is ours: Clawdbot waits for it 43 s at least.
const DEADLINE: Duration = Duration::from_secs(20);
const FIRST_ATTEMPT: Duration = Duration::from_secs(12);
/// What a response cannot be read without.
const READING: [&str; 5] =
    ["cf-mitigated", "content-encoding", "content-type", "date", "retry-after"];
const LONGEST_FIELD: usize = 200;
/// How long after a lost response the same token is sent again.
const REPLAYS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
