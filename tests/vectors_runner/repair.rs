//! `repair`.

use auth_routing::health::repair;
use auth_store::{Document, ProfileId, ProviderId};
use serde_json::{Value, json};

use crate::routing::{document, text};

pub(crate) fn repair(input: &Value) -> Result<Value, String> {
    let document = document(&input["store"])?;
    let last_good = document.last_good(&ProviderId::new(text(&input["provider"])));
    Ok(repair_with(input, &document, last_good.as_ref()))
}

/// The same, with `last_good` as the profile that last worked for the provider.
pub(crate) fn repair_with(
    input: &Value,
    document: &Document,
    last_good: Option<&ProfileId>,
) -> Value {
    let profiles: Vec<_> = document.profiles().collect();
    let provider = ProviderId::new(text(&input["provider"]));
    let legacy = input["legacyProfileId"].as_str().map(ProfileId::from);
    let legacy = legacy.unwrap_or_else(|| repair::legacy_id(&provider));
    let config = &input["config"];
    let suggested = repair::suggestion(config, &profiles, last_good, &provider, &legacy);
    let repaired = repair::repair(config, &profiles, last_good, &provider, &legacy);
    json!({
        "suggested": suggested,
        "migrated": repaired.is_some(),
        "changes": repaired.iter().map(repair::Repair::summary).collect::<Vec<_>>(),
        "fromProfileId": repaired.as_ref().map(|it| &it.from),
        "toProfileId": repaired.as_ref().map(|it| &it.to),
        "config": repaired.as_ref().map_or(config, |it| &it.config),
    })
}
