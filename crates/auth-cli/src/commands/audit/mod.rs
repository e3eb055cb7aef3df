//! `audit`: what happened to the credentials, and who asked.

pub mod args;

use auth_store::{AuditEvent, AuditLog};
use serde_json::json;

use crate::agent::invocation::Invocation;
use crate::commands::audit::args::AuditArgs;
use crate::host::error::CliError;
use crate::host::report::Report;
use crate::host::settings::{Audit, Settings};
use crate::host::text::{printable, utc};

/// Shows the audit log, the oldest event first, and what it leaves out.
pub fn run(args: &AuditArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    let setting = Settings::load(context)?.audit();
    let log = AuditLog::at(&context.paths().state_dir);
    let (events, unreadable) = log.read()?;
    let start = args.since.map(|since| context.now().minus(since));
    let events = events.into_iter().filter(|event| start.is_none_or(|start| event.at >= start));
    let events: Vec<AuditEvent> = events.collect();

    let left_out = left_out(setting);
    let mut report = Report::from_data(json!({
        "path": log.path().display().to_string(),
        "setting": setting.as_str(),
        "leftOut": left_out,
        "unreadable": unreadable,
        "events": events,
    }));
    report.note(left_out);
    if unreadable > 0 {
        report.note(format_args!("warning: {unreadable} lines of it cannot be read"));
    }
    for event in &events {
        report.line(line(event));
    }
    if events.is_empty() {
        report.note("There are no events.");
    }
    Ok(report)
}

/// What the log does not have.
fn left_out(setting: Audit) -> &'static str {
    match setting {
        Audit::All => {
            "The audit log has every token that was handed out since the setting `audit` is `all`."
        }
        Audit::Slow => {
            "Not in the audit log: tokens that were fresh in the store and handed out at once. To have them too: clawdbot settings set audit all"
        }
        Audit::Off => {
            "Nothing is written to the audit log now. To write it: clawdbot settings unset audit"
        }
    }
}

fn line(event: &AuditEvent) -> String {
    let about = event.profile.as_ref().map(|id| printable(id.as_str()));
    let about = about.or_else(|| event.provider.as_ref().map(|id| printable(id.as_str())));
    let mut parts = vec![format!("{}  {:8}", utc(event.at), event.what.as_str())];
    parts.push(about.unwrap_or_else(|| "-".to_owned()));
    let named = |name: &str, value: &Option<String>| {
        value.as_ref().map(|value| format!("{name} {}", printable(value)))
    };
    parts.extend(named("agent", &event.agent));
    parts.extend(named("to", &event.destination));
    parts.extend(named("by client", &event.client));
    parts.extend(named("by", &event.program));
    parts.extend(event.uid.map(|uid| format!("uid {uid}")));
    parts.extend(event.detail.as_deref().map(printable));
    parts.join("  ")
}
