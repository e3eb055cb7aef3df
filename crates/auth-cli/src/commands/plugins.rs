//! `plugins list`: the providers there are, and where each comes from.

use auth_providers::{Origin, Provider};
use serde_json::{Value, json};

use crate::args::Global;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::login_way::{for_people, words};
use crate::view;

/// Lists the catalogue and the manifests, wrong ones too.
pub fn list(global: &Global, context: &mut Context) -> Result<Exit, CliError> {
    let providers = view::providers(context);
    for error in providers.errors() {
        context.say(format_args!("warning: {error}"));
    }
    if global.json {
        let all: Vec<_> = providers.all().iter().map(to_json).collect();
        let errors = providers.errors().iter().map(|error| {
            json!({ "path": error.path.display().to_string(), "field": error.field, "reason": error.reason })
        });
        let errors: Vec<_> = errors.collect();
        context.print_json(&json!({ "providers": all, "errors": errors }))?;
        return Ok(Exit::Done);
    }
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
        context.print(format_args!(
            "{:width$}  {}{origin}",
            provider.id.as_str(),
            flows.join(", ")
        ))?;
    }
    Ok(Exit::Done)
}

fn to_json(provider: &Provider) -> Value {
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
    })
}
