//! The profiles that rest after a failure, and the models that rest with some of them.

pub(crate) mod usage;

use auth_routing::unusable_until;
use auth_store::{ModelUsage, ProfileId, Timestamp, Usage};
use serde::Serialize;

use crate::profiles::view::View;

/// A profile that is in cooldown, or a model of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InCooldown {
    /// Its id.
    pub profile_id: ProfileId,
    /// Its provider, as written.
    pub provider: String,
    /// `disabled`, or `cooldown`.
    pub kind: &'static str,
    /// Why it is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The end of the rest.
    pub until: Timestamp,
    /// How long that is, in milliseconds.
    pub remaining_ms: i64,
    /// The model that is in cooldown; `None`: the whole profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What the provider said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
}

/// The profiles that rest, the one that is back soonest first.
pub fn in_cooldown(view: &View) -> Vec<InCooldown> {
    in_cooldown_with(view, &ModelUsage::default())
}

/// The same with the models that rest.
pub(crate) fn in_cooldown_with(view: &View, models: &ModelUsage) -> Vec<InCooldown> {
    let mut in_cooldown = Vec::new();
    for profile in &view.profiles {
        let mut add = |usage: &Usage, model: Option<String>| {
            let Some(until) = unusable_until(usage).filter(|end| view.now < *end) else { return };
            let is_disabled = usage.disabled_until.is_some_and(|end| view.now < end);
            in_cooldown.push(InCooldown {
                profile_id: profile.id.clone(),
                provider: profile.provider_text.clone(),
                kind: if is_disabled { "disabled" } else { "cooldown" },
                reason: usage.disabled_reason.clone().or_else(|| usage.blocked_reason.clone()),
                until,
                remaining_ms: until.0.saturating_sub(view.now.0),
                model,
                raw: usage.last_failure_raw.clone(),
            });
        };
        add(&profile.usage, None);
        for (model, usage) in models.models(&profile.id) {
            add(&usage, Some(model));
        }
    }
    in_cooldown.sort_by_key(|it| it.remaining_ms);
    in_cooldown
}
