//! `plugins list`: the providers there are, and where each comes from.

use auth_providers::{Flow, Origin, Provider};
use serde_json::{Value, json};

use crate::args::Global;
use crate::context::Context;
use crate::error::{CliError, Exit};
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
        let flows: Vec<_> = provider.flows.iter().map(|flow| words(*flow).1).collect();
        let origin = match &provider.origin {
            Origin::BuiltIn => String::new(),
            Origin::Manifest(path) => format!("  ({})", context.display(path)),
        };
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
    };
    let flows: Vec<_> = provider.flows.iter().map(|flow| words(*flow).0).collect();
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

/// The word for a flow in manifests, and for people.
fn words(flow: Flow) -> (&'static str, &'static str) {
    match flow {
        Flow::AuthorizationCode => ("authorization_code", "browser"),
        Flow::AuthorizationCodeKey => ("authorization_code_key", "browser (for an API key)"),
        Flow::DeviceCode => ("device_code", "device code"),
        Flow::DeviceCodeOpenai => ("device_code_openai", "device code"),
        Flow::DeviceCodeMinimax => ("device_code_minimax", "device code"),
        Flow::Token => ("token", "token"),
        Flow::ApiKey => ("api_key", "API key"),
        Flow::Plugin => ("plugin", "plugin"),
    }
}
