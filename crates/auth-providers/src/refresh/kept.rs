//! Responses that could not be read: describes them, and merges one at the user's request.

use auth_store::{
    OAuthCredential, ProfileId, Record, Secret, State, Store, StoreError, StoredResponse,
    Timestamp, TokenLock,
};

use crate::http::body::Body;
use crate::oauth::response::TokenResponse;
use crate::oauth::unread;
use crate::provider::Provider;
use crate::refresh::apply;
use crate::refresh::copies::holders;
use crate::refresh::error::RefreshError;
use crate::refresh::recovery::{recover_intent_with, response_to};
use crate::refresh::request::{Current, Look, RefreshContext, Wanted, key_of, look};

/// A description of a kept response, without any secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeptResponse {
    /// The HTTP status.
    pub status: u16,
    /// When it was received.
    pub received_at: Timestamp,
    /// The length of its body in bytes.
    pub length: usize,
    /// The content coding that could not be decoded.
    pub encoding: Option<String>,
    /// What looks like a token in it: names of members, or "a JWT".
    pub found: Vec<&'static str>,
}

/// Describes the response that is kept for `profile`, if there is one.
pub fn kept_response(
    profile: &ProfileId,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<Option<KeptResponse>, RefreshError> {
    let Some((lock, record, current)) = open(profile, provider, context)? else { return Ok(None) };
    let named = Store::at(&record.store).with_timeout(context.timeout);
    if !named.has_directory()? {
        return Ok(None);
    }
    let Some(response) = response_to(&lock, &named.lock_for_refresh()?)? else { return Ok(None) };
    let body = Body::read(&response.headers, &response.body);
    Ok(Some(KeptResponse {
        status: response.status,
        received_at: response.received_at,
        length: response.body.len(),
        encoding: body.unknown_encoding(),
        found: unread::found(&body, Some(&current.login.refresh)),
    }))
}

/// Reads the response that is kept for `profile` again and merges it. It is read as
/// [`send`](super::send()) does; if that fails, it is searched for the only tokens in it. Nothing
/// is sent. `false`: there is no response.
///
/// # Errors
/// [`RefreshError::Unmerged`]: the response stays where it is.
pub fn merge_kept_response(
    profile: &ProfileId,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<bool, RefreshError> {
    let Some((lock, record, current)) = open(profile, provider, context)? else { return Ok(false) };
    recover_intent_with(&lock, &record, current.identity(), provider, context, read_all)
}

/// After a login was replaced: removes the response that was kept for its token, unless another
/// agent has a copy of that token.
pub fn remove_kept_response(
    login: &OAuthCredential,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<(), StoreError> {
    let Some(key) = key_of(provider, login) else { return Ok(()) };
    let is_kept = context.store.kept_responses()?.iter().any(|(of, _)| *of == key);
    if !is_kept || !holders(key, provider, context).is_empty() {
        return Ok(());
    }
    let _lock = context.records.lock(key, context.timeout)?;
    context.store.lock_for_refresh()?.remove_kept_response(key)
}

/// The locked token of `profile`, if its record says that a response may exist.
fn open(
    profile: &ProfileId,
    provider: &Provider,
    context: RefreshContext<'_>,
) -> Result<Option<(TokenLock, Record, Box<Current>)>, RefreshError> {
    let wanted = Wanted::now(profile.clone());
    let now = context.clock.now();
    let Look::Login(current) = look(&context.store.read()?, &wanted, provider, now)? else {
        return Ok(None);
    };
    let lock = context.records.lock(current.key, context.timeout)?;
    let record = match lock.unmerged()? {
        None => lock.record()?.filter(|record| record.state == State::Intent),
        unmerged => unmerged,
    };
    Ok(record.map(|record| (lock, record, current)))
}

fn read_all(
    response: &StoredResponse,
    sent: Option<&Secret>,
    provider: &Provider,
) -> TokenResponse {
    let read = apply::read(response, sent, provider);
    if !matches!(read, TokenResponse::Unread { .. }) {
        return read;
    }
    let found = unread::only_tokens(&Body::read(&response.headers, &response.body));
    match found.and_then(|object| provider.tokens(&object)) {
        Some(tokens) => {
            let tokens = tokens.by_clock(&response.headers, response.received_at);
            TokenResponse::Tokens(Box::new(tokens))
        }
        None => read,
    }
}
