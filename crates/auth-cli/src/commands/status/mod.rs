//! `models status`: whether every credential in use is there, valid and able to stay so.

pub mod args;
pub mod channels;
pub mod overview;
pub mod probe;

use auth_providers::Providers;
use auth_routing::{Why, health};
use auth_store::{ProviderId, paths};

use crate::agent::invocation::Invocation;
use crate::commands::status::args::StatusArgs;
use crate::commands::status::overview::{Overview, ProviderAuth};
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::report::Report;
use crate::host::style::{Level, Style};
use crate::host::text::printable;
use crate::profiles::table;
use crate::profiles::view::{self, View, way_in};

/// Shows the state of everything; with `--check` the exit code tells it.
pub fn run(args: &StatusArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    if args.plain && invocation.output.json {
        return Err(CliError::usage("`--plain` and `--json` exclude each other"));
    }
    let options = probe::Options::of(args)?;
    let view = View::read(invocation)?;
    let providers = view::providers(context);
    for error in providers.errors() {
        context.say(format_args!("warning: {error}"));
    }
    // Only an order that somebody wrote down can be odd.
    let is_ordered =
        |it: &ProviderId| view.document.order(it).is_some() || view.routing.order(it).is_some();
    for provider in view.routed_providers().into_iter().filter(is_ordered) {
        for warning in table::warnings(&view.plan(&provider, None), &provider) {
            context.say(warning);
        }
    }
    let abilities = view::abilities(&view, &providers, context);
    let overview = Overview::of(view, &providers, abilities, context);
    for path in &overview.answers {
        context.say(format_args!(
            "warning: an issuer's answer is not in the store yet: `{}`; the next `clawdbot models auth refresh` finishes it",
            path.display()
        ));
    }
    for kept in &overview.kept {
        let path = kept.path.as_ref().map(|path| format!(" in `{}`", path.display()));
        context.say(format_args!(
            "warning: an issuer's answer for `{}` could not be read and is kept{}: {}; to look at it, and to merge it if it can be read by now: {}",
            kept.profile,
            path.unwrap_or_default(),
            kept.reason,
            kept.command
        ));
    }
    let probes = match options {
        Some(options) => Some(probe::run(options, &overview, &providers, context)?),
        None => None,
    };
    let mut json = overview.to_json(context);
    if let Some(probes) = &probes {
        json["auth"]["probes"] = probes.to_json();
    }
    let mut report = Report::of(json);
    if args.plain {
        report.line(&overview.default_model);
    } else {
        tell(&overview, &providers, invocation.style(), context, &mut report);
        if let Some(probes) = &probes {
            probes.tell(&mut report);
        }
    }
    if !args.check {
        return Ok(report);
    }
    let is_refused = probes.is_some_and(|probes| probes.has_refusals());
    Ok(report.ending(if is_refused { Exit::Expired } else { overview.check() }))
}

fn tell(
    overview: &Overview,
    providers: &Providers,
    style: Style,
    context: &Context,
    report: &mut Report,
) {
    let view = &overview.view;
    let config = &view.config;
    let (models, image) = (config.models(), config.image_models());
    let missing_config = if config.exists { "" } else { " (not there)" };
    let path = context.display(&config.path);
    report.line(format_args!("Config       {path}{missing_config}"));
    let store = context.display(&paths::store(&view.agent.directory));
    report.line(format_args!("Agent        {}", view.agent.id));
    report.line(format_args!("Credentials  {store}"));
    let resolved = if overview.default_model == overview.resolved_default {
        String::new()
    } else {
        format!(" ({})", overview.resolved_default)
    };
    report.line(format_args!("Default      {}{resolved}", overview.default_model));
    tell_list("Fallbacks", &models.fallbacks, report);
    if image.primary.is_some() || !image.fallbacks.is_empty() {
        let all: Vec<_> = image.primary.into_iter().chain(image.fallbacks).collect();
        tell_list("Image", &all, report);
    }
    let aliases: Vec<_> = config
        .listed_models()
        .filter_map(|(model, alias)| alias.map(|alias| format!("{alias} -> {model}")))
        .collect();
    tell_list("Aliases", &aliases, report);

    let width = context.terminal.width.unwrap_or(80);
    let mut shown = Vec::new();
    for provider in &overview.providers {
        let id = ProviderId::new(&provider.name);
        if shown.contains(&id) {
            continue;
        }
        report.line("");
        report.styled(headline(&id, overview, style));
        for line in table::profile_lines(view, &id, &overview.abilities, style, width) {
            report.styled(line);
        }
        if let Some(key) = &provider.env {
            let used = if provider.profiles.is_empty() { "" } else { "; the profiles go first" };
            report.line(format_args!("    ${} of the environment{used}", key.name));
        }
        if let Some(described) = &provider.described {
            report.line(format_args!("    models.providers of the config: {described}"));
        }
        shown.push(id);
    }
    if !overview.missing.is_empty() {
        report.line("");
        report.styled(style.paint(Level::Bad, "Missing"));
        for provider in &overview.missing {
            let text = format!("  {provider}: {}", way_in(&ProviderId::new(provider), providers));
            for line in table::wrapped(&text, 4, width) {
                report.line(line);
            }
        }
    }
}

/// The provider, and what it would use now.
fn headline(provider: &ProviderId, overview: &Overview, style: Style) -> String {
    let view = &overview.view;
    let plan = view.plan(provider, None);
    let is_its = |it: &&ProviderAuth| ProviderId::new(&it.name) == *provider;
    let key = overview.providers.iter().find(is_its).and_then(|it| it.env.as_ref());
    let next = match (plan.candidates.first(), key) {
        (Some(first), _) => match &first.why {
            Why::Resting { until, .. } => {
                let left = health::until_text(*until, view.now);
                style.paint(Level::Soon, &format!("all rest, the first one is back in {left}"))
            }
            _ => format!("next: {}", printable(first.id.as_str())),
        },
        (None, Some(key)) => format!("next: ${}", key.name),
        (None, None) if view.profiles.iter().any(|it| it.provider == *provider) => {
            style.paint(Level::Bad, "no profile can be used")
        }
        (None, None) => return style.bold(&provider.to_string()),
    };
    format!("{}  {next}", style.bold(&provider.to_string()))
}

fn tell_list(name: &str, items: &[String], report: &mut Report) {
    let mut name = name;
    for item in items {
        report.line(format_args!("{name:11}  {item}"));
        name = "";
    }
}
