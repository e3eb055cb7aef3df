//! `models auth import`: imports credentials from another tool, once: all of them or none.
//!
//! First everything is read, checked and decided, with the questions for the user; then it is
//! written in one step. Credentials that are not imported are named, with the reason.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use auth_providers::refresh::key_of;
use auth_providers::token_source::TokenSink;
use auth_providers::{PasteError, default_profile_id, key_value};
use auth_store::{Credential, Document, Kind, ProfileId, ProviderId, State};
use serde_json::json;

use crate::agent::Agent;
use crate::agent::invocation::Invocation;
use crate::agent::shared::Seen;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::other_tools::{Contents, Foreign, LeftOut, Tool, contents};
use crate::host::process::runtime;
use crate::host::prompt;
use crate::host::report::Report;
use crate::host::shell_quote::{moved_away, option, word};
use crate::host::text::{printable, utc};
use crate::profiles::save::key_place::{self, Decision, KeyPlace, Taken, holding, is_same};
use crate::profiles::save::{self, Take};
use crate::profiles::{sink, view};

/// The file to import from, and how much of a login to import.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    /// `codex`, `claude`, `qwen`, `gemini`, or the path of a file.
    pub from: String,
    /// Import the access token only.
    pub access_only: bool,
    /// Import the refresh token too: the other tool must stop using it.
    pub take_over: bool,
    /// The provider, if the file does not name it.
    pub provider: Option<String>,
    /// The profile to store it as.
    pub profile_id: Option<String>,
    /// Replace an existing profile of that name.
    pub force: bool,
}

/// Reads the other tool's file, lets the user choose if there is a choice, and stores the
/// credentials.
pub fn run(args: &ImportRequest, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let (config, agent, context) = (invocation.config()?, invocation.agent()?, invocation.context);
    let sink = sink::for_agent(agent, &config, context)?;
    let (path, contents) = find(args, context)?;
    save::check_store(&sink)?;
    let seen = Seen::by(agent, &config, context)?;
    let mut plan = Plan { left_out: contents.left_out, ..Plan::for_document(&seen.document) };
    for foreign in contents.found {
        plan.add(foreign, args, agent, &sink, context)?;
    }
    if plan.is_empty() && !plan.is_declined {
        return Err(plan.nothing(&path));
    }
    for (foreign, take) in plan.takes.iter().filter(|(_, take)| take.replaces) {
        let holder = seen.holder(&take.id, agent);
        if holder != agent {
            return Err(not_here(&take.id, foreign, holder));
        }
    }
    let takes: Vec<_> = plan.takes.iter().map(|(_, take)| take).collect();
    runtime::run(save::imported(&takes, args.force, agent, &sink))??;
    for (foreign, take) in &plan.takes {
        let kind = take.credential.kind();
        save::declare(&take.id, &take.provider, kind, foreign.email.as_deref(), invocation);
    }
    if !plan.takes.is_empty() {
        invocation.store_changed(agent);
    }
    Ok(report(&plan, agent, context))
}

/// The file, and its content.
fn find(args: &ImportRequest, context: &Context) -> Result<(PathBuf, Contents), CliError> {
    let name = if args.from == "claude-code" { "claude" } else { args.from.as_str() };
    let tool = Tool::ALL.into_iter().find(|tool| tool.word() == name);
    let path = tool.map_or_else(|| context.user_path(&args.from), |tool| tool.file(context));
    let bytes = if tool.is_some() {
        auth_store::read_regular(&path).map_err(|error| unreadable(&path, &error))?
    } else {
        std::fs::read(&path).map_err(|error| {
            CliError::usage(format!("{}: {error}", path.display()))
                .hint("--from takes codex, claude, qwen, gemini or the path of a file")
                .path(&path)
        })?
    };
    let mut contents = contents(tool, &path, &bytes).map_err(|reason| {
        let hint = "nothing was stored; log in there once more, or here instead";
        nothing(format!("{} {reason}", path.display()), hint, &path)
    })?;
    if let Some(provider) = &args.provider {
        for foreign in contents.found.iter_mut().filter(|it| it.id.is_none()) {
            foreign.provider = ProviderId::new(provider);
        }
    }
    if contents.found.is_empty() && contents.left_out.is_empty() {
        return Err(no_login(&path));
    }
    if args.profile_id.is_some() && contents.found.len() > 1 {
        return Err(CliError::usage("there is more than one credential in it")
            .hint("leave out --profile-id"));
    }
    Ok((path, contents))
}

fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    if error.kind() == ErrorKind::NotFound {
        return no_login(path);
    }
    let shown = path.display();
    nothing(format!("{shown} cannot be read: {error}"), &format!("ls -l {}", word(shown)), path)
}

fn no_login(path: &Path) -> CliError {
    nothing(
        format!("there is no login that can be read in {}", path.display()),
        "on macOS some tools keep it in the keychain, which is not read; log in here instead",
        path,
    )
}

fn nothing(message: String, hint: &str, path: &Path) -> CliError {
    CliError::new(Exit::NoCredential, "nothing_to_import", message).hint(hint).path(path)
}

/// What will be written, after everything is decided.
struct Plan {
    /// The resulting store.
    document: Document,
    takes: Vec<(Foreign, Take)>,
    /// Credentials that are stored already.
    unchanged: Vec<(ProfileId, Kind)>,
    left_out: Vec<LeftOut>,
    /// Messages to show after the write.
    notes: Vec<String>,
    /// The user chose to import nothing of a login.
    is_declined: bool,
    /// A login was skipped because it cannot be refreshed here.
    is_not_renewable: bool,
}

/// The decision for a login.
enum Chosen {
    /// Store this credential; the flag says whether it equals the one in the file.
    Take(Credential, bool),
    LeftOut(String),
    NotRenewable,
    Declined,
}

impl Plan {
    fn for_document(document: &Document) -> Self {
        Self {
            document: document.clone(),
            takes: Vec::new(),
            unchanged: Vec::new(),
            left_out: Vec::new(),
            notes: Vec::new(),
            is_declined: false,
            is_not_renewable: false,
        }
    }

    fn is_empty(&self) -> bool {
        self.takes.is_empty() && self.unchanged.is_empty()
    }

    fn add(
        &mut self,
        mut foreign: Foreign,
        args: &ImportRequest,
        agent: &Agent,
        sink: &TokenSink,
        context: &Context,
    ) -> Result<(), CliError> {
        check_id(&foreign)?;
        let known = sink.providers.find(&foreign.provider);
        if let Some(known) = known.filter(|_| foreign.id.is_none()) {
            foreign.provider = known.id.clone();
        }
        let name = foreign.id.clone().unwrap_or_else(|| foreign.provider.to_string());
        let chosen = match &foreign.credential {
            Credential::OAuth(_) => chosen(&foreign, args, sink, context)?,
            credential => checked(&foreign, credential)?,
        };
        let (credential, is_as_written) = match chosen {
            Chosen::Take(credential, is_as_written) => (credential, is_as_written),
            Chosen::LeftOut(reason) => {
                self.leave_out(name, reason);
                return Ok(());
            }
            Chosen::NotRenewable => {
                self.is_not_renewable = true;
                let reason = format!("a login of {} cannot be renewed here", foreign.provider);
                self.leave_out(name, reason);
                return Ok(());
            }
            Chosen::Declined => {
                self.is_declined = true;
                self.leave_out(name, "as you chose");
                return Ok(());
            }
        };
        match self.renewed_here(&foreign, &credential, args, sink)? {
            Some(Ok(id)) => {
                self.unchanged.push((id, credential.kind()));
                return Ok(());
            }
            Some(Err(reason)) => {
                self.leave_out(name, reason);
                return Ok(());
            }
            None => {}
        }
        let (id, beside) = match self.place(&foreign, &credential, args, agent, context)? {
            Decision::Save { id, beside } => (id, beside),
            Decision::Same(id) => {
                self.unchanged.push((id, credential.kind()));
                return Ok(());
            }
            // This case was already reported as an error.
            Decision::Refused => return Ok(()),
        };
        if let Some(other) = beside {
            let held = holding(&other, &credential, &self.document);
            self.notes.push(format!(
                "note: {held}, so this one is stored as `{id}`; to replace that one: {} --force",
                again(args, false, agent)
            ));
        }
        let take = Take {
            replaces: self.document.contains(&id),
            provider: known.map_or_else(|| foreign.provider.clone(), |known| known.id.clone()),
            entry: foreign.entry.clone(),
            fields: foreign.fields.clone(),
            id,
            credential,
            is_as_written,
        };
        take.put(&mut self.document);
        self.takes.push((foreign, take));
        Ok(())
    }

    fn leave_out(&mut self, entry: String, reason: impl Into<String>) {
        self.left_out.push(LeftOut { entry, reason: reason.into() });
    }

    /// Decides the profile for a credential.
    fn place(
        &self,
        foreign: &Foreign,
        credential: &Credential,
        args: &ImportRequest,
        agent: &Agent,
        context: &Context,
    ) -> Result<Decision, CliError> {
        let usual = foreign.id.as_deref().map_or_else(
            || {
                let name = match (credential, &foreign.email) {
                    (Credential::OAuth(_), Some(email)) => email.as_str(),
                    (Credential::ApiKey(_), _) => "default",
                    _ => "imported",
                };
                default_profile_id(&foreign.provider, name)
            },
            ProfileId::new,
        );
        let mut place = KeyPlace::for_key(args.profile_id.as_deref(), usual, args.force)?;
        let is_free = !self.document.contains(&place.id);
        // A store is imported unchanged, even if two of its profiles have the same key. With the
        // same refresh token they would invalidate each other's login.
        if foreign.id.is_some() && is_free && credential.kind() != Kind::OAuth {
            return Ok(Decision::Save { id: place.id, beside: None });
        }
        let decide = |place: &KeyPlace| place.decide(&foreign.provider, credential, &self.document);
        match decide(&place) {
            Decision::Refused => {
                let held = holding(&place.id, credential, &self.document);
                let (named, unnamed) = (again(args, true, agent), again(args, false, agent));
                let hint = format!(
                    "to replace it: {named} --force; to store this one beside it: {unnamed}"
                );
                Err(CliError::usage(format!("{held}; nothing was stored"))
                    .hint(hint)
                    .profile(&place.id))
            }
            Decision::Save { id, beside: Some(other) } => {
                let held = holding(&other, credential, &self.document);
                let is_terminal = context.terminal.stdin && context.terminal.stderr;
                if is_terminal && key_place::ask(&held, &id, context)? {
                    place.taken = Taken::Replace;
                    return Ok(decide(&place));
                }
                Ok(Decision::Save { id, beside: Some(other).filter(|_| !is_terminal) })
            }
            decision => Ok(decision),
        }
    }

    /// What our records know about an imported login: either it was refreshed here since, as that
    /// profile; or it is invalid. Its refresh token would be refused, and sending it might revoke
    /// the current one.
    fn renewed_here(
        &self,
        foreign: &Foreign,
        credential: &Credential,
        args: &ImportRequest,
        sink: &TokenSink,
    ) -> Result<Option<Result<ProfileId, String>>, CliError> {
        let Credential::OAuth(login) = credential else { return Ok(None) };
        let Some(provider) = sink.providers.find(&foreign.provider) else { return Ok(None) };
        let Some(key) = key_of(provider, login).filter(|_| !args.force) else { return Ok(None) };
        let Some(record) = sink.records.peek(key)? else { return Ok(None) };
        let (id, at) = (&record.profile, utc(record.at));
        let is_login = |it: &Credential| it.kind() == Kind::OAuth;
        Ok(match record.state {
            State::Consumed if self.document.credential(id).as_ref().is_some_and(is_login) => {
                Some(Ok(id.clone()))
            }
            State::Consumed => Some(Err(format!("its refresh token was used up here, at {at}"))),
            State::Rejected | State::Revoked => {
                Some(Err(format!("the issuer has ended that login, at {at}")))
            }
            _ => None,
        })
    }

    /// The error if nothing in a file can be imported.
    fn nothing(&self, path: &Path) -> CliError {
        let reasons = self.left_out.iter().map(|it| format!("`{}`: {}", it.entry, it.reason));
        let message = format!(
            "nothing in {} can be imported; {}",
            path.display(),
            reasons.collect::<Vec<_>>().join("; ")
        );
        if self.is_not_renewable {
            return CliError::usage(message)
                .hint("take the access token alone: --access-only")
                .path(path);
        }
        nothing(message, "nothing was stored; log in here instead", path)
    }
}

/// Names come from an untrusted file.
fn check_id(foreign: &Foreign) -> Result<(), CliError> {
    let Some(id) = &foreign.id else { return Ok(()) };
    if id.trim().is_empty() || id.contains(char::is_control) {
        let message = format!("`{}` is no name for a profile; nothing was stored", printable(id));
        return Err(CliError::usage(message)
            .hint("correct the name in a copy of the file, then import that one")
            .path(&foreign.path));
    }
    Ok(())
}

/// Checks that a key or token is valid. An entry that only refers to a key is skipped.
fn checked(foreign: &Foreign, credential: &Credential) -> Result<Chosen, CliError> {
    if let Credential::Reference(_) = credential {
        return Ok(Chosen::Take(credential.clone(), true));
    }
    let noun = if credential.kind() == Kind::ApiKey { "key" } else { "token" };
    let of = option("--provider", &foreign.provider);
    let value = match key_value(credential.bearer().expose()) {
        Ok(value) => value,
        Err(error @ (PasteError::Variable(_) | PasteError::Command)) => {
            let way_out = match (noun, &error) {
                ("key", PasteError::Variable(Some(name))) => {
                    format!("clawdbot models auth paste-api-key{of} --from-env {name}")
                }
                ("key", _) => {
                    format!("clawdbot models auth paste-api-key{of} --from-command \"sh -c '…'\"")
                }
                _ => format!("clawdbot models auth paste-token{of}"),
            };
            return Ok(Chosen::LeftOut(format!("{error}; {way_out}")));
        }
        Err(error) => {
            let name = foreign.id.as_deref().unwrap_or(foreign.provider.as_str());
            let message = format!(
                "`{}` in {} cannot be imported: its {noun} cannot be one: {error}; nothing was stored",
                printable(name),
                foreign.path.display()
            );
            return Err(CliError::usage(message)
                .hint("correct it in a copy of the file, or take it out there; then import that")
                .path(&foreign.path));
        }
    };
    let cleaned = match credential {
        Credential::Token { expires, .. } => {
            Credential::Token { token: value.secret, expires: *expires }
        }
        _ => Credential::ApiKey(value.secret),
    };
    // Spaces around a token are stored, but are not part of the output.
    let is_as_written = is_same(&cleaned, credential);
    let taken = if is_as_written { credential.clone() } else { cleaned };
    Ok(Chosen::Take(taken, is_as_written))
}

/// The part of a login that is stored, according to the user's choice.
fn chosen(
    foreign: &Foreign,
    args: &ImportRequest,
    sink: &TokenSink,
    context: &Context,
) -> Result<Chosen, CliError> {
    let Credential::OAuth(login) = &foreign.credential else {
        return Ok(Chosen::Take(foreign.credential.clone(), true));
    };
    for token in [&login.access, &login.refresh] {
        if !auth_store::trim(token.expose()).bytes().all(|byte| byte.is_ascii_graphic()) {
            let name = foreign.id.as_deref().unwrap_or(foreign.provider.as_str());
            let message = format!(
                "`{}` in {} cannot be imported: a token in it has a character that no token has; nothing was stored",
                printable(name),
                foreign.path.display()
            );
            let hint = "correct it in a copy of the file, or take it out there; then import that";
            return Err(CliError::usage(message).hint(hint).path(&foreign.path));
        }
    }
    let provider = sink.providers.find(&foreign.provider);
    let has_refresh = !login.refresh.is_blank();
    let can_refresh =
        has_refresh && provider.is_some_and(|it| it.refreshable && it.has_oauth_login());
    let access_only = || {
        let token = login.access.clone();
        if token.is_blank() {
            return Chosen::LeftOut("there is no access token in it".to_owned());
        }
        Chosen::Take(Credential::Token { token, expires: login.expires }, false)
    };
    let whole = || Chosen::Take(foreign.credential.clone(), true);
    if args.access_only {
        return Ok(access_only());
    }
    if !has_refresh {
        return Ok(whole());
    }
    if args.take_over {
        return Ok(if can_refresh { whole() } else { Chosen::NotRenewable });
    }

    let separate = view::way_in(&foreign.provider, &sink.providers);
    context.say(format_args!(
        "{} has a login of {}. It holds a refresh token, and two tools with one refresh token log each other out: whoever renews it first makes the other one's useless.",
        foreign.tool, foreign.provider
    ));
    if !context.terminal.stdin {
        let mut hint = format!("a login of its own is best: {separate}; or --access-only");
        if can_refresh {
            hint += "; or --take-over, and the other tool stops using it";
        }
        return Err(
            CliError::usage("what to take of it is not said; nothing was stored").hint(hint)
        );
    }
    context.say(format_args!("  1  log in for this program alone (best): {separate}"));
    context.say("  2  take the access token only: it works until it ends, and is not renewed");
    if can_refresh {
        context.say("  3  move the login here: the other tool must not use it any more");
    }
    let response = prompt::line("Which one? [1] ", context)?;
    Ok(match response.trim() {
        "2" => access_only(),
        "3" if can_refresh => whole(),
        _ => {
            context.say(format_args!("Nothing was taken of it. Now run: {separate}"));
            Chosen::Declined
        }
    })
}

/// The command to run again, with or without the named profile.
fn again(args: &ImportRequest, with_profile: bool, agent: &Agent) -> String {
    let mut command = format!("clawdbot models auth import{}", option("--from", &args.from));
    if args.access_only {
        command += " --access-only";
    }
    if args.take_over {
        command += " --take-over";
    }
    let profile = args.profile_id.as_ref().filter(|_| with_profile);
    let named = [("--provider", args.provider.as_ref()), ("--profile-id", profile)];
    for (name, value) in named {
        command += &value.map(|value| option(name, value)).unwrap_or_default();
    }
    command + &agent.option()
}

/// The error if the profile to replace belongs to another agent.
fn not_here(id: &ProfileId, foreign: &Foreign, holder: &Agent) -> CliError {
    let message =
        format!("`{id}` belongs to the agent `{}`, which shares it; nothing was stored", holder.id);
    let from = option("--from", foreign.path.display());
    let of = option("--agent", &holder.id);
    CliError::usage(message)
        .hint(format!("import it there: clawdbot models auth import{from}{of} --force"))
        .profile(id)
}

/// What was imported, what was stored already, and what was skipped.
fn report(plan: &Plan, agent: &Agent, context: &Context) -> Report {
    let imported = plan.takes.iter().map(|(foreign, take)| {
        json!({
            "profileId": take.id,
            "provider": take.provider,
            "type": take.credential.kind().as_str(),
            "expires": take.credential.expires(),
            "path": foreign.path.display().to_string(),
        })
    });
    let unchanged: Vec<_> = plan.unchanged.iter().map(|(id, _)| id).collect();
    let mut report = Report::from_data(json!({
        "agentId": agent.id,
        "imported": imported.collect::<Vec<_>>(),
        "unchanged": unchanged,
        "leftOut": plan.left_out,
    }));
    for (foreign, take) in &plan.takes {
        report.line(format_args!(
            "Stored: the {} as profile `{}` of the agent `{}`, from {}.",
            noun(&take.credential, &foreign.credential),
            take.id,
            agent.id,
            context.display(&foreign.path)
        ));
        if take.credential.kind() == Kind::OAuth {
            report.say(format_args!(
                "{} must not use that login any more. Do not log out there, which would revoke it; move its file away: {}",
                foreign.tool,
                moved_away(&foreign.path, "moved")
            ));
        }
    }
    for (id, kind) in &plan.unchanged {
        let noun = match kind {
            Kind::ApiKey => "key",
            Kind::Token => "token",
            Kind::OAuth => "login",
        };
        report.line(format_args!(
            "Unchanged: profile `{id}` of the agent `{}` holds that {noun} already.",
            agent.id
        ));
    }
    for note in &plan.notes {
        report.say(note);
    }
    for left_out in &plan.left_out {
        report.say(format_args!(
            "note: left out: `{}`: {}",
            printable(&left_out.entry),
            left_out.reason
        ));
    }
    report
}

/// What was imported, in a word or two.
fn noun(taken: &Credential, of: &Credential) -> &'static str {
    match (taken, of) {
        (Credential::Token { .. }, Credential::OAuth(_)) => "access token",
        (Credential::Token { .. }, _) => "token",
        (Credential::OAuth(_), _) => "login",
        (Credential::Reference(_), _) => "place of the API key",
        (Credential::ApiKey(_), _) => "API key",
    }
}
