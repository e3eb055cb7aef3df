//! `agents list`.

use serde_json::{Map, Value, json};

use crate::agent::invocation::Invocation;
use crate::agent::shared;
use crate::agent::workspace;
use crate::agent::{self, Agent};
use crate::commands::agents::args::AgentsListArgs;
use crate::commands::agents::bindings::describe;
use crate::config::{self, Config};
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::report::Report;

/// Lists the agents of the config, and those that exist only on the disk.
pub fn list(args: &AgentsListArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let (config, context) = (invocation.config()?, invocation.context);
    let agents = match invocation.named() {
        Some(_) => vec![invocation.agent()?.id.clone()],
        None => agent::all(&config, context)?,
    };
    let agents: Vec<_> =
        agents.iter().map(|id| summary(id, args.bindings, &config, context)).collect();
    let mut report = Report::from_data(json!(agents));
    report.line("Agents:");
    for agent in &agents {
        tell(agent, context, &mut report);
    }
    if !args.bindings {
        report.note(
            "Routing rules map channel/account/peer to an agent. Use --bindings for full rules.",
        );
    }
    Ok(report)
}

/// One agent, in Clawdbot's JSON format.
fn summary(
    id: &str,
    with_bindings: bool,
    config: &Config,
    context: &Context,
) -> Map<String, Value> {
    let entry = config.agent(id);
    let is_default = id == config.default_agent();
    let text = |name: &str| {
        let text = entry.and_then(|entry| entry[name].as_str()).map(auth_store::trim);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let model = entry.and_then(|entry| config::models_of(&entry["model"]).primary);
    let bindings = bindings(id, config);

    let mut agent = Map::new();
    let mut set = |name: &str, value: Value| agent.insert(name.to_owned(), value);
    set("id", id.into());
    if let Some(name) = text("name") {
        set("name", name.into());
    }
    set("workspace", workspace::of(id, config, context).display().to_string().into());
    let directory = agent::directory(id, config, context);
    // Where it is no path, as it is written.
    let shown = directory.as_ref().map(|directory| directory.display().to_string());
    set("agentDir", shown.unwrap_or_else(|_| text("agentDir").unwrap_or_default()).into());
    if let Some(model) = model.or_else(|| config.models().primary) {
        set("model", model.into());
    }
    set("bindings", bindings.len().into());
    set("isDefault", is_default.into());
    if with_bindings && !bindings.is_empty() {
        set("bindingDetails", json!(bindings));
    }
    if !bindings.is_empty() {
        set("routes", json!(bindings));
    } else if is_default {
        set("routes", json!(["default (no explicit rules)"]));
    }
    let own = directory.map(|directory| Agent { id: id.to_owned(), directory });
    if let Ok(Some(owner)) = own.and_then(|own| shared::owner_of(&own, config, context)) {
        set("sharesFrom", owner.id.into());
    }
    if entry.is_none() && !is_default {
        set("source", "disk".into());
    }
    agent
}

/// The rules that send messages to the agent, each in words.
fn bindings(id: &str, config: &Config) -> Vec<String> {
    let all = config.value["bindings"].as_array().into_iter().flatten();
    let own = all
        .filter(|binding| binding["agentId"].as_str().map(config::agent_id).as_deref() == Some(id));
    own.map(|binding| describe(&binding["match"])).collect()
}

fn tell(agent: &Map<String, Value>, context: &Context, report: &mut Report) {
    let text = |name: &str| agent.get(name).and_then(Value::as_str).unwrap_or_default();
    let path = |name: &str| context.display(std::path::Path::new(text(name)));
    let (workspace, directory) = (path("workspace"), path("agentDir"));
    let id = text("id");
    let name = match text("name") {
        "" => String::new(),
        name if name == id => String::new(),
        name => format!(" ({name})"),
    };
    let is_default = if agent["isDefault"] == true { " (default)" } else { "" };
    report.line(format_args!("- {id}{name}{is_default}"));
    report.line(format_args!("  Workspace: {workspace}"));
    report.line(format_args!("  Agent dir: {directory}"));
    if !text("model").is_empty() {
        report.line(format_args!("  Model: {}", text("model")));
    }
    if !text("sharesFrom").is_empty() {
        report.line(format_args!("  Profiles: its own, and those of {}", text("sharesFrom")));
    }
    report.line(format_args!("  Routing rules: {}", agent["bindings"]));
    let routes = agent.get("routes").and_then(Value::as_array).into_iter().flatten();
    let routes: Vec<_> = routes.filter_map(Value::as_str).collect();
    if !routes.is_empty() {
        report.line(format_args!("  Routing: {}", routes.join(", ")));
    }
    let details = agent.get("bindingDetails").and_then(Value::as_array).into_iter().flatten();
    for rule in details.filter_map(Value::as_str) {
        report.line(format_args!("    - {rule}"));
    }
}
