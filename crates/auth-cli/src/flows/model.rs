//! The primary model: its place in the config, and setting it.

use auth_store::ProviderId;
use serde_json::{Value, json};

use crate::agent::invocation::Invocation;
use crate::config::edit::{self, Change, Missing};
use crate::config::json5::Step;
use crate::config::{self, Config};
use crate::host::error::CliError;
use crate::host::report::Report;
use crate::profiles::view::{self, DEFAULT_PROVIDER};

/// Which model of an agent to set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Use {
    /// The chat model.
    Chat,
    /// The image model.
    Image,
}

impl Use {
    fn key(self) -> &'static str {
        match self {
            Self::Chat => "model",
            Self::Image => "imageModel",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Chat => "Default model",
            Self::Image => "Image model",
        }
    }

    pub(crate) fn fallbacks(self) -> &'static str {
        match self {
            Self::Chat => "Fallbacks",
            Self::Image => "Image fallbacks",
        }
    }
}

/// Sets the primary model, for all agents or for one.
pub fn set(text: &str, which: Use, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let config = invocation.config()?;
    let place = place(which, invocation)?;
    let model = model_named(text, &config)?;
    invocation.edit_config(Missing::Create, |value| {
        let mut primary = place.clone();
        if !at(value, &place).is_string() {
            primary.push("primary".into());
        }
        let mut changes = vec![Change::set_at(primary, model.as_str().into())];
        changes.extend(edit::list_model(value, &model));
        changes
    })?;
    let named = invocation.named().map(config::agent_id);
    let of = named.as_ref().map(|id| format!(" of `{id}`")).unwrap_or_default();
    let response = json!({ "agentId": named, which.key(): model });
    Ok(changed(response, &format!("{}{of}: {model}", which.name()), invocation))
}

/// The model that a user named, as `provider/model`.
pub(crate) fn model_named(text: &str, config: &Config) -> Result<String, CliError> {
    view::model_of(text, &ProviderId::new(DEFAULT_PROVIDER), config).map(|it| it.to_string())
}

/// The place of the model in the config: for all agents, or for the named one.
pub(crate) fn place(which: Use, invocation: &Invocation<'_>) -> Result<Vec<Step>, CliError> {
    if invocation.named().is_none() {
        return Ok(vec!["agents".into(), "defaults".into(), which.key().into()]);
    }
    let (config, agent) = (invocation.config()?, invocation.agent()?);
    if which == Use::Image {
        return Err(CliError::usage("the image model is for all agents").hint("leave out --agent"));
    }
    let list = config.value["agents"]["list"].as_array().into_iter().flatten();
    let index = list.into_iter().position(|entry| {
        entry["id"].as_str().map(config::agent_id).as_deref() == Some(agent.id.as_str())
    });
    let index = index.ok_or_else(|| {
        CliError::usage(format!("the agent `{}` has no entry in the config", agent.id))
            .hint("for all agents: leave out --agent; or add the entry to `agents.list`")
    })?;
    Ok(vec!["agents".into(), "list".into(), index.into(), which.key().into()])
}

pub(crate) fn at<'a>(value: &'a Value, path: &[Step]) -> &'a Value {
    const NOTHING: &Value = &Value::Null;
    let found = path.iter().try_fold(value, |value, step| match step {
        Step::Name(name) => value.get(name),
        Step::Index(index) => value.get(*index),
    });
    found.unwrap_or(NOTHING)
}

/// The report of the new config values.
pub(crate) fn changed(response: Value, text: &str, invocation: &Invocation<'_>) -> Report {
    let context = invocation.context;
    let mut report = Report::from_data(response);
    report.note(format_args!("Updated {}", context.display(&context.paths().config)));
    report.line(text);
    report
}
