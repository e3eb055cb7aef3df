//! `doctor`: prints the findings, and fixes what is safe to fix.

use serde_json::json;

use crate::agent::invocation::Invocation;
use crate::commands::doctor::args::DoctorArgs;
use crate::commands::doctor::examine;
use crate::commands::doctor::finding::{Finding, Fix, Severity};
use crate::host::error::{CliError, Exit};
use crate::host::report::Report;
use crate::host::text::printable;

/// Checks everything; with `--fix` applies the fixes, and checks again.
pub fn run(args: &DoctorArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    // An agent that does not exist has no findings, so the user must be told. A config that cannot
    // be read is a finding of its own.
    if invocation.named().is_some() && invocation.config().is_ok() {
        invocation.agent()?;
    }
    let look = || examine(invocation, !args.offline);
    let (mut findings, mut done, mut fixed) = (look(), Vec::new(), Vec::new());
    if args.fix {
        for finding in findings.iter().filter(|finding| finding.fix.is_some()) {
            let outcome = finding.fix.as_ref().map(Fix::apply);
            done.push((finding.what.clone(), outcome.unwrap_or(Ok(""))));
        }
        if !done.is_empty() {
            let before = std::mem::replace(&mut findings, look());
            let is_gone = |old: &&Finding| !findings.iter().any(|new| new.what == old.what);
            fixed = before.iter().filter(is_gone).map(|it| it.to_json(true)).collect();
        }
    }

    let serious = findings.iter().filter(|it| it.severity != Severity::Note).count();
    let left = findings.iter().map(|it| it.to_json(false));
    let all: Vec<_> = fixed.into_iter().chain(left).collect();
    let mut report = Report::from_data(json!({ "ok": serious == 0, "findings": all }));
    for (what, outcome) in &done {
        match outcome {
            Ok(word) => report.line(format_args!("fixed    {}: {word}", printable(what))),
            Err(why) => report.line(format_args!("not fixed  {}: {why}", printable(what))),
        }
    }
    for finding in &findings {
        let word = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        report.line(format_args!("{word:<8} {}", printable(&finding.what)));
        if !finding.cost.is_empty() {
            report.line(format_args!("         {}", finding.cost));
        }
        if let Some(command) = &finding.command {
            report.line(format_args!("         -> {}", printable(command)));
        }
    }
    let fixable = findings.iter().filter(|it| it.fix.is_some()).count();
    if findings.is_empty() {
        report.line("Nothing is wrong.");
    } else if fixable > 0 && !args.fix {
        report.note(format_args!("`clawdbot doctor --fix` fixes {fixable} of {}", findings.len()));
    }
    Ok(report.ending(if serious == 0 { Exit::Done } else { Exit::Expired }))
}
