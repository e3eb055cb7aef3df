//! `health`, `remaining`, `auth_label`.

use std::time::Duration;

use auth_routing::health::label;
use auth_routing::{Config, health};
use auth_store::{Document, ProfileId, trim};
use serde_json::{Value, json};

use crate::routing::{self, Planned, document, now, text};

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

pub(crate) fn label(input: &Value) -> Result<Value, String> {
    let document = document(&input["store"])?;
    let masked = |id: &ProfileId| masked(&document, id);
    Ok(label_with(input, &document, &routing::planned(input, &document), &masked))
}

/// The label for a plan.
pub(crate) fn label_with(
    input: &Value,
    document: &Document,
    planned: &Planned,
    masked: &dyn Fn(&ProfileId) -> String,
) -> Value {
    let (plan, profiles, config) = (&planned.plan, &planned.profiles, &planned.config);
    if plan.candidates.is_empty() {
        return json!({ "label": "missing", "source": "missing" });
    }
    if text(&input["mode"]) == "compact" {
        let label = label::compact(plan, profiles, config, masked, now(input));
        return json!({ "label": label, "source": "" });
    }
    let last_good = document.last_good(&planned.provider);
    let labels = label::verbose(plan, profiles, config, last_good.as_ref(), masked, now(input));
    json!({
        "label": labels.join(", "),
        "source": "auth-profiles.json: $ROOT/main/auth-profiles.json",
    })
}

/// What the original shows of a key: short ones whole, of others both ends.
pub(crate) fn masked(document: &Document, id: &ProfileId) -> String {
    let Some(credential) = document.credential(id) else { return "missing".to_owned() };
    let secret: Vec<char> = trim(credential.bearer().expose()).chars().collect();
    match secret.len() {
        0 => "missing".to_owned(),
        1..=16 => secret.iter().collect(),
        length => {
            let (start, end) = (&secret[..8], &secret[length - 8..]);
            format!("{}...{}", start.iter().collect::<String>(), end.iter().collect::<String>())
        }
    }
}
