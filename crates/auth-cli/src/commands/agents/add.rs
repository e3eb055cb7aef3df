//! `agents add`: creates an agent with its entry in the config, its folders and its rules.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::agent::invocation::Invocation;
use crate::agent::workspace;
use crate::agent::{self, Agent};
use crate::commands::agents::args::AgentsAddArgs;
use crate::commands::agents::bindings::{Binding, Bound};
use crate::config::edit::{Change, Missing};
use crate::config::{self, Config};
use crate::flows::login;
use crate::flows::login::request::LoginRequest;
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::paths;
use crate::host::prompt;
use crate::host::report::Report;
use crate::host::shell_quote::{command, option};

/// Creates the agent; asks for missing values at a terminal.
pub fn run(args: &AgentsAddArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    if args.login.is_some() && invocation.output.json {
        return Err(CliError::usage("a login talks, so `--login` and `--json` exclude each other")
            .hint("afterwards: clawdbot models auth login --provider PROVIDER --agent ID"));
    }
    let (config, context) = (invocation.config()?, invocation.context);
    let asked = ask(args, invocation.output.json, &config, context)?;
    let new = New::from_args(args, &asked, &config, context)?;
    let mut made = Made::default();
    for directory in [&new.workspace, &new.directory, &new.sessions] {
        made.make(directory)?;
    }
    let bound = write(&new, args, &config, invocation)?;
    made.keep();
    let report = report(&new, &bound, context);
    match asked.login {
        Some(provider) => {
            // Printed now, because the login may ask questions afterwards.
            report.render(invocation.output, context)?;
            let request = LoginRequest { provider: Some(provider), ..LoginRequest::default() };
            login::run(&request, &invocation.about(Some(new.id)))
        }
        None => Ok(report),
    }
}

/// What the user has entered, on the command line or at a prompt.
struct Asked {
    name: String,
    workspace: String,
    login: Option<String>,
}

fn ask(
    args: &AgentsAddArgs,
    json: bool,
    config: &Config,
    context: &Context,
) -> Result<Asked, CliError> {
    let given = |text: &Option<String>| {
        text.as_deref().map(auth_store::trim).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let (name, workspace) = (given(&args.name), given(&args.workspace));
    let login = args.login.clone();
    let is_silent = args.non_interactive || json || !context.terminal.stdin;
    if let (Some(name), Some(workspace)) = (&name, &workspace) {
        return Ok(Asked { name: name.clone(), workspace: workspace.clone(), login });
    }
    if is_silent {
        let missing = if name.is_none() { "the agent's name" } else { "--workspace" };
        return Err(CliError::usage(format!("{missing} is required when stdin is not a terminal"))
            .hint("clawdbot agents add NAME --workspace DIR"));
    }
    let response = |question: String, context: &Context| -> Result<String, CliError> {
        context.say(question);
        // A login that follows prompts at the same terminal.
        Ok(auth_store::trim(&prompt::line("", context)?).to_owned())
    };
    let name = match name {
        Some(name) => name,
        None => response("The agent's name:".to_owned(), context)?,
    };
    let workspace = if let Some(workspace) = workspace {
        workspace
    } else {
        let id = config::agent_id(&name);
        let usual = workspace::usual(&id, None, false, config, context).display().to_string();
        let question = format!("Its workspace [{}]:", context.display(Path::new(&usual)));
        Some(response(question, context)?).filter(|text| !text.is_empty()).unwrap_or(usual)
    };
    let login = if login.is_some() {
        login
    } else {
        let question = "Log in now? The provider, or nothing:".to_owned();
        Some(response(question, context)?).filter(|text| !text.is_empty())
    };
    Ok(Asked { name, workspace, login })
}

/// The new agent.
struct New {
    id: String,
    name: String,
    workspace: PathBuf,
    directory: PathBuf,
    sessions: PathBuf,
    model: Option<String>,
}

impl New {
    fn from_args(
        args: &AgentsAddArgs,
        asked: &Asked,
        config: &Config,
        context: &Context,
    ) -> Result<Self, CliError> {
        let name = asked.name.clone();
        if name.is_empty() {
            return Err(CliError::usage("the agent has no name"));
        }
        let id = config::explicit_agent_id(&name)?;
        if id == paths::MAIN_AGENT {
            return Err(
                CliError::usage("`main` is the agent there always is").hint("choose another name")
            );
        }
        if config.agent(&id).is_some() {
            return Err(CliError::usage(format!("there is an agent `{id}` already"))
                .hint("see `clawdbot agents list`"));
        }
        if id != name {
            context.say(format_args!("note: its id is `{id}`"));
        }
        let chosen = args.agent_dir.as_deref();
        let chosen = chosen.map(|text| context.path_of("--agent-dir", text)).transpose()?;
        let chosen = chosen.filter(|path| !path.as_os_str().is_empty());
        let directory = match chosen {
            Some(chosen) => chosen,
            None => agent::directory(&id, config, context)?,
        };
        let own = Agent { id: id.clone(), directory: directory.clone() };
        let all = agent::all(config, context)?.into_iter().filter(|other| *other != id);
        let taken = all.into_iter().find(|other| {
            Agent::of(other, config, context).is_ok_and(|other| other.is_one_with(&own))
        });
        if let Some(other) = taken {
            let message = format!("`{}` belongs to the agent `{other}`", directory.display());
            return Err(CliError::usage(message).hint(format!(
                "leave out --agent-dir; to share profiles: {}",
                command("agents share", &[&id], &option("--from", other))
            )));
        }
        let model = args.model.as_deref().map(auth_store::trim).filter(|text| !text.is_empty());
        Ok(Self {
            sessions: paths::sessions(&context.paths().state_dir, &id),
            workspace: context.path_of("--workspace", &asked.workspace)?,
            model: model.map(str::to_owned),
            id,
            name,
            directory,
        })
    }

    /// Its entry in `agents.list`. Paths below the home directory are written with `~`, so that the
    /// config holds in another home, too.
    fn entry(&self, context: &Context) -> Value {
        let mut entry = json!({
            "id": self.id,
            "name": self.name,
            "workspace": context.display(&self.workspace),
            "agentDir": context.display(&self.directory),
        });
        if let Some(model) = &self.model {
            entry["model"] = model.as_str().into();
        }
        entry
    }
}

/// Writes the agent and its rules to the config.
fn write(
    new: &New,
    args: &AgentsAddArgs,
    config: &Config,
    invocation: &Invocation<'_>,
) -> Result<Bound, CliError> {
    let wanted = args.bind.iter().filter(|text| !auth_store::trim(text).is_empty());
    let wanted = wanted
        .map(|text| Binding::parse(text, &new.id, &config.value))
        .collect::<Result<Vec<_>, _>>()?;
    let bound = Bound::plan(&wanted, &config.value);
    for binding in &wanted {
        if !binding.is_known(&config.value) {
            let channel = &binding.channel;
            invocation.context.say(format_args!("warning: no channel `{channel}` is configured"));
        }
    }
    invocation.edit_config(Missing::Create, |value| {
        let list = value["agents"]["list"].as_array();
        let mut changes = Vec::new();
        if list.is_none_or(Vec::is_empty) {
            // The first entry of a list is the default agent, which must not change.
            changes
                .push(Change::push(&["agents", "list"], json!({ "id": config.default_agent() })));
        }
        let known = list.into_iter().flatten().filter_map(|entry| entry["id"].as_str());
        if !known.map(config::agent_id).any(|id| id == new.id) {
            changes.push(Change::push(&["agents", "list"], new.entry(invocation.context)));
        }
        let bound = Bound::plan(&wanted, value);
        let rules = bound.added.iter();
        changes.extend(rules.map(|rule| Change::push(&["bindings"], rule.to_json())));
        changes
    })?;
    Ok(bound)
}

/// The directories that were made, for their owner only. They go again, if what they are for fails.
#[derive(Default)]
struct Made(Vec<PathBuf>);

impl Made {
    fn make(&mut self, directory: &Path) -> Result<(), CliError> {
        let missing = directory.ancestors().take_while(|it| it.symlink_metadata().is_err());
        // The innermost one is the first to go.
        self.0.splice(0..0, missing.map(Path::to_owned));
        Ok(auth_store::create_private_directory(directory)?)
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for directory in &self.0 {
            // What somebody put something into stays.
            let _ = std::fs::remove_dir(directory);
        }
    }
}

fn report(new: &New, bound: &Bound, context: &Context) -> Report {
    let mut value = Map::new();
    let mut set = |name: &str, it: Value| value.insert(name.to_owned(), it);
    set("agentId", new.id.as_str().into());
    set("name", new.name.as_str().into());
    set("workspace", new.workspace.display().to_string().into());
    set("agentDir", new.directory.display().to_string().into());
    if let Some(model) = &new.model {
        set("model", model.as_str().into());
    }
    set("sessionsDir", new.sessions.display().to_string().into());
    set("bindings", bound.to_json());

    let mut report = Report::from_data(Value::Object(value));
    report.line(format_args!("Agent: {}", new.id));
    report.line(format_args!("Workspace: {}", context.display(&new.workspace)));
    report.line(format_args!("Agent dir: {}", context.display(&new.directory)));
    if let Some(model) = &new.model {
        report.line(format_args!("Model: {model}"));
    }
    for rule in &bound.added {
        report.line(format_args!("Bound: {rule}"));
    }
    for (rule, other) in &bound.conflicts {
        report.note(format_args!("warning: `{rule}` belongs to the agent `{other}` already"));
    }
    report.note(format_args!(
        "It has no profiles yet: clawdbot models auth login --provider PROVIDER{}; or it uses those of another agent: {}",
        option("--agent", &new.id),
        command("agents share", &[&new.id], " --from main")
    ));
    report
}
