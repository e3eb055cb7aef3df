//! The usage of a profile, as data.

use crate::document::json::{self, Object};
use crate::time::Timestamp;
use indexmap::IndexMap;

/// `usageStats[id]` in the file. A field that is absent or of an unexpected type is `None`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// When the profile was last used.
    pub last_used: Option<Timestamp>,
    /// Failures since the last success, or since the counters were reset.
    pub error_count: Option<u64>,
    /// Failures by reason, in the order of their first occurrence.
    pub failure_counts: Option<IndexMap<String, u64>>,
    /// When it last failed.
    pub last_failure_at: Option<Timestamp>,
    /// It is disabled until then, for [`disabled_reason`](Self::disabled_reason).
    pub disabled_until: Option<Timestamp>,
    /// Why it is disabled (`billing`).
    pub disabled_reason: Option<String>,
    /// It is in cooldown until then.
    pub cooldown_until: Option<Timestamp>,
    /// The provider's message about the last failure. The field is ours, and other programs keep it.
    pub last_failure_raw: Option<String>,
}

impl Usage {
    pub(crate) fn from_raw(raw: Option<&[u8]>) -> Self {
        raw.and_then(Object::of).map(|object| Self::from_object(&object)).unwrap_or_default()
    }

    fn from_object(object: &Object<'_>) -> Self {
        let time = |name| json::time(object.get(name));
        Self {
            last_used: time("lastUsed"),
            error_count: json::integer(object.get("errorCount")).map(count),
            failure_counts: object.get("failureCounts").and_then(|raw| {
                let counts = Object::of(raw)?;
                let counts = counts.iter().map(|(reason, raw)| {
                    (reason.into_owned(), count(json::integer(Some(raw)).unwrap_or(0)))
                });
                Some(counts.collect())
            }),
            last_failure_at: time("lastFailureAt"),
            disabled_until: time("disabledUntil"),
            disabled_reason: json::string(object.get("disabledReason")),
            cooldown_until: time("cooldownUntil"),
            last_failure_raw: json::string(object.get("lastFailureRaw")),
        }
    }

    /// Writes these values into `object`. An unchanged field keeps its text, so a number that we cannot
    /// represent survives.
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
            "lastFailureRaw": last_failure_raw
        );
    }
}

/// The members that are times.
pub(crate) const TIMES: [&str; 4] = ["lastUsed", "lastFailureAt", "disabledUntil", "cooldownUntil"];

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
