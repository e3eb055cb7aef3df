//! The model that is used first: its place in the config, and setting it.

use auth_store::ProviderId;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::config::edit::{self, Change, Missing};
use crate::config::json5::Step;
use crate::config::{self, Config};
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::global::Global;
use crate::profiles::view::{self, DEFAULT_PROVIDER};

/// Which model of an agent is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Use {
    /// The one that talks.
    Chat,
    /// The one that looks at pictures.
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

/// Makes a model the first one, for all agents or for one.
pub fn set(text: &str, which: Use, global: &Global, context: &Context) -> Result<Exit, CliError> {
    let config = Config::load(context)?;
    let place = place(which, global, &config, context)?;
    let model = model_named(text, &config)?;
    edit::edit(&config.path, Missing::Create, |value| {
        let mut primary = place.clone();
        if !at(value, &place).is_string() {
            primary.push("primary".into());
        }
        let mut changes = vec![Change::set_at(primary, model.as_str().into())];
        changes.extend(edit::list_model(value, &model));
        changes
    })?;
    let of = named(global).map(|id| format!(" of `{id}`")).unwrap_or_default();
    let answer = json!({ "agentId": named(global), which.key(): model });
    changed(&answer, &format!("{}{of}: {model}", which.name()), &config, global, context)
}

/// `provider/model` of what a person wrote.
pub(crate) fn model_named(text: &str, config: &Config) -> Result<String, CliError> {
    view::model_of(text, &ProviderId::new(DEFAULT_PROVIDER), config).map(|it| it.to_string())
}

/// Where in the config the model is: that of all agents, or that of the one that is named.
pub(crate) fn place(
    which: Use,
    global: &Global,
    config: &Config,
    context: &Context,
) -> Result<Vec<Step>, CliError> {
    if global.agent.is_none() {
        return Ok(vec!["agents".into(), "defaults".into(), which.key().into()]);
    }
    let agent = Agent::of(global, config, context)?;
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

fn named(global: &Global) -> Option<String> {
    global.agent.as_deref().map(config::agent_id)
}

/// Tells what the config says now.
pub(crate) fn changed(
    answer: &Value,
    text: &str,
    config: &Config,
    global: &Global,
    context: &Context,
) -> Result<Exit, CliError> {
    if global.json {
        context.print_json(answer)?;
    } else {
        context.say(format_args!("Updated {}", context.display(&config.path)));
        context.print(text)?;
    }
    Ok(Exit::Done)
}
