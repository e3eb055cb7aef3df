//! `auth_label`: one line about the credentials of a provider, as Clawdbot's chat shows it. None of
//! our commands does, so the line is built here from routing's results.

use auth_routing::health::{display_label, until_text};
use auth_routing::{Config, Plan, Why};
use auth_store::{Document, Kind, Profile, ProfileId, Timestamp, trim};
use serde_json::{Value, json};

use crate::routing::{self, Planned, document, now, text};

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
        let label = compact(plan, profiles, config, masked, now(input));
        return json!({ "label": label, "source": "" });
    }
    let last_good = document.last_good(&planned.provider);
    let labels = verbose(plan, profiles, config, last_good.as_ref(), masked, now(input));
    json!({
        "label": labels.join(", "),
        "source": "auth-profiles.json: $ROOT/main/auth-profiles.json",
    })
}

/// The displayable form of a key in Clawdbot: short keys completely, of others both ends.
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

/// The label of the profile that is used next, and how many more there are. `None` if there is no
/// candidate. `masked` returns the displayable form of a profile's key or token.
fn compact(
    plan: &Plan,
    profiles: &[Profile],
    config: &Config,
    masked: &dyn Fn(&ProfileId) -> String,
    now: Timestamp,
) -> Option<String> {
    let id = plan.first()?;
    let profile = profiles.iter().find(|profile| profile.id == *id)?;
    let ends = end(profile, now).map(|text| format!(" {text}")).unwrap_or_default();
    let more = match plan.candidates.len() - 1 {
        0 => String::new(),
        more => format!(" (+{more})"),
    };
    Some(match profile.kind {
        Kind::ApiKey => format!("{id} api-key {}{more}", masked(id)),
        Kind::Token => format!("{id} token {}{ends}{more}", masked(id)),
        Kind::OAuth => format!("{} oauth{ends}{more}", display_label(profile, config)),
    })
}

/// The labels of all candidates, in order. `masked` returns the displayable form of a profile's key
/// or token.
fn verbose(
    plan: &Plan,
    profiles: &[Profile],
    config: &Config,
    last_good: Option<&ProfileId>,
    masked: &dyn Fn(&ProfileId) -> String,
    now: Timestamp,
) -> Vec<String> {
    let candidates = plan.candidates.iter().enumerate();
    let labels = candidates.filter_map(|(place, candidate)| {
        let id = &candidate.id;
        let profile = profiles.iter().find(|profile| profile.id == *id)?;
        let mut flags = Vec::new();
        if place == 0 {
            flags.push("next".to_owned());
        }
        if Some(id) == last_good {
            flags.push("lastGood".to_owned());
        }
        if let Why::InCooldown { .. } = candidate.why {
            flags.push(rest(profile, now));
        }
        flags.extend(end(profile, now));
        let flags =
            if flags.is_empty() { String::new() } else { format!(" ({})", flags.join(", ")) };
        let text = match profile.kind {
            Kind::ApiKey => format!("{id}={}", masked(id)),
            Kind::Token => format!("{id}=token:{}", masked(id)),
            Kind::OAuth => {
                let label = display_label(profile, config);
                format!("{id}=OAuth{}", label.strip_prefix(id.as_str()).unwrap_or_default())
            }
        };
        Some(text + &flags)
    });
    labels.collect()
}

/// `cooldown`, with its end if it passes by itself.
fn rest(profile: &Profile, now: Timestamp) -> String {
    match profile.usage.cooldown_until.filter(|end| now < *end) {
        Some(end) => format!("cooldown {}", until_text(end, now)),
        None => "cooldown".to_owned(),
    }
}

/// `exp 3h` or `expired`, for a credential that expires.
fn end(profile: &Profile, now: Timestamp) -> Option<String> {
    let end = profile.expires.filter(|end| end.0 > 0 && profile.kind != Kind::ApiKey)?;
    Some(if end <= now { "expired".to_owned() } else { format!("exp {}", until_text(end, now)) })
}
