//! `plugins check`: runs the conformance check on a plugin, and prints which rules it follows.

use auth_providers::plugin::{self, Check, Executable, Outcome, Plan};
use auth_store::ProviderId;
use serde_json::{Map, Value, json};

use crate::agent::invocation::Invocation;
use crate::commands::plugins::args::PluginsCheckArgs;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::network;
use crate::host::process::runtime;
use crate::host::prompt;
use crate::host::report::Report;
use crate::host::shell_quote::word;
use crate::host::text::printable;

/// Checks a plugin. A broken rule is exit code 64.
pub fn run(args: &PluginsCheckArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    let path = context.user_path(&args.path.to_string_lossy());
    let named = path.file_name().and_then(Executable::id_in);
    let id = args.provider.as_deref().map(ProviderId::new).or(named).ok_or_else(|| {
        let message = "the name of the file does not say which provider it is for";
        CliError::usage(message)
            .hint("call it clawdbot-provider-ID, or add --provider ID")
            .path(&path)
    })?;
    let executable = Executable::at(&id, &path).map_err(|error| {
        CliError::usage(error.to_string())
            .hint(format!("look at it: ls -ld {}", word(path.display())))
            .path(&path)
    })?;
    let plan = Plan { responses: responses(args, context)?, timeout: args.timeout };
    let environment = network::plugin_environment(context);
    let shown = std::cell::RefCell::new(Vec::new());
    let show = |text: &str| shown.borrow_mut().push(text.to_owned());
    let checks = runtime::run(plugin::check(&executable, &environment, &plan, &show))?;
    if invocation.output.verbose {
        for text in shown.into_inner() {
            context.say(format_args!("plugin: {}", printable(&text)));
        }
    }

    let is_good = !checks.iter().any(|check| matches!(check.outcome, Outcome::Failed(_)));
    let all: Vec<_> = checks.iter().map(to_json).collect();
    let mut report = Report::from_data(json!({
        "provider": id,
        "path": path.display().to_string(),
        "passed": is_good,
        "checks": all,
    }));
    for check in &checks {
        let (word, reason) = words(&check.outcome);
        let reason = reason.map(|reason| format!(": {}", printable(reason)));
        let rule = check.rule;
        report.line(format_args!(
            "{word:7}  {:8}  {rule}{}",
            check.name,
            reason.unwrap_or_default()
        ));
    }
    let failed = checks.iter().filter(|it| matches!(it.outcome, Outcome::Failed(_))).count();
    let of = checks.len();
    match failed {
        0 => report.line(format_args!("`{id}`: {of} rules, none is broken")),
        failed => report.line(format_args!("`{id}`: {failed} of {of} rules are broken")),
    }
    Ok(report.ending(if is_good { Exit::Done } else { Exit::Usage }))
}

fn responses(args: &PluginsCheckArgs, context: &Context) -> Result<Map<String, Value>, CliError> {
    let Some(file) = &args.responses else { return Ok(Map::new()) };
    let path = context.user_path(&file.to_string_lossy());
    let text = if file.as_os_str() == "-" {
        prompt::everything(context)?
    } else {
        auth_store::read_regular_text(&path).map_err(|error| {
            CliError::usage(format!("the answers cannot be read: {error}")).path(&path)
        })?
    };
    serde_json::from_str(&text).map_err(|error| {
        let what = format!("the answers are no JSON object, at line {}", error.line());
        CliError::usage(what).hint("write them as {\"id of the question\": \"answer\"}")
    })
}

fn words(outcome: &Outcome) -> (&'static str, Option<&str>) {
    match outcome {
        Outcome::Passed => ("ok", None),
        Outcome::Failed(reason) => ("FAILED", Some(reason)),
        Outcome::NotRun(reason) => ("not run", Some(reason)),
    }
}

fn to_json(check: &Check) -> Value {
    let (outcome, reason) = match &check.outcome {
        Outcome::Passed => ("passed", None),
        Outcome::Failed(reason) => ("failed", Some(reason)),
        Outcome::NotRun(reason) => ("not_run", Some(reason)),
    };
    json!({ "name": check.name, "rule": check.rule, "outcome": outcome, "reason": reason })
}
