//! `channels list`: of what the original lists, the credentials are ours.

use serde_json::{Map, Value, json};

use crate::agent::Agent;
use crate::agent::shared::Seen;
use crate::commands::status::args::ChannelsListArgs;
use crate::config::Config;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::global::Global;

/// Lists the stored credentials; in JSON they are `auth[]`.
pub fn list(
    _args: &ChannelsListArgs,
    global: &Global,
    context: &Context,
) -> Result<Exit, CliError> {
    let config = Config::load(context)?;
    let agent = Agent::of(global, &config, context)?;
    let document = Seen::by(&agent, &config, context)?.document;
    let channels = channels(&config);
    if global.json {
        let profiles = document.profiles().map(|profile| {
            json!({
                "id": profile.id,
                "provider": profile.provider_text,
                "type": profile.kind.as_str(),
                "isExternal": false,
            })
        });
        let auth: Vec<_> = profiles.collect();
        context.print_json(&json!({ "chat": channels, "auth": auth }))?;
        return Ok(Exit::Done);
    }
    context.print("Chat channels:")?;
    for (name, accounts) in &channels {
        let accounts = accounts.as_array().into_iter().flatten().filter_map(Value::as_str);
        context.print(format_args!("- {name}: {}", accounts.collect::<Vec<_>>().join(", ")))?;
    }
    context.print("")?;
    context.print("Auth providers (OAuth + API keys):")?;
    let mut is_empty = true;
    for profile in document.profiles() {
        is_empty = false;
        context.print(format_args!("- {} ({})", profile.id, profile.kind.as_str()))?;
    }
    if is_empty {
        context.print("- none")?;
    }
    Ok(Exit::Done)
}

/// The configured channels, each with its accounts.
fn channels(config: &Config) -> Map<String, Value> {
    let channels = config.value["channels"].as_object().into_iter().flatten();
    let channels = channels.filter(|(name, entry)| *name != "defaults" && entry.is_object());
    let accounts = |entry: &Value| match entry["accounts"].as_object() {
        Some(accounts) if !accounts.is_empty() => accounts.keys().cloned().collect(),
        _ => vec!["default".to_owned()],
    };
    channels.map(|(name, entry)| (name.clone(), json!(accounts(entry)))).collect()
}
