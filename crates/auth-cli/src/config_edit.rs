//! Changes to the user's file that leave its comments and its layout alone.
//!
//! The file is read as JSON5, edited as a syntax tree, printed, and read as JSON5 again: only if
//! that gives exactly the value that was meant is it written. Clawdbot writes it without a lock,
//! so the bytes are compared once more just before. Where the edit is not possible or its place
//! is not clear, nothing is written and the person gets the lines to paste.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use auth_store::{Kind, ProfileId, ProviderId, write_atomic};
use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};
use serde_json::{Map, Value, json};

use crate::config;
use crate::error::{CliError, Exit};

/// Names the profile in `auth.profiles`, and appends it to the provider's `auth.order`, if there
/// is a config at all: without one every stored profile is used anyway. Whether the file was
/// changed.
///
/// # Errors
/// The file was left as it is.
pub fn declare_profile(
    path: &Path,
    id: &ProfileId,
    provider: &ProviderId,
    kind: Kind,
    email: Option<&str>,
) -> Result<bool, CliError> {
    edit(path, Missing::LeaveAlone, |value| {
        let entry = ["auth", "profiles", id.as_str()];
        let mut sets = vec![
            Set::at(&entry, "provider", provider.as_str().into()),
            Set::at(&entry, "mode", kind.as_str().into()),
        ];
        if let Some(email) = email {
            sets.push(Set::at(&entry, "email", email.into()));
        }
        let orders = value["auth"]["order"].as_object().into_iter().flatten();
        let own = orders.into_iter().find(|(name, _)| ProviderId::new(name) == *provider);
        if let Some((name, Value::Array(order))) = own
            && !order.iter().any(|listed| *listed == id.as_str())
        {
            let mut order = order.clone();
            order.push(id.as_str().into());
            sets.push(Set::at(&["auth", "order"], name, Value::Array(order)));
        }
        sets
    })
}

/// Drops every mention of the profile from `auth.profiles` and `auth.order`; an order that would
/// be empty goes, since an empty one means that no profile is used. Whether the file was changed.
///
/// # Errors
/// The file was left as it is.
pub fn forget_profile(path: &Path, id: &ProfileId) -> Result<bool, CliError> {
    edit(path, Missing::LeaveAlone, |value| {
        let mut sets = Vec::new();
        if value["auth"]["profiles"].get(id.as_str()).is_some() {
            sets.push(Set {
                value: None,
                ..Set::at(&["auth", "profiles"], id.as_str(), Value::Null)
            });
        }
        for (provider, order) in value["auth"]["order"].as_object().into_iter().flatten() {
            let Some(order) = order.as_array() else { continue };
            let rest: Vec<_> = order.iter().filter(|it| **it != id.as_str()).cloned().collect();
            if rest.len() < order.len() {
                let value = (!rest.is_empty()).then_some(Value::Array(rest));
                sets.push(Set { value, ..Set::at(&["auth", "order"], provider, Value::Null) });
            }
        }
        sets
    })
}

/// Makes `model` (`provider/model`) the default one; the fallbacks stay. A config that lists the
/// models one may choose gets it in that list. Whether the file was changed.
///
/// # Errors
/// The file was left as it is.
pub fn set_default_model(path: &Path, model: &str) -> Result<bool, CliError> {
    edit(path, Missing::Create, |value| {
        let defaults = &value["agents"]["defaults"];
        let mut sets = vec![match &defaults["model"] {
            Value::String(_) => Set::at(&["agents", "defaults"], "model", model.into()),
            _ => Set::at(&["agents", "defaults", "model"], "primary", model.into()),
        }];
        let listed = defaults["models"].as_object().filter(|listed| !listed.is_empty());
        if listed.is_some_and(|listed| !listed.contains_key(model)) {
            sets.push(Set::at(&["agents", "defaults", "models"], model, json!({})));
        }
        sets
    })
}

/// What to do where there is no config.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Missing {
    Create,
    LeaveAlone,
}

/// One member to set: the names of the objects it is in, its own name, its value; without a value
/// it is removed.
#[derive(Debug)]
struct Set {
    objects: Vec<String>,
    name: String,
    value: Option<Value>,
}

impl Set {
    fn at(objects: &[&str], name: &str, value: Value) -> Self {
        let objects = objects.iter().map(|&name| name.to_owned()).collect();
        Self { objects, name: name.to_owned(), value: Some(value) }
    }
}

/// Sets what `wanted` wants, given the file's own value.
fn edit(
    path: &Path,
    missing: Missing,
    wanted: impl Fn(&Value) -> Vec<Set>,
) -> Result<bool, CliError> {
    // A config is often a link into a folder of dot files: the link stays.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    for _attempt in 0..ATTEMPTS {
        let before = read(&path)?;
        if before.is_none() && missing == Missing::LeaveAlone {
            return Ok(false);
        }
        let text = before.as_deref().unwrap_or("{}\n");
        let value = config::parse(text)
            .map_err(|reason| failed(&path, &format!("could not read it: {reason}")))?;
        let mut sets = wanted(&value);
        sets.retain(|set| current(&value, set) != set.value.as_ref());
        if sets.is_empty() {
            return Ok(false);
        }
        let after = edited(text, &value, &sets)
            .map_err(|reason| failed(&path, reason).hint(snippet(&sets)))?;
        if read(&path)? != before {
            continue;
        }
        if let Some(directory) = path.parent() {
            auth_store::create_private_directory(directory)?;
        }
        write_atomic(&path, after.as_bytes())?;
        return Ok(true);
    }
    Err(failed(&path, "somebody else keeps writing it").hint("try again"))
}

fn read(path: &PathBuf) -> Result<Option<String>, CliError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, &format!("could not read it: {error}"))),
    }
}

/// The text with the members set, or why it cannot be had.
fn edited(text: &str, value: &Value, sets: &[Set]) -> Result<String, &'static str> {
    if sets.iter().any(|set| is_elsewhere(value, set)) {
        return Err("the place may be in a file that it includes");
    }
    let (mark, body) = match text.strip_prefix('\u{feff}') {
        Some(body) => ("\u{feff}", body),
        None => ("", text),
    };
    let options = ParseOptions { allow_missing_commas: false, ..ParseOptions::default() };
    let root = CstRootNode::parse(body, &options).map_err(|_| UNUSUAL)?;
    let top = root.object_value_or_create().ok_or("it is not an object")?;
    let mut expected = value.clone();
    for set in sets {
        let mut object = top.clone();
        for name in &set.objects {
            object = member(&object, name).ok_or("an object is expected where it has no object")?;
        }
        match (object.get(&set.name), &set.value) {
            (Some(member), Some(value)) => member.set_value(input(value)),
            (Some(member), None) => member.remove(),
            (None, Some(value)) => {
                object.append(&set.name, input(value));
            }
            (None, None) => {}
        }
        apply(&mut expected, set);
    }
    let after = format!("{mark}{root}");
    match config::parse(&after) {
        Ok(value) if value == expected => Ok(after),
        _ => Err(UNUSUAL),
    }
}

/// The object `name` in `object`, made if it is not there.
fn member(object: &CstObject, name: &str) -> Option<CstObject> {
    match object.get(name) {
        Some(member) => member.object_value(),
        None => object.append(name, CstInputValue::Object(Vec::new())).object_value(),
    }
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(value) => CstInputValue::Number(value.to_string()),
        Value::String(value) => CstInputValue::String(value.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(members) => CstInputValue::Object(
            members.iter().map(|(name, value)| (name.clone(), input(value))).collect(),
        ),
    }
}

/// Whether an object on the way includes another file, which may well be where the member is.
fn is_elsewhere(value: &Value, set: &Set) -> bool {
    let mut object = value;
    for name in set.objects.iter().chain([&set.name]) {
        match object.get(name) {
            None => return object.get("$include").is_some(),
            Some(next) => object = next,
        }
    }
    false
}

fn current<'a>(value: &'a Value, set: &Set) -> Option<&'a Value> {
    let object = set.objects.iter().try_fold(value, |object, name| object.get(name))?;
    object.get(&set.name)
}

fn apply(value: &mut Value, set: &Set) {
    let mut object = value;
    for name in &set.objects {
        let Some(members) = object.as_object_mut() else { return };
        object = members.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
    }
    if let Some(members) = object.as_object_mut() {
        match &set.value {
            Some(value) => {
                members.insert(set.name.clone(), value.clone());
            }
            None => {
                members.shift_remove(&set.name);
            }
        }
    }
}

fn failed(path: &Path, reason: &str) -> CliError {
    let message = format!("could not change the config `{}`: {reason}", path.display());
    CliError::new(Exit::CannotWrite, "config", message).path(path)
}

fn snippet(sets: &[Set]) -> String {
    let mut value = Value::Object(Map::new());
    for set in sets {
        apply(&mut value, set);
    }
    let text = serde_json::to_string_pretty(&value).unwrap_or_default();
    format!("nothing was changed; put this into it yourself:\n{text}")
}

const UNUSUAL: &str = "it is written in a way that cannot be edited safely";
const ATTEMPTS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `change` on a config of that text; the text after it.
    fn after<T>(text: &str, change: impl FnOnce(&Path) -> T) -> (T, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clawdbot.json");
        write_atomic(&path, text.as_bytes()).unwrap();
        let result = change(&path);
        (result, fs::read_to_string(&path).unwrap())
    }

    fn declare(path: &Path) -> Result<bool, CliError> {
        let (id, provider) = (ProfileId::from("acme:a"), ProviderId::new("acme"));
        declare_profile(path, &id, &provider, Kind::OAuth, Some("a@b.c"))
    }

    #[test]
    fn comments_and_layout_survive() {
        let text = "\
// mine
{
  auth: {
    order: { acme: ['acme:b'] }, // why
    profiles: {
      'acme:b': { provider: 'acme', mode: 'token' },
    },
  },
  /* the end */
}
";
        let (changed, text) = after(text, declare);
        assert!(changed.unwrap());
        for kept in
            ["// mine", "// why", "/* the end */", "'acme:b': { provider: 'acme', mode: 'token' },"]
        {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        let value = config::parse(&text).unwrap();
        assert_eq!(value["auth"]["order"]["acme"], json!(["acme:b", "acme:a"]));
        let entry = json!({"provider": "acme", "mode": "oauth", "email": "a@b.c"});
        assert_eq!(value["auth"]["profiles"]["acme:a"], entry);
        let (again, same) = after(&text, declare);
        assert!(!again.unwrap());
        assert_eq!(same, text);
    }

    #[test]
    fn a_forgotten_profile_leaves_nothing_behind_and_no_empty_order() {
        let text = "{ auth: {
            profiles: { a: { mode: 'x' }, /* kept */ b: {} }, order: { p: ['a', 'b'], q: ['a'] },
        } } // end";
        let (changed, text) = after(text, |path| forget_profile(path, &"a".into()));
        assert!(changed.unwrap());
        assert!(text.contains("/* kept */") && text.contains("// end"), "{text}");
        let auth = json!({"profiles": {"b": {}}, "order": {"p": ["b"]}});
        assert_eq!(config::parse(&text).unwrap(), json!({ "auth": auth }));
    }

    #[test]
    fn a_place_in_an_included_file_is_refused_with_the_lines_to_paste() {
        let text = "{ auth: { $include: './auth.json5' } }";
        let (result, same) = after(text, declare);
        assert!(result.unwrap_err().hint.unwrap().contains("\"acme:a\""));
        assert_eq!(same, text);
        let (control, _) = after("{ auth: { } }", declare);
        assert!(control.unwrap());
    }

    #[test]
    fn what_cannot_be_edited_is_left_alone() {
        for text in ["{ auth: 1 }", "{ 'aut\\u0068': { profiles: 1 } }", "[]", "{,}", ""] {
            let (result, same) = after(text, declare);
            assert!(result.is_err(), "{text}");
            assert_eq!(same, text);
        }
    }

    #[test]
    fn the_default_model_keeps_its_fallbacks_and_its_shape() {
        let set = |text: &str| {
            let (changed, text) = after(text, |path| set_default_model(path, "a/b"));
            assert!(changed.unwrap());
            config::parse(&text).unwrap()["agents"]["defaults"].take()
        };
        assert_eq!(set("{agents: {defaults: {model: 'x/y'}}}"), json!({"model": "a/b"}));
        assert_eq!(
            set(
                "{agents: {defaults: {model: {primary: 'x/y', fallbacks: ['z/z']}, models: {'x/y': {}}}}}"
            ),
            json!({"model": {"primary": "a/b", "fallbacks": ["z/z"]}, "models": {"x/y": {}, "a/b": {}}})
        );
    }

    #[test]
    fn no_config_is_made_for_a_profile_but_for_a_default_model() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/moltbot.json");
        assert!(!declare(&path).unwrap());
        assert!(!path.exists());
        assert!(set_default_model(&path, "a/b").unwrap());
        let value = config::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(value, json!({"agents": {"defaults": {"model": {"primary": "a/b"}}}}));
    }
}
