//! The request, from the first lock under which it may be sent to the last record of what came
//! of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use auth_store::{Credential, Record, State, StoreError, StoredAnswer, Timestamp, TokenLock};

use crate::http::runtime::runtime;
use crate::http::{HttpError, HttpResponse};
use crate::provider::Provider;
use crate::refresh::apply::{self, Settled};
use crate::refresh::error::RefreshError;
use crate::refresh::recovery::LeftBehind;
use crate::refresh::request::{Doors, Look, Wanted, look};
use crate::refresh::{copies, lineage, recovery};

/// Sends the refresh token whose lock this is, and saves what comes back, before anything else is
/// done with it. `true`: something was sent and saved; `false`: start again, nothing was sent.
///
/// Nothing may stop this function between the request and its end.
pub async fn send(
    lock: TokenLock,
    wanted: &Wanted,
    provider: &Provider,
    doors: Doors<'_>,
) -> Result<bool, RefreshError> {
    let profile = &wanted.profile;
    let now = doors.clock.now();
    let before = match look(&doors.store.read()?, wanted, provider, now)? {
        Look::Login(before) if before.key == lock.key() => before,
        _ => return Ok(false),
    };
    let mut store = doors.store.lock_for_refresh().map_err(|error| cannot_save(wanted, error))?;
    store.keep_alive();
    let Look::Login(current) = look(&store.read()?, wanted, provider, now)? else {
        return Ok(false);
    };
    let path = store.path().to_owned();
    let record = |state: State| Record::new(state, &path, profile, doors.clock.now());

    if current.key != lock.key() {
        // Somebody else was here since: a login, or a Clawdbot.
        lineage::note_successor(&lock, &before, &current, wanted, doors)?;
        return Ok(false);
    }
    let is_fresh = Credential::OAuth(current.login.clone()).is_fresh(now, wanted.at_least);
    if is_fresh && !wanted.forces(&current.login) {
        return Ok(false);
    }

    match recovery::finish_left_behind(&mut store, lock.key(), provider, doors)? {
        LeftBehind::Nothing => {}
        LeftBehind::Finished => return Ok(false),
        LeftBehind::WithAnother(key) => {
            drop(store);
            drop(lock);
            drop(doors.records.lock(key, doors.patience)?);
            return Ok(false);
        }
    }
    let mut answer_file = store.reserve(lock.key()).map_err(|error| cannot_save(wanted, error))?;
    if let Err(error) = lock.write(&record(State::Intent)) {
        let _ = answer_file.remove();
        return Err(cannot_save(wanted, error));
    }

    let mut was_sent = false;
    let mut delays = REPLAYS.iter().filter(|_| provider.replay_after_lost_response);
    let answer: HttpResponse = loop {
        let rest = DEADLINE.saturating_sub(store.age());
        let timeout = if was_sent { rest } else { rest.min(FIRST_ATTEMPT) };
        let witness = store.witness();
        let mut request = current.target.request(&current.login.refresh, timeout);
        request.gate = Some(Arc::new(witness));
        let reason = match doors.http.send(request).await {
            Ok(answer) => break answer,
            Err(HttpError::NotSent(reason)) if !was_sent => {
                let _ = answer_file.remove();
                if !(store.witness())() {
                    // The directory lock was taken from us: as if nothing had happened.
                    lock.write(&lock.unmerged()?.unwrap_or_else(|| record(State::None)))?;
                    return Ok(false);
                }
                let retry_at = apply::wait(&lock, None, doors.clock.now());
                let waiting = Record {
                    code: Some(reason.clone()),
                    retry_at: Some(retry_at),
                    ..record(State::Waiting)
                };
                lock.write(&waiting)?;
                return Err(unavailable(wanted, reason, Some(retry_at)));
            }
            Err(HttpError::NotSent(reason)) => reason,
            Err(HttpError::Unanswered(reason)) => {
                was_sent = true;
                reason
            }
        };
        // Nobody knows whether the token was used up. Sending it again is never worse than not
        // sending it: if it was not, it works; if it was, its successor exists nowhere.
        match delays.next() {
            Some(delay) if store.age() + *delay < DEADLINE => tokio::time::sleep(*delay).await,
            _ => {
                let _ = answer_file.remove();
                // Those who wait for us share what became of it. Best effort: the intent is there.
                let unanswered = Record { code: Some(reason.clone()), ..record(State::Intent) };
                let _ = lock.write(&unanswered);
                return Err(unavailable(wanted, reason, None));
            }
        }
    };

    let received_at = doors.clock.now();
    let stored = StoredAnswer {
        status: answer.status,
        received_at,
        headers: answer.headers.into_iter().filter(says_how_to_read).collect(),
        body: answer.body,
    };
    let written = answer_file.store(&stored);
    store.commit_whatever_happens();
    if let Err(error) = written {
        tracing::warn!(%error, "the answer goes to another disk");
        // Should this fail too, it still goes into the store from memory.
        if let Err(error) = lock.rescue(&stored) {
            tracing::warn!(%error, "the answer is in memory only");
        }
    }
    let sent = &current.login;
    let mut settle = || {
        let answer = apply::read(&stored, Some(&sent.refresh), provider);
        let of = Some(sent);
        apply::settle(answer, received_at, of, &lock, &mut store, wanted, provider, doors)
    };
    let settled = match settle() {
        // Once more, with a new file: what failed may have been that of the old one.
        Err(RefreshError::Store(StoreError::Io { .. })) => settle(),
        settled => settled,
    };
    drop(store);
    match settled? {
        Settled::Stored { tokens, successor } => {
            copies::propagate(&tokens, received_at, lock.key(), provider, doors);
            lineage::revive(lock, successor, wanted, doors);
            Ok(true)
        }
        Settled::Homeless { tokens, reason } => {
            let is_taken =
                copies::find_home(&tokens, received_at, &lock, doors.store, provider, doors)?;
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
    doors: Doors<'_>,
) -> Result<bool, RefreshError> {
    block_on(send(lock, wanted, provider, doors))?
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
/// What an answer cannot be read without.
const READING: [&str; 4] = ["content-encoding", "content-type", "date", "retry-after"];
const LONGEST_FIELD: usize = 200;
/// How long after a lost answer the same token is sent again.
const REPLAYS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
