//! Repairs config entries that still name a login by its old id, `provider:default`.

use auth_store::{Kind, Profile, ProfileId, ProviderId, trim};
use serde_json::Value;

/// A repair of the config: the renaming, and the resulting config.
#[derive(Clone, Debug, PartialEq)]
pub struct Repair {
    /// The old id.
    pub from: ProfileId,
    /// The stored login that replaces it.
    pub to: ProfileId,
    /// The config with the new id in `auth.profiles` and in the provider's `auth.order`.
    pub config: Value,
}

impl Repair {
    /// The changes, for display.
    pub fn summary(&self) -> String {
        format!("Auth: migrate {} → {} (OAuth profile id)", self.from, self.to)
    }
}

/// The id that an old config uses for the login of `provider`.
pub fn legacy_id(provider: &ProviderId) -> ProfileId {
    ProfileId::new(format!("{provider}:default"))
}

/// The stored login that `legacy` (an id that ends in `:default`) most likely refers to: the one
/// with the configured e-mail address, the one that last worked, the only other one, or the only
/// other one with an e-mail address in its id.
pub fn suggestion(
    config: &Value,
    profiles: &[Profile],
    last_good: Option<&ProfileId>,
    provider: &ProviderId,
    legacy: &ProfileId,
) -> Option<ProfileId> {
    if suffix(legacy) != "default" {
        return None;
    }
    let entry = &config["auth"]["profiles"][legacy.as_str()];
    let is_of_provider = entry["provider"].as_str().map(ProviderId::new).as_ref() == Some(provider);
    if is_of_provider && entry["mode"] != "oauth" {
        return None;
    }
    let logins: Vec<&Profile> = profiles
        .iter()
        .filter(|profile| profile.provider == *provider && profile.kind == Kind::OAuth)
        .collect();

    let email = entry["email"].as_str().map(trim).filter(|email| !email.is_empty());
    if let Some(email) = email {
        let id = format!("{provider}:{email}");
        let is_it = |login: &&&Profile| {
            login.email.as_deref().map(trim) == Some(email) || login.id.as_str() == id
        };
        if let Some(login) = logins.iter().find(is_it) {
            return Some(login.id.clone());
        }
    }
    if let Some(login) = logins.iter().find(|login| Some(&login.id) == last_good) {
        return Some(login.id.clone());
    }
    let others = || logins.iter().map(|login| &login.id).filter(|id| *id != legacy);
    let with_email = || others().filter(|id| suffix(id).contains('@') && suffix(id).contains('.'));
    only(others()).or_else(|| only(with_email())).cloned()
}

/// Replaces the old id in `config`, if it is an OAuth login of `provider` there and the
/// [`suggestion`] is another one. `None`: there is nothing to fix.
pub fn repair(
    config: &Value,
    profiles: &[Profile],
    last_good: Option<&ProfileId>,
    provider: &ProviderId,
    legacy: &ProfileId,
) -> Option<Repair> {
    let entry = config["auth"]["profiles"].get(legacy.as_str())?;
    if entry["mode"] != "oauth" || ProviderId::new(entry["provider"].as_str()?) != *provider {
        return None;
    }
    let to = suggestion(config, profiles, last_good, provider, legacy)?;
    if to == *legacy {
        return None;
    }

    let mut entry = entry.clone();
    let login = profiles.iter().find(|profile| profile.id == to);
    let email = login.and_then(|login| login.email.as_deref()).map(trim);
    if let Some(email) = email.filter(|email| !email.is_empty()) {
        entry["email"] = email.into();
    }
    let mut config = config.clone();
    let declared = config["auth"]["profiles"].as_object_mut()?;
    declared.shift_remove(legacy.as_str());
    declared.insert(to.as_str().to_owned(), entry);
    if let Some(orders) = config["auth"].get_mut("order").and_then(Value::as_object_mut)
        && let Some((_, order)) =
            orders.iter_mut().find(|(name, _)| ProviderId::new(name) == *provider)
        && let Some(ids) = order.as_array_mut()
    {
        let mut renamed: Vec<Value> = Vec::new();
        for id in ids.iter().filter_map(Value::as_str).filter(|id| !trim(id).is_empty()) {
            let id = if id == legacy.as_str() { to.as_str() } else { id };
            if !renamed.iter().any(|known| known == id) {
                renamed.push(id.into());
            }
        }
        *ids = renamed;
    }
    Some(Repair { from: legacy.clone(), to, config })
}

/// The part after the first colon of the id.
fn suffix(id: &ProfileId) -> &str {
    id.as_str().split_once(':').map_or("", |(_, suffix)| suffix)
}

fn only<'a>(mut ids: impl Iterator<Item = &'a ProfileId>) -> Option<&'a ProfileId> {
    ids.next().filter(|_| ids.next().is_none())
}

#[cfg(test)]
mod tests {
    use auth_store::Document;
    use serde_json::json;

    use super::*;

    fn check(config: &Value, logins: &[&str]) -> Option<Repair> {
        let entry =
            json!({ "type": "oauth", "provider": "acme", "refresh": "r", "email": " me@x.y " });
        let profiles: serde_json::Map<_, _> =
            logins.iter().map(|id| ((*id).to_owned(), entry.clone())).collect();
        let store = json!({ "profiles": profiles }).to_string();
        let profiles: Vec<_> = Document::parse(store.as_bytes()).unwrap().profiles().collect();
        let provider = ProviderId::new("acme");
        repair(config, &profiles, None, &provider, &legacy_id(&provider))
    }

    #[test]
    fn the_old_id_is_replaced_by_the_only_other_login_wherever_it_is() {
        let config = json!({ "x": 1, "auth": {
            "profiles": { "acme:default": { "provider": "ACME", "mode": "oauth" } },
            "order": { "Acme": ["acme:default", "", "acme:me@x.y", "b"], "other": ["acme:default"] },
        } });
        let repaired = check(&config, &["acme:default", "acme:me@x.y"]).unwrap();
        assert_eq!(
            repaired.summary(),
            "Auth: migrate acme:default → acme:me@x.y (OAuth profile id)"
        );
        assert_eq!(
            repaired.config,
            json!({ "x": 1, "auth": {
            "profiles": {
                "acme:me@x.y": { "provider": "ACME", "mode": "oauth", "email": "me@x.y" },
            },
            "order": { "Acme": ["acme:me@x.y", "b"], "other": ["acme:default"] },
        } })
        );
    }

    #[test]
    fn nothing_is_repaired_where_it_is_not_clear_what_is_meant() {
        let mut config = json!({ "auth": { "profiles": {
            "acme:default": { "provider": "acme", "mode": "oauth" },
        } } });
        assert_eq!(check(&config, &[]), None);
        assert_eq!(check(&config, &["acme:default"]), None);
        assert_eq!(check(&config, &["acme:a@x.y", "acme:b@x.y"]), None);
        config["auth"]["profiles"]["acme:default"]["mode"] = json!("token");
        assert_eq!(check(&config, &["acme:a@x.y"]), None);
    }
}
