//! `${NAME}` in the config, and its value.

use std::collections::BTreeMap;

use auth_store::trim;
use serde_json::Value;

use crate::config::json5::Step;

/// The variables that the config itself sets if the environment does not: `env.vars`, and strings
/// directly in `env`, which take precedence.
pub(crate) fn own_variables(config: &Value) -> BTreeMap<String, String> {
    let vars = config["env"]["vars"].as_object().into_iter().flatten();
    let vars = vars.filter(|(_, value)| value.as_str().is_some_and(|it| !it.is_empty()));
    let direct = config["env"].as_object().into_iter().flatten();
    let direct = direct.filter(|(name, value)| {
        *name != "vars" && value.as_str().is_some_and(|it| !trim(it).is_empty())
    });
    let all = vars.chain(direct);
    all.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// Replaces `${NAME}` in all strings below `value`; `$${NAME}` becomes the text `${NAME}`. An unset
/// variable stays as it is and is passed to `missing`: it may be in a part of the config that we do
/// not use.
pub(crate) fn substitute(
    value: &mut Value,
    place: &mut Vec<Step>,
    lookup: &dyn Fn(&str) -> Option<String>,
    missing: &mut dyn FnMut(&[Step], &str),
) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                place.push(name.as_str().into());
                substitute(member, place, lookup, missing);
                place.pop();
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                place.push(index.into());
                substitute(item, place, lookup, missing);
                place.pop();
            }
        }
        Value::String(text) if text.contains("${") => {
            *text = substitute_in(text, lookup, &mut |name| missing(place, name));
        }
        _ => {}
    }
}

/// Whether any string below `value` depends on an environment variable.
pub(crate) fn mentions_variable(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.values().any(mentions_variable),
        Value::Array(items) => items.iter().any(mentions_variable),
        Value::String(text) => text.contains("${"),
        _ => false,
    }
}

/// The names of the variables that decide about the strings below `value`.
pub(crate) fn named_variables(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.values().for_each(|it| named_variables(it, names)),
        Value::Array(items) => items.iter().for_each(|it| named_variables(it, names)),
        Value::String(text) => {
            let note = |name: &str| {
                names.push(name.to_owned());
                None
            };
            let note = std::cell::RefCell::new(note);
            substitute_in(text, &|name| (note.borrow_mut())(name), &mut |_| {});
        }
        _ => {}
    }
}

fn substitute_in(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    missing: &mut dyn FnMut(&str),
) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let after = &rest[start + 2..];
        let name = after.split_once('}').map(|(name, _)| name).filter(|name| is_variable(name));
        let Some(name) = name else {
            out.push_str(&rest[..start + 2]);
            rest = after;
            continue;
        };
        let whole = &rest[start..start + name.len() + 3];
        if rest[..start].ends_with('$') {
            out.push_str(&rest[..start - 1]);
            out.push_str(whole);
        } else {
            out.push_str(&rest[..start]);
            if let Some(value) = lookup(name) {
                out.push_str(&value);
            } else {
                missing(name);
                out.push_str(whole);
            }
        }
        rest = &after[name.len() + 1..];
    }
    out.push_str(rest);
    out
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}
