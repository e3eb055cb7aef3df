//! `models status` and `whoami` for people.

use std::collections::BTreeSet;

use auth_store::{ProviderId, paths};

use crate::agent::invocation::Invocation;
use crate::commands::status::overview::{Overview, ProviderAuth};
use crate::host::duration;
use crate::host::report::Report;
use crate::host::style::{Level, Style};
use crate::host::text::{columns, padded, printable};
use crate::profiles::table;
use crate::profiles::view::{self, way_in};

/// All of it.
pub(super) fn tell(overview: &Overview, invocation: &Invocation<'_>, report: &mut Report) {
    let (context, style) = (invocation.context, invocation.style());
    let view = &overview.standing.view;
    let config = &view.config;
    let (models, image) = (config.models(), config.image_models());
    let missing_config = if config.exists { "" } else { " (does not exist)" };
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
    if let Some(model) = &overview.agent_model {
        report.line(format_args!("Model        {model} (agent `{}`)", view.agent.id));
    }
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
    // Of several spellings of one provider, the first has all its profiles.
    let mut shown: BTreeSet<ProviderId> = BTreeSet::new();
    for auth in &overview.providers {
        let id = ProviderId::new(&auth.name);
        if !shown.insert(id.clone()) {
            continue;
        }
        report.line("");
        report.styled(headline(&id, auth, overview, style));
        for line in table::profile_lines(&overview.standing, &id, style, width) {
            report.styled(line);
        }
        let is_unused = if auth.profiles.is_empty() { "" } else { " (profiles are used first)" };
        if let Some(key) = &auth.env {
            report.line(format_args!("    ${} in the environment{is_unused}", key.name));
        }
        if let Some(described) = &auth.described {
            report.line(format_args!("    models.providers in the config: {described}{is_unused}"));
        }
    }
    if !overview.missing.is_empty() {
        let providers = view::providers(context);
        report.line("");
        report.styled(style.paint(Level::Bad, "Missing"));
        for provider in &overview.missing {
            let text = format!("  {provider}: {}", way_in(&ProviderId::new(provider), &providers));
            for line in table::wrapped(&text, 4, width) {
                report.line(line);
            }
        }
    }
}

/// A line for each provider: the profile that is used now.
pub(super) fn whoami(overview: &Overview, report: &mut Report) {
    if overview.providers.is_empty() {
        report.line("Not logged in.");
        report.note("hint: clawdbot onboard");
        return;
    }
    let width = overview.providers.iter().map(|it| columns(&it.name)).max().unwrap_or(0);
    for auth in &overview.providers {
        let next = overview.next(auth);
        let name = padded(&printable(&auth.name), width);
        let who = match &next.profile {
            Some(id) => {
                let email = overview.standing.profile(id).and_then(|it| it.email.clone());
                let email = email.filter(|email| !id.as_str().contains(email.as_str()));
                let email = email.map(|email| format!(" ({email})")).unwrap_or_default();
                format!("{id}{email}")
            }
            None => next.reason,
        };
        report.line(format_args!("{name}  {}", printable(&who)));
    }
}

/// The provider, and what it would use now.
fn headline(
    provider: &ProviderId,
    auth: &ProviderAuth,
    overview: &Overview,
    style: Style,
) -> String {
    let name = style.bold(&printable(provider.as_str()));
    let routed = overview.standing.plan(provider);
    if let Some(until) = routed.plan.all_in_cooldown_until() {
        let left = duration::until(until, overview.standing.view.now);
        let text = format!("all profiles are in cooldown, the first is back in {left}");
        return format!("{name}  {}", style.paint(Level::Soon, &text));
    }
    match (overview.next(auth).profile, &auth.env) {
        (Some(id), _) => format!("{name}  next: {}", printable(id.as_str())),
        (None, Some(key)) if !routed.has_candidate => format!("{name}  next: ${}", key.name),
        (None, None) if auth.profiles.is_empty() => name,
        (None, _) => {
            format!("{name}  {}", style.paint(Level::Bad, "no profile can be used"))
        }
    }
}

fn tell_list(name: &str, items: &[String], report: &mut Report) {
    let mut name = name;
    for item in items {
        report.line(format_args!("{name:11}  {item}"));
        name = "";
    }
}
