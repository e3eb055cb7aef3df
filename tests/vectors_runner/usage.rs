//! `usage`: the effect of reports on the store, through a real store in a temporary directory.

use auth_routing::{
    Config, CooldownPolicy, FailureReason, Timestamp, after_failure, after_success, cleared,
};
use auth_store::{Credential, Document, OAuthCredential, ProfileId, ProviderId, Store};
use serde_json::{Map, Value, json};

use crate::routing::text;

pub(crate) fn run(input: &Value) -> Result<Value, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = |agent: &str| folder.path().join(agent).join("auth-profiles.json");
    for agent in AGENTS {
        std::fs::create_dir(folder.path().join(agent)).map_err(|error| error.to_string())?;
        if input[agent].is_object() {
            let text = file_text(&input[agent])?;
            auth_store::write_atomic(&path(agent), text.as_bytes())
                .map_err(|error| error.to_string())?;
        }
    }
    let store = Store::at(path(text(&input["agent"])));
    let config = Config::from_json(&input["config"]);
    let mut steps = Vec::new();
    for step in input["steps"].as_array().into_iter().flatten() {
        store
            .update(|document| apply(step, document, &config))
            .map_err(|error| error.to_string())??;
        steps.push(report(step, &store.read().map_err(|error| error.to_string())?)?);
    }
    let mut files = Map::new();
    for agent in AGENTS {
        if agent == "sub" && input["agent"] != "sub" {
            continue;
        }
        let file = std::fs::read(path(agent)).ok();
        let value = match &file {
            None => Value::Null,
            Some(bytes) => {
                let value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
                if *bytes != file_text(&value)?.as_bytes() {
                    return Err("the file is not laid out as JavaScript does it".to_owned());
                }
                value
            }
        };
        files.insert(agent.to_owned(), value);
    }
    Ok(json!({ "steps": steps, "files": files }))
}

/// One step, as a change of the agent's document.
pub(crate) fn apply(step: &Value, document: &mut Document, config: &Config) -> Result<(), String> {
    let id = ProfileId::from(text(&step["profileId"]));
    let provider = ProviderId::new(text(&step["provider"]));
    let now = Timestamp(step["now"].as_i64().unwrap_or(0));
    let profile = document.profile(&id);
    match text(&step["op"]) {
        op @ ("failure" | "cooldown") => {
            if let Some(it) = profile {
                let (reason, policy) = failure(op, step, config);
                let usage = after_failure(&it.usage, reason, &policy, &it.provider, None, now);
                document.set_usage(&id, &usage);
            }
        }
        "used" => {
            if let Some(it) = profile {
                document.set_usage(&id, &after_success(&it.usage, now));
            }
        }
        "clear" => {
            let usage = document.usage(&id);
            if usage != auth_store::Usage::default() {
                document.set_usage(&id, &cleared(&usage));
            }
        }
        "good" => {
            if profile.is_some_and(|it| it.provider == provider) {
                document.set_last_good(&provider, &id);
            }
        }
        "setOrder" => {
            let ids = step["order"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let mut order: Vec<ProfileId> = Vec::new();
            for id in ids.map(auth_store::trim).filter(|id| !id.is_empty()).map(ProfileId::from) {
                if !order.contains(&id) {
                    order.push(id);
                }
            }
            document.set_order(&provider, (!order.is_empty()).then_some(&order));
        }
        "upsert" => put(document, &id, &step["credential"])?,
        other => return Err(format!("unknown step `{other}`")),
    }
    Ok(())
}

/// The visible part of the document after a step.
pub(crate) fn report(step: &Value, document: &Document) -> Result<Value, String> {
    let whole: Value =
        serde_json::from_slice(&document.to_bytes()).map_err(|error| error.to_string())?;
    let mut report = Map::new();
    if step["op"] == "setOrder" {
        let orders = document.orders().into_iter();
        let orders: Map<_, _> = orders.map(|(name, ids)| (name, json!(ids))).collect();
        report.insert("result".to_owned(), json!({ "order": orders }));
    }
    let memory = json!({ "usageStats": whole["usageStats"], "lastGood": whole["lastGood"] });
    report.insert("memory".to_owned(), memory);
    Ok(report.into())
}

/// The recorded result without an accident of Clawdbot's: a store without any order has none
/// (`null`) or an empty one (`{}`), depending on its history.
pub(crate) fn normalised(expected: &Value) -> Value {
    let mut expected = expected.clone();
    for step in expected["steps"].as_array_mut().into_iter().flatten() {
        if step["result"]["order"].is_null() && step["result"].is_object() {
            step["result"]["order"] = json!({});
        }
    }
    expected
}

/// The failure that a failing step reports. Clawdbot's `cooldown` has neither reason nor config.
pub(crate) fn failure(op: &str, step: &Value, config: &Config) -> (FailureReason, CooldownPolicy) {
    if op == "cooldown" {
        return (FailureReason::Unknown, CooldownPolicy::default());
    }
    let reason = FailureReason::parse(text(&step["reason"])).unwrap_or(FailureReason::Unknown);
    (reason, config.cooldowns.clone())
}

/// Stores the credential of a step.
fn put(document: &mut Document, id: &ProfileId, given: &Value) -> Result<(), String> {
    let secret = |name: &str| text(&given[name]).into();
    let time = |name: &str| given[name].as_i64().map(Timestamp);
    let credential = match text(&given["type"]) {
        "api_key" => Credential::ApiKey(secret("key")),
        "token" => Credential::Token { token: secret("token"), expires: time("expires") },
        "oauth" => Credential::OAuth(OAuthCredential {
            access: secret("access"),
            refresh: secret("refresh"),
            expires: time("expires"),
            ..OAuthCredential::default()
        }),
        other => return Err(format!("unknown credential type `{other}`")),
    };
    let fields = given.as_object().cloned().unwrap_or_default();
    document.put(id, text(&given["provider"]), &credential, &fields);
    Ok(())
}

/// The text of a file in these cases.
fn file_text(value: &Value) -> Result<String, String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| error.to_string())?;
    Ok(text + "\n")
}

const AGENTS: [&str; 2] = ["main", "sub"];
