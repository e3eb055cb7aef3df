//! `order`, `cooldown`, `session`, `provider_ids`.

use auth_routing::{Config, Plan, Routing, Timestamp, cooldown, plan, session};
use auth_store::{Document, Profile, ProfileId, ProviderId};
use serde_json::{Map, Value, json};

/// The store in a case, as our document.
pub(crate) fn document(store: &Value) -> Result<Document, String> {
    if store.is_null() {
        return Ok(Document::empty());
    }
    Document::parse(store.to_string().as_bytes()).map_err(|error| error.to_string())
}

/// The plan for the case's provider, with its inputs.
pub(crate) struct Planned {
    pub(crate) profiles: Vec<Profile>,
    pub(crate) provider: ProviderId,
    pub(crate) config: Config,
    pub(crate) plan: Plan,
}

/// Plans for `input.provider` at `input.now`.
pub(crate) fn planned(input: &Value, document: &Document) -> Planned {
    let provider = ProviderId::new(text(&input["provider"]));
    planned_with(input, document, document.order(&provider))
}

fn planned_with(
    input: &Value,
    document: &Document,
    stored_order: Option<Vec<ProfileId>>,
) -> Planned {
    let provider = ProviderId::new(text(&input["provider"]));
    let profiles: Vec<_> = document.profiles().collect();
    let config = Config::from_json(&input["config"]);
    let preferred = input["preferredProfile"].as_str().map(ProfileId::from);
    let pin = preferred.map(auth_routing::Pin::Prefer);
    let routing = Routing { provider: provider.clone(), stored_order, config: &config };
    let plan = plan(&profiles, &routing, pin.as_ref(), now(input));
    Planned { profiles, provider, config, plan }
}

pub(crate) fn order(input: &Value) -> Result<Value, String> {
    let document = document(&input["store"])?;
    // The store of these cases was never read from a file, so its order lists are used as they are,
    // even those that reading would drop.
    let provider = ProviderId::new(text(&input["provider"]));
    let orders = input["store"]["order"].as_object().into_iter().flatten();
    let stored = orders.filter(|(name, _)| ProviderId::new(name) == provider).find_map(|it| {
        let ids = it.1.as_array()?.iter().filter_map(Value::as_str);
        Some(ids.map(ProfileId::from).collect::<Vec<_>>())
    });
    let planned = planned_with(input, &document, stored);
    let listed = planned.profiles.iter().filter(|it| it.provider == planned.provider);
    Ok(json!({
        "order": planned.plan.candidates.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(),
        "listed": listed.map(|it| it.id.as_str()).collect::<Vec<_>>(),
    }))
}

/// The recorded answer. What the original crashed with does not matter.
pub(crate) fn normalised(expected: &Value) -> Value {
    if expected["throws"].is_null() { expected.clone() } else { json!({ "throws": true }) }
}

pub(crate) fn cooldown_ms(input: &Value) -> Value {
    json!({ "ms": from_number(cooldown::back_off_ms(number(&input["errorCount"]))) })
}

pub(crate) fn cooldown_check(input: &Value) -> Result<Value, String> {
    let usage = document(&input["store"])?.usage(&ProfileId::from(text(&input["profileId"])));
    Ok(json!({
        "inCooldown": cooldown::is_in_cooldown(&usage, now(input)),
        "unusableUntil": cooldown::unusable_until(&usage),
    }))
}

pub(crate) fn provider_id(input: &Value) -> Value {
    json!({ "normalized": ProviderId::new(text(&input["provider"])).as_str() })
}

/// A session of an agent that sees only its own store.
pub(crate) fn session(input: &Value) -> Result<Value, String> {
    let own = if input["agent"] == "sub" { "sub" } else { "main" };
    let document = document(&input[own])?;
    let key = text(&input["sessionKey"]);
    let entry = input["sessionEntry"].as_object();
    let sessions = input["sessionStore"].as_object();
    let before = sessions.and_then(|sessions| sessions.get(key));
    let (Some(entry), Some(_), false) = (entry, sessions, key.is_empty()) else {
        // Nothing could be written back, so nothing is decided: the pin stays as it is.
        let mut reply = json!({
            "profileId": input["sessionEntry"]["authProfileOverride"],
            "sessionEntry": entry,
            "sessionStoreEntry": before,
        });
        if input["persist"] == true {
            reply["sessionsFile"] = input["sessionsFile"].clone();
        }
        return Ok(reply);
    };

    let planned = planned(input, &document);
    let is_new = input["isNewSession"] == true;
    let (profiles, provider) = (&planned.profiles, &planned.provider);
    let found = session::resolve(entry, profiles, provider, &planned.plan, is_new, now(input));
    let mut reply = json!({
        "profileId": found.profile,
        "sessionEntry": found.entry.as_ref().unwrap_or(entry),
        "sessionStoreEntry": found.entry.as_ref().or(before.and_then(Value::as_object)),
    });
    if input["persist"] == true {
        let file = input["sessionsFile"].as_object().cloned();
        reply["sessionsFile"] = match found.entry {
            None => json!(file),
            Some(entry) => {
                let mut file: Map<_, _> = file.unwrap_or_default();
                file.insert(key.to_owned(), entry.into());
                file.into()
            }
        };
    }
    Ok(reply)
}

pub(crate) fn now(input: &Value) -> Timestamp {
    Timestamp(input["now"].as_i64().unwrap_or(0))
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A JavaScript number, which JSON cannot always represent.
fn number(value: &Value) -> f64 {
    match value["$num"].as_str() {
        Some("NaN") => f64::NAN,
        Some("Infinity") => f64::INFINITY,
        Some("-Infinity") => f64::NEG_INFINITY,
        Some(_) => -0.0,
        None => value.as_f64().unwrap_or(f64::NAN),
    }
}

fn from_number(number: f64) -> Value {
    if number.is_nan() { json!({"$num": "NaN"}) } else { json!(number) }
}
