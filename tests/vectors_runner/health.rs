//! `health`, `remaining`.

use std::time::Duration;

use auth_routing::{Config, health};
use serde_json::{Value, json};

use crate::routing::{document, now};

pub(crate) fn health(input: &Value) -> Result<Value, String> {
    let profiles: Vec<_> = document(&input["store"])?.profiles().collect();
    let config = Config::from_json(&input["config"]);
    let warn_after =
        input["warnAfterMs"].as_u64().map_or(health::WARN_AFTER, Duration::from_millis);
    let providers = input["providers"]
        .as_array()
        .map(|names| names.iter().filter_map(Value::as_str).collect::<Vec<_>>());
    let health = health::health(&profiles, &config, providers.as_deref(), warn_after, now(input));
    serde_json::to_value(health).map_err(|error| error.to_string())
}

pub(crate) fn remaining(input: &Value) -> Value {
    json!({ "text": health::remaining_text(input["remainingMs"].as_i64()) })
}
