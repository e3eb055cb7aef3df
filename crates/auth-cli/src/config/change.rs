//! A change of the config, as a value: an action at the end of a path.

use serde_json::{Map, Value};

use crate::config::json5::{Key, Step};
use crate::config::splice::Action;

/// One change of the config.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub(crate) path: Vec<Step>,
    pub(crate) action: Action,
}

impl Change {
    /// Sets the member at `names` to this value; missing objects on the way are created.
    pub fn set(names: &[&str], value: Value) -> Self {
        Self {
            path: names.iter().map(|name| Step::from(*name)).collect(),
            action: Action::Set(value),
        }
    }

    /// Removes the member at `names`.
    pub fn remove(names: &[&str]) -> Self {
        Self { action: Action::Remove, ..Self::set(names, Value::Null) }
    }

    /// Like [`set`](Self::set), with a path that may lead through lists.
    pub(crate) fn set_at(path: Vec<Step>, value: Value) -> Self {
        Self { path, action: Action::Set(value) }
    }

    /// Removes the value at the end of the path.
    pub(crate) fn remove_at(path: Vec<Step>) -> Self {
        Self { path, action: Action::Remove }
    }

    /// Adds an item to the list at the end of the path.
    pub(crate) fn push_at(path: Vec<Step>, value: Value) -> Self {
        Self { path, action: Action::Push(value) }
    }

    /// Adds an item to the list at `names`, which is created if it is missing.
    pub fn push(names: &[&str], value: Value) -> Self {
        Self { action: Action::Push(value), ..Self::set(names, Value::Null) }
    }

    /// Removes the item `index` of the list at `names`.
    pub fn remove_item(names: &[&str], index: usize) -> Self {
        let mut change = Self::remove(names);
        change.path.push(index.into());
        change
    }
}

/// The changes that are not yet true of `value`.
pub(crate) fn due(value: &Value, mut changes: Vec<Change>) -> Vec<Change> {
    let current = |change: &Change| {
        change.path.iter().try_fold(value, |value, step| match step {
            Step::Name(name) => value.as_object()?.get(name),
            Step::Index(index) => value.as_array()?.get(*index),
        })
    };
    changes.retain(|change| match &change.action {
        Action::Set(value) => current(change) != Some(value),
        Action::Remove => current(change).is_some(),
        Action::Push(_) => true,
    });
    changes
}

/// Applies the change to a value: the expected result of an edit of its text.
pub(crate) fn apply(value: &mut Value, change: &Change) {
    let (path, action) = match &change.action {
        Action::Remove => match change.path.split_last() {
            Some((_, to)) => (to, &change.action),
            None => return,
        },
        action => (&change.path[..], action),
    };
    let makes = *action != Action::Remove;
    let mut place = value;
    for step in path {
        if makes && place.is_null() {
            *place = Value::Object(Map::new());
        }
        let next = match step {
            Step::Name(name) => place.as_object_mut().and_then(|members| {
                if makes {
                    Some(members.entry(name.clone()).or_insert(Value::Null))
                } else {
                    members.get_mut(name)
                }
            }),
            Step::Index(index) => place.get_mut(*index),
        };
        let Some(next) = next else { return };
        place = next;
    }
    match (action, place) {
        (Action::Set(value), place) => *place = value.clone(),
        (Action::Push(item), Value::Array(items)) => items.push(item.clone()),
        (Action::Push(item), place @ Value::Null) => *place = Value::Array(vec![item.clone()]),
        (Action::Push(_), _) => {}
        (Action::Remove, place) => match (change.path.last(), place) {
            (Some(Step::Name(name)), Value::Object(members)) => {
                members.shift_remove(name);
            }
            (Some(Step::Index(index)), Value::Array(items)) if *index < items.len() => {
                items.remove(*index);
            }
            _ => {}
        },
    }
}

/// The changes as text for a user who has to make them.
pub(crate) fn snippet(changes: &[Change]) -> String {
    let mut value = Value::Object(Map::new());
    let mut gone = Vec::new();
    for change in changes {
        match change.action {
            Action::Remove => gone.push(format!("`{}`", Key(&change.path))),
            _ => apply(&mut value, change),
        }
    }
    let mut steps = Vec::new();
    if !gone.is_empty() {
        steps.push(format!("take {} away yourself", gone.join(", ")));
    }
    if gone.len() < changes.len() {
        let text = serde_json::to_string_pretty(&value).unwrap_or_default();
        steps.push(format!("put this into it yourself:\n{text}"));
    }
    format!("nothing was changed; {}", steps.join(", and "))
}
