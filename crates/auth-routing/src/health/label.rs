//! One line about the credentials of a provider, as `models status` and chat commands show it.

use auth_store::{Kind, Profile, ProfileId, Timestamp};

use crate::health::{display_label, until_text};
use crate::plan::config::Config;
use crate::plan::{Plan, Why};

/// The label of the profile that is used next, and how many more there are. `None` if there is
/// no candidate. `masked` gives what may be shown of a profile's key or token.
pub fn compact(
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

/// The labels of all candidates, in order. `masked` gives what may be shown of a profile's key or
/// token.
pub fn verbose(
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
        if let Why::Resting { .. } = candidate.why {
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

/// `cooldown`, with its end if it is one that passes by itself.
fn rest(profile: &Profile, now: Timestamp) -> String {
    match profile.usage.cooldown_until.filter(|end| now < *end) {
        Some(end) => format!("cooldown {}", until_text(end, now)),
        None => "cooldown".to_owned(),
    }
}

/// `exp 3h` or `expired`, for what ends.
fn end(profile: &Profile, now: Timestamp) -> Option<String> {
    let end = profile.expires.filter(|end| end.0 > 0 && profile.kind != Kind::ApiKey)?;
    Some(if end <= now { "expired".to_owned() } else { format!("exp {}", until_text(end, now)) })
}

#[cfg(test)]
mod tests {
    use auth_store::{Document, ProviderId};

    use super::*;
    use crate::{Routing, plan};

    #[test]
    fn labels_tell_what_is_next_what_rests_and_what_ends_without_the_secret() {
        let store = Document::parse(
            br#"{"profiles": {
                "acme:me": {"type": "oauth", "provider": "acme", "refresh": "r", "email": "me@x.y", "expires": 3600000},
                "acme:t": {"type": "token", "provider": "acme", "token": "secret", "expires": 7200000},
                "acme:k": {"type": "api_key", "provider": "acme", "key": "secret"}
            }, "usageStats": {"acme:k": {"cooldownUntil": 300000}}}"#,
        )
        .unwrap();
        let profiles: Vec<_> = store.profiles().collect();
        let (config, now) = (Config::default(), Timestamp(0));
        let provider = ProviderId::new("acme");
        let routing = Routing { provider, stored_order: None, config: &config };
        let plan = plan(&profiles, &routing, None, now);
        let masked = |_: &ProfileId| "s...t".to_owned();

        let line = compact(&plan, &profiles, &config, &masked, now);
        assert_eq!(line.as_deref(), Some("acme:me (me@x.y) oauth exp 1h (+2)"));
        let last_good = ProfileId::from("acme:t");
        let lines = verbose(&plan, &profiles, &config, Some(&last_good), &masked, now);
        assert_eq!(
            lines,
            [
                "acme:me=OAuth (me@x.y) (next, exp 1h)",
                "acme:t=token:s...t (lastGood, exp 2h)",
                "acme:k=s...t (cooldown 5m)",
            ]
        );
    }
}
