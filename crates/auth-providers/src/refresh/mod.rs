//! Refreshing: one function for every caller, and one request however many of them there are.
//!
//! Read [`refresh`] first; it is the whole protocol in a dozen lines. [`prepare`] is the part
//! before anything is sent, [`send`](send()) the part after which a token may have been used up. A
//! caller that may be killed at any time runs the second in another process.
//!
//! Locks are always taken in the order *token* (one refresh token, for all agents) → *store* →
//! *directory* (Clawdbot's), never two of a kind at once, and whoever holds a store never waits
//! for a token.

mod copies;
mod error;
mod kept;
mod left_behind;
mod lineage;
mod logout;
mod send;
mod settle;

use std::time::Duration;

use auth_store::{
    Clock, Credential, Document, OAuthCredential, ProfileId, Record, Records, Secret, State, Store,
    Timestamp, TokenKey, TokenLock,
};
use sha2::{Digest as _, Sha256};

use crate::http::HttpClient;
use crate::oauth::{RefreshTarget, TargetError};
use crate::provider::Provider;

pub use copies::{give_to_successors, holders};
pub use error::RefreshError;
pub use kept::{KeptAnswer, kept_answer, merge_kept_answer, remove_kept_answer};
pub use left_behind::{clear_up, finish_begun};
pub use lineage::clear_record;
pub use logout::{LoggedOut, Revocation, logout};
pub use send::send;
pub use settle::read as read_answer;

/// What a refresh acts on.
#[derive(Clone, Copy)]
pub struct Doors<'a> {
    /// The store that has the profile.
    pub store: &'a Store,
    /// The stores of the other agents, which may hold copies of the same refresh token.
    pub siblings: &'a [Store],
    /// What became of each refresh token.
    pub records: &'a Records,
    /// The network.
    pub http: &'a dyn HttpClient,
    /// The time.
    pub clock: &'a dyn Clock,
    /// How long to wait for others who refresh the same token.
    pub patience: Duration,
}

/// What the caller wants.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Wanted {
    /// Of which profile.
    pub profile: ProfileId,
    /// The credential must live at least that long.
    pub at_least: Duration,
    /// Whether to refresh what needs no refresh.
    pub force: Force,
    /// Forces only if the access token in the store still has this SHA-256 (hexadecimal): it is
    /// the one that failed.
    pub only_if: Option<String>,
}

/// How much a caller insists.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Force {
    /// Refresh what is about to end.
    #[default]
    No,
    /// Refresh what is still valid, and do not wait for a time the issuer has set.
    Refresh,
    /// Send even a token that was refused before, or that is a stale copy. Once.
    Send,
}

/// What there is to do after looking.
#[derive(Debug)]
pub enum Prepared {
    /// Nothing: this can be used.
    Valid(Credential),
    /// Send the refresh token whose lock this is.
    Send(TokenLock),
}

/// The credential of a profile, refreshed first if that is due.
///
/// However many processes call this at once, one of them spends the refresh token; the others
/// wait for it and read what it stored. It blocks while it waits for locks, so give it a thread
/// of its own, and do not drop it: once the request is sent, only its end saves the answer.
pub async fn refresh(
    wanted: &Wanted,
    provider: &Provider,
    doors: Doors<'_>,
) -> Result<Credential, RefreshError> {
    let document = doors.store.read()?;
    let before = document.credential(&wanted.profile);
    let mut wanted = wanted.about(&document);
    let mut attempts = attempts();
    loop {
        match prepare(&wanted, provider, doors, &mut attempts)? {
            Prepared::Valid(credential) => return Ok(credential),
            Prepared::Send(lock) => {
                let sent = send(lock, &wanted, provider, doors).await;
                let ended = |error| error;
                let usable = after_send(sent, &mut wanted, before.as_ref(), doors, ended)?;
                if let Some(credential) = usable {
                    return Ok(credential);
                }
            }
        }
    }
}

/// The attempts of one caller: the first, and five times it may start again.
pub type Attempts = std::ops::RangeInclusive<u32>;

/// All the attempts of a caller who begins.
pub fn attempts() -> Attempts {
    0..=RESTARTS
}

/// Judges the end of [`send`](send()): the credential if it can be used now, `None` to start
/// again. What was forced is done, so from now on `wanted` forces nothing. `before` is what the
/// store had when the caller began, `ended` makes the caller's kind of error.
pub fn after_send<E>(
    sent: Result<bool, E>,
    wanted: &mut Wanted,
    before: Option<&Credential>,
    doors: Doors<'_>,
    ended: impl Fn(RefreshError) -> E,
) -> Result<Option<Credential>, E> {
    let was_forced = wanted.force != Force::No;
    let now = doors.clock.now();
    let stored = || doors.store.read().ok()?.credential(&wanted.profile);
    match sent {
        Ok(false) => Ok(None),
        Ok(true) => {
            let stored = stored();
            wanted.force = Force::No;
            match stored {
                Some(credential) if credential.is_valid(now) => Ok(Some(credential)),
                Some(_) => Err(ended(RefreshError::Unavailable {
                    profile: wanted.profile.clone(),
                    reason: "the issuer gave an access token that has already ended".to_owned(),
                    retry_at: None,
                })),
                None => Ok(None),
            }
        }
        // A refresh that failed does not make a valid access token worse; but another account's,
        // stored meanwhile, is not what was asked for.
        Err(error) => match stored() {
            Some(credential)
                if !was_forced
                    && credential.is_valid(now.plus(wanted.at_least))
                    && lineage::is_of_same_account(before, &credential) =>
            {
                Ok(Some(credential))
            }
            _ => Err(error),
        },
    }
}

/// Everything before the request: finds that nothing is due, adopts what somebody else did,
/// obeys the record of the token, recovers what a dead process left. Sends nothing. Each time it
/// has to look again it uses up one of the caller's `attempts`.
pub fn prepare(
    wanted: &Wanted,
    provider: &Provider,
    doors: Doors<'_>,
    attempts: &mut Attempts,
) -> Result<Prepared, RefreshError> {
    for _ in attempts {
        let now = doors.clock.now();
        let current = match look(&doors.store.read()?, wanted, provider, now)? {
            Look::Done(credential) => return Ok(Prepared::Valid(credential)),
            Look::Login(current) => current,
        };
        let forced = wanted.forces(&current.login);
        let credential = Credential::OAuth(current.login.clone());
        if !forced && credential.is_fresh(now, wanted.at_least) {
            return Ok(Prepared::Valid(credential));
        }
        let is_usable = !forced && credential.is_valid(now.plus(wanted.at_least));
        let lock = if is_usable {
            match doors.records.try_lock(current.key) {
                Ok(Some(lock)) => lock,
                // Somebody is at it, or nobody can be; this one is good meanwhile.
                Ok(None) | Err(_) => return Ok(Prepared::Valid(credential)),
            }
        } else {
            doors.records.lock(current.key, doors.patience)?
        };
        match decide(lock, &current, now, wanted, provider, doors) {
            Ok(Decision::Again) => {}
            Ok(Decision::Send(lock)) => return Ok(Prepared::Send(lock)),
            Err(_) if is_usable => return Ok(Prepared::Valid(credential)),
            Err(error) => return Err(error),
        }
    }
    Err(RefreshError::Unsettled { profile: wanted.profile.clone() })
}

enum Decision {
    Again,
    Send(TokenLock),
}

/// What the record of the locked token allows. `began` is when we began to wait for the lock.
fn decide(
    lock: TokenLock,
    before: &Current,
    began: Timestamp,
    wanted: &Wanted,
    provider: &Provider,
    doors: Doors<'_>,
) -> Result<Decision, RefreshError> {
    let now = doors.clock.now();
    let profile = &wanted.profile;
    let Look::Login(current) = look(&doors.store.read()?, wanted, provider, now)? else {
        return Ok(Decision::Again);
    };
    let forced = wanted.forces(&current.login);
    let is_fresh = Credential::OAuth(current.login.clone()).is_fresh(now, wanted.at_least);
    let record = lock.record()?;
    if current.key != lock.key() {
        // Somebody was here while we waited: a refresh of ours left a record, a login or a
        // Clawdbot did not.
        if record.is_none() {
            lineage::note_successor(&lock, before, &current, wanted, doors)?;
        }
        return Ok(Decision::Again);
    }
    if !forced && is_fresh {
        return Ok(Decision::Again);
    }
    let insists = forced && wanted.force == Force::Send;
    // Written while we waited for the lock.
    let is_of_our_wait = |record: &Record| began < record.at && record.at <= now;
    let unavailable = |record: Record, retry_at: Option<Timestamp>| RefreshError::Unavailable {
        profile: profile.clone(),
        reason: record.code.unwrap_or_else(|| "the issuer could not answer".to_owned()),
        retry_at,
    };
    let Some(record) = record else {
        if !insists && let Some(store) = copies::newer_copy(&current, wanted, provider, doors)? {
            return Err(RefreshError::StaleCopy { profile: profile.clone(), store });
        }
        return Ok(Decision::Send(lock));
    };
    let settle = |record: &Record, insists: bool| match left_behind::settle_intent(
        &lock,
        record,
        current.identity(),
        provider,
        doors,
    ) {
        Err(RefreshError::Unmerged { .. }) if insists && record.state == State::Unmerged => {
            Ok(false)
        }
        settled => settled,
    };
    match record.state {
        State::Consumed => {
            lineage::heal(lock, &current, wanted, provider, doors)?;
            return Ok(Decision::Again);
        }
        State::Rejected | State::Revoked if !insists => {
            // Nobody comes by its answer any more, should its process have died before that was
            // removed.
            if doors.store.answers().is_ok_and(|answers| answers.contains(&current.key)) {
                clear_up(doors);
            }
            return Err(RefreshError::Rejected {
                profile: profile.clone(),
                code: record.code.unwrap_or_else(|| "revoked".to_owned()),
            });
        }
        State::Waiting if !forced => {
            // A clock that was set back must not make anybody wait for longer than we ever say.
            let ahead = record.retry_at.filter(|at| *at > now && at.since(now) <= LONGEST_WAIT);
            if ahead.is_some() || is_of_our_wait(&record) {
                return Err(unavailable(record, ahead));
            }
        }
        // The same bytes may be more to a newer program.
        State::Intent | State::Unmerged if settle(&record, insists)? => return Ok(Decision::Again),
        // No answer came to somebody for whom we waited: that is ours too. The next caller asks.
        State::Intent if !forced && record.code.is_some() && is_of_our_wait(&record) => {
            return Err(unavailable(record, None));
        }
        _ => {}
    }
    if !insists && let Some(kept) = lock.unmerged()? {
        let reason = kept.code.unwrap_or_else(|| "it could not be read".to_owned());
        return Err(RefreshError::Unmerged { profile: profile.clone(), store: kept.store, reason });
    }
    Ok(Decision::Send(lock))
}

/// A login as it is in a store now, and where its refresh token goes.
struct Current {
    login: OAuthCredential,
    email: Option<String>,
    target: RefreshTarget,
    key: TokenKey,
}

impl Current {
    fn identity(&self) -> lineage::Identity<'_> {
        (&self.login, self.email.as_deref())
    }
}

enum Look {
    /// There is nothing to refresh: use this, as it is.
    Done(Credential),
    Login(Box<Current>),
}

/// Finds the profile, and whether it is one that can be refreshed.
fn look(
    document: &Document,
    wanted: &Wanted,
    provider: &Provider,
    now: Timestamp,
) -> Result<Look, RefreshError> {
    let profile = &wanted.profile;
    let credential = document
        .credential(profile)
        .ok_or_else(|| RefreshError::UnknownProfile { profile: profile.clone() })?;
    let unless_ended = |credential: Credential, reason: &'static str| {
        if credential.is_valid(now) {
            Ok(Look::Done(credential))
        } else {
            Err(RefreshError::NeedsLogin { profile: profile.clone(), reason })
        }
    };
    let Credential::OAuth(login) = credential else {
        let reason = match &credential {
            credential if credential.bearer().is_blank() => "it is empty",
            _ => "it has ended, and nobody can refresh it",
        };
        return unless_ended(credential, reason);
    };
    if login.refresh.is_blank() {
        let reason = "its access token has ended, and there is no refresh token";
        return unless_ended(Credential::OAuth(login), reason);
    }
    match provider.refresh_target(&login) {
        Ok(target) => {
            let email = document.profile(profile).and_then(|profile| profile.email);
            let key = key(&target, &login.refresh);
            Ok(Look::Login(Box::new(Current { login, email, target, key })))
        }
        Err(TargetError::NotRefreshable { .. }) => {
            // Whatever its refresh token is for, the access token is good until its end.
            let mut usable = login;
            usable.refresh = Secret::default();
            let reason = "its access token has ended, and this provider's logins are not refreshed";
            unless_ended(Credential::OAuth(usable), reason)
        }
        Err(target) => Err(RefreshError::Target { profile: profile.clone(), target }),
    }
}

/// The name of a refresh token.
fn key(target: &RefreshTarget, refresh: &Secret) -> TokenKey {
    TokenKey::new(&target.token_endpoint, &target.client_id, refresh)
}

/// The name of a login's refresh token; `None` if it has none or it cannot be sent anywhere.
pub fn key_of(provider: &Provider, login: &OAuthCredential) -> Option<TokenKey> {
    if login.refresh.is_blank() {
        return None;
    }
    provider.refresh_target(login).ok().map(|target| key(&target, &login.refresh))
}

impl Wanted {
    /// A credential of `profile` that can be used now.
    pub fn now(profile: ProfileId) -> Self {
        Self { profile, at_least: Duration::ZERO, force: Force::No, only_if: None }
    }

    /// The same; and `force` is about the access token that `document` has now. Once that is
    /// gone, somebody has done for us what it asks for.
    #[must_use]
    pub fn about(&self, document: &Document) -> Self {
        let is_open = self.force != Force::No && self.only_if.is_none();
        let known = document.credential(&self.profile).filter(|_| is_open);
        let hash = |it: Credential| hexadecimal(&Sha256::digest(it.bearer().expose()));
        Self { only_if: known.map(hash).or_else(|| self.only_if.clone()), ..self.clone() }
    }

    fn forces(&self, login: &OAuthCredential) -> bool {
        self.force != Force::No
            && self.only_if.as_ref().is_none_or(|wanted| {
                wanted.eq_ignore_ascii_case(&hexadecimal(&Sha256::digest(login.access.expose())))
            })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// How often we start again before we give up on a store that keeps changing under us.
const RESTARTS: u32 = 5;
/// No issuer is believed that wants us to wait longer; the margin is for clocks.
const LONGEST_WAIT: Duration = Duration::from_mins(61);
