//! `plugins list`: the providers, and the source of each.

pub mod args;
pub mod check;

use std::collections::BTreeMap;

use auth_providers::plugin::{self, Executable, Ungreeted, Unusable, Violation};
use auth_providers::{Origin, Provider, Providers};
use auth_store::ProviderId;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::agent::invocation::Invocation;
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::network;
use crate::host::process::runtime;
use crate::host::report::Report;
use crate::host::text::printable;
use crate::profiles::login_method::{for_people, words};
use crate::profiles::view;

/// Lists the catalogue, the manifests and the plugins, including those with errors.
pub fn list(invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    let providers = view::providers(context);
    for error in providers.errors() {
        context.say(format_args!("warning: {error}"));
    }
    let states = states(&providers, context)?;
    let all = providers.all().iter().map(|provider| to_json(provider, states.get(&provider.id)));
    let all: Vec<_> = all.collect();
    let errors = providers.errors().iter().map(|error| {
        json!({ "path": error.path.display().to_string(), "field": error.field, "reason": error.reason })
    });
    let errors: Vec<_> = errors.collect();
    let mut report = Report::from_data(json!({ "providers": all, "errors": errors }));
    let width = providers.all().iter().map(|it| it.id.as_str().len()).max().unwrap_or(0);
    for provider in providers.all() {
        let flows: Vec<_> = provider.flows.iter().map(|flow| for_people(*flow)).collect();
        let mut origin = String::new();
        if !provider.aliases.is_empty() {
            origin = format!("  (also {})", provider.aliases.join(", "));
        }
        if let Origin::Manifest(path) | Origin::Plugin(path) = &provider.origin {
            origin = format!("{origin}  ({})", context.display(path));
        }
        if let Some(Standing { word, reason: Some(reason) }) = states.get(&provider.id) {
            origin = format!("{origin}  {word}: {}", printable(reason));
        }
        if let Some(over) = &provider.discontinued {
            origin = format!("{origin}  (discontinued {})", over.since);
        }
        report.line(format_args!("{:width$}  {}{origin}", provider.id.as_str(), flows.join(", ")));
    }
    Ok(report)
}

/// The state of a plugin.
struct Standing {
    /// `ok`, `missing`, `not_executable`, `unsafe`, `version_mismatch` or `broken`.
    word: &'static str,
    /// Why it is not `ok`.
    reason: Option<String>,
}

/// The state of each provider's plugin. All plugins are started at once to read their `hello`.
fn states(
    providers: &Providers,
    context: &Context,
) -> Result<BTreeMap<ProviderId, Standing>, CliError> {
    let mut states = BTreeMap::new();
    let mut startable = Vec::new();
    for provider in providers.all() {
        match Executable::from_provider(provider) {
            None => {}
            Some(Ok(executable)) => startable.push(executable),
            Some(Err(error)) => {
                let word = match &error {
                    Unusable::Missing { .. } => "missing",
                    Unusable::NotExecutable { .. } => "not_executable",
                    Unusable::Unsafe { .. } => "unsafe",
                };
                let reason = Some(error.to_string());
                states.insert(provider.id.clone(), Standing { word, reason });
            }
        }
    }
    if startable.is_empty() {
        return Ok(states);
    }
    let environment = network::plugin_environment(context);
    let greeted = runtime::run(async {
        let mut greetings = JoinSet::new();
        for executable in startable {
            let environment = environment.clone();
            greetings.spawn(async move {
                let hello = plugin::greet(&executable, &environment).await;
                (executable.id, hello)
            });
        }
        greetings.join_all().await
    })?;
    for (id, hello) in greeted {
        let word = match &hello {
            Ok(_) => "ok",
            Err(Ungreeted::Violation(Violation::Version(_))) => "version_mismatch",
            Err(_) => "broken",
        };
        let reason = hello.err().map(|error| error.to_string());
        states.insert(id, Standing { word, reason });
    }
    Ok(states)
}

fn to_json(provider: &Provider, standing: Option<&Standing>) -> Value {
    let (origin, path) = match &provider.origin {
        Origin::BuiltIn => ("built-in", None),
        Origin::Manifest(path) => ("manifest", Some(path.display().to_string())),
        Origin::Plugin(path) => ("plugin", Some(path.display().to_string())),
    };
    let flows: Vec<_> = provider.flows.iter().map(|flow| words(*flow)[0]).collect();
    json!({
        "id": provider.id,
        "label": provider.label,
        "aliases": provider.aliases,
        "extends": provider.extends,
        "flows": flows,
        "origin": origin,
        "path": path,
        "command": standing.and(provider.plugin()).map(|path| path.display().to_string()),
        "state": standing.map(|standing| standing.word),
        "reason": standing.and_then(|standing| standing.reason.clone()),
        "discontinued": provider.discontinued.as_ref().map(|over| {
            json!({ "since": over.since, "instead": over.instead })
        }),
    })
}
