//! `channels list`: of Clawdbot's output, only the credentials are ours.

use serde_json::{Map, Value, json};

use crate::agent::invocation::Invocation;
use crate::agent::shared::Seen;
use crate::config::Config;
use crate::host::error::CliError;
use crate::host::report::Report;

/// Lists the stored credentials; in JSON they are `auth[]`.
pub fn list(invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let config = invocation.config()?;
    let document = Seen::by(invocation.agent()?, &config, invocation.context)?.document;
    let channels = channels(&config);
    let auth = document.profiles().map(|profile| {
        json!({
            "id": profile.id,
            "provider": profile.provider_text,
            "type": profile.kind.as_str(),
            "isExternal": false,
        })
    });
    let auth: Vec<_> = auth.collect();
    let mut report = Report::from_data(json!({ "chat": channels, "auth": auth }));
    report.line("Chat channels:");
    for (name, accounts) in &channels {
        let accounts = accounts.as_array().into_iter().flatten().filter_map(Value::as_str);
        report.line(format_args!("- {name}: {}", accounts.collect::<Vec<_>>().join(", ")));
    }
    report.line("");
    report.line("Auth providers (OAuth + API keys):");
    for profile in document.profiles() {
        report.line(format_args!("- {} ({})", profile.id, profile.kind.as_str()));
    }
    if auth.is_empty() {
        report.line("- none");
    }
    Ok(report)
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
