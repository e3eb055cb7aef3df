//! `model_directive`.

use auth_routing::session::selector::{self, Aliases};
use auth_store::{ProviderId, trim};
use serde_json::{Value, json};

use crate::routing::{document, text};

pub(crate) fn directive(input: &Value) -> Value {
    let body = text(&input["body"]);
    let aliases: Vec<&str> =
        input["aliases"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match selector::directive(body, &aliases) {
        None => json!({
            "hasDirective": false, "cleaned": trim(body), "rawModel": null, "rawProfile": null,
        }),
        Some(found) => json!({
            "hasDirective": true,
            "cleaned": found.rest,
            "rawModel": found.selector.as_ref().map(|it| &it.model),
            "rawProfile": found.selector.as_ref().and_then(|it| it.profile.as_ref()),
        }),
    }
}

pub(crate) fn profile_override(input: &Value) -> Result<Value, String> {
    let profiles: Vec<_> = document(&input["store"])?.profiles().collect();
    let raw = text(&input["rawProfile"]);
    Ok(match selector::profile_override(raw, &profiles, text(&input["provider"])) {
        Ok(id) => json!({ "profileId": id, "error": null }),
        Err(error) => json!({ "profileId": null, "error": error.to_string() }),
    })
}

pub(crate) fn model_ref(input: &Value) -> Value {
    let default_provider = ProviderId::new(text(&input["defaultProvider"]));
    let aliases = Aliases::from_json(&input["config"], &default_provider);
    match aliases.resolve(text(&input["raw"]), &default_provider) {
        None => json!({ "ref": null }),
        Some((model, alias)) => json!({
            "ref": { "provider": model.provider.as_str(), "model": model.model },
            "alias": alias,
        }),
    }
}
