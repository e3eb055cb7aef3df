//! The request of a refresh, from the first lock to the final record.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use auth_store::{
    Credential, EndpointNote, Record, State, StoreDuringRequest, StoreError, StoreLock,
    StoredResponse, Timestamp, TokenLock,
};

use crate::http::runtime::runtime;
use crate::http::{Gate, HttpError, HttpResponse};
use crate::provider::Provider;
use crate::refresh::apply::{self, Applied};
use crate::refresh::error::RefreshError;
use crate::refresh::recovery::Recovered;
use crate::refresh::request::{Current, Look, RefreshContext, Wanted, check_endpoint, look};
use crate::refresh::{copies, recovery, rotation_chain};

/// Sends the refresh token of `lock`, and saves the response before anything else is done with it.
/// `true`: something was sent and saved; `false`: nothing was sent, start again.
///
/// The store is not locked during the request. Nothing may stop this function between the request
/// and its end.
pub async fn send(
    lock: TokenLock,
    wanted: &Wanted,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<bool, RefreshError> {
    let profile = &wanted.profile;
    let Some((mut store, current)) = lock_to_send(&lock, wanted, provider, context)? else {
        return Ok(false);
    };
    let path = store.path().to_owned();
    let record = |state: State| Record::new(state, &path, profile, context.clock.now());
    let mut response_file =
        store.reserve(lock.key()).map_err(|error| cannot_save(wanted, error))?;
    if let Err(error) = lock.write(&record(State::Intent)) {
        let _ = response_file.remove();
        return Err(cannot_save(wanted, error));
    }

    let store = store.unlock_for_request(context.store);
    let (gate, is_closed) = last_look(&store, &current, wanted, context);
    let mut was_sent = false;
    let mut delays = REPLAYS.iter().filter(|_| provider.replay_after_lost_response);
    let response: HttpResponse = loop {
        let rest = DEADLINE.saturating_sub(store.age());
        let timeout = if was_sent { rest } else { rest.min(FIRST_ATTEMPT) };
        let request = current.target.request(&current.login.refresh, timeout);
        let request = request.gated(Arc::clone(&gate));
        let reason = match context.http.send(request).await {
            Ok(response) => break response,
            Err(HttpError::NotSent(reason)) if !was_sent => {
                let _ = response_file.remove();
                if is_closed.load(Ordering::SeqCst) {
                    // Another program has the lock or the login now: as if nothing had happened.
                    lock.write(&lock.unmerged()?.unwrap_or_else(|| record(State::None)))?;
                    let there =
                        look(&context.store.read()?, wanted, provider, context.clock.now())?;
                    if let Look::Login(there) = there
                        && there.key != lock.key()
                    {
                        rotation_chain::note_successor(&lock, &current, &there, wanted, context)?;
                    }
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
        // The token may or may not have been used up. Sending it again is never worse than not
        // sending it: if it was not used up, it works; if it was, its successor exists nowhere.
        match delays.next() {
            Some(delay) if store.age() + *delay < DEADLINE => tokio::time::sleep(*delay).await,
            _ => {
                let _ = response_file.remove();
                // Callers that wait for us share this outcome. Best effort: the intent is already
                // recorded.
                let without_response =
                    Record { code: Some(reason.clone()), ..record(State::Intent) };
                let _ = lock.write(&without_response);
                return Err(unavailable(wanted, reason, None));
            }
        }
    };

    let stored = StoredResponse {
        status: response.status,
        received_at: context.clock.now(),
        headers: response.headers.into_iter().filter(says_how_to_read).collect(),
        body: response.body,
    };
    if let Err(error) = response_file.store(&stored) {
        tracing::warn!(%error, "the answer goes to another disk");
        // If this fails too, the response still goes into the store from memory.
        if let Err(error) = lock.rescue(&stored) {
            tracing::warn!(%error, "the answer is in memory only");
        }
    }
    let store = store.lock_again()?;
    save(&stored, &current, store, lock, wanted, provider, context)
}

/// Locks the store for the token of `lock`, and looks again: the login, if its token is to be sent
/// from there. `None`: start again.
fn lock_to_send(
    lock: &TokenLock,
    wanted: &Wanted,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<Option<(StoreLock, Box<Current>)>, RefreshError> {
    let now = context.clock.now();
    let before = match look(&context.store.read()?, wanted, provider, now)? {
        Look::Login(before) if before.key == lock.key() => before,
        _ => return Ok(None),
    };
    for _ in 0..LOOKS {
        let mut store =
            context.store.lock_for_refresh().map_err(|error| cannot_save(wanted, error))?;
        let Look::Login(current) = look(&store.read()?, wanted, provider, now)? else {
            return Ok(None);
        };
        if current.key != lock.key() {
            // Somebody else was here since: a login, or a Clawdbot.
            rotation_chain::note_successor(lock, &before, &current, wanted, context)?;
            return Ok(None);
        }
        let is_fresh = Credential::OAuth(current.login.clone()).is_fresh(now, wanted.at_least);
        if is_fresh && !wanted.forces(&current.login) {
            return Ok(None);
        }
        match recovery::recover_crashed(&mut store, lock.key(), provider, context)? {
            Recovered::Nothing => {
                check_endpoint(&current, wanted, context, now)?;
                return Ok(Some((store, current)));
            }
            Recovered::Finished => return Ok(None),
            Recovered::WithAnother(key) => {
                drop(store);
                // Its holder needs the store, and never our token. It may go on holding the lock
                // for something else, so it is not waited for to the end.
                let _ = context.records.lock(key, context.timeout.min(LONGEST_LOOK));
            }
        }
    }
    Ok(None)
}

/// What is looked at when the connection stands, and whether that kept the token back. With
/// Clawdbot's lock it is that the lock is still ours; without, that no other program has it, and that
/// the store still has the token.
fn last_look(
    store: &StoreDuringRequest,
    current: &Current,
    wanted: &Wanted,
    context: RefreshContext<'_>,
) -> (Gate, Arc<AtomicBool>) {
    let is_closed = Arc::new(AtomicBool::new(false));
    let (witness, keeps_directory) = (store.witness(), store.keeps_directory());
    // It must not wait.
    let there = context.store.clone().with_timeout(Duration::ZERO);
    let (profile, refresh) = (wanted.profile.clone(), current.login.refresh.clone());
    let has_token = move || {
        let stored = there.read().ok().and_then(|document| document.credential(&profile));
        matches!(stored, Some(Credential::OAuth(login)) if login.refresh == refresh)
    };
    let closed = Arc::clone(&is_closed);
    let gate = move || {
        let is_open = witness() && (keeps_directory || has_token());
        closed.store(!is_open, Ordering::SeqCst);
        is_open
    };
    (Arc::new(gate), is_closed)
}

/// Saves a response into the locked store and the record of its token, and tells those whom it
/// concerns.
fn save(
    stored: &StoredResponse,
    current: &Current,
    mut store: StoreLock,
    lock: TokenLock,
    wanted: &Wanted,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<bool, RefreshError> {
    let (path, profile) = (store.path().to_owned(), &wanted.profile);
    let (sent, received_at) = (&current.login, stored.received_at);
    let mut apply_response = || {
        let response = apply::read(stored, Some(&sent.refresh), provider);
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
        // Try once more, with a new file: the error may have been in the old one.
        Err(RefreshError::Store(StoreError::Io { .. })) => apply_response(),
        applied => applied,
    };
    drop(store);
    note_endpoint(stored.status, &applied, current, context);
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

/// Notes that the endpoint asked to be left alone, for all tokens that go there; any other answer
/// clears that. Best effort: without the note it is asked for each token.
fn note_endpoint(
    status: u16,
    applied: &Result<Applied, RefreshError>,
    current: &Current,
    context: RefreshContext<'_>,
) {
    let (endpoint, now) = (current.target.endpoint_key(), context.clock.now());
    let noted = match applied {
        Err(RefreshError::Unavailable { retry_at: Some(retry_at), .. })
            if matches!(status, 429 | 503) =>
        {
            let note = EndpointNote { status, retry_at: *retry_at };
            context.records.note_endpoint(endpoint, note, now)
        }
        _ => context.records.clear_endpoint(endpoint),
    };
    if let Err(error) = noted {
        tracing::warn!(%error, "what the endpoint asked for was not noted");
    }
}

/// Runs [`send`] on a new runtime in this thread.
pub fn send_blocking(
    lock: TokenLock,
    wanted: &Wanted,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<bool, RefreshError> {
    block_on(send(lock, wanted, provider, context))?
}

/// Runs `future` on a new runtime in this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T, RefreshError> {
    let started = runtime().map_err(|source| StoreError::Io {
        action: "start the network for",
        path: PathBuf::new(),
        source,
    });
    Ok(started?.block_on(future))
}

/// An error of the operating system before anything is sent means that the result could not be
/// saved.
fn cannot_save(wanted: &Wanted, error: StoreError) -> RefreshError {
    match error {
        source @ StoreError::Io { .. } => {
            RefreshError::CannotSave { profile: wanted.profile.clone(), source }
        }
        other => other.into(),
    }
}

/// Whether a header field is needed to read the body, now or from its file. Other fields may be
/// secret.
fn says_how_to_read((name, value): &(String, String)) -> bool {
    READING.iter().any(|known| name.eq_ignore_ascii_case(known)) && value.len() <= LONGEST_FIELD
}

fn unavailable(wanted: &Wanted, reason: String, retry_at: Option<Timestamp>) -> RefreshError {
    RefreshError::Unavailable { profile: wanted.profile.clone(), reason, retry_at }
}

/// From the moment the store is unlocked: Clawdbot waits for its lock 43 s at least.
const DEADLINE: Duration = Duration::from_secs(20);
const FIRST_ATTEMPT: Duration = Duration::from_secs(12);
/// The header fields that are needed to read a response.
const READING: [&str; 5] =
    ["cf-mitigated", "content-encoding", "content-type", "date", "retry-after"];
const LONGEST_FIELD: usize = 200;
/// How often, and for how long each time, the response of another token beside the store is waited
/// for.
const LOOKS: u32 = 8;
const LONGEST_LOOK: Duration = Duration::from_secs(1);
/// The delays before the same token is sent again after a lost response.
const REPLAYS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
