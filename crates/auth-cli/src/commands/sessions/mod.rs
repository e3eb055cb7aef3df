//! `sessions model|list|show|clear`: the model and the profile of a conversation.

pub mod args;

use std::cmp::Reverse;

use auth_routing::session::choice::{Choice, ChoiceError, Meanings, choose};
use auth_routing::session::selector::{Aliases, ModelRef, ProfileError, Selector, directive};
use auth_routing::session::{self, Entry, PinSource};
use auth_store::{ProviderId, Timestamp};
use serde_json::{Value, json};

use crate::agent::invocation::Invocation;
use crate::agent::sessions::{Sessions, text};
use crate::commands::sessions::args::SessionArgs;
use crate::commands::sessions::args::SessionModelArgs;
use crate::config::Config;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::report::Report;
use crate::host::shell_quote::{option, word};
use crate::host::text::printable;
use crate::profiles::view::{DEFAULT_PROVIDER, View};

/// Pins a model, and a profile if one is named, to a session; `default` removes both pins.
pub fn model(args: &SessionModelArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    let view = View::of_session(&args.key, invocation)?;
    let sessions = Sessions::for_agent(&view.agent, &view.config, context)?;
    let default_model = view.agent_model();
    let aliases = Aliases::from_json(&view.config.value, &ProviderId::new(DEFAULT_PROVIDER));
    let selector = selector(&args.directive, &aliases)?;
    let meanings =
        Meanings { aliases: &aliases, default_model: &default_model, profiles: &view.profiles };
    let mut failure = None;
    let written = sessions.update(&args.key, true, context, |entry| {
        match choose(&selector, entry, &meanings) {
            Ok(choice) => Some(choice.apply(entry, view.now)),
            Err(error) => {
                failure = Some(error);
                None
            }
        }
    })?;
    if let Some(error) = failure {
        return Err(refused(&error, &view));
    }
    let entry = written.unwrap_or_default();
    let session = Session::from_entry(&args.key, &entry, &default_model);
    say_if_unlisted(&session.model, &view.config, context);
    Ok(session.report(&view, &sessions))
}

/// Shows the model and the profile of a session.
pub fn show(args: &SessionArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    let view = View::of_session(&args.key, invocation)?;
    let sessions = Sessions::for_agent(&view.agent, &view.config, context)?;
    let entry = sessions.entry(&args.key)?;
    let entry = entry.ok_or_else(|| unknown(&args.key, &view, &sessions))?;
    let default_model = view.agent_model();
    Ok(Session::from_entry(&args.key, &entry, &default_model).report(&view, &sessions))
}

/// Clears what a user or routing has chosen for a session. The conversation stays.
pub fn clear(args: &SessionArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    let view = View::of_session(&args.key, invocation)?;
    let sessions = Sessions::for_agent(&view.agent, &view.config, context)?;
    let nothing = Choice { model: None, profile: None };
    let entry = sessions
        .update(&args.key, false, context, |entry| Some(nothing.apply(entry, view.now)))?
        .ok_or_else(|| unknown(&args.key, &view, &sessions))?;
    let default_model = view.agent_model();
    Ok(Session::from_entry(&args.key, &entry, &default_model).report(&view, &sessions))
}

/// Lists the sessions of the agent, the most recently used first.
pub fn list(invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let view = View::read(invocation)?;
    let sessions = Sessions::for_agent(&view.agent, &view.config, invocation.context)?;
    let default_model = view.agent_model();
    let all = sessions.all()?;
    let mut all: Vec<_> =
        all.iter().map(|(key, entry)| Session::from_entry(key, entry, &default_model)).collect();
    all.sort_by_key(|session| Reverse(session.updated_at));
    let each: Vec<_> = all.iter().map(|session| session.to_json(&view)).collect();
    let mut report = Report::from_data(json!({
        "agentId": view.agent.id,
        "path": sessions.path().display().to_string(),
        "sessions": each,
    }));
    if all.is_empty() {
        report.line(format_args!("The agent `{}` has no sessions.", view.agent.id));
    }
    for session in &all {
        let used = session
            .updated_at
            .map(|at| format!(", {}", invocation.context.time(at)))
            .unwrap_or_default();
        report.line(format_args!("{}{used}", printable(session.key)));
        report.line(format_args!(
            "  {}; {}",
            printable(&session.model.to_string()),
            session.profile_words()
        ));
    }
    Ok(report)
}

/// The selector in the typed text: a whole directive, or the part after `/model`.
fn selector(typed: &str, aliases: &Aliases) -> Result<Selector, CliError> {
    let found = match directive(typed, &aliases.names()) {
        Some(directive) => directive.selector,
        None => Some(Selector::parse(typed)),
    };
    let found = found.filter(|it| !it.model.is_empty() || it.profile.is_some());
    found.ok_or_else(|| {
        CliError::usage("the directive names no model")
            .hint("clawdbot sessions model KEY '/model Opus@anthropic:work'")
    })
}

fn refused(error: &ChoiceError, view: &View) -> CliError {
    let of_agent = option("--agent", &view.agent.id);
    match error {
        ChoiceError::NoModel(_) => CliError::usage(error.to_string()),
        ChoiceError::Profile(ProfileError::NotFound(id)) => {
            CliError::new(Exit::NoCredential, "unknown_profile", error.to_string())
                .hint(format!("see what there is: clawdbot models auth list{of_agent}"))
                .profile(id)
        }
        ChoiceError::Profile(ProfileError::Foreign { id, stored, .. }) => {
            CliError::new(Exit::NoCredential, "unknown_profile", error.to_string())
                .hint(format!(
                    "name a model of that provider: {}",
                    word(format!("/model {stored}/MODEL@{id}"))
                ))
                .profile(id)
        }
    }
}

fn unknown(key: &str, view: &View, sessions: &Sessions) -> CliError {
    let message = format!("the agent `{}` has no session `{key}`", view.agent.id);
    CliError::new(Exit::Usage, "unknown_session", message)
        .hint(format!(
            "see what there is: clawdbot sessions list{}",
            option("--agent", &view.agent.id)
        ))
        .path(sessions.path())
}

/// A config may list the allowed models; the warning catches typing errors.
fn say_if_unlisted(model: &ModelRef, config: &Config, context: &Context) {
    let anthropic = ProviderId::new(DEFAULT_PROVIDER);
    let mut listed =
        config.listed_models().filter_map(|(name, _)| ModelRef::parse(name, &anthropic)).peekable();
    if listed.peek().is_some() && !listed.any(|it| it == *model) {
        context
            .say(format_args!("note: {model} is not among `agents.defaults.models` of the config"));
    }
}

/// The model and the profile of a session.
struct Session<'a> {
    key: &'a str,
    model: ModelRef,
    is_default: bool,
    profile: Option<(String, PinSource)>,
    updated_at: Option<Timestamp>,
}

impl<'a> Session<'a> {
    fn from_entry(key: &'a str, entry: &Entry, default: &ModelRef) -> Self {
        let pinned = session::pinned(entry);
        Self {
            key,
            model: session::model(entry, default),
            is_default: text(entry, "modelOverride").is_none(),
            profile: pinned.map(|id| (id.as_str().to_owned(), session::source(entry))),
            updated_at: entry.get("updatedAt").and_then(Value::as_i64).map(Timestamp),
        }
    }

    fn to_json(&self, view: &View) -> Value {
        let source = self.profile.as_ref().map(|(_, source)| match source {
            PinSource::User => "user",
            PinSource::Auto => "auto",
        });
        json!({
            "key": self.key,
            "agentId": view.agent.id,
            "model": self.model.to_string(),
            "isDefault": self.is_default,
            "profileId": self.profile.as_ref().map(|(id, _)| id),
            "profileSource": source,
            "updatedAt": self.updated_at,
        })
    }

    fn profile_words(&self) -> String {
        match &self.profile {
            Some((id, PinSource::User)) => format!("{} (pinned)", printable(id)),
            Some((id, PinSource::Auto)) => format!("{} (chosen by routing)", printable(id)),
            None => "as routing chooses".to_owned(),
        }
    }

    fn report(&self, view: &View, sessions: &Sessions) -> Report {
        let mut value = self.to_json(view);
        value["path"] = sessions.path().display().to_string().into();
        let mut report = Report::from_data(value);
        report.line(format_args!("Session: {}", printable(self.key)));
        report.line(format_args!("Model: {}", printable(&self.model.to_string())));
        report.line(format_args!("Profile: {}", self.profile_words()));
        report
    }
}
