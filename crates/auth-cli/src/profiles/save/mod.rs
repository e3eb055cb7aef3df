//! Saves the result of a login or a paste, and reads it back.

pub(crate) mod key_place;

use auth_providers::refresh::{
    Revocation, clear_record, finish_begun, give_to_successors, holders, key_of,
    remove_kept_response,
};
use auth_providers::token_source::TokenSink;
use auth_providers::{Login, Provider, TakenProfile, profile_name};
use auth_store::{
    Credential, Document, Entry, Kind, OAuthCredential, Profile, ProfileId, ProviderId, Usage,
};
use serde_json::{Map, Value};

use crate::agent::Agent;
use crate::agent::invocation::Invocation;
use crate::agent::shared;
use crate::config::Config;
use crate::config::edit;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::profiles::sink;

/// The user's request, and the settings of their agent.
#[derive(Debug, Default)]
pub(crate) struct LoginWanted {
    /// The profile to save it as.
    pub(crate) profile: Option<ProfileId>,
    /// Whether it may replace another account's profile.
    pub(crate) force: bool,
    /// The agent whose profiles are shared with this one: a login to one of its accounts belongs to
    /// it.
    pub(crate) owner: Option<Owner>,
}

/// An agent whose profiles other agents share.
#[derive(Debug)]
pub(crate) struct Owner {
    agent: Agent,
    sink: TokenSink,
}

impl Owner {
    /// The owner for `agent`, if it shares.
    pub(crate) fn for_agent(
        agent: &Agent,
        config: &Config,
        context: &Context,
    ) -> Result<Option<Self>, CliError> {
        let owner = shared::owner_of(agent, config, context)?;
        let Some(agent) = owner else { return Ok(None) };
        Ok(Some(Self { sink: sink::for_agent(&agent, config, context)?, agent }))
    }

    /// Whether the login belongs to one of the owner's accounts, as seen by the agent with the
    /// store of `sink`.
    fn has(
        &self,
        login: &Login,
        wanted: &LoginWanted,
        provider: &Provider,
        sink: &TokenSink,
    ) -> Result<bool, CliError> {
        let (own, theirs) = (sink.store.read()?, self.sink.store.read()?);
        let seen = own.reading_through(&theirs);
        let id = name(login, wanted, provider, &seen)?;
        let Some(shared) = theirs.profile(&id).filter(|_| own.is_of_owner(&id, &theirs)) else {
            return Ok(false);
        };
        Ok(match (&shared.account_id, &login.account_id) {
            (Some(shared), Some(new)) => shared == new,
            _ => match (&shared.email, &login.email) {
                (Some(shared), Some(new)) => shared == new,
                _ => true,
            },
        })
    }
}

/// The profile name for a login among the profiles of `document`.
fn name(
    login: &Login,
    wanted: &LoginWanted,
    provider: &Provider,
    document: &Document,
) -> Result<ProfileId, CliError> {
    let profiles: Vec<Profile> = document.profiles().collect();
    let own = provider.profile_name.as_deref();
    profile_name(login, own, wanted.profile.as_ref(), wanted.force, &profiles)
        .map_err(|error| taken(&error))
}

/// Fails early if the store cannot be written, before anything is used up.
pub(crate) fn check_store(sink: &TokenSink) -> Result<(), CliError> {
    Ok(sink.store.read()?.check_writable(sink.store.path())?)
}

/// The same check right before something is used up, plus a check for disk space.
pub(crate) fn check_room(sink: &TokenSink) -> Result<(), CliError> {
    check_store(sink)?;
    sink.store.check_room().map_err(|error| {
        let error = CliError::from(error);
        let message =
            format!("the login could not be saved, so nothing was fetched: {}", error.message);
        error.message(message)
    })
}

/// Saves `login` and returns its profile.
pub(crate) async fn login(
    login: &Login,
    wanted: &LoginWanted,
    provider: &Provider,
    agent: &Agent,
    sink: &TokenSink,
) -> Result<ProfileId, CliError> {
    let (agent, sink) = match &wanted.owner {
        Some(owner) if owner.has(login, wanted, provider, sink)? => (&owner.agent, &owner.sink),
        _ => (agent, sink),
    };
    let name = |document: &Document| name(login, wanted, provider, document);
    if let Credential::OAuth(new) = &login.credential {
        // The name in the record is only for people, so it need not be final.
        clear_record(new, &name(&sink.store.read()?)?, provider, sink.refresh_context())?;
    }
    let (id, superseded) = loop {
        let before = sink.store.read()?;
        let id = name(&before)?;
        let superseded = login_of(&before, &id);
        if let Some(old) = &superseded
            && let_go(old, &before, &id, sink)?
        {
            continue;
        }
        let saved = sink.store.update(|document| {
            let id = name(document)?;
            if !is_same_token(login_of(document, &id).as_ref(), superseded.as_ref()) {
                return Ok(None);
            }
            document.put(&id, login.provider.as_str(), &login.credential, &login.fields);
            wake(document, &id);
            Ok::<_, CliError>(Some(id))
        })??;
        if let Some(id) = saved {
            break (id, superseded);
        }
    };
    read_back(&id, &login.credential, agent, sink)?;
    if let Some(old) = superseded {
        forget_kept_response(&old, provider, sink);
        revoke_superseded(&old, &login.credential, provider, sink).await;
    }
    Ok(id)
}

/// Saves a pasted token or key as the profile that `choose` picks at the time of the write, and
/// returns it. `None`: there is nothing to write.
pub(crate) fn pasted(
    choose: &dyn Fn(&Document) -> Result<Option<ProfileId>, CliError>,
    provider: &ProviderId,
    credential: &Credential,
    agent: &Agent,
    sink: &TokenSink,
) -> Result<Option<ProfileId>, CliError> {
    loop {
        let before = sink.store.read()?;
        let Some(id) = choose(&before)? else { return Ok(None) };
        let superseded = login_of(&before, &id);
        if let Some(old) = &superseded
            && let_go(old, &before, &id, sink)?
        {
            continue;
        }
        let is_saved = sink.store.update(|document| {
            let is_as_it_was = choose(document)?.as_ref() == Some(&id)
                && is_same_token(login_of(document, &id).as_ref(), superseded.as_ref());
            if is_as_it_was {
                put_key(document, &id, provider, credential);
                wake(document, &id);
            }
            Ok::<_, CliError>(is_as_it_was)
        })??;
        if is_saved {
            if let (Some(old), Some(known)) = (&superseded, sink.providers.find(provider)) {
                forget_kept_response(old, known, sink);
            }
            read_back(&id, credential, agent, sink)?;
            return Ok(Some(id));
        }
    }
}

/// If the same key is stored already, at most its expiry changes, and its profile keeps everything
/// else.
fn put_key(document: &mut Document, id: &ProfileId, provider: &ProviderId, new: &Credential) {
    let stored = document.credential(id);
    if stored.is_some_and(|stored| key_place::is_same(&stored, new)) {
        document.renew(id, new);
    } else {
        document.put(id, provider.as_str(), new, &Map::new());
    }
}

/// A credential that is imported.
#[derive(Debug)]
pub(crate) struct Take {
    /// The new profile.
    pub(crate) id: ProfileId,
    /// Its provider.
    pub(crate) provider: ProviderId,
    /// The credential to store.
    pub(crate) credential: Credential,
    /// The raw profile in its source, if that has profiles.
    pub(crate) entry: Option<Entry>,
    /// Whether the credential equals the one in the source.
    pub(crate) is_as_written: bool,
    /// Additional members of the profile, if there is no raw one.
    pub(crate) fields: Map<String, Value>,
    /// Whether it replaces a profile.
    pub(crate) replaces: bool,
}

impl Take {
    /// Adds it to `document`, with everything that belongs to it.
    pub(crate) fn put(&self, document: &mut Document) {
        if let Some(entry) = &self.entry {
            let other = (!self.is_as_written).then_some(&self.credential);
            document.put_copy(&self.id, entry, other);
        } else {
            let provider = self.provider.as_str();
            document.put(&self.id, provider, &self.credential, &self.fields);
        }
    }
}

/// Saves all of `takes` in one step, or none. Records of known refresh tokens are kept unless
/// `force` is set, because a file, unlike an issuer, proves nothing about a token.
///
/// # Errors
/// Nothing was stored.
pub(crate) async fn imported(
    takes: &[&Take],
    force: bool,
    agent: &Agent,
    sink: &TokenSink,
) -> Result<(), CliError> {
    if takes.is_empty() {
        return Ok(());
    }
    for take in takes {
        if let (Credential::OAuth(login), Some(provider)) =
            (&take.credential, sink.providers.find(&take.provider))
            && (force || is_unknown(login, provider, sink)?)
        {
            clear_record(login, &take.id, provider, sink.refresh_context())?;
        }
    }
    let superseded = loop {
        let before = sink.store.read()?;
        let superseded: Vec<_> = takes.iter().map(|take| login_of(&before, &take.id)).collect();
        let mut has_moved_on = false;
        for (take, old) in takes.iter().zip(&superseded) {
            if let Some(old) = old {
                has_moved_on |= let_go(old, &before, &take.id, sink)?;
            }
        }
        if has_moved_on {
            continue;
        }
        let is_saved = sink.store.update(|document| {
            for (take, old) in takes.iter().zip(&superseded) {
                if !take.replaces && document.contains(&take.id) {
                    return Err(taken_meanwhile(&take.id));
                }
                if !is_same_token(login_of(document, &take.id).as_ref(), old.as_ref()) {
                    return Ok(false);
                }
            }
            for take in takes {
                take.put(document);
                wake(document, &take.id);
            }
            Ok(true)
        })??;
        if is_saved {
            break superseded;
        }
    };
    for take in takes {
        read_back(&take.id, &take.credential, agent, sink)?;
    }
    for (take, old) in takes.iter().zip(superseded) {
        if let (Some(old), Some(provider)) = (old, sink.providers.find(&take.provider)) {
            revoke_superseded(&old, &take.credential, provider, sink).await;
        }
    }
    Ok(())
}

fn is_unknown(
    login: &OAuthCredential,
    provider: &Provider,
    sink: &TokenSink,
) -> Result<bool, CliError> {
    let Some(key) = key_of(provider, login) else { return Ok(true) };
    Ok(sink.records.peek(key)?.is_none())
}

fn taken_meanwhile(id: &ProfileId) -> CliError {
    CliError::usage(format!("`{id}` was stored by another process meanwhile; nothing was imported"))
        .hint("do it again")
        .profile(id)
}

/// Adds the profile to the config. The credential is saved even if this fails.
pub(crate) fn declare(
    id: &ProfileId,
    provider: &ProviderId,
    kind: Kind,
    email: Option<&str>,
    invocation: &Invocation<'_>,
) {
    let context = invocation.context;
    let declared =
        invocation.change_config(|path| edit::declare_profile(path, id, provider, kind, email));
    if let Err(error) = declared {
        context.say(format_args!("warning: {}", error.message));
        if let Some(hint) = error.hint {
            context.say(format_args!("hint: {hint}"));
        }
    }
}

fn login_of(document: &Document, id: &ProfileId) -> Option<OAuthCredential> {
    match document.credential(id) {
        Some(Credential::OAuth(login)) => Some(login),
        _ => None,
    }
}

/// Whether a profile still holds the refresh token that was given away. If not, a refresh came in
/// between: its new token must be given away first, too.
fn is_same_token(now: Option<&OAuthCredential>, before: Option<&OAuthCredential>) -> bool {
    now.map(|it| &it.refresh) == before.map(|it| &it.refresh)
}

/// Before a login is replaced: writes it to the agents that need it. `true`: its refresh was
/// finished first, so look again.
fn let_go(
    old: &OAuthCredential,
    document: &Document,
    id: &ProfileId,
    sink: &TokenSink,
) -> Result<bool, CliError> {
    let profile = document.profile(id);
    let Some(provider) = profile.as_ref().and_then(|it| sink.provider_of(it)) else {
        return Ok(false);
    };
    let email = profile.as_ref().and_then(|it| it.email.as_deref());
    // A response that cannot be finished stays beside the store; the new login does not depend on
    // it.
    if finish_begun(old, email, provider, sink.refresh_context()).unwrap_or(false) {
        return Ok(true);
    }
    give_to_successors(old, provider, sink.refresh_context())?;
    Ok(false)
}

/// Removes the response that was kept for a replaced login, because it has no further use. Best
/// effort: `doctor` reports what is left.
fn forget_kept_response(old: &OAuthCredential, provider: &Provider, sink: &TokenSink) {
    if let Err(error) = remove_kept_response(old, provider, sink.refresh_context()) {
        tracing::warn!(%error, "the kept answer of a replaced login is left over");
    }
}

/// Clears the cooldown: a new credential has not failed yet.
fn wake(document: &mut Document, id: &ProfileId) {
    let usage = document.usage(id);
    let awake = Usage { last_used: usage.last_used, ..Usage::default() };
    if usage != awake {
        document.set_usage(id, &awake);
    }
}

fn read_back(
    id: &ProfileId,
    credential: &Credential,
    agent: &Agent,
    sink: &TokenSink,
) -> Result<(), CliError> {
    if !sink.store.model_usage().models(id).is_empty() {
        sink.store.update_model_usage(|usage| usage.forget(id))?;
    }
    let stored = sink.store.read()?.credential(id);
    if stored.is_some_and(|stored| stored.bearer() == credential.bearer()) {
        return Ok(());
    }
    let message = format!("`{id}` was written and is not there: another program wrote the store");
    Err(CliError::new(Exit::CannotWrite, "not_saved", message)
        .hint("end the other program, then do it again")
        .profile(id)
        .path(&auth_store::paths::store(&agent.directory)))
}

/// Revokes the replaced token, if the provider's entry says so, and no other agent holds it.
async fn revoke_superseded(
    old: &OAuthCredential,
    new: &Credential,
    provider: &Provider,
    sink: &TokenSink,
) {
    let is_same = matches!(new, Credential::OAuth(new) if new.refresh == old.refresh);
    let Some(key) = key_of(provider, old).filter(|_| provider.revoke_superseded && !is_same) else {
        return;
    };
    if holders(key, provider, sink.refresh_context()).is_empty() {
        // Best effort: the token expires anyway.
        let outcome = provider.revoke(old, &*sink.http, sink.clock.now()).await;
        tracing::debug!(is_revoked = outcome == Revocation::Done, "the replaced login");
    }
}

fn taken(error: &TakenProfile) -> CliError {
    CliError::usage(format!("{error}; nothing was stored"))
        .hint("leave out --profile-id, or replace that account with --force")
        .profile(&error.id)
}
