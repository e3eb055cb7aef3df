//! `settings get|set|unset`: our own settings, in `sink.json`.

pub mod args;

use serde_json::{Value, json};

use crate::agent::invocation::Invocation;
use crate::commands::settings::args::{GetArgs, SetArgs, SettingsCommand, UnsetArgs};
use crate::host::error::{CliError, Exit};
use crate::host::report::Report;
use crate::host::settings::Settings;

/// Shows the settings, or changes one.
pub fn run(command: &SettingsCommand, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    match command {
        SettingsCommand::Get(args) => get(args, invocation),
        SettingsCommand::Set(SetArgs { key, value }) => {
            change(key, Some(parsed(value)), invocation)
        }
        SettingsCommand::Unset(UnsetArgs { key }) => change(key, None, invocation),
    }
}

fn get(args: &GetArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let settings = Settings::load(invocation.context)?;
    let Some(key) = &args.key else {
        let all = settings.all();
        let mut report = Report::from_data(Value::Object(all.clone()));
        for (key, value) in &all {
            report.line(format_args!("{key} = {}", shown(value)));
        }
        return Ok(report);
    };
    let value = settings.get(key)?.ok_or_else(|| {
        CliError::new(Exit::NoCredential, "not_set", format!("`{key}` is not set"))
            .hint("see all settings: clawdbot settings get")
    })?;
    let mut report = Report::from_data(json!({ "key": key, "value": value }));
    report.line(shown(&value));
    Ok(report)
}

fn change(
    key: &str,
    value: Option<Value>,
    invocation: &Invocation<'_>,
) -> Result<Report, CliError> {
    let mut settings = Settings::load(invocation.context)?;
    let is_changed = settings.change(key, value)?;
    let value = settings.get(key)?;
    let mut report =
        Report::from_data(json!({ "key": key, "value": value, "changed": is_changed }));
    match &value {
        Some(value) => report.line(format_args!("{key} = {}", shown(value))),
        None => report.line(format_args!("{key} is not set")),
    }
    Ok(report)
}

/// Numbers, booleans, lists and objects are written as JSON; everything else is text.
fn parsed(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
            value
        }
        _ => text.into(),
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
