//! The quota windows in the headers of a response.
//!
//! Providers describe them in four ways: Anthropic's subscription and API, OpenAI's API, the
//! windows of Codex, and the snapshots of Copilot. All become a [`Window`].

use auth_store::{Timestamp, trim};

use crate::cooldown::reset_time;

/// One window of a quota.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The provider's name for it: `5h`, `7d`, `requests`, `primary`.
    pub name: String,
    /// The used fraction, from 0 to 1.
    pub used: Option<f64>,
    /// When it resets.
    pub resets: Option<Timestamp>,
    /// Whether requests are refused because of it. `None`: the headers do not say.
    pub is_used_up: Option<bool>,
    /// Whether it applies to one model family, and not to the whole account.
    pub is_of_one_model: bool,
}

/// The windows in `headers`, in the order of the headers.
///
/// ```
/// use auth_routing::{Timestamp, cooldown::limits};
///
/// let headers = [
///     ("anthropic-ratelimit-unified-5h-status", "rejected"),
///     ("anthropic-ratelimit-unified-5h-reset", "1769652000"),
///     ("anthropic-ratelimit-unified-7d-status", "allowed"),
///     ("anthropic-ratelimit-unified-7d-reset", "1770080400"),
/// ];
/// let windows = limits::windows(&headers, Timestamp(1_769_644_800_000));
/// assert_eq!(windows[0].name, "5h");
/// assert_eq!(windows[0].is_used_up, Some(true));
/// assert_eq!(windows[1].is_used_up, Some(false));
/// ```
pub fn windows(headers: &[(&str, &str)], now: Timestamp) -> Vec<Window> {
    let found = headers.iter().filter_map(|(name, value)| {
        let name = name.to_ascii_lowercase();
        let headers = Headers { all: headers, now };
        if let Some(rest) = name.strip_prefix("anthropic-ratelimit-unified-") {
            return match rest.strip_suffix("-reset") {
                Some(window) => headers.unified(window),
                None if rest == "reset" => headers.unified_alone(value),
                None => None,
            };
        }
        if let Some(rest) = name.strip_prefix("x-codex-") {
            return headers.codex(rest);
        }
        if let Some(rest) = COPILOT.iter().find_map(|prefix| name.strip_prefix(prefix)) {
            return copilot(rest, value);
        }
        if name.contains("ratelimit") && name.contains("reset") {
            return Some(headers.counted(&name, value));
        }
        None
    });
    found.collect()
}

/// When the account serves again: the latest reset among the windows that are used up. Where the
/// headers do not say of a window whether it is used up, it counts. What may be paid by use
/// (`overage`) counts only where nothing else is used up: the account serves again without it.
pub fn exhausted_until(windows: &[Window]) -> Option<Timestamp> {
    let used_up = || windows.iter().filter(|window| window.is_used_up.unwrap_or(true));
    let latest = |is_paid: bool| {
        let of_kind = used_up().filter(|window| (window.name == OVERAGE) == is_paid);
        of_kind.filter_map(|window| window.resets).max()
    };
    latest(false).or_else(|| latest(true))
}

/// Whether all exhausted windows apply to one model family.
pub fn is_of_one_model(windows: &[Window]) -> bool {
    let mut used_up = windows.iter().filter(|window| window.is_used_up == Some(true)).peekable();
    used_up.peek().is_some() && used_up.all(|window| window.is_of_one_model)
}

struct Headers<'a> {
    all: &'a [(&'a str, &'a str)],
    now: Timestamp,
}

impl Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.all.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| trim(value))
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.parse().ok()
    }

    /// The reset without a window's name belongs to one of the windows, and counts only if none is
    /// named.
    fn unified_alone(&self, reset: &str) -> Option<Window> {
        let is_of_a_window = |name: &str| {
            let name = name.to_ascii_lowercase();
            let window = name.strip_prefix("anthropic-ratelimit-unified-");
            window.is_some_and(|window| window.ends_with("-reset"))
        };
        if self.all.iter().any(|(name, _)| is_of_a_window(name)) {
            return None;
        }
        let status = self.get("anthropic-ratelimit-unified-status");
        let claim = self.get("anthropic-ratelimit-unified-representative-claim");
        Some(Window {
            name: "unified".to_owned(),
            used: None,
            resets: reset_time::parse_from(reset, self.now),
            is_used_up: status.map(|status| REFUSING.contains(&status)),
            // `seven_day_opus` is of one model family, `seven_day` of all.
            is_of_one_model: claim.is_some_and(|claim| claim.starts_with("seven_day_")),
        })
    }

    /// `anthropic-ratelimit-unified-5h-reset` and similar.
    fn unified(&self, window: &str) -> Option<Window> {
        let prefix = format!("anthropic-ratelimit-unified-{window}");
        let used = self.number(&format!("{prefix}-utilization"));
        let status = self.get(&format!("{prefix}-status"));
        let is_used_up = status
            .map(|status| REFUSING.contains(&status))
            .or_else(|| used.map(|used| used >= 1.0));
        Some(Window {
            name: window.to_owned(),
            used,
            resets: reset_time::parse_from(self.get(&format!("{prefix}-reset"))?, self.now),
            is_used_up,
            is_of_one_model: !["5h", "7d", OVERAGE].contains(&window),
        })
    }

    /// `x-codex-primary-used-percent` and its like, of which some may be missing; a family of zeros
    /// means nothing.
    fn codex(&self, rest: &str) -> Option<Window> {
        let header = |window: &str, what: &str| self.get(&format!("x-codex-{window}-{what}"));
        let (window, what) = CODEX
            .iter()
            .find_map(|what| Some((rest.strip_suffix(what)?.strip_suffix('-')?, *what)))?;
        // The first of its headers stands for all.
        let earlier = CODEX.iter().take_while(|known| **known != what);
        if earlier.into_iter().any(|known| header(window, known).is_some()) {
            return None;
        }
        let used: Option<f64> = header(window, CODEX[0]).and_then(|text| text.parse().ok());
        let resets = [header(window, CODEX[1]), header(window, CODEX[2])];
        let minutes = self.number(&format!("x-codex-{window}-window-minutes"));
        let is_nothing = used.unwrap_or(0.0) == 0.0
            && minutes.unwrap_or(0.0) == 0.0
            && resets.iter().flatten().all(|text| is_zero(text));
        if is_nothing {
            return None;
        }
        Some(Window {
            name: window.to_owned(),
            used: used.map(|used| used / 100.0),
            resets: resets
                .into_iter()
                .flatten()
                .find_map(|text| reset_time::parse_from(text, self.now)),
            is_used_up: used.map(|used| used >= 100.0),
            is_of_one_model: !["primary", "secondary"].contains(&window),
        })
    }

    /// `x-ratelimit-reset-tokens`, `anthropic-ratelimit-requests-reset`, `ratelimit-reset`.
    fn counted(&self, name: &str, reset: &str) -> Window {
        let remaining = self.number(&name.replacen("reset", "remaining", 1));
        let limit = self.number(&name.replacen("reset", "limit", 1)).filter(|limit| *limit > 0.0);
        // Azure sends -1 or 0 for all where it does not know.
        let knows = self.number(&name.replacen("reset", "limit", 1)).is_none_or(|it| it > 0.0);
        let remaining = remaining.filter(|remaining| *remaining >= 0.0 && knows);
        let kind = name.replace("x-ratelimit-", "").replace("anthropic-ratelimit-", "");
        let kind = kind.replace("-reset", "").replace("reset-", "");
        Window {
            name: kind,
            used: remaining.zip(limit).map(|(left, limit)| 1.0 - (left / limit).min(1.0)),
            resets: reset_time::parse_from(reset, self.now),
            is_used_up: remaining.map(|remaining| remaining <= 0.0),
            is_of_one_model: false,
        }
    }
}

/// `ent=300&ov=0.0&ovPerm=false&rem=35.5&rst=2026-02-01T00%3A00%3A00Z`.
fn copilot(name: &str, snapshot: &str) -> Option<Window> {
    let part = |wanted: &str| {
        let mut parts = snapshot.split('&').filter_map(|part| part.split_once('='));
        parts.find(|(name, _)| *name == wanted).map(|(_, value)| decoded(value))
    };
    let remaining: f64 = part("rem")?.parse().ok()?;
    let is_unlimited = part("ent").is_some_and(|entitled| entitled.starts_with('-'));
    let may_exceed = part("ovPerm").is_some_and(|allowed| allowed == "true");
    Some(Window {
        name: name.to_owned(),
        used: (!is_unlimited).then_some(1.0 - remaining / 100.0),
        resets: part("rst").and_then(|text| reset_time::parse(&text)),
        is_used_up: Some(!is_unlimited && !may_exceed && remaining <= 0.0),
        is_of_one_model: false,
    })
}

/// `%3A` as `:`, and the like.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(byte) = byte.filter(u8::is_ascii) {
            out.push(byte.into());
            out.push_str(&part[2..]);
        } else {
            out.push('%');
            out.push_str(part);
        }
    }
    out
}

fn is_zero(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(|number| number == 0.0)
}

/// What a window of Codex has, the most telling first.
const CODEX: [&str; 3] = ["used-percent", "reset-at", "reset-after-seconds"];

/// How Copilot's snapshots begin.
const COPILOT: [&str; 2] = ["x-quota-snapshot-", "x-usage-ratelimit-"];

/// Anthropic's window of what is paid by use.
const OVERAGE: &str = "overage";

/// The statuses of a window that cause requests to be refused.
const REFUSING: [&str; 5] =
    ["rejected", "blocked", "rate_limited", "queueing_hard", "payment_required"];

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_769_644_800_000);

    fn in_seconds(seconds: u64) -> Timestamp {
        NOW.plus(std::time::Duration::from_secs(seconds))
    }

    #[test]
    fn only_rejected_windows_count() {
        let found = windows(
            &[
                ("anthropic-ratelimit-unified-status", "rejected"),
                ("anthropic-ratelimit-unified-reset", "1769652000"),
                ("anthropic-ratelimit-unified-5h-status", "rejected"),
                ("anthropic-ratelimit-unified-5h-reset", "1769652000"),
                ("anthropic-ratelimit-unified-7d-status", "allowed_warning"),
                ("anthropic-ratelimit-unified-7d-reset", "1770080400"),
            ],
            NOW,
        );
        assert_eq!(exhausted_until(&found), Some(in_seconds(7200)));
        assert!(!is_of_one_model(&found));
    }

    #[test]
    fn the_window_of_one_model_is_told_apart() {
        let of_one = [
            ("anthropic-ratelimit-unified-7d_oi-status", "rejected"),
            ("anthropic-ratelimit-unified-7d_oi-reset", "1769652000"),
            ("anthropic-ratelimit-unified-5h-status", "allowed"),
            ("anthropic-ratelimit-unified-5h-reset", "1769652000"),
        ];
        assert!(is_of_one_model(&windows(&of_one, NOW)));
        let of_both = of_one.map(|(name, value)| (name, value.replace("allowed", "rejected")));
        let of_both: Vec<_> = of_both.iter().map(|(n, v)| (*n, v.as_str())).collect();
        assert!(!is_of_one_model(&windows(&of_both, NOW)));
    }

    #[test]
    fn a_window_of_chatgpt_is_read_from_either_header_and_zeros_mean_nothing() {
        let found = windows(
            &[
                ("x-codex-primary-used-percent", "100"),
                ("x-codex-primary-reset-at", "1769652000"),
                ("x-codex-secondary-used-percent", "40.5"),
                ("x-codex-secondary-window-minutes", "10080"),
                ("x-codex-secondary-reset-after-seconds", "600"),
                ("x-codex-other-primary-used-percent", "0"),
                ("x-codex-other-primary-reset-at", "0"),
            ],
            NOW,
        );
        assert_eq!(found.len(), 2);
        assert_eq!(exhausted_until(&found), Some(in_seconds(7200)));
        assert_eq!(found[1].resets, Some(in_seconds(600)));
        assert_eq!(found[1].used, Some(0.405));
    }

    #[test]
    fn counted_windows_know_how_much_is_left_and_unknown_numbers_are_unknown() {
        let found = windows(
            &[
                ("x-ratelimit-limit-tokens", "1000"),
                ("x-ratelimit-remaining-tokens", "250"),
                ("x-ratelimit-reset-tokens", "6m0s"),
                ("x-ratelimit-remaining-requests", "-1"),
                ("x-ratelimit-reset-requests", "1s"),
                ("anthropic-ratelimit-input-tokens-remaining", "0"),
                ("anthropic-ratelimit-input-tokens-reset", "2026-01-29T00:10:00Z"),
            ],
            NOW,
        );
        let told: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.is_used_up)).collect();
        let expected = [("tokens", Some(false)), ("requests", None), ("input-tokens", Some(true))];
        assert_eq!(told, expected);
        assert_eq!(found[0].used, Some(0.75));
        assert_eq!(exhausted_until(&found), Some(in_seconds(600)));
    }

    #[test]
    fn a_window_of_chatgpt_is_known_by_any_of_its_headers() {
        for (name, value, seconds) in [
            ("x-codex-primary-reset-at", "1769652000", 7200),
            ("x-codex-secondary-reset-after-seconds", "90", 90),
        ] {
            let found = windows(&[(name, value)], NOW);
            assert_eq!((found.len(), found[0].is_used_up), (1, None));
            assert_eq!(exhausted_until(&found), Some(in_seconds(seconds)), "{name}");
        }
        let of_one = windows(&[("x-codex-bengalfox-primary-used-percent", "100")], NOW);
        assert!(is_of_one_model(&of_one));
    }

    #[test]
    fn what_is_paid_by_use_does_not_keep_an_account_away_for_a_month() {
        let rejected = [
            ("anthropic-ratelimit-unified-5h-status", "rejected"),
            ("anthropic-ratelimit-unified-5h-reset", "1769652000"),
            ("anthropic-ratelimit-unified-overage-status", "rejected"),
            ("anthropic-ratelimit-unified-overage-reset", "1772000000"),
        ];
        assert_eq!(exhausted_until(&windows(&rejected, NOW)), Some(in_seconds(7200)));
        // The control: alone, it counts.
        assert!(exhausted_until(&windows(&rejected[2..], NOW)) > Some(in_seconds(86_400)));
    }

    #[test]
    fn a_claim_without_windows_tells_whether_it_is_one_models() {
        let claim = "anthropic-ratelimit-unified-representative-claim";
        let of = |value: &str| {
            let headers = [
                ("anthropic-ratelimit-unified-status", "rejected"),
                ("anthropic-ratelimit-unified-reset", "1769652000"),
                (claim, value),
            ];
            is_of_one_model(&windows(&headers, NOW))
        };
        assert!(of("seven_day_opus") && of("seven_day_sonnet"));
        assert!(!of("seven_day") && !of("five_hour"));
    }

    #[test]
    fn a_snapshot_of_copilot_is_read() {
        let snapshot = "ent=300&ov=0.0&ovPerm=false&rem=0.0&rst=2026-02-01T00%3A00%3A00Z";
        let found = windows(&[("X-Quota-Snapshot-Chat", snapshot)], NOW);
        assert_eq!(found[0].is_used_up, Some(true));
        assert_eq!(found[0].resets, reset_time::parse("2026-02-01T00:00:00Z"));
        let unlimited = windows(&[("x-quota-snapshot-chat", "ent=-1&rem=0.0")], NOW);
        assert_eq!(unlimited[0].is_used_up, Some(false));
        let weekly = windows(&[("x-usage-ratelimit-weekly", snapshot)], NOW);
        assert_eq!((weekly[0].name.as_str(), weekly[0].is_used_up), ("weekly", Some(true)));
    }
}
