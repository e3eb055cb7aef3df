//! Clawdbot's results where we deliberately differ, so that each difference can be switched on and
//! off: with all off, a result is Clawdbot's, with all on, it is ours.
//!
//! A rule claims a case if switching its difference off changes the result, which defines exactly
//! what the difference is. Common behavior is taken from our crates.

use auth_routing::session::selector;
use auth_routing::{Config, after_failure};
use auth_store::{Document, Kind, ProfileId, ProviderId, Timestamp, Usage, trim};
use serde_json::{Map, Value, json};

use crate::routing::{self, document, text};
use crate::{Case, callback, directive, label, migrate, places, repair, resolve, store, usage};

/// The differences that are switched on.
pub(crate) type On<'a> = &'a dyn Fn(&str) -> bool;

/// A result, or why there is none.
pub(crate) type Reply = Result<Value, String>;

/// The result for `case` with these differences; `None` if none is known.
pub(crate) fn reply(case: &Case, on: On<'_>) -> Option<Reply> {
    let input = &case.input;
    Some(match case.function.as_str() {
        "usage" => usage_response(input, on),
        "session" => session(input, on),
        "order" => order(input, on),
        "cooldown_check" => cooldown_check(input, on),
        "coerce" => Ok(coerce(input, on)),
        "migrate" => Ok(migrate::reference(input, on)),
        "directive" => Ok(directive(input, on)),
        "profile_override" => profile_override(input, on),
        "auth_label" => auth_label(input, on),
        "repair" => repair(input, on),
        "resolve" => Ok(resolve::reference(input, on)),
        "callback" => Ok(callback::reference(input, on)),
        "paths" => Ok(places::reference(input, on)),
        _ => return None,
    })
}

/// Clawdbot lets an agent see, and save, main's profiles too.
fn session(input: &Value, on: On<'_>) -> Result<Value, String> {
    if on("isolation") || input["agent"] != "sub" {
        return routing::session(input);
    }
    let mut alone = input.clone();
    alone["agent"] = "main".into();
    alone["main"] = merged(&coerced(&input["main"]), &coerced(&input["sub"]));
    routing::session(&alone)
}

/// The original crashes at a key or token that is neither text nor absent, once it looks at it.
fn order(input: &Value, on: On<'_>) -> Result<Value, String> {
    if on("crash") {
        return routing::order(input);
    }
    let provider = ProviderId::new(text(&input["provider"]));
    let is_it = |name: &Value| ProviderId::new(text(name)) == provider;
    let listed = |orders: &Value| {
        let orders = orders.as_object().into_iter().flatten();
        let mut own = orders.filter(|(name, _)| ProviderId::new(name) == provider);
        own.next().map(|(_, ids)| ids.clone()).filter(Value::is_array)
    };
    let (store, auth) = (&input["store"], &input["config"]["auth"]);
    let declared = &auth["profiles"];
    let ordered = listed(&store["order"]).or_else(|| listed(&auth["order"]));
    let all_declared = || declared.as_object().into_iter().flatten();
    let is_named = all_declared().any(|(_, it)| is_it(&it["provider"]));
    let is_looked_at = |id: &String| match &ordered {
        Some(ids) => ids.as_array().is_some_and(|ids| ids.iter().any(|it| it == id.as_str())),
        None => !is_named || is_it(&declared[id]["provider"]),
    };
    let crashes = |(id, profile): (&String, &Value)| {
        let kind = text(&profile["type"]);
        let names: &[&str] = match kind {
            "api_key" => &["key"],
            "token" => &["token"],
            // The second one is looked at only if there is nothing in the first.
            "oauth" if !trim(text(&profile["access"])).is_empty() => &[],
            "oauth" => &["access", "refresh"],
            _ => &[],
        };
        let (entry, mode) = (&declared[id], text(&declared[id]["mode"]));
        let fits = entry.is_null()
            || is_it(&entry["provider"]) && (mode == kind || mode == "oauth" && kind == "token");
        let is_odd = |name: &&str| !(profile[*name].is_null() || profile[*name].is_string());
        is_it(&profile["provider"]) && is_looked_at(id) && fits && names.iter().any(is_odd)
    };
    if store["profiles"].as_object().into_iter().flatten().any(crashes) {
        return Ok(json!({ "throws": true }));
    }
    routing::order(input)
}

/// The original takes a number for a time as it is, and nothing else.
fn cooldown_check(input: &Value, on: On<'_>) -> Result<Value, String> {
    if on("time") {
        return routing::cooldown_check(input);
    }
    let stats = &input["store"]["usageStats"][text(&input["profileId"])];
    let ends = ["cooldownUntil", "disabledUntil"].map(|name| stats[name].as_f64().unwrap_or(0.0));
    let end = ends.into_iter().fold(0.0, f64::max);
    let is_in = input["now"].as_f64().is_some_and(|now| now < end);
    let until = if end > 0.0 { number(end) } else { Value::Null };
    Ok(json!({ "inCooldown": is_in, "unusableUntil": until }))
}

/// A number as JavaScript writes it.
#[expect(clippy::cast_possible_truncation, reason = "a time or a count in a case")]
fn number(number: f64) -> Value {
    if number.fract() == 0.0 { json!(number as i64) } else { json!(number) }
}

fn usage_response(input: &Value, on: On<'_>) -> Result<Value, String> {
    let own = if input["agent"] == "sub" { "sub" } else { "main" };
    let inherits = own == "sub" && !on("isolation");
    let mut files = json!({ "main": input["main"] });
    if own == "sub" {
        files["sub"] = input.get("sub").cloned().unwrap_or_default();
    }
    if inherits && files["sub"].is_null() {
        let main = coerced(&files["main"]);
        if main["profiles"].as_object().is_some_and(|profiles| !profiles.is_empty()) {
            files["sub"] = main;
        }
    }
    let config = Config::from_json(&input["config"]);
    let mut steps = Vec::new();
    for step in input["steps"].as_array().into_iter().flatten() {
        if files[own].is_null() && !on("untouched") {
            files[own] = coerced(&Value::Null);
        }
        let before = match &files[own] {
            file if inherits => merged(&coerced(&files["main"]), &coerced(file)),
            file if on("unknown data") => file.clone(),
            file => coerced(file),
        };
        let mut document = document(&before)?;
        let saves = original_step(step, &mut document, &config, on)?;
        steps.push(usage::report(step, &document)?);
        if saves {
            let after = value(&document)?;
            files[own] = if on("unknown data") { after } else { coerced(&after) };
        }
    }
    Ok(json!({ "steps": steps, "files": files }))
}

/// A step as Clawdbot does it; returns whether it saves the store afterwards, changed or not.
fn original_step(
    step: &Value,
    document: &mut Document,
    config: &Config,
    on: On<'_>,
) -> Result<bool, String> {
    let id = ProfileId::from(text(&step["profileId"]));
    let provider = text(&step["provider"]);
    let canonical = ProviderId::new(provider);
    let before = document.usage(&id);
    let profile = document.profile(&id);
    let op = text(&step["op"]);
    let content = value(document)?;
    let saves = match op {
        "clear" => before != Usage::default(),
        "good" if on("aliases") => profile.as_ref().is_some_and(|it| it.provider == canonical),
        "good" => profile.as_ref().is_some_and(|it| it.provider_text == provider),
        "upsert" | "setOrder" => true,
        _ => profile.is_some(),
    };
    let fails = matches!(op, "failure" | "cooldown") && profile.is_some();
    match (op, profile) {
        ("failure" | "cooldown", Some(profile)) if !on("rest") => {
            let (reason, policy) = usage::failure(op, step, config);
            let awake = Usage { cooldown_until: None, disabled_until: None, ..before.clone() };
            let now = Timestamp(step["now"].as_i64().unwrap_or(0));
            let next = after_failure(&awake, reason, &policy, &profile.provider, None, now);
            let cooldown_until = next.cooldown_until.or(before.cooldown_until);
            let disabled_until = next.disabled_until.or(before.disabled_until);
            document.set_usage(&id, &Usage { cooldown_until, disabled_until, ..next });
        }
        ("clear", _) if saves && !on("clear") => {
            let usage = Usage { error_count: Some(0), cooldown_until: None, ..before };
            document.set_usage(&id, &usage);
        }
        ("good", _) if saves && !on("aliases") => {
            edit(document, |store| section(store, "lastGood")[provider] = id.as_str().into())?;
        }
        ("good", _) if !saves => {}
        ("setOrder", _) if !on("aliases") => {
            let mut alone = Document::empty();
            usage::apply(step, &mut alone, config)?;
            match alone.order(&canonical) {
                Some(order) => {
                    edit(document, |store| {
                        section(store, "order")[canonical.as_str()] = json!(order);
                    })?;
                }
                None if content["order"][canonical.as_str()].is_null() => return Ok(false),
                None => edit(document, |store| {
                    let orders = store["order"].as_object_mut();
                    let is_empty = orders.is_none_or(|orders| {
                        orders.shift_remove(canonical.as_str());
                        orders.is_empty()
                    });
                    if let (true, Some(members)) = (is_empty, store.as_object_mut()) {
                        members.shift_remove("order");
                    }
                })?,
            }
        }
        _ => usage::apply(step, document, config)?,
    }
    if fails {
        let stats = &content["usageStats"][id.as_str()];
        count_as_original(step, stats, document, config, on)?;
    }
    Ok(saves && (op != "setOrder" || !on("untouched") || value(document)? != content))
}

/// The original counts a reason that it does not know under its own name, and goes on from a count
/// below zero. `before` are the stats before the failure, which our crates have counted already.
fn count_as_original(
    step: &Value,
    before: &Value,
    document: &mut Document,
    config: &Config,
    on: On<'_>,
) -> Result<(), String> {
    let (known, policy) = usage::failure(text(&step["op"]), step, config);
    let given = if step["op"] == "cooldown" { "unknown" } else { text(&step["reason"]) };
    let name = if on("reason") { known.as_str() } else { given };
    let is_odd = |count: &Value| count.as_f64().is_some_and(|count| count < 0.0);
    let counts = before["failureCounts"].as_object();
    let mut all = counts.into_iter().flatten().map(|(_, count)| count);
    let has_odd = is_odd(&before["errorCount"]) || all.any(is_odd);
    if name == known.as_str() && (on("count") || !has_odd) {
        return Ok(());
    }
    let now = step["now"].as_f64().unwrap_or(0.0);
    let last = before["lastFailureAt"].as_f64().filter(|last| *last > 0.0);
    let window = policy.failure_window.as_secs_f64() * 1000.0;
    let is_forgotten = last.is_some_and(|last| now - last > window);
    let base = |count: &Value| {
        let count = count.as_f64().unwrap_or(0.0);
        if is_forgotten || on("count") && count < 0.0 { 0.0 } else { count }
    };
    let mut next = Map::new();
    for (name, count) in counts.into_iter().flatten().filter(|_| !is_forgotten) {
        next.insert(name.clone(), number(base(count)));
    }
    next.insert(name.to_owned(), number(base(&before["failureCounts"][name]) + 1.0));
    edit(document, |store| {
        let stats = &mut section(store, "usageStats")[text(&step["profileId"])];
        stats["errorCount"] = number(base(&before["errorCount"]) + 1.0);
        stats["failureCounts"] = next.into();
    })
}

/// A section of a store, created if it is missing.
fn section<'a>(store: &'a mut Value, name: &str) -> &'a mut Value {
    if !store[name].is_object() {
        store[name] = json!({});
    }
    &mut store[name]
}

fn edit(document: &mut Document, change: impl FnOnce(&mut Value)) -> Result<(), String> {
    let mut store = value(document)?;
    change(&mut store);
    let store = in_place(&store);
    *document = routing::document(&store)?;
    Ok(())
}

fn value(document: &Document) -> Result<Value, String> {
    serde_json::from_slice(&document.to_bytes()).map_err(|error| error.to_string())
}

/// Clawdbot's reading of a file, and what it saves.
fn coerce(input: &Value, on: On<'_>) -> Value {
    let raw = text(&input["raw"]);
    let unmarked = if on("damage") { raw.trim_start_matches('\u{feff}') } else { raw };
    let raw = serde_json::from_str(unmarked).unwrap_or(Value::Null);
    let mut with_profiles = raw.as_object().cloned().unwrap_or_default();
    let profiles = with_profiles.entry("profiles").or_insert_with(|| json!({}));
    let is_store = raw.is_object() && (profiles.is_object() || profiles.is_null());
    if on("damage") && !is_store {
        return json!({ "store": "damaged", "fileChangedByLoad": false });
    }

    let keeps = on("unknown data") && is_store;
    let saved = if keeps { with_profiles.clone().into() } else { coerced(&raw) };
    let version = match raw.get("version") {
        Some(version) if keeps => version.clone(),
        Some(version) if !raw["profiles"].is_null() && !text_or_scalar(&raw["profiles"]) => {
            as_number(version)
        }
        _ => json!(1),
    };
    if keeps && with_profiles["profiles"].is_null() {
        with_profiles["profiles"] = json!({});
    }
    let mut seen = if keeps { coerced(&with_profiles.into()) } else { coerced(&raw) };
    if let (true, Some(profiles)) = (on("crash"), seen["profiles"].as_object_mut()) {
        profiles.retain(|_, entry| entry["provider"].is_string());
    }
    let saved = if keeps && on("layout") {
        unmarked.to_owned()
    } else {
        format!("{}\n", serde_json::to_string_pretty(&saved).unwrap_or_default())
    };
    json!({
        "store": store::usable(&version, &seen["profiles"], &seen["order"], &seen["lastGood"], &seen["usageStats"],
        ),
        "fileChangedByLoad": false,
        "savedText": saved,
    })
}

fn text_or_scalar(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

/// Clawdbot's view of a store: the parts it understands, in its order.
pub(crate) fn coerced(raw: &Value) -> Value {
    let profiles = match &raw["profiles"] {
        Value::Object(profiles) => profiles.clone(),
        Value::Array(list) => {
            list.iter().enumerate().map(|(at, entry)| (at.to_string(), entry.clone())).collect()
        }
        _ => return json!({ "version": 1, "profiles": {} }),
    };
    let is_usable = |entry: &Value| {
        Kind::parse(text(&entry["type"])).is_some() && is_truthy(&entry["provider"])
    };
    let profiles: Map<_, _> = profiles.into_iter().filter(|(_, entry)| is_usable(entry)).collect();
    let mut seen = json!({ "version": 1, "profiles": profiles });
    if raw["order"].is_object() || raw["order"].is_array() {
        let orders = raw["order"].as_object().into_iter().flatten();
        let orders = orders.filter_map(|(provider, ids)| {
            let ids = ids.as_array()?.iter().map(|id| trim(text(id)));
            let ids: Vec<_> = ids.filter(|id| !id.is_empty()).collect();
            (!ids.is_empty()).then(|| (provider.clone(), json!(ids)))
        });
        seen["order"] = orders.collect::<Map<_, _>>().into();
    }
    for name in ["lastGood", "usageStats"] {
        if raw[name].is_object() || raw[name].is_array() {
            seen[name] = raw[name].clone();
        }
    }
    seen
}

/// Whether JavaScript considers the value true.
pub(crate) fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// The members of a store in Clawdbot's order; others follow.
fn in_place(store: &Value) -> Value {
    let mut sorted = Map::new();
    for name in ["version", "profiles", "order", "lastGood", "usageStats"] {
        if let Some(section) = store.get(name) {
            sorted.insert(name.to_owned(), section.clone());
        }
    }
    for (name, section) in store.as_object().into_iter().flatten() {
        if !sorted.contains_key(name) {
            sorted.insert(name.clone(), section.clone());
        }
    }
    sorted.into()
}

/// Main's store merged with an agent's, as Clawdbot shows it to the agent.
pub(crate) fn merged(main: &Value, own: &Value) -> Value {
    let is_empty = own["profiles"].as_object().is_none_or(Map::is_empty);
    if is_empty && ["order", "lastGood", "usageStats"].iter().all(|name| own.get(name).is_none()) {
        return main.clone();
    }
    let mut merged = json!({ "version": 1 });
    for name in ["profiles", "order", "lastGood", "usageStats"] {
        if main.get(name).or(own.get(name)).is_some() {
            let members = |store: &Value| store[name].as_object().cloned().unwrap_or_default();
            let mut both = members(main);
            both.extend(members(own));
            merged[name] = both.into();
        }
    }
    merged
}

/// `Number(value)` of JavaScript, as far as versions need it; `null` counts as 1.
pub(crate) fn as_number(value: &Value) -> Value {
    let nan = || json!({ "$num": "NaN" });
    match value {
        Value::Null => json!(1),
        Value::Bool(flag) => json!(i32::from(*flag)),
        Value::Number(_) => value.clone(),
        Value::Array(list) if list.is_empty() => json!(0),
        Value::Array(list) if list.len() == 1 && !list[0].is_boolean() => as_number(&list[0]),
        Value::String(text) => {
            let text = trim(text);
            let hex = text.strip_prefix("0x").map(|digits| i64::from_str_radix(digits, 16));
            match (text, hex, text.parse::<i64>(), text.parse::<f64>()) {
                ("", ..) => json!(0),
                (_, Some(Ok(number)), ..) | (_, None, Ok(number), _) => json!(number),
                (_, None, Err(_), Ok(number)) if number.is_finite() => json!(number),
                _ => nan(),
            }
        }
        _ => nan(),
    }
}

/// Clawdbot ends a profile id at the first unexpected character, and removes the first text that
/// looks like the directive.
fn directive(input: &Value, on: On<'_>) -> Value {
    let ours = directive::directive(input);
    let body = text(&input["body"]);
    let aliases: Vec<_> =
        input["aliases"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let (false, Some(found)) = (on("directive"), selector::directive(body, &aliases)) else {
        return ours;
    };
    let mut reply = ours;
    let mut end = found.range.end;
    if let Some(selector) = found.selector.filter(|it| it.profile.is_some()) {
        let argument = end - written_length(&body[found.range.clone()], &selector.model);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.:@-".contains(c);
        let text = &body[argument..end];
        let mut length = 0;
        for (at, part) in text.split('/').enumerate() {
            let plain = part.find(|c| !is_plain(c)).unwrap_or(part.len());
            if at > 0 && plain == 0 {
                break;
            }
            length += plain + usize::from(at > 0);
            if plain < part.len() {
                break;
            }
        }
        end = argument + length;
        reply["rawProfile"] = json!(selector::Selector::parse(&body[argument..end]).profile);
    }
    let removed = body.replacen(&body[found.range.start..end], " ", 1);
    reply["cleaned"] = selector::collapse(&removed).into();
    reply
}

/// The length of the selector at the end of a directive.
fn written_length(directive: &str, model: &str) -> usize {
    let at = directive.find('@').unwrap_or(directive.len());
    directive.len() - (at - model.len())
}

/// Clawdbot compares the spelling of providers when a user names a profile.
fn profile_override(input: &Value, on: On<'_>) -> Result<Value, String> {
    let ours = directive::profile_override(input)?;
    let provider = text(&input["provider"]);
    let document = document(&input["store"])?;
    let id = ProfileId::from(trim(text(&input["rawProfile"])));
    Ok(match document.profile(&id) {
        Some(it) if !on("aliases") && it.provider_text != provider => json!({
            "profileId": null,
            "error": format!("Auth profile \"{id}\" is for {}, not {provider}.", it.provider_text),
        }),
        _ => ours,
    })
}

/// Clawdbot reports a profile as missing if the config spells its provider differently.
fn auth_label(input: &Value, on: On<'_>) -> Result<Value, String> {
    let document = document(&input["store"])?;
    let mut planned = routing::planned(input, &document);
    let declared = &input["config"]["auth"]["profiles"];
    let mut missing = Vec::new();
    for profile in &mut planned.profiles {
        let spelled = text(&declared[profile.id.as_str()]["provider"]);
        if !on("aliases") && !spelled.is_empty() && spelled != profile.provider_text {
            profile.kind = Kind::ApiKey;
            missing.push(profile.id.clone());
        }
    }
    let masked = |id: &ProfileId| {
        if missing.contains(id) { "missing".to_owned() } else { label::masked(&document, id) }
    };
    let mut reply = label::label_with(input, &document, &planned, &masked);
    if !missing.is_empty() {
        reply["label"] = text(&reply["label"]).replace(" api-key missing", " missing").into();
    }
    Ok(reply)
}

/// Clawdbot finds what last worked only under the canonical name or the name as given.
fn repair(input: &Value, on: On<'_>) -> Result<Value, String> {
    if on("aliases") {
        return repair::repair(input);
    }
    let provider = text(&input["provider"]);
    let last_good = &input["store"]["lastGood"];
    let found = last_good.get(ProviderId::new(provider).as_str()).or(last_good.get(provider));
    let found = found.and_then(Value::as_str).map(ProfileId::from);
    Ok(repair::repair_with(input, &document(&input["store"])?, found.as_ref()))
}
