//! Metrics in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use auth_routing::cooldown::judgement::Class;
use auth_store::ProviderId;

use crate::reaction::word;

/// The counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Counts<u16>,
    failovers: Counts<&'static str>,
    refreshes: AtomicU64,
    open: AtomicI64,
    /// The time until the response started: the number of responses within each bucket's limit.
    latency: [AtomicU64; BUCKETS.len()],
    latency_count: AtomicU64,
    latency_micros: AtomicU64,
}

impl Metrics {
    /// Counts a response to a client's request.
    pub(crate) fn answered(&self, provider: &ProviderId, status: u16) {
        self.requests.count(provider, status);
    }

    /// Counts a failover from a profile to the next.
    pub(crate) fn failed_over(&self, provider: &ProviderId, class: Class) {
        self.failovers.count(provider, word(class));
    }

    pub(crate) fn refreshed(&self) {
        self.refreshes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// The number of responses in progress.
    pub(crate) fn open(&self) -> i64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Records that a provider's response started.
    pub(crate) fn began(&self, after: Duration) {
        let seconds = after.as_secs_f64();
        if let Some(bucket) = BUCKETS.iter().position(|most| seconds <= *most) {
            self.latency[bucket].fetch_add(1, Ordering::Relaxed);
        }
        self.latency_count.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.latency_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// All metrics, as text.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        text.push_str("# TYPE clawdbot_requests_total counter\n");
        self.requests.render("clawdbot_requests_total", "status", &mut text);
        text.push_str("# TYPE clawdbot_failovers_total counter\n");
        self.failovers.render("clawdbot_failovers_total", "reason", &mut text);
        let refreshes = self.refreshes.load(Ordering::Relaxed);
        text.push_str("# TYPE clawdbot_refreshes_total counter\n");
        let _ = writeln!(text, "clawdbot_refreshes_total {refreshes}");
        text.push_str("# TYPE clawdbot_open_answers gauge\n");
        let _ = writeln!(text, "clawdbot_open_answers {}", self.open());
        text.push_str("# TYPE clawdbot_upstream_seconds histogram\n");
        let (mut sum, name) = (0, "clawdbot_upstream_seconds");
        for (most, bucket) in BUCKETS.iter().zip(&self.latency) {
            sum += bucket.load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}_bucket{{le=\"{most}\"}} {sum}");
        }
        let count = self.latency_count.load(Ordering::Relaxed);
        let seconds = Duration::from_micros(self.latency_micros.load(Ordering::Relaxed));
        let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(text, "{name}_sum {}\n{name}_count {count}", seconds.as_secs_f64());
        text
    }
}

/// Counters by provider, and by one additional label.
#[derive(Debug, Default)]
struct Counts<K>(Mutex<BTreeMap<ProviderId, BTreeMap<K, u64>>>);

impl<K: Ord + fmt::Display> Counts<K> {
    fn count(&self, provider: &ProviderId, key: K) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counts) = all.get_mut(provider) {
            *counts.entry(key).or_default() += 1;
        } else {
            all.insert(provider.clone(), BTreeMap::from([(key, 1)]));
        }
    }

    fn render(&self, name: &str, label: &str, text: &mut String) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (provider, counts) in &*all {
            for (key, count) in counts {
                let labels = format!("provider=\"{provider}\",{label}=\"{key}\"");
                let _ = writeln!(text, "{name}{{{labels}}} {count}");
            }
        }
    }
}

/// In seconds.
const BUCKETS: [f64; 9] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_in_the_text_format() {
        let (metrics, acme) = (Metrics::default(), ProviderId::new("acme"));
        metrics.answered(&acme, 200);
        metrics.answered(&acme, 200);
        metrics.failed_over(&acme, Class::Limit);
        metrics.began(Duration::from_millis(70));
        metrics.opened();
        let text = metrics.render();
        for line in [
            "clawdbot_requests_total{provider=\"acme\",status=\"200\"} 2",
            "clawdbot_failovers_total{provider=\"acme\",reason=\"limit\"} 1",
            "clawdbot_open_answers 1",
            "clawdbot_upstream_seconds_bucket{le=\"0.05\"} 0",
            "clawdbot_upstream_seconds_bucket{le=\"0.1\"} 1",
            "clawdbot_upstream_seconds_bucket{le=\"+Inf\"} 1",
            "clawdbot_upstream_seconds_sum 0.07",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in {text}");
        }
    }
}
