//! `doctor`: prints what was found, and mends what is safe to mend.

use serde_json::json;

use crate::agent::Agent;
use crate::commands::doctor::args::DoctorArgs;
use crate::commands::doctor::examine;
use crate::commands::doctor::finding::{Finding, Fix, Severity};
use crate::config::Config;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::global::Global;
use crate::host::text::printable;

/// Looks at everything; with `--fix` mends, and looks again.
pub fn run(args: &DoctorArgs, global: &Global, context: &Context) -> Result<Exit, CliError> {
    // One that does not exist has nothing wrong with it: that is for the person to know. A config that cannot be read is
    // a finding of its own.
    if let (Some(_), Ok(config)) = (&global.agent, Config::load(context)) {
        Agent::of(global, &config, context)?;
    }
    let mut done = Vec::new();
    let mut findings = examine(context, !args.offline);
    if args.fix {
        for finding in findings.iter().filter(|finding| finding.fix.is_some()) {
            let outcome = finding.fix.as_ref().map(Fix::apply);
            done.push((finding.what.clone(), outcome.unwrap_or(Ok(""))));
        }
        if !done.is_empty() {
            let before = findings;
            findings = examine(context, !args.offline);
            let is_gone = |old: &&Finding| !findings.iter().any(|new| new.what == old.what);
            let fixed: Vec<_> = before.iter().filter(is_gone).map(|it| it.to_json(true)).collect();
            if global.json {
                return as_json(&findings, fixed, context);
            }
        }
    }
    if global.json {
        return as_json(&findings, Vec::new(), context);
    }
    for (what, outcome) in &done {
        match outcome {
            Ok(word) => context.print(format_args!("mended   {}: {word}", printable(what)))?,
            Err(why) => context.print(format_args!("not mended   {}: {why}", printable(what)))?,
        }
    }
    for finding in &findings {
        let word = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        context.print(format_args!("{word:<8} {}", printable(&finding.what)))?;
        if !finding.cost.is_empty() {
            context.print(format_args!("         {}", finding.cost))?;
        }
        if let Some(command) = &finding.command {
            context.print(format_args!("         -> {}", printable(command)))?;
        }
    }
    let serious = findings.iter().filter(|it| it.severity != Severity::Note).count();
    let fixable = findings.iter().filter(|it| it.fix.is_some()).count();
    if findings.is_empty() {
        context.print("Nothing is wrong.")?;
    } else if fixable > 0 && !args.fix {
        context.say(format_args!("`clawdbot doctor --fix` mends {fixable} of {}", findings.len()));
    }
    Ok(if serious == 0 { Exit::Done } else { Exit::Expired })
}

fn as_json(
    findings: &[Finding],
    fixed: Vec<serde_json::Value>,
    context: &Context,
) -> Result<Exit, CliError> {
    let serious = findings.iter().any(|it| it.severity != Severity::Note);
    let left = findings.iter().map(|it| it.to_json(false));
    let all: Vec<_> = fixed.into_iter().chain(left).collect();
    context.print_json(&json!({ "ok": !serious, "findings": all }))?;
    Ok(if serious { Exit::Expired } else { Exit::Done })
}
