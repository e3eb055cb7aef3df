//! `sessions model|show`: which model and profile a conversation uses.

use auth_routing::selector::{Aliases, ModelRef, Selector, directive, profile_override};
use auth_routing::session::{self, Entry, PinSource};
use auth_store::{ProfileId, ProviderId, Timestamp};
use serde_json::{Value, json};

use crate::args::{Global, SessionModelArgs, SessionShowArgs};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::sessions::Sessions;
use crate::view::{DEFAULT_PROVIDER, View};

/// Pins a model, and a profile if one is named, to a session; `default` ends both.
pub fn model(
    args: &SessionModelArgs,
    global: &Global,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let view = View::read(global, context)?;
    let sessions = Sessions::of(&view.agent, &view.config, context);
    let selector = match directive(&args.directive, &[]) {
        Some(directive) => directive.selector,
        None => Some(Selector::parse(&args.directive)),
    };
    let selector = selector.filter(|it| !it.model.is_empty() || it.profile.is_some());
    let selector = selector.ok_or_else(|| {
        CliError::usage("the directive names no model")
            .hint("clawdbot sessions model KEY '/model Opus@anthropic:work'")
    })?;
    let choice = choose(&selector, &view)?;
    let entry = sessions.update(&args.key, context, |entry| choice.apply(entry, view.now))?;
    tell(&args.key, &entry, &view, &sessions, global, context)
}

/// Shows what a session uses.
pub fn show(
    args: &SessionShowArgs,
    global: &Global,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let view = View::read(global, context)?;
    let sessions = Sessions::of(&view.agent, &view.config, context);
    let entry = sessions.entry(&args.key)?.ok_or_else(|| {
        let message = format!("the agent `{}` has no session `{}`", view.agent.id, args.key);
        CliError::new(Exit::Usage, "unknown_session", message).path(sessions.path())
    })?;
    tell(&args.key, &entry, &view, &sessions, global, context)
}

/// What a directive asks for.
#[derive(Debug)]
struct Choice {
    /// `None`: the default model.
    model: Option<ModelRef>,
    profile: Option<ProfileId>,
}

fn choose(selector: &Selector, view: &View) -> Result<Choice, CliError> {
    let anthropic = ProviderId::new(DEFAULT_PROVIDER);
    let default = view.default_model();
    let named = Some(&selector.model).filter(|text| !text.is_empty());
    let model = match named {
        Some(text) if text.eq_ignore_ascii_case("default") => default.clone(),
        Some(text) => {
            let aliases = Aliases::from_json(&view.config.value, &anthropic);
            let found = aliases.resolve(text, &default.provider);
            let (model, _alias) =
                found.ok_or_else(|| CliError::usage(format!("`{text}` names no model")))?;
            model
        }
        None => default.clone(),
    };
    let profile = match &selector.profile {
        None => None,
        Some(text) => {
            profile_override(text, &view.profiles, model.provider.as_str()).map_err(|error| {
                CliError::new(Exit::NoCredential, "unknown_profile", error.to_string()).hint(
                    format!(
                        "clawdbot models auth list --agent {} --provider {}",
                        view.agent.id, model.provider
                    ),
                )
            })?
        }
    };
    Ok(Choice { model: (model != default).then_some(model), profile })
}

impl Choice {
    /// The entry with this choice in it: a person's, so it stays.
    fn apply(&self, entry: &Entry, now: Timestamp) -> Entry {
        let mut entry = session::unpinned(entry, now);
        if let Some(model) = &self.model {
            entry.insert("providerOverride".to_owned(), model.provider.as_str().into());
            entry.insert("modelOverride".to_owned(), model.model.as_str().into());
        } else {
            entry.shift_remove("providerOverride");
            entry.shift_remove("modelOverride");
        }
        if let Some(profile) = &self.profile {
            entry.insert("authProfileOverride".to_owned(), profile.as_str().into());
            entry.insert("authProfileOverrideSource".to_owned(), "user".into());
        }
        entry
    }
}

fn tell(
    key: &str,
    entry: &Entry,
    view: &View,
    sessions: &Sessions,
    global: &Global,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|it| !it.is_empty());
    let default = view.default_model();
    let provider = text("providerOverride").unwrap_or(default.provider.as_str());
    let model = text("modelOverride").unwrap_or(&default.model);
    let pinned = session::pinned(entry);
    let source = pinned.as_ref().map(|_| match session::source(entry) {
        PinSource::User => "user",
        PinSource::Auto => "auto",
    });
    if global.json {
        context.print_json(&json!({
            "key": key,
            "agentId": view.agent.id,
            "model": format!("{provider}/{model}"),
            "isDefault": text("modelOverride").is_none(),
            "profileId": pinned,
            "profileSource": source,
            "path": sessions.path().display().to_string(),
        }))?;
        return Ok(Exit::Done);
    }
    context.print(format_args!("Session: {key}"))?;
    context.print(format_args!("Model: {provider}/{model}"))?;
    match (pinned, source) {
        (Some(id), Some("user")) => context.print(format_args!("Profile: {id} (pinned)"))?,
        (Some(id), _) => context.print(format_args!("Profile: {id} (chosen by routing)"))?,
        (None, _) => context.print("Profile: as routing chooses")?,
    }
    Ok(Exit::Done)
}
