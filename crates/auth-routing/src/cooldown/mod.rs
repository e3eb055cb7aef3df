//! How long a cooldown lasts after a failure, and what ends it.

pub(crate) mod facts;
pub mod judgement;
pub mod limits;
pub mod redact;
pub mod reset_time;
pub mod response;
pub(crate) mod stated_reset;

use std::time::Duration;

use auth_store::{Profile, ProviderId, Timestamp, Usage};
use serde_json::Value;

/// Why a profile failed, in the words of the store's `failureCounts`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum FailureReason {
    /// The provider refuses the credential.
    Auth,
    /// The provider does not understand the request.
    Format,
    /// Too many requests.
    RateLimit,
    /// The account has to pay first.
    Billing,
    /// The provider did not respond in time.
    Timeout,
    /// Anything else.
    Unknown,
}

impl FailureReason {
    /// All reasons, for help texts.
    pub const ALL: [Self; 6] =
        [Self::Auth, Self::Format, Self::RateLimit, Self::Billing, Self::Timeout, Self::Unknown];

    /// The name in the file and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Format => "format",
            Self::RateLimit => "rate_limit",
            Self::Billing => "billing",
            Self::Timeout => "timeout",
            Self::Unknown => "unknown",
        }
    }

    /// The reason with this name, if there is one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// How long failures count: `auth.cooldowns` of the config.
#[derive(Clone, Debug, PartialEq)]
pub struct CooldownPolicy {
    /// The first cooldown after a billing failure. Each further failure doubles it.
    pub billing_back_off: Duration,
    /// The same for individual providers, in the order of the config. The first match counts.
    /// `None`: the value is unusable, and the default applies.
    pub billing_back_off_by_provider: Vec<(ProviderId, Option<Duration>)>,
    /// The longest cooldown after a billing failure.
    pub billing_longest: Duration,
    /// Older failures do not count.
    pub failure_window: Duration,
}

impl Default for CooldownPolicy {
    fn default() -> Self {
        Self {
            billing_back_off: BILLING_BACK_OFF,
            billing_back_off_by_provider: Vec::new(),
            billing_longest: Duration::from_hours(24),
            failure_window: Duration::from_hours(24),
        }
    }
}

impl CooldownPolicy {
    /// Reads `auth.cooldowns`. A value that is absent, not a number, or not positive is replaced
    /// with its default.
    pub fn from_json(cooldowns: &Value) -> Self {
        let default = Self::default();
        let by_provider = cooldowns.get("billingBackoffHoursByProvider").and_then(Value::as_object);
        Self {
            billing_back_off: hours(cooldowns.get("billingBackoffHours"))
                .unwrap_or(default.billing_back_off),
            billing_back_off_by_provider: by_provider
                .into_iter()
                .flatten()
                .filter(|(_, value)| !value.is_null())
                .map(|(provider, value)| (ProviderId::new(provider), hours(Some(value))))
                .collect(),
            billing_longest: hours(cooldowns.get("billingMaxHours"))
                .unwrap_or(default.billing_longest),
            failure_window: hours(cooldowns.get("failureWindowHours"))
                .unwrap_or(default.failure_window),
        }
    }

    /// The cooldown after the `failures`-th billing failure of a profile of `provider`.
    fn billing_cooldown(&self, provider: &ProviderId, failures: u64) -> Duration {
        let own = self.billing_back_off_by_provider.iter().find(|(id, _)| id == provider);
        let base = match own {
            Some((_, base)) => base.unwrap_or(BILLING_BACK_OFF),
            None => self.billing_back_off,
        };
        let base = base.max(Duration::from_mins(1));
        let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
        base.saturating_mul(1 << doublings).min(self.billing_longest.max(base))
    }
}

/// The usage of a profile of `provider` after it failed at `now`.
///
/// It is in cooldown for [`back_off`] (5 hours and doubling after a billing failure), or until
/// `known_reset`, if the provider said when it will serve the profile again. A report never makes a
/// cooldown end earlier.
#[must_use]
pub fn after_failure(
    usage: &Usage,
    reason: FailureReason,
    policy: &CooldownPolicy,
    provider: &ProviderId,
    known_reset: Option<Timestamp>,
    now: Timestamp,
) -> Usage {
    let is_forgotten = usage
        .last_failure_at
        .is_some_and(|last| last.0 > 0 && now.since(last) > policy.failure_window);
    let errors = if is_forgotten { 0 } else { usage.error_count.unwrap_or(0) }.saturating_add(1);
    let mut counts =
        if is_forgotten { None } else { usage.failure_counts.clone() }.unwrap_or_default();
    let of_this_reason = counts.entry(reason.as_str().to_owned()).or_default();
    *of_this_reason = of_this_reason.saturating_add(1);
    let of_this_reason = *of_this_reason;

    let mut next = Usage {
        error_count: Some(errors),
        failure_counts: Some(counts),
        last_failure_at: Some(now),
        last_failure_raw: None,
        ..usage.clone()
    };
    if reason == FailureReason::Billing {
        let end = known_reset
            .unwrap_or_else(|| now.plus(policy.billing_cooldown(provider, of_this_reason)));
        next.disabled_until = usage.disabled_until.max(Some(end));
        next.disabled_reason = Some(reason.as_str().to_owned());
    } else {
        let end = known_reset
            .unwrap_or_else(|| now.plus(back_off(errors.try_into().unwrap_or(u32::MAX))));
        next.cooldown_until = usage.cooldown_until.max(Some(end));
        // What a later OpenClaw wrote of its own cooldown is not true of this one.
        next.cooldown_model = None;
        next.cooldown_reason = usage.cooldown_reason.as_ref().map(|_| reason.as_str().to_owned());
    }
    next
}

/// The usage of a profile whose provider has too much to do: a cooldown until then, which counts as
/// no failure.
#[must_use]
pub fn after_pause(usage: &Usage, until: Timestamp) -> Usage {
    let cooldown_until = usage.cooldown_until.max(Some(until));
    Usage { cooldown_until, cooldown_model: None, ..usage.clone() }
}

/// The usage of a profile after a successful request at `now`: every cooldown is over.
#[must_use]
pub fn after_success(usage: &Usage, now: Timestamp) -> Usage {
    Usage { last_used: Some(now), failure_counts: None, ..cleared(usage) }
}

/// The usage of a profile whose cooldowns the user ended, including the one for billing.
#[must_use]
pub fn cleared(usage: &Usage) -> Usage {
    Usage {
        error_count: Some(0),
        cooldown_until: None,
        disabled_until: None,
        disabled_reason: None,
        cooldown_model: None,
        cooldown_reason: None,
        blocked_until: None,
        blocked_reason: None,
        blocked_source: None,
        blocked_model: None,
        last_failure_raw: None,
        ..usage.clone()
    }
}

/// A profile as a request for one model sees it: that model may be in cooldown while the others
/// are not. `model` is its name, with its provider or without.
#[must_use]
pub fn for_model(mut profile: Profile, model: &str, of_model: &Usage) -> Profile {
    let usage = &mut profile.usage;
    let bare = |name: &str| name.rsplit_once('/').map_or(name, |(_, bare)| bare).to_owned();
    let is_it = |named: &Option<String>| {
        named.as_ref().is_some_and(|named| named == model || bare(named) == bare(model))
    };
    // What a later OpenClaw wrote of this model counts as that of the profile, for this request.
    if is_it(&usage.cooldown_model) {
        usage.cooldown_model = None;
    }
    if is_it(&usage.blocked_model) {
        usage.blocked_model = None;
    }
    if usage.cooldown_model.is_some() {
        (usage.cooldown_model, usage.cooldown_until) = (None, None);
    }
    usage.cooldown_until = usage.cooldown_until.max(of_model.cooldown_until);
    profile
}

/// When the profile may be used again: the latest end of cooldown, disabling and block, past or
/// future; not those of one model. `None` if it never was in cooldown.
pub fn unusable_until(usage: &Usage) -> Option<Timestamp> {
    let cooldown = usage.cooldown_until.filter(|_| usage.cooldown_model.is_none());
    let blocked = usage.blocked_until.filter(|_| usage.blocked_model.is_none());
    cooldown.max(usage.disabled_until).max(blocked).filter(|end| end.0 > 0)
}

/// Whether the profile is in cooldown at `now`.
pub fn is_in_cooldown(usage: &Usage, now: Timestamp) -> bool {
    unusable_until(usage).is_some_and(|end| now < end)
}

/// The cooldown after `errors` consecutive failures: 1, 5, 25, then 60 minutes.
pub fn back_off(errors: u32) -> Duration {
    Duration::from_mins(match errors {
        ..=1 => 1,
        2 => 5,
        3 => 25,
        4.. => 60,
    })
}

/// The same curve in milliseconds, for counts written by JavaScript: fractions are interpolated,
/// and a value that is not a number has no cooldown. It is separate from [`back_off`], so that a
/// program that counts whole failures does not load the math library.
pub fn back_off_ms(errors: f64) -> f64 {
    let step = (errors - 1.0).clamp(0.0, 3.0);
    (60_000.0 * 5_f64.powf(step)).clamp(0.0, 3_600_000.0)
}

/// A positive number of hours.
fn hours(value: Option<&Value>) -> Option<Duration> {
    let hours = value?.as_f64().filter(|hours| hours.is_finite() && *hours > 0.0)?;
    Some(Duration::try_from_secs_f64(hours * 3600.0).unwrap_or(Duration::MAX))
}

const BILLING_BACK_OFF: Duration = Duration::from_hours(5);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;

    fn fail(usage: &Usage, reason: FailureReason, reset: Option<i64>, now: i64) -> Usage {
        let provider = ProviderId::new("anthropic");
        let reset = reset.map(Timestamp);
        after_failure(usage, reason, &CooldownPolicy::default(), &provider, reset, Timestamp(now))
    }

    #[test]
    fn each_failure_in_a_row_rests_longer_up_to_an_hour() {
        let mut usage = Usage::default();
        let mut now = 1;
        for minutes in [1, 5, 25, 60, 60] {
            usage = fail(&usage, FailureReason::RateLimit, None, now);
            assert_eq!(usage.cooldown_until, Some(Timestamp(now + minutes * MINUTE)));
            now += minutes * MINUTE;
        }
    }

    #[test]
    fn the_curve_goes_through_the_steps() {
        for errors in 0..=5 {
            let rest = u32::try_from(back_off(errors).as_millis()).unwrap();
            assert!((back_off_ms(f64::from(errors)) - f64::from(rest)).abs() < 1e-6);
        }
    }

    #[test]
    fn billing_disables_for_five_hours_and_doubles_up_to_a_day() {
        let mut usage = Usage::default();
        let mut now = 1;
        for hours in [5, 10, 20, 24] {
            usage = fail(&usage, FailureReason::Billing, None, now);
            assert_eq!(usage.disabled_until, Some(Timestamp(now + hours * HOUR)));
            assert_eq!(usage.cooldown_until, None);
            now += hours * HOUR;
        }
    }

    #[test]
    fn failures_older_than_the_window_are_forgotten() {
        let usage = fail(&Usage::default(), FailureReason::Auth, None, 1);
        let within = fail(&usage, FailureReason::Auth, None, 1 + 24 * HOUR);
        assert_eq!(within.error_count, Some(2));
        let after = fail(&usage, FailureReason::Timeout, None, 2 + 24 * HOUR);
        assert_eq!(after.error_count, Some(1));
        assert_eq!(after.failure_counts.unwrap().get("auth"), None);
    }

    #[test]
    fn a_known_reset_replaces_the_computed_step() {
        let longer = fail(&Usage::default(), FailureReason::RateLimit, Some(3 * HOUR), 1);
        assert_eq!(longer.cooldown_until, Some(Timestamp(3 * HOUR)));
        let shorter = fail(&Usage::default(), FailureReason::RateLimit, Some(2), 1);
        assert_eq!(shorter.cooldown_until, Some(Timestamp(2)));
    }

    #[test]
    fn a_block_of_a_later_openclaw_is_obeyed_and_ends_with_a_success() {
        let blocked = Usage {
            blocked_until: Some(Timestamp(9)),
            blocked_reason: Some("subscription_limit".to_owned()),
            ..Usage::default()
        };
        assert_eq!(unusable_until(&blocked), Some(Timestamp(9)));
        let of_one = Usage { blocked_model: Some("opus".to_owned()), ..blocked.clone() };
        assert_eq!(unusable_until(&of_one), None);
        assert_eq!(after_success(&of_one, Timestamp(1)).blocked_model, None);
        assert_eq!(unusable_until(&cleared(&blocked)), None);
        // A report leaves it.
        let reported = fail(&blocked, FailureReason::Auth, None, 1);
        assert_eq!(reported.blocked_until, Some(Timestamp(9)));
    }

    #[test]
    fn a_cooldown_of_one_model_is_that_models_until_one_of_the_profile_comes() {
        let usage = Usage {
            cooldown_until: Some(Timestamp(9)),
            cooldown_model: Some("claude-opus".to_owned()),
            cooldown_reason: Some("rate_limit".to_owned()),
            ..Usage::default()
        };
        assert_eq!(unusable_until(&usage), None);
        let now = fail(&usage, FailureReason::Auth, None, 1);
        assert_eq!((now.cooldown_model, now.cooldown_reason.as_deref()), (None, Some("auth")));
    }

    #[test]
    fn success_and_clearing_end_every_cooldown() {
        let usage = fail(&Usage::default(), FailureReason::Billing, None, 1);
        let usage = fail(&usage, FailureReason::Auth, None, 1);
        assert!(is_in_cooldown(&usage, Timestamp(1)));
        assert!(!is_in_cooldown(&cleared(&usage), Timestamp(1)));
        assert!(!is_in_cooldown(&after_success(&usage, Timestamp(1)), Timestamp(1)));
    }

    #[test]
    fn hours_that_cannot_be_used_have_their_default() {
        let policy = CooldownPolicy::from_json(&serde_json::json!({
            "billingBackoffHours": 0, "billingMaxHours": "x", "failureWindowHours": 0.5,
            "billingBackoffHoursByProvider": {"Z.AI": 2, "openai": -1},
        }));
        assert_eq!(policy.billing_back_off, Duration::from_hours(5));
        assert_eq!(policy.billing_longest, Duration::from_hours(24));
        assert_eq!(policy.failure_window, Duration::from_mins(30));
        assert_eq!(policy.billing_cooldown(&ProviderId::new("zai"), 1), Duration::from_hours(2));
        assert_eq!(policy.billing_cooldown(&ProviderId::new("openai"), 1), Duration::from_hours(5));
    }

    fn usage() -> impl Strategy<Value = Usage> {
        let time = || proptest::option::of(any::<i64>().prop_map(Timestamp));
        (time(), time(), time(), proptest::option::of(any::<u64>())).prop_map(
            |(cooldown_until, disabled_until, last_failure_at, error_count)| Usage {
                cooldown_until,
                disabled_until,
                last_failure_at,
                error_count,
                ..Usage::default()
            },
        )
    }

    proptest! {
        #[test]
        fn no_report_moves_an_end_earlier_and_no_clock_panics(
            usage in usage(),
            reason in 0..FailureReason::ALL.len(),
            reset in proptest::option::of(any::<i64>()),
            now in any::<i64>(),
        ) {
            let next = fail(&usage, FailureReason::ALL[reason], reset, now);
            prop_assert!(next.cooldown_until >= usage.cooldown_until);
            prop_assert!(next.disabled_until >= usage.disabled_until);
            prop_assert!(unusable_until(&next) >= unusable_until(&usage));
            prop_assert!(next.error_count.is_some_and(|errors| errors > 0));
        }

        #[test]
        fn a_known_reset_replaces_the_computed_step_whatever_it_was(
            failures in 0..5_u64,
            reason in 0..FailureReason::ALL.len(),
            reset in any::<i64>(),
            now in any::<i64>(),
        ) {
            let usage = Usage { error_count: Some(failures), ..Usage::default() };
            let next = fail(&usage, FailureReason::ALL[reason], Some(reset), now);
            let ends = [next.cooldown_until, next.disabled_until];
            prop_assert_eq!(ends.into_iter().flatten().collect::<Vec<_>>(), [Timestamp(reset)]);
        }

        #[test]
        fn no_count_panics(errors in any::<f64>(), count in any::<u32>()) {
            prop_assert!(!back_off_ms(errors).is_infinite());
            prop_assert!(back_off(count) <= Duration::from_hours(1));
        }
    }
}
