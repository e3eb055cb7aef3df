//! `models aliases`, `fallbacks`, `image-fallbacks`: the settings that select models.

pub mod args;

use serde_json::{Map, Value, json};

use crate::agent::invocation::Invocation;
use crate::commands::models::args::AliasesCommand;
use crate::commands::models::args::FallbacksCommand;
use crate::commands::models::args::ListingArgs;
use crate::config::edit::{self, Change, Missing};
use crate::config::json5::Step;
use crate::config::{self, Config};
use crate::flows::model::{Use, at, changed, model_named, place};
use crate::host::error::CliError;
use crate::host::report::Report;
use crate::host::shell_quote;

/// `models fallbacks …` and `models image-fallbacks …`.
pub fn fallbacks(
    command: &FallbacksCommand,
    which: Use,
    invocation: &Invocation<'_>,
) -> Result<Report, CliError> {
    let config = invocation.config()?;
    let place = place(which, invocation)?;
    let known = config::models_of(at(&config.value, &place)).fallbacks;
    let list: Vec<Step> = place.iter().cloned().chain(["fallbacks".into()]).collect();
    match command {
        FallbacksCommand::List(args) => {
            return show(args, which.fallbacks(), "fallbacks", &json!(known), invocation);
        }
        FallbacksCommand::Add(args) => {
            let model = model_named(&args.model, &config)?;
            let has = |text: &String| model_named(text, &config).is_ok_and(|known| known == model);
            if !known.iter().any(has) {
                invocation.edit_config(Missing::Create, |value| {
                    let mut changes = match at(value, &place) {
                        // A plain model name has no place for fallbacks.
                        Value::String(primary) => {
                            let both = json!({ "primary": primary, "fallbacks": [model] });
                            vec![Change::set_at(place.clone(), both)]
                        }
                        _ => vec![Change::push_at(list.clone(), model.as_str().into())],
                    };
                    changes.extend(edit::list_model(value, &model));
                    changes
                })?;
            }
        }
        FallbacksCommand::Remove(args) => {
            let model = model_named(&args.model, &config)?;
            let is_it = |item: &Value| {
                item.as_str().is_some_and(|text| {
                    model_named(text, &config).is_ok_and(|known| known == model)
                })
            };
            if !known.iter().any(|text| is_it(&text.as_str().into())) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(CliError::usage(format!("{model} is no fallback"))
                    .hint(format!("the fallbacks are: {known}")));
            }
            invocation.edit_config(Missing::LeaveAlone, |value| {
                let items = at(value, &list).as_array().map(Vec::as_slice).unwrap_or_default();
                let places = items.iter().enumerate().filter(|(_, item)| is_it(item));
                let places: Vec<_> = places.map(|(index, _)| index).rev().collect();
                let item = |index: usize| {
                    let path = list.iter().cloned().chain([index.into()]);
                    Change::remove_at(path.collect())
                };
                places.into_iter().map(item).collect()
            })?;
        }
        FallbacksCommand::Clear => {
            invocation.edit_config(Missing::LeaveAlone, |value| {
                let is_there = at(value, &list).is_array();
                let empty = || Change::set_at(list.clone(), json!([]));
                is_there.then(empty).into_iter().collect()
            })?;
        }
    }
    let now = invocation.config()?;
    let now = config::models_of(at(&now.value, &place)).fallbacks;
    let list = if now.is_empty() { "none".to_owned() } else { now.join(", ") };
    let (response, text) = (json!({ "fallbacks": now }), format!("{}: {list}", which.fallbacks()));
    Ok(changed(response, &text, invocation))
}

/// `models aliases …`: aliases apply to all agents.
pub fn aliases(command: &AliasesCommand, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    if invocation.named().is_some() {
        return Err(CliError::usage("aliases are for all agents").hint("leave out --agent"));
    }
    let config = invocation.config()?;
    match command {
        AliasesCommand::List(args) => {
            let aliases = config.listed_models();
            let aliases = aliases.filter_map(|(model, alias)| Some((alias?.to_owned(), model)));
            let aliases: Map<_, _> = aliases.map(|(alias, model)| (alias, model.into())).collect();
            show(args, "Aliases", "aliases", &Value::Object(aliases), invocation)
        }
        AliasesCommand::Add(args) => {
            let (alias, model) = (alias(&args.alias)?, model_named(&args.model, &config)?);
            let holder = holder(&config, &alias);
            if let Some(other) = holder.filter(|other| *other != model) {
                return Err(CliError::usage(format!("`{alias}` stands for {other} already"))
                    .hint(shell_quote::command("models aliases remove", &[&alias], "")));
            }
            invocation.edit_config(Missing::Create, |value| {
                let entry = &value["agents"]["defaults"]["models"][&model];
                let models = ["agents", "defaults", "models", &model];
                if entry.is_object() {
                    vec![Change::set(&[&models[..], &["alias"]].concat(), alias.as_str().into())]
                } else {
                    vec![Change::set(&models, json!({ "alias": alias }))]
                }
            })?;
            let response = json!({ "alias": alias, "model": model });
            Ok(changed(response, &format!("Alias {alias} -> {model}"), invocation))
        }
        AliasesCommand::Remove(args) => {
            let alias = alias(&args.alias)?;
            let Some(model) = holder(&config, &alias) else {
                return Err(CliError::usage(format!("there is no alias `{alias}`"))
                    .hint("see `clawdbot models aliases list`"));
            };
            invocation.edit_config(Missing::LeaveAlone, |_| {
                vec![Change::remove(&["agents", "defaults", "models", &model, "alias"])]
            })?;
            let response = json!({ "alias": alias, "model": model });
            let text = format!("`{alias}` no longer stands for {model}.");
            Ok(changed(response, &text, invocation))
        }
    }
}

/// The model of `alias`, as written in the config.
fn holder(config: &Config, alias: &str) -> Option<String> {
    let mut models = config.listed_models();
    models.find(|(_, known)| *known == Some(alias)).map(|(model, _)| model.to_owned())
}

fn alias(text: &str) -> Result<String, CliError> {
    let alias = auth_store::trim(text);
    let is_of_it = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
    if alias.is_empty() || !alias.chars().all(is_of_it) {
        return Err(CliError::usage(format!("`{alias}` cannot be an alias"))
            .hint("letters, digits, dots, underscores, colons and dashes can be in one"));
    }
    Ok(alias.to_owned())
}

/// Shows a list, or names with their values.
fn show(
    args: &ListingArgs,
    title: &str,
    key: &str,
    list: &Value,
    invocation: &Invocation<'_>,
) -> Result<Report, CliError> {
    if args.plain && invocation.output.json {
        return Err(CliError::usage("`--plain` and `--json` exclude each other"));
    }
    let mut report = Report::from_data(json!({ key: list }));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let lines: Vec<(Option<&String>, String)> = match list {
        Value::Object(names) => names.iter().map(|(name, it)| (Some(name), text(it))).collect(),
        list => list.as_array().into_iter().flatten().map(|it| (None, text(it))).collect(),
    };
    if !args.plain {
        report.line(format_args!("{title} ({}):", lines.len()));
        if lines.is_empty() {
            report.line("- none");
        }
    }
    for (name, value) in lines {
        match (name, args.plain) {
            (Some(name), true) => report.line(format_args!("{name} {value}")),
            (Some(name), false) => report.line(format_args!("- {name} -> {value}")),
            (None, true) => report.line(value),
            (None, false) => report.line(format_args!("- {value}")),
        }
    }
    Ok(report)
}
