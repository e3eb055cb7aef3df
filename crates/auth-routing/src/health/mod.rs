//! The health of credentials: `auth.oauth` of `models status --json`, and its text.

pub(crate) mod collate;
pub mod repair;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use auth_store::{Kind, Profile, ProfileId, Timestamp, trim};
use serde::Serialize;

use crate::plan::config::Config;

/// The state of a credential, or the worst state among a provider's.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It expires, but not soon.
    Ok,
    /// It expires soon.
    Expiring,
    /// It has expired.
    Expired,
    /// There is none, or its expiry is unknown.
    Missing,
    /// It does not expire.
    Static,
}

/// The health of one profile.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProfileHealth {
    /// Its id.
    pub profile_id: ProfileId,
    /// The provider, as written in the store.
    pub provider: String,
    /// The kind of credential: `oauth`, `token` or `api_key`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its state.
    pub status: Status,
    /// When it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The time until then in milliseconds. Negative if it has expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_ms: Option<i64>,
    /// Always `store`.
    pub source: &'static str,
    /// The id, with the e-mail address if there is one.
    pub label: String,
}

/// The health of a provider's profiles.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderHealth {
    /// The provider, as written in the store.
    pub provider: String,
    /// The worst state of those that can expire.
    pub status: Status,
    /// Its profiles.
    pub profiles: Vec<ProfileHealth>,
    /// When the first of them expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The time until then in milliseconds. Negative if it has expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_ms: Option<i64>,
}

/// The health of all profiles.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The time used for the judgement.
    pub now: Timestamp,
    /// The meaning of "soon", in milliseconds.
    pub warn_after_ms: u64,
    /// All profiles, sorted by provider, then by id.
    pub profiles: Vec<ProfileHealth>,
    /// All providers, sorted by name.
    pub providers: Vec<ProviderHealth>,
}

/// The default meaning of "soon".
pub const WARN_AFTER: Duration = Duration::from_hours(24);

/// Judges `profiles` at `now`. With `providers`, only their profiles, compared as written. A
/// provider without a profile is `missing`.
pub fn health(
    profiles: &[Profile],
    config: &Config,
    providers: Option<&[&str]>,
    warn_after: Duration,
    now: Timestamp,
) -> Health {
    let wanted = providers.into_iter().flatten().map(|provider| trim(provider));
    let wanted: BTreeSet<&str> = wanted.filter(|provider| !provider.is_empty()).collect();
    let is_wanted = |it: &&Profile| providers.is_none() || wanted.contains(&*it.provider_text);
    let mut judged: Vec<_> = profiles
        .iter()
        .filter(is_wanted)
        .map(|profile| profile_health(profile, config, warn_after, now))
        .collect();
    judged.sort_by(|a, b| {
        let by_provider = collate::compare(&a.provider, &b.provider);
        let by_provider =
            if a.provider == b.provider { std::cmp::Ordering::Equal } else { by_provider };
        by_provider.then_with(|| collate::compare(a.profile_id.as_str(), b.profile_id.as_str()))
    });

    let mut by_name: BTreeMap<&str, Vec<ProfileHealth>> =
        wanted.into_iter().map(|name| (name, Vec::new())).collect();
    for profile in &judged {
        by_name.entry(&profile.provider).or_default().push(profile.clone());
    }
    let groups = by_name.into_iter().map(|(name, profiles)| provider_health(name, profiles, now));
    let mut groups: Vec<_> = groups.collect();
    groups.sort_by(|a, b| collate::compare(&a.provider, &b.provider));
    let warn_after_ms = warn_after.as_millis().try_into().unwrap_or(u64::MAX);
    Health { now, warn_after_ms, profiles: judged, providers: groups }
}

fn profile_health(
    profile: &Profile,
    config: &Config,
    warn_after: Duration,
    now: Timestamp,
) -> ProfileHealth {
    let ends = profile.expires.filter(|end| end.0 > 0);
    let remaining_ms = ends.map(|end| end.0.saturating_sub(now.0));
    let (status, expires_at) = match profile.kind {
        Kind::ApiKey => (Status::Static, None),
        Kind::Token if ends.is_none() => (Status::Static, None),
        Kind::Token | Kind::OAuth => {
            let status = match remaining_ms {
                None => Status::Missing,
                Some(..=0) => Status::Expired,
                Some(left) if i128::from(left) <= milliseconds(warn_after) => Status::Expiring,
                Some(_) => Status::Ok,
            };
            (status, profile.expires)
        }
    };
    ProfileHealth {
        profile_id: profile.id.clone(),
        provider: profile.provider_text.clone(),
        kind: profile.kind.as_str(),
        status,
        expires_at,
        remaining_ms: expires_at.and(remaining_ms),
        source: "store",
        label: display_label(profile, config),
    }
}

fn provider_health(name: &str, profiles: Vec<ProfileHealth>, now: Timestamp) -> ProviderHealth {
    let ending: Vec<_> = profiles.iter().filter(|it| it.kind != Kind::ApiKey.as_str()).collect();
    let has = |status| ending.iter().any(|it| it.status == status);
    let status = if profiles.is_empty() {
        Status::Missing
    } else if ending.is_empty() {
        Status::Static
    } else if has(Status::Expired) || has(Status::Missing) {
        Status::Expired
    } else if has(Status::Expiring) {
        Status::Expiring
    } else {
        Status::Ok
    };
    let expires_at = ending.iter().filter_map(|it| it.expires_at).min();
    ProviderHealth {
        provider: name.to_owned(),
        status,
        expires_at,
        remaining_ms: expires_at.map(|end| end.0.saturating_sub(now.0)),
        profiles,
    }
}

/// The id of the profile, with the e-mail address if the config or the store has one.
pub fn display_label(profile: &Profile, config: &Config) -> String {
    let stored = || profile.email.as_deref().map(trim).filter(|email| !email.is_empty());
    let declared = config.declared(&profile.id).and_then(|it| it.email.as_deref());
    match declared.or_else(stored) {
        Some(email) => format!("{} ({email})", profile.id),
        None => profile.id.as_str().to_owned(),
    }
}

/// A remaining time as one word: `59m`, `47h`, `4d`. `0m` if it is over, `unknown` if there is
/// none.
pub fn remaining_text(remaining_ms: Option<i64>) -> String {
    match remaining_ms {
        None => "unknown".to_owned(),
        Some(..=0) => "0m".to_owned(),
        Some(left) => rounded(rounded_minutes(left).max(1)),
    }
}

/// The time from `now` until `end` as one word. `soon` if it is less than half a minute.
pub fn until_text(end: Timestamp, now: Timestamp) -> String {
    match rounded_minutes(end.0.saturating_sub(now.0).max(0)) {
        0 => "soon".to_owned(),
        minutes => rounded(minutes),
    }
}

fn rounded_minutes(milliseconds: i64) -> i64 {
    milliseconds.saturating_add(30_000) / 60_000
}

fn rounded(minutes: i64) -> String {
    let hours = minutes.saturating_add(30) / 60;
    let days = hours.saturating_add(12) / 24;
    match (minutes, hours) {
        (..60, _) => format!("{minutes}m"),
        (_, ..48) => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

fn milliseconds(duration: Duration) -> i128 {
    duration.as_millis().try_into().unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use auth_store::Document;
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_769_644_800_000;
    const HOUR: i64 = 3_600_000;

    #[track_caller]
    fn check(profiles: &serde_json::Value, profile: &str, of_profile: Status, of_provider: Status) {
        let store = json!({ "profiles": profiles }).to_string();
        let store = Document::parse(store.as_bytes()).unwrap();
        let profiles: Vec<_> = store.profiles().collect();
        let health = health(&profiles, &Config::default(), None, WARN_AFTER, Timestamp(NOW));
        let found = health.profiles.iter().find(|it| it.profile_id.as_str() == profile).unwrap();
        assert_eq!(found.status, of_profile);
        assert_eq!(health.providers[0].status, of_provider);
    }

    #[test]
    fn a_provider_is_as_well_as_the_worst_of_its_credentials_that_can_end() {
        let key = json!({ "type": "api_key", "provider": "acme", "key": "k" });
        let login = |expires: i64| json!({ "type": "oauth", "provider": "acme", "access": "a", "refresh": "r", "expires": expires });
        check(&json!({ "key": key }), "key", Status::Static, Status::Static);
        let late = json!({ "key": key, "a": login(NOW + 25 * HOUR) });
        check(&late, "a", Status::Ok, Status::Ok);
        let soon = json!({ "a": login(NOW + 25 * HOUR), "b": login(NOW + 24 * HOUR) });
        check(&soon, "b", Status::Expiring, Status::Expiring);
        let over = json!({ "a": login(NOW), "b": login(NOW + 1) });
        check(&over, "a", Status::Expired, Status::Expired);
        check(&json!({ "a": login(0) }), "a", Status::Missing, Status::Expired);
    }

    #[test]
    fn a_wanted_provider_without_a_profile_is_missing() {
        let health = health(&[], &Config::default(), Some(&[" x "]), WARN_AFTER, Timestamp(NOW));
        assert_eq!(
            (&*health.providers[0].provider, health.providers[0].status),
            ("x", Status::Missing)
        );
    }

    #[test]
    fn times_are_told_in_one_word() {
        for (minutes, text) in
            [(-1, "0m"), (1, "1m"), (59, "59m"), (60, "1h"), (2_849, "47h"), (2_850, "2d")]
        {
            assert_eq!(remaining_text(Some(minutes * 60_000)), text);
        }
        assert_eq!(remaining_text(Some(1)), "1m");
        assert_eq!(remaining_text(None), "unknown");
        assert_eq!(until_text(Timestamp(29_999), Timestamp(0)), "soon");
        assert_eq!(until_text(Timestamp(i64::MAX), Timestamp(i64::MIN)), "106751991167d");
    }
}
