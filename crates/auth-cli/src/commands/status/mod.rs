//! `models status`: whether every credential in use exists, is valid and can stay valid.

pub mod args;
pub mod channels;
pub mod overview;
pub mod probe;
mod text;

use auth_routing::health;
use auth_store::ProviderId;
use serde_json::json;

use crate::agent::invocation::Invocation;
use crate::commands::status::args::StatusArgs;
use crate::commands::status::overview::Overview;
use crate::host::error::{CliError, Exit};
use crate::host::prompt;
use crate::host::report::Report;
use crate::host::text::printable;
use crate::profiles::remote;
use crate::profiles::standing::Standing;
use crate::profiles::table;
use crate::profiles::view::{self, View};

/// Shows the complete state; with `--check` the exit code reports it.
pub fn run(args: &StatusArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    if args.plain && invocation.output.json {
        return Err(CliError::usage("`--plain` and `--json` exclude each other"));
    }
    if args.watch {
        return watch(invocation);
    }
    if let Some(sink) = remote::configured(context)? {
        return remote::profiles(&sink, None);
    }
    let options = probe::Options::from_args(args)?;
    let overview = look(invocation)?;
    let probes = match options {
        Some(options) => {
            let providers = view::providers(context);
            Some(probe::run(options, &overview, &providers, context)?)
        }
        None => None,
    };
    let data = || {
        let mut json = overview.to_json(context);
        if let Some(probes) = &probes {
            json["auth"]["probes"] = probes.to_json();
        }
        json
    };
    let report = Report::shown(invocation.output, data, |report| {
        if args.plain {
            report.line(&overview.default_model);
        } else if args.short {
            report.line(short(&overview));
        } else {
            text::tell(&overview, invocation, report);
            if let Some(probes) = &probes {
                probes.tell(report);
            }
        }
    });
    let agent = &overview.standing.view.agent;
    if let Some(failure) = probes.as_ref().and_then(|probes| probes.foreign(agent)) {
        return Ok(report.failed(failure));
    }
    if !args.check {
        return Ok(report);
    }
    let is_refused = probes.is_some_and(|probes| probes.has_refusals());
    let within = args.within.unwrap_or(health::WARN_AFTER);
    Ok(report.ending(if is_refused { Exit::Expired } else { overview.check(within) }))
}

/// Shows the status anew whenever its text changes, until Ctrl-C.
fn watch(invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    if !context.terminal.stdout {
        return Err(CliError::usage("--watch requires a terminal"));
    }
    let attention = prompt::InterruptGuard::install()?;
    let mut shown = String::new();
    attention.until_interrupted(async {
        loop {
            // Read anew: the config and the store may have changed.
            let run =
                Invocation::new(context, invocation.output, invocation.named().map(str::to_owned));
            let mut report = Report::default();
            text::tell(&look(&run)?, &run, &mut report);
            let now = report.text();
            if now != shown {
                context.clear_screen()?;
                report.render(run.output, context)?;
                context.flush()?;
                shown = now;
            }
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    })?
}

/// `whoami`: a line for each provider.
pub fn whoami(invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let overview = look(invocation)?;
    let data = || {
        let each = overview.providers.iter().map(|auth| {
            let next = overview.next(auth);
            let profile = next.profile.as_ref().and_then(|id| overview.standing.profile(id));
            json!({
                "provider": auth.name,
                "profileId": next.profile,
                "email": profile.and_then(|it| it.email.as_deref()),
                "accountId": profile.and_then(|it| it.account_id.as_deref()),
                "reason": next.reason,
            })
        });
        json!({ "agentId": overview.standing.view.agent.id, "providers": each.collect::<Vec<_>>() })
    };
    Ok(Report::shown(invocation.output, data, |report| text::whoami(&overview, report)))
}

/// The state of everything. What is odd about it is said on stderr.
fn look(invocation: &Invocation<'_>) -> Result<Overview, CliError> {
    let context = invocation.context;
    let providers = view::providers(context);
    for error in providers.errors() {
        context.say(format_args!("warning: {error}"));
    }
    let standing = Standing::judge(View::read(invocation)?, &providers, context);
    for (provider, routed) in standing.plans() {
        for warning in table::warnings(&routed.plan, provider) {
            context.say(warning);
        }
    }
    let overview = Overview::from_standing(standing, &providers, context);
    for path in &overview.responses {
        context.say(format_args!(
            "warning: a token response is not in the store yet: `{}`; to merge it: clawdbot models auth refresh",
            path.display()
        ));
    }
    for kept in &overview.kept {
        let path = kept.path.as_ref().map(|path| format!(" in `{}`", path.display()));
        context.say(format_args!(
            "warning: a token response for `{}` could not be read and is kept{}: {}; to retry: {}",
            kept.profile,
            path.unwrap_or_default(),
            kept.reason,
            kept.command
        ));
    }
    Ok(overview)
}

/// For a shell prompt: the profile of the default model's provider, and what is wrong with it.
fn short(overview: &Overview) -> String {
    let provider = overview.standing.view.agent_model().provider;
    let auth = overview.providers.iter().find(|it| ProviderId::new(&it.name) == provider);
    let next = auth.map(|auth| overview.next(auth));
    match next.and_then(|it| it.profile) {
        Some(id) => printable(id.as_str()),
        None => format!("{provider}!"),
    }
}
