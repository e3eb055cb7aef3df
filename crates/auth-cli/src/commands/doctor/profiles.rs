//! Checks one agent's store: whether it can be read, and whether each profile can be used and
//! refreshed.

use std::path::Path;

use auth_providers::{Removed, TargetError, key_value};
use auth_store::{
    Credential, Document, KeyReference, OAuthCredential, ParseError, Profile, ProfileId, State,
    StoreError, TokenKey, TokenLock, paths,
};

use crate::agent::Agent;
use crate::agent::sessions::Sessions;
use crate::commands::doctor::examination::{Examination, of_agent};
use crate::commands::doctor::finding::{Finding, Fix, Severity};
use crate::commands::doctor::settings::order_finding;
use crate::host::error::CliError;
use crate::host::shell_quote::{command, moved_away, option, word};
use crate::profiles::kept::kept;
use crate::profiles::key_reference;
use crate::profiles::refresh_error;

pub(crate) fn examine(agent: &Agent, examination: &Examination<'_>) -> Vec<Finding> {
    let store = agent.store();
    let mut findings = Vec::new();
    for key in store.responses().unwrap_or_default() {
        let is_busy = matches!(examination.records.try_lock(key), Ok(None));
        if !is_busy {
            let what = format!("a token response of agent `{}` is not in the store yet", agent.id);
            findings.push(
                Finding::new("unmerged_answer", Severity::Warning, what)
                    .costs(
                        "the renewed token is in it; until it is merged the old one may be refused",
                    )
                    .at(&paths::response_file(&agent.directory, key))
                    .command(format!(
                        "clawdbot models auth refresh{}",
                        of_agent(agent, examination)
                    )),
            );
        }
    }
    let bytes = match store.bytes() {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return findings,
        Err(error) => {
            let error = CliError::from(error).message;
            let what =
                format!("{} cannot be read: {error}", examination.context.display(store.path()));
            findings.push(
                Finding::new("store_unreadable", Severity::Error, what)
                    .costs("no credential of this agent can be used")
                    .at(store.path())
                    .command(format!("ls -l {}", word(store.path().display()))),
            );
            return findings;
        }
    };
    match Document::parse(&bytes) {
        Err(error) => findings.push(damaged(agent, &error, examination)),
        Ok(document) => {
            findings.extend(of_document(agent, &document, examination));
            findings.extend(unread(agent, &document, examination));
        }
    }
    findings
}

/// The kept responses that could not be read: for a profile, or for a login that no longer exists.
fn unread(agent: &Agent, document: &Document, examination: &Examination<'_>) -> Vec<Finding> {
    let kept_for = |document: &Document, of_agent: &str| {
        kept(document, of_agent, &examination.providers, &examination.records)
    };
    let of_profiles = kept_for(document, &of_agent(agent, examination));
    let mut findings = Vec::new();
    for kept in of_profiles {
        let what = format!(
            "an issuer's answer for `{}` of `{}` could not be read and is kept: {}",
            kept.profile, agent.id, kept.reason
        );
        let finding = Finding::new("unmerged_answer", Severity::Error, what)
            .costs("the renewed token may be in it; the old one is not sent again unasked")
            .about(&kept.profile)
            .command(kept.command);
        findings.push(match &kept.path {
            Some(path) => finding.at(path),
            None => finding,
        });
    }
    let files = agent.store().kept_responses().unwrap_or_default();
    let is_known = |path: &Path| {
        let documents = examination.agents.iter().filter_map(|agent| agent.store().read().ok());
        documents.flat_map(|it| kept_for(&it, "")).any(|kept| kept.path.as_deref() == Some(path))
    };
    for (_, path) in files.iter().filter(|(_, path)| !is_known(path)) {
        let what = format!("an issuer's answer is kept beside the store of `{}`", agent.id);
        findings.push(
            Finding::new("unmerged_answer", Severity::Warning, what)
                .costs("nothing: the login that it was for is gone; it may hold tokens")
                .at(path)
                .command(format!("rm {}", word(path.display()))),
        );
    }
    findings
}

fn damaged(agent: &Agent, error: &ParseError, examination: &Examination<'_>) -> Finding {
    let store = agent.store_to_change(examination.context);
    let shown = examination.context.display(store.path());
    let finding = Finding::new("store_damaged", Severity::Error, format!("{shown}: {error}"))
        .at(store.path());
    if error.is_json {
        return finding
            .costs("no credential of this agent can be used; nothing is damaged, so the backup stays where it is")
            .command(format!(
                "correct it, or: {}, and log in again",
                moved_away(store.path(), "other")
            ));
    }
    if matches!(store.backup(), Ok(Some(_))) {
        finding
            .costs(
                "no credential of this agent can be used until it is recovered; there is a backup",
            )
            .command(format!("clawdbot doctor --fix{}", of_agent(agent, examination)))
            .fix(Fix::Recover(store))
    } else {
        finding.costs("no credential of this agent can be used, and there is no backup").command(
            format!("fix it, or: {}, and log in again", moved_away(store.path(), "damaged")),
        )
    }
}

fn of_document(agent: &Agent, document: &Document, examination: &Examination<'_>) -> Vec<Finding> {
    let path = agent.store().path().to_owned();
    let mut findings = Vec::new();
    let shown = examination.context.display(&path);
    match document.check_writable(Path::new(&shown)) {
        Ok(()) => {}
        Err(error @ StoreError::Newer { .. }) => findings.push(
            Finding::new("store_newer", Severity::Warning, error.to_string())
                .costs("it is only read: nothing is refreshed for this agent")
                .at(&path)
                .command("update this program"),
        ),
        Err(error) => findings.push(
            Finding::new("store_unusable", Severity::Warning, error.to_string())
                .costs("the file is only read: nothing is refreshed for this agent")
                .at(&path)
                .command(edit(&path)),
        ),
    }
    for unusable in document.unusable() {
        findings.push(
            Finding::new("store_unusable", Severity::Warning, format!("{shown}: {unusable}"))
                .costs("it is ignored, and a change of it is refused")
                .at(&path)
                .command(edit(&path)),
        );
    }
    for (id, name) in document.unreadable_times() {
        let what = format!("`{name}` of `{id}` (agent `{}`) is not a time", agent.id);
        findings.push(
            Finding::new("unreadable_time", Severity::Warning, what)
                .costs(
                    "it counts as unknown: an expired token, or a profile in cooldown, may be used",
                )
                .at(&path)
                .about(&id)
                .command(edit(&path)),
        );
    }
    for entry in document.malformed() {
        let what =
            format!("the entry `{}` of `{}` is malformed: {}", entry.id, agent.id, entry.reason);
        findings.push(
            Finding::new("malformed_entry", Severity::Warning, what)
                .costs("it is ignored; a Clawdbot that saves the file drops it")
                .at(&path)
                .about(&entry.id)
                .command(format!("fix it in {shown}, or store it again")),
        );
    }
    let profiles: Vec<_> = document.profiles().collect();
    for profile in &profiles {
        if let Some(credential) = document.credential(&profile.id) {
            findings.extend(of_profile(agent, profile, &credential, examination));
        }
    }
    for (provider, ids) in document.orders() {
        let ids: Vec<_> = ids.iter().map(ProfileId::as_str).collect();
        let of = of_agent(agent, examination);
        findings.extend(order_finding(
            &format!("the order of `{}` for {provider}", agent.id),
            &ids,
            &|id| profiles.iter().find(|it| it.id.as_str() == id).map(|it| it.provider.clone()),
            &auth_store::ProviderId::new(&provider),
            &format!("clawdbot models auth order clear{}{of}", option("--provider", &provider)),
        ));
    }
    findings.extend(pins(agent, &profiles, examination));
    findings
}

/// The command to edit a file.
fn edit(path: &Path) -> String {
    format!("\"${{EDITOR:-vi}}\" {}", word(path.display()))
}

fn of_profile(
    agent: &Agent,
    profile: &Profile,
    credential: &Credential,
    examination: &Examination<'_>,
) -> Vec<Finding> {
    let id = &profile.id;
    let of = of_agent(agent, examination);
    let known = examination.providers.find(&profile.provider);
    let login = refresh_error::log_in(id, profile.kind, known, &profile.provider, agent).command;
    let ended = !credential.is_valid(examination.now);
    let mut findings = Vec::new();
    if ended && !matches!(credential, Credential::OAuth(login) if !login.refresh.is_blank()) {
        let what = format!("`{id}` (agent `{}`) has expired and cannot be refreshed", agent.id);
        findings.push(
            Finding::new("ended", Severity::Error, what)
                .costs("it is not used")
                .about(id)
                .command(login.clone()),
        );
    }
    // A command may prompt the user, so none is run here.
    if let Credential::Reference(place) = credential
        && !matches!(place, KeyReference::Exec { .. })
        && let Err(reason) = key_reference::fetch(place, examination.context)
    {
        let what = format!("the key of `{id}` of `{}` is not there ({place}): {reason}", agent.id);
        findings.push(
            Finding::new("reference", Severity::Warning, what)
                .costs("it is not used")
                .about(id)
                .command(login.clone()),
        );
    }
    findings.extend(unusable_key(agent, profile, credential, &of));
    if let Credential::OAuth(oauth) = credential {
        findings.extend(of_login(agent, profile, oauth, &login, examination));
    }
    let usage = &profile.usage;
    let ends = [usage.cooldown_until, usage.disabled_until, usage.blocked_until];
    let ends = ends.into_iter().flatten().max();
    if let Some(until) = ends.filter(|until| *until > examination.now.plus(LONG_COOLDOWN)) {
        let what = format!(
            "`{id}` of `{}` is in cooldown until {}",
            agent.id,
            examination.context.time(until)
        );
        findings.push(
            Finding::new("long_rest", Severity::Warning, what)
                .costs("it is not used until then")
                .about(id)
                .command(command("models auth cooldown clear", &[id], &of)),
        );
    }
    if usage.last_used.is_some_and(|at| at > examination.now.plus(AHEAD)) {
        let what = format!("`{id}` of `{}` was last used in the future", agent.id);
        findings.push(
            Finding::new("clock", Severity::Warning, what)
                .costs("this machine's clock was or is wrong: tokens look fresh or ended when they are not")
                .about(id)
                .command("date -u"),
        );
    }
    findings
}

/// A key or token that would be refused or cleaned if it were stored today: other text was pasted
/// with it, or it is not a key.
fn unusable_key(
    agent: &Agent,
    profile: &Profile,
    credential: &Credential,
    of: &str,
) -> Option<Finding> {
    let (noun, command) = match credential {
        Credential::ApiKey(_) => ("key", "paste-api-key"),
        Credential::Token { .. } => ("token", "paste-token"),
        Credential::Reference(_) | Credential::OAuth(_) => return None,
    };
    if credential.bearer().is_blank() {
        return None;
    }
    let id = &profile.id;
    let (severity, reason) = match key_value(credential.bearer().expose()) {
        Err(error) => (Severity::Error, error.to_string()),
        Ok(value) => {
            // Surrounding spaces are never part of the output, so they do not matter.
            let removed = value.removed.iter().filter(|it| **it != Removed::Around);
            let removed: Vec<_> = removed.map(ToString::to_string).collect();
            if removed.is_empty() {
                return None;
            }
            (Severity::Warning, format!("it was stored with {}", removed.join(", ")))
        }
    };
    let what = format!("the {noun} of `{id}` of `{}` cannot be one as it is: {reason}", agent.id);
    let (provider, profile) = (option("--provider", &profile.provider), option("--profile-id", id));
    Some(
        Finding::new("unusable_key", severity, what)
            .costs("requests with it are refused")
            .about(id)
            .command(format!("clawdbot models auth {command}{provider}{profile} --force{of}")),
    )
}

fn of_login(
    agent: &Agent,
    profile: &Profile,
    oauth: &OAuthCredential,
    login: &str,
    examination: &Examination<'_>,
) -> Option<Finding> {
    let id = &profile.id;
    let finding = |code, severity, what: String| Finding::new(code, severity, what).about(id);
    if oauth.refresh.is_blank() {
        let what = format!("`{id}` of `{}` has no refresh token", agent.id);
        return Some(
            finding("no_refresh_token", Severity::Warning, what)
                .costs("it works until its access token ends")
                .command(login),
        );
    }
    let Some(provider) = examination.providers.find(&profile.provider) else {
        let what = format!("the provider of `{id}` is unknown: `{}`", profile.provider);
        return Some(
            finding("unknown_provider", Severity::Warning, what)
                .costs("it cannot be renewed")
                .command("describe it by a manifest; see docs/providers.md"),
        );
    };
    let target = match provider.refresh_target(oauth) {
        Ok(target) => target,
        Err(TargetError::NeedsDiscovery { .. } | TargetError::NotRefreshable { .. }) => {
            return None;
        }
        Err(error) => {
            return Some(
                finding("wrong_target", Severity::Error, format!("`{id}`: {error}"))
                    .costs("it cannot be renewed")
                    .command("clawdbot plugins list"),
            );
        }
    };
    let key = TokenKey::new(&target.token_endpoint, &target.client_id, &oauth.refresh);
    let record = examination.records.peek(key).ok().flatten()?;
    let when = examination.context.time(record.at);
    match record.state {
        State::Rejected | State::Revoked => {
            let code = record.code.as_deref().unwrap_or("revoked");
            let what = format!("the issuer refused `{id}` of `{}` ({code}) at {when}", agent.id);
            Some(
                finding("needs_login", Severity::Error, what)
                    .costs("it cannot be renewed")
                    .command(login),
            )
        }
        State::Intent if is_free(&examination.records.try_lock(key)) => {
            let what = format!("a refresh of `{id}` of `{}` was interrupted at {when}", agent.id);
            Some(
                finding("interrupted", Severity::Warning, what)
                    .costs("nothing yet: the next refresh finds out what became of it")
                    .command(command(
                        "models auth refresh",
                        &[id],
                        &format!(" --force{}", of_agent(agent, examination)),
                    )),
            )
        }
        State::Consumed => {
            let what =
                format!("`{id}` of `{}` is a copy of a token that was renewed since", agent.id);
            Some(
                finding("stale_copy", Severity::Warning, what)
                    .costs("the next use finds its successor; another program that sends it ends the login")
                    .command(command("models auth refresh", &[id], &of_agent(agent, examination))),
            )
        }
        _ => None,
    }
}

fn is_free(tried: &Result<Option<TokenLock>, StoreError>) -> bool {
    matches!(tried, Ok(Some(_)))
}

/// Conversations that are pinned to a missing profile.
fn pins(agent: &Agent, profiles: &[Profile], examination: &Examination<'_>) -> Vec<Finding> {
    let sessions = Sessions::for_agent(agent, &examination.config, examination.context);
    let Ok(sessions) = sessions else { return Vec::new() };
    let Ok(text) = auth_store::read_regular_text(sessions.path()) else { return Vec::new() };
    let Ok(value) = crate::config::json5::parse(&text) else {
        let what = format!("{} is not JSON5", examination.context.display(sessions.path()));
        return vec![
            Finding::new("sessions_damaged", Severity::Error, what)
                .costs("no pin can be read or set for this agent")
                .at(sessions.path())
                .command(format!("fix it: {}", word(sessions.path().display()))),
        ];
    };
    let entries = value.as_object().into_iter().flatten();
    let lost = entries.filter_map(|(key, entry)| {
        let id = entry["authProfileOverride"].as_str().filter(|id| !id.is_empty())?;
        let is_known = profiles.iter().any(|profile| profile.id.as_str() == id);
        (!is_known).then_some((key, entry, id))
    });
    lost.map(|(key, entry, id)| {
        let is_user = entry["authProfileOverrideSource"].as_str() != Some("auto");
        let severity = if is_user { Severity::Warning } else { Severity::Note };
        let what = format!(
            "the conversation `{key}` is pinned to `{id}`, which `{}` does not have",
            agent.id
        );
        Finding::new("pin_missing", severity, what)
            .costs("that conversation gets an error instead of a token")
            .about(id)
            .at(sessions.path())
            .command(command("sessions model", &[key, &"default"], ""))
    })
    .collect()
}

/// A cooldown longer than any that we compute ourselves.
const LONG_COOLDOWN: std::time::Duration = std::time::Duration::from_hours(7 * 24);
/// A time further ahead than this indicates a wrong clock.
const AHEAD: std::time::Duration = std::time::Duration::from_hours(24);
