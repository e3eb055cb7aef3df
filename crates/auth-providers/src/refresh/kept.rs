//! Answers that nobody could read: what is known of them, and merging them on a person's word.

use auth_store::{
    OAuthCredential, ProfileId, Record, Secret, State, Store, StoreError, StoredAnswer, Timestamp,
    TokenLock,
};

use crate::http::body::Body;
use crate::oauth::response::Answer;
use crate::oauth::unread;
use crate::provider::Provider;
use crate::refresh::apply;
use crate::refresh::copies::holders;
use crate::refresh::error::RefreshError;
use crate::refresh::recovery::{answer_to, settle_intent_by};
use crate::refresh::request::{Current, Doors, Look, Wanted, key_of, look};

/// What is known of an answer that is kept. There is no secret in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeptAnswer {
    /// The HTTP status.
    pub status: u16,
    /// When it came.
    pub received_at: Timestamp,
    /// How many bytes its body has.
    pub length: usize,
    /// The encoding that could not be undone.
    pub encoding: Option<String>,
    /// What looks like a token in it: names of members, or "a JWT".
    pub found: Vec<&'static str>,
}

/// What is known of the answer that is kept for `profile`, if there is one.
pub fn kept_answer(
    profile: &ProfileId,
    provider: &Provider,
    doors: Doors<'_>,
) -> Result<Option<KeptAnswer>, RefreshError> {
    let Some((lock, record, current)) = open(profile, provider, doors)? else { return Ok(None) };
    let named = Store::at(&record.store).with_patience(doors.patience);
    if !named.has_directory()? {
        return Ok(None);
    }
    let Some(answer) = answer_to(&lock, &named.lock_for_refresh()?)? else { return Ok(None) };
    let body = Body::read(&answer.headers, &answer.body);
    Ok(Some(KeptAnswer {
        status: answer.status,
        received_at: answer.received_at,
        length: answer.body.len(),
        encoding: body.unknown_encoding(),
        found: unread::found(&body, Some(&current.login.refresh)),
    }))
}

/// Reads the answer that is kept for `profile` once more and merges it: as [`send`](super::send())
/// reads it, else for the only tokens that are anywhere in it. Nothing is sent. `false`: there is
/// none.
///
/// # Errors
/// [`RefreshError::Unmerged`]: it stays where it is.
pub fn merge_kept_answer(
    profile: &ProfileId,
    provider: &Provider,
    doors: Doors<'_>,
) -> Result<bool, RefreshError> {
    let Some((lock, record, current)) = open(profile, provider, doors)? else { return Ok(false) };
    settle_intent_by(&lock, &record, current.identity(), provider, doors, read_all)
}

/// After a login was replaced: removes what was kept for its token, unless another agent has a copy
/// of it.
pub fn remove_kept_answer(
    login: &OAuthCredential,
    provider: &Provider,
    doors: Doors<'_>,
) -> Result<(), StoreError> {
    let Some(key) = key_of(provider, login) else { return Ok(()) };
    let is_kept = doors.store.kept_answers()?.iter().any(|(of, _)| *of == key);
    if !is_kept || !holders(key, provider, doors).is_empty() {
        return Ok(());
    }
    let _lock = doors.records.lock(key, doors.patience)?;
    doors.store.lock_for_refresh()?.remove_kept_answer(key)
}

/// The locked token of `profile`, if its record says that an answer may be there.
fn open(
    profile: &ProfileId,
    provider: &Provider,
    doors: Doors<'_>,
) -> Result<Option<(TokenLock, Record, Box<Current>)>, RefreshError> {
    let wanted = Wanted::now(profile.clone());
    let now = doors.clock.now();
    let Look::Login(current) = look(&doors.store.read()?, &wanted, provider, now)? else {
        return Ok(None);
    };
    let lock = doors.records.lock(current.key, doors.patience)?;
    let record = match lock.unmerged()? {
        None => lock.record()?.filter(|record| record.state == State::Intent),
        unmerged => unmerged,
    };
    Ok(record.map(|record| (lock, record, current)))
}

fn read_all(answer: &StoredAnswer, sent: Option<&Secret>, provider: &Provider) -> Answer {
    let read = apply::read(answer, sent, provider);
    if !matches!(read, Answer::Unread { .. }) {
        return read;
    }
    let found = unread::only_tokens(&Body::read(&answer.headers, &answer.body));
    match found.and_then(|object| provider.tokens(&object)) {
        Some(tokens) => {
            let tokens = tokens.by_clock(&answer.headers, answer.received_at);
            Answer::Tokens(Box::new(tokens))
        }
        None => read,
    }
}
