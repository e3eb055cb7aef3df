//! Putting something in the place of a login, or taking it away.

use std::collections::BTreeMap;

use auth_store::{
    Credential, Document, OAuthCredential, ProfileId, State, StoreError, StoreLock, TokenKey,
    TokenLock,
};

use crate::provider::Provider;
use crate::refresh::copies::{give_to_successors, is_awaited};
use crate::refresh::recovery::{is_open, recover_intent};
use crate::refresh::request::{RefreshContext, key_of};

/// A login that is about to go from our store. Two are equal if they are of one profile and token.
#[derive(Clone, Debug)]
pub struct Replaced<'a> {
    profile: ProfileId,
    login: OAuthCredential,
    email: Option<String>,
    provider: &'a Provider,
    key: TokenKey,
}

impl<'a> Replaced<'a> {
    /// The login of `profile` in `document`; `None` if nothing of it could be sent anywhere.
    pub fn find(
        profile: &ProfileId,
        document: &Document,
        provider: Option<&'a Provider>,
    ) -> Option<Self> {
        let Some(Credential::OAuth(login)) = document.credential(profile) else { return None };
        let provider = provider?;
        let key = key_of(provider, &login)?;
        let email = document.profile(profile).and_then(|profile| profile.email);
        Some(Self { profile: profile.clone(), login, email, provider, key })
    }

    /// The profile.
    pub fn profile(&self) -> &ProfileId {
        &self.profile
    }

    /// The login.
    pub fn login(&self) -> &OAuthCredential {
        &self.login
    }

    /// Its provider.
    pub fn provider(&self) -> &'a Provider {
        self.provider
    }

    fn is_still_in(&self, document: &Document) -> bool {
        match document.credential(&self.profile) {
            Some(Credential::OAuth(now)) => now.refresh == self.login.refresh,
            _ => false,
        }
    }
}

impl PartialEq for Replaced<'_> {
    fn eq(&self, other: &Self) -> bool {
        (&self.profile, self.key) == (&other.profile, other.key)
    }
}

/// Has `commit` replace or remove the logins that `going` finds in our store, while no request with
/// their tokens is under way. What a crashed process left of their refresh is finished first, and
/// each login goes to the agents whose own token was used up in its favour.
///
/// `commit` is given the locked store and what was found. `None`: start again, because `going` finds
/// something else in there.
///
/// The token of a single login stays locked, so that a request for a copy in another agent is waited
/// for, too. Of several, each is waited for in turn, and tried again once the store is locked: no
/// lock is held while another one of its kind is waited for.
///
/// # Errors
/// Those of `going` and `commit`, and those of the locks. Nothing was replaced.
pub fn replace<'a, T, E: From<StoreError>>(
    context: RefreshContext<'_>,
    going: impl Fn(&Document) -> Result<Vec<Replaced<'a>>, E>,
    mut commit: impl FnMut(StoreLock, &[Replaced<'a>]) -> Result<Option<T>, E>,
) -> Result<T, E> {
    loop {
        let logins = going(&context.store.read()?)?;
        let Some(mut locks) = let_go(&logins, context)? else { continue };
        let store = context.store.lock_for_refresh()?;
        if going(&store.read()?)? == logins
            && may_go(&logins, &mut locks, context)?
            && let Some(done) = commit(store, &logins)?
        {
            return Ok(done);
        }
    }
}

/// Waits for what is under way with these tokens, finishes what was left behind, and hands the logins
/// over. The lock of a single one. `None`: something was changed, so look again.
fn let_go(
    logins: &[Replaced<'_>],
    context: RefreshContext<'_>,
) -> Result<Option<BTreeMap<TokenKey, TokenLock>>, StoreError> {
    let mut locks = BTreeMap::new();
    for login in logins {
        // Profiles of one agent may have one token.
        locks.clear();
        let lock = context.records.lock(login.key, context.timeout)?;
        if !login.is_still_in(&context.store.read()?) {
            return Ok(None);
        }
        if let Some(record) = lock.record()?.filter(is_open) {
            let identity = (&login.login, login.email.as_deref());
            // What cannot be finished stays beside the store; what comes does not depend on it.
            if recover_intent(&lock, &record, identity, login.provider, context).unwrap_or(false) {
                return Ok(None);
            }
        }
        give_to_successors(&login.login, login.provider, context)?;
        locks.insert(login.key, lock);
    }
    if logins.len() > 1 {
        locks.clear();
    }
    Ok(Some(locks))
}

/// With the store locked: whether nobody waits for one of the logins, and none of their tokens is on
/// its way from here. A request is begun under this lock, and recorded.
fn may_go(
    logins: &[Replaced<'_>],
    locks: &mut BTreeMap<TokenKey, TokenLock>,
    context: RefreshContext<'_>,
) -> Result<bool, StoreError> {
    for login in logins {
        if is_awaited(&login.login, login.provider, context)? {
            return Ok(false);
        }
        if !locks.contains_key(&login.key) && is_begun(login.key, context)? {
            match context.records.try_lock(login.key)? {
                Some(lock) => locks.insert(login.key, lock),
                None => return Ok(false),
            };
        }
    }
    Ok(true)
}

fn is_begun(key: TokenKey, context: RefreshContext<'_>) -> Result<bool, StoreError> {
    Ok(context.records.peek(key)?.is_some_and(|record| record.state == State::Intent))
}
