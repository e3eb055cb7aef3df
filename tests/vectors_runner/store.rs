//! `coerce`: our view of a file, and what we would write.

use auth_store::{Document, Store, StoreError};
use serde_json::{Map, Value, json};

use crate::routing::text;

pub(crate) fn coerce(input: &Value) -> Result<Value, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().join("auth-profiles.json");
    let raw = text(&input["raw"]).as_bytes();
    auth_store::write_atomic(&path, raw).map_err(|error| error.to_string())?;
    let store = Store::at(&path);
    let document = store.read();
    let kept = std::fs::read(&path).map_err(|error| error.to_string())? == raw;
    match document {
        Ok(document) => Ok(json!({
            "store": view(&document)?,
            "fileChangedByLoad": !kept,
            "savedText": String::from_utf8_lossy(&document.to_bytes()),
        })),
        Err(StoreError::Damaged { .. }) => {
            Ok(json!({ "store": "damaged", "fileChangedByLoad": !kept }))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// The usable view of a document: what routing and requests would see.
pub(crate) fn view(document: &Document) -> Result<Value, String> {
    let whole: Value =
        serde_json::from_slice(&document.to_bytes()).map_err(|error| error.to_string())?;
    let profiles: Map<_, _> = document
        .profiles()
        .map(|it| (it.id.to_string(), whole["profiles"][it.id.as_str()].clone()))
        .collect();
    let orders = document.orders();
    let orders = orders.into_iter().map(|(provider, ids)| (provider, json!(ids)));
    let section = |name: &str| whole[name].clone();
    Ok(usable(
        whole.get("version").unwrap_or(&json!(1)),
        &profiles.into(),
        &orders.collect::<Map<_, _>>().into(),
        &section("lastGood"),
        &section("usageStats"),
    ))
}

/// The recorded result, its view without empty sections.
pub(crate) fn normalised(expected: &Value) -> Value {
    let mut expected = expected.clone();
    expected["store"] = terse(&expected["store"]);
    expected
}

/// A view without empty sections.
pub(crate) fn terse(view: &Value) -> Value {
    let [version, profiles, order, last_good, usage] =
        ["version", "profiles", "order", "lastGood", "usageStats"].map(|name| &view[name]);
    usable(version, profiles, order, last_good, usage)
}

/// A view from its parts; empty sections are omitted.
pub(crate) fn usable(
    version: &Value,
    profiles: &Value,
    order: &Value,
    last_good: &Value,
    usage: &Value,
) -> Value {
    let mut view = json!({ "version": version, "profiles": profiles });
    for (name, section) in [("order", order), ("lastGood", last_good), ("usageStats", usage)] {
        if section.as_object().is_some_and(|members| !members.is_empty()) {
            view[name] = section.clone();
        }
    }
    view
}
