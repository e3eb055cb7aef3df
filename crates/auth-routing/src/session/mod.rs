//! The profile of a session: its pin, and when the pin moves.

pub mod choice;
pub mod selector;

use auth_store::{Profile, ProfileId, ProviderId, Timestamp, trim};
use serde_json::{Map, Value};

use crate::plan::{Pin, Plan, Why};
use crate::session::selector::ModelRef;

/// An entry of `sessions.json`. Unknown members stay unchanged.
pub type Entry = Map<String, Value>;

/// The result of [`resolve`].
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The profile for this turn; `None` if the plan has none.
    pub profile: Option<ProfileId>,
    /// The session's entry, if it changed and must be written.
    pub entry: Option<Entry>,
}

/// The source of the pin of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PinSource {
    /// The user, with `/model X@profile`. The pin stays for the whole session.
    User,
    /// Routing. The pin stays as long as the profile works, so that the provider's caches stay
    /// warm.
    Auto,
}

/// The model of the session: the chosen one, else `default`. A model without a provider belongs to
/// the provider of `default`.
pub fn model(entry: &Entry, default: &ModelRef) -> ModelRef {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).map(trim);
    let text = |name| text(name).filter(|text| !text.is_empty());
    match text(MODEL) {
        Some(model) => ModelRef {
            provider: text(PROVIDER).map_or_else(|| default.provider.clone(), ProviderId::new),
            model: model.to_owned(),
        },
        None => default.clone(),
    }
}

/// The pinned profile of the entry.
pub fn pinned(entry: &Entry) -> Option<ProfileId> {
    let text = trim(entry.get(PROFILE)?.as_str()?);
    (!text.is_empty()).then(|| ProfileId::from(text))
}

/// The source of the pin. Older entries do not name it: a pin with a compaction count is routing's.
pub fn source(entry: &Entry) -> PinSource {
    match entry.get(SOURCE).and_then(Value::as_str) {
        Some("user") => PinSource::User,
        Some(_) => PinSource::Auto,
        None if entry.get(COMPACTIONS).is_some_and(Value::is_number) => PinSource::Auto,
        None => PinSource::User,
    }
}

/// The pin of the entry for a [plan](crate::plan::plan): the user's choice is required, routing's own
/// is preferred.
pub fn pin(entry: &Entry) -> Option<Pin> {
    let id = pinned(entry)?;
    Some(match source(entry) {
        PinSource::User => Pin::Require(id),
        PinSource::Auto => Pin::Prefer(id),
    })
}

/// Decides which profile the session uses for `provider`, and moves its pin if necessary.
///
/// A pin to a profile that no longer exists, belongs to another provider, or is not a candidate is
/// dropped. The user's pin stays until the next session. Routing's own pin moves to the next
/// candidate that is not in cooldown: in a new session, after a compaction, and when its profile is
/// in cooldown. `plan` must be made without a pin.
pub fn resolve(
    entry: &Entry,
    profiles: &[Profile],
    provider: &ProviderId,
    plan: &Plan,
    is_new_session: bool,
    now: Timestamp,
) -> Resolved {
    let candidates: Vec<&ProfileId> = plan.candidates.iter().map(|it| &it.id).collect();
    let place = |id: &ProfileId| candidates.iter().position(|it| *it == id);
    let exists = |id: &ProfileId| {
        profiles.iter().any(|profile| profile.id == *id && profile.provider == *provider)
    };

    let mut changed = None;
    let mut current = pinned(entry);
    if let Some(id) = &current
        && (!exists(id) || (!candidates.is_empty() && place(id).is_none()))
    {
        changed = Some(unpinned(entry, now));
        current = None;
    }
    if candidates.is_empty() {
        return Resolved { profile: None, entry: changed };
    }

    let entry_now = changed.as_ref().unwrap_or(entry);
    let compactions = entry_now.get("compactionCount").and_then(Value::as_i64).unwrap_or(0);
    let compactions_then = entry_now.get(COMPACTIONS).and_then(Value::as_i64);
    let next = match &current {
        Some(id) if source(entry_now) == PinSource::User && !is_new_session => {
            return Resolved { profile: Some(id.clone()), entry: changed };
        }
        Some(id) if is_new_session || compactions > compactions_then.unwrap_or(compactions) => {
            first_awake(plan, place(id).map_or(0, |place| place + 1)).or(Some(id))
        }
        Some(id) if !is_in_cooldown(plan, id) => Some(id),
        _ => first_awake(plan, 0).or(candidates.first().copied()),
    };
    let Some(next) = next else { return Resolved { profile: None, entry: changed } };

    let is_written = entry_now.get(PROFILE).and_then(Value::as_str) == Some(next.as_str())
        && entry_now.get(SOURCE).and_then(Value::as_str) == Some("auto")
        && compactions_then == Some(compactions);
    if !is_written {
        let mut entry = entry_now.clone();
        entry.insert(PROFILE.to_owned(), next.as_str().into());
        entry.insert(SOURCE.to_owned(), "auto".into());
        entry.insert(COMPACTIONS.to_owned(), compactions.into());
        entry.insert(UPDATED_AT.to_owned(), now.0.into());
        changed = Some(entry);
    }
    Resolved { profile: Some(next.clone()), entry: changed }
}

/// The entry without its pin.
pub fn unpinned(entry: &Entry, now: Timestamp) -> Entry {
    let mut entry = entry.clone();
    for name in [PROFILE, SOURCE, COMPACTIONS] {
        entry.shift_remove(name);
    }
    entry.insert(UPDATED_AT.to_owned(), now.0.into());
    entry
}

/// The first candidate that is not in cooldown, from `start` on and then from the beginning.
fn first_awake(plan: &Plan, start: usize) -> Option<&ProfileId> {
    let (front, back) = plan.candidates.split_at_checked(start)?;
    let mut round = back.iter().chain(front);
    round.find(|it| !matches!(it.why, Why::InCooldown { .. })).map(|it| &it.id)
}

fn is_in_cooldown(plan: &Plan, id: &ProfileId) -> bool {
    plan.candidates.iter().any(|it| it.id == *id && matches!(it.why, Why::InCooldown { .. }))
}

pub(crate) const PROFILE: &str = "authProfileOverride";
pub(crate) const SOURCE: &str = "authProfileOverrideSource";
pub(crate) const PROVIDER: &str = "providerOverride";
pub(crate) const MODEL: &str = "modelOverride";
const COMPACTIONS: &str = "authProfileOverrideCompactionCount";
const UPDATED_AT: &str = "updatedAt";

#[cfg(test)]
mod tests {
    use auth_store::Document;
    use serde_json::json;

    use super::*;
    use crate::{Config, Routing, plan};

    const NOW: i64 = 1_000;

    /// Resolves a session over the order `a`, `b`, `c`, with some of them in cooldown.
    fn check(entry: &Value, in_cooldown: &[&str], is_new_session: bool) -> Resolved {
        let profile = json!({ "type": "api_key", "provider": "acme", "key": "k" });
        let usage: Map<_, _> = in_cooldown
            .iter()
            .map(|id| ((*id).to_owned(), json!({ "cooldownUntil": NOW + 1 })))
            .collect();
        let store = json!({
            "profiles": { "a": profile, "b": profile, "c": profile }, "usageStats": usage,
        });
        let store = Document::parse(store.to_string().as_bytes()).unwrap();
        let profiles: Vec<_> = store.profiles().collect();
        let config = Config::default();
        let stored_order = Some(["a", "b", "c"].map(ProfileId::from).to_vec());
        let provider = ProviderId::new("acme");
        let routing = Routing { provider: provider.clone(), stored_order, config: &config };
        let plan = plan(&profiles, &routing, None, Timestamp(NOW));
        let entry = entry.as_object().unwrap();
        resolve(entry, &profiles, &provider, &plan, is_new_session, Timestamp(NOW))
    }

    fn profile(resolved: &Resolved) -> &str {
        resolved.profile.as_ref().unwrap().as_str()
    }

    #[test]
    fn a_new_session_gets_the_first_profile_that_is_not_in_cooldown_and_keeps_other_fields() {
        let resolved = check(&json!({ "sessionId": "s", "x": 1 }), &["a"], true);
        assert_eq!(profile(&resolved), "b");
        let entry = json!({
            "sessionId": "s", "x": 1, "authProfileOverride": "b",
            "authProfileOverrideSource": "auto", "authProfileOverrideCompactionCount": 0,
            "updatedAt": NOW,
        });
        assert_eq!(resolved.entry.map(Value::from), Some(entry));
    }

    #[test]
    fn a_users_pin_stays_in_its_session_even_while_it_rests() {
        let entry = json!({ "authProfileOverride": "b", "authProfileOverrideSource": "user" });
        let resolved = check(&entry, &["b"], false);
        assert_eq!((profile(&resolved), &resolved.entry), ("b", &None));
        assert_eq!(profile(&check(&entry, &[], true)), "c");
    }

    #[test]
    fn routings_pin_moves_after_a_compaction_and_when_its_profile_rests() {
        let mut entry = json!({
            "authProfileOverride": "b", "authProfileOverrideSource": "auto",
            "authProfileOverrideCompactionCount": 1, "compactionCount": 1,
        });
        assert_eq!(check(&entry, &[], false).entry, None);
        assert_eq!(profile(&check(&entry, &["b"], false)), "a");
        entry["compactionCount"] = json!(2);
        assert_eq!(profile(&check(&entry, &[], false)), "c");
        assert_eq!(profile(&check(&entry, &["a", "c"], false)), "b");
    }

    #[test]
    fn a_pin_to_a_profile_that_is_gone_is_dropped() {
        let entry = json!({ "authProfileOverride": "gone", "authProfileOverrideSource": "user" });
        assert_eq!(profile(&check(&entry, &[], false)), "a");
    }

    #[test]
    fn the_users_pin_is_required_and_routings_own_is_preferred() {
        let pinned_by = |source: &str| {
            let entry =
                json!({ "authProfileOverride": " b ", "authProfileOverrideSource": source });
            pin(entry.as_object().unwrap())
        };
        assert_eq!(pinned_by("user"), Some(Pin::Require("b".into())));
        assert_eq!(pinned_by("auto"), Some(Pin::Prefer("b".into())));
        assert_eq!(pin(&Map::new()), None);
    }
}
