//! The usage of a profile, as routing records it.

use crate::document::json::{self, Object};
use crate::time::Timestamp;
use indexmap::IndexMap;

/// `usageStats[id]` in the file. Fields that are missing there, or have an unexpected type, are
/// `None`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// When the profile was last used for a request.
    pub last_used: Option<Timestamp>,
    /// Failures since the last success, or since the counters were reset.
    pub error_count: Option<u64>,
    /// Failures by reason, in the order in which the reasons first occurred.
    pub failure_counts: Option<IndexMap<String, u64>>,
    /// When a request with it last failed.
    pub last_failure_at: Option<Timestamp>,
    /// The profile is disabled until then, for [`disabled_reason`](Self::disabled_reason).
    pub disabled_until: Option<Timestamp>,
    /// Why it is disabled (`billing`).
    pub disabled_reason: Option<String>,
    /// The profile is in cooldown until then.
    pub cooldown_until: Option<Timestamp>,
    /// The cooldown is that of this model alone. A field of later versions of `OpenClaw`, as the next five.
    pub cooldown_model: Option<String>,
    /// Why it is in cooldown.
    pub cooldown_reason: Option<String>,
    /// Its subscription is used up until then.
    pub blocked_until: Option<Timestamp>,
    /// Why.
    pub blocked_reason: Option<String>,
    /// Who said so.
    pub blocked_source: Option<String>,
    /// The block is that of this model alone.
    pub blocked_model: Option<String>,
    /// The provider's own words about the last failure. This is our own field, which other programs
    /// keep.
    pub last_failure_raw: Option<String>,
}

impl Usage {
    pub(crate) fn from_raw(raw: Option<&[u8]>) -> Self {
        raw.and_then(Object::parse).map(|object| Self::from_object(&object)).unwrap_or_default()
    }

    fn from_object(object: &Object<'_>) -> Self {
        let time = |name| json::time(object.get(name));
        Self {
            last_used: time("lastUsed"),
            error_count: json::integer(object.get("errorCount")).map(count),
            failure_counts: object.get("failureCounts").and_then(|raw| {
                let counts = Object::parse(raw)?;
                let counts = counts.iter().map(|(reason, raw)| {
                    (reason.into_owned(), count(json::integer(Some(raw)).unwrap_or(0)))
                });
                Some(counts.collect())
            }),
            last_failure_at: time("lastFailureAt"),
            disabled_until: time("disabledUntil"),
            disabled_reason: json::string(object.get("disabledReason")),
            cooldown_until: time("cooldownUntil"),
            cooldown_model: json::string(object.get("cooldownModel")),
            cooldown_reason: json::string(object.get("cooldownReason")),
            blocked_until: time("blockedUntil"),
            blocked_reason: json::string(object.get("blockedReason")),
            blocked_source: json::string(object.get("blockedSource")),
            blocked_model: json::string(object.get("blockedModel")),
            last_failure_raw: json::string(object.get("lastFailureRaw")),
        }
    }

    /// Writes these values into `object`. An unchanged field keeps its text, so a number that we
    /// cannot represent survives until it is set.
    pub(crate) fn write_over(&self, object: &mut Object<'_>) {
        let before = Self::from_object(object);
        macro_rules! write {
            ($($name:literal: $field:ident),*) => {
                $(if self.$field != before.$field {
                    object.set_or_remove($name, self.$field.as_ref());
                })*
            };
        }
        write!(
            "lastUsed": last_used,
            "errorCount": error_count,
            "failureCounts": failure_counts,
            "lastFailureAt": last_failure_at,
            "disabledUntil": disabled_until,
            "disabledReason": disabled_reason,
            "cooldownUntil": cooldown_until,
            "cooldownModel": cooldown_model,
            "cooldownReason": cooldown_reason,
            "blockedUntil": blocked_until,
            "blockedReason": blocked_reason,
            "blockedSource": blocked_source,
            "blockedModel": blocked_model,
            "lastFailureRaw": last_failure_raw
        );
        if self.blocked_until.is_none() {
            object.remove("blockedScope");
        }
    }
}

/// The members that are times.
pub(crate) const TIMES: [&str; 5] =
    ["lastUsed", "lastFailureAt", "disabledUntil", "cooldownUntil", "blockedUntil"];

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
