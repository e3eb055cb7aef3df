//! An agent that also reads another agent's profiles: the combined view, and the owner of each
//! profile.

use std::collections::BTreeSet;

use crate::document::Document;
use crate::document::credential::{Credential, Profile};
use crate::id::ProfileId;

impl Document {
    /// The view of an agent that has this document and also reads the document of `owner`: its own
    /// profiles and the owner's, with the owner's usage. An order of its own takes precedence over
    /// the owner's. The view is read-only.
    #[must_use]
    pub fn reading_through(&self, owner: &Self) -> Self {
        let mut seen = self.clone();
        seen.drop_unusable();
        let mut providers = BTreeSet::new();
        let mut shared = BTreeSet::new();
        for profile in owner.profiles().filter(|profile| self.is_of_owner(&profile.id, owner)) {
            if let Some(raw) = owner.raw(&profile.id) {
                seen.put_raw(&profile.id, raw);
                seen.set_usage(&profile.id, &profile.usage);
            }
            providers.insert(profile.provider);
            shared.insert(profile.id);
        }
        // Each provider once, even if it has several profiles.
        for provider in &providers {
            if self.last_good(provider).is_none()
                && let Some(good) = owner.last_good(provider).filter(|good| shared.contains(good))
            {
                seen.set_last_good(provider, &good);
            }
            if self.order(provider).is_none()
                && let Some(order) = owner.order(provider)
            {
                seen.set_order(provider, Some(&order));
            }
        }
        seen
    }

    /// Whether the profile `id` in this view belongs to the owner: the owner has it, and the
    /// agent's own entry of that id is missing, unusable, or a clone, that is, of the same account.
    pub fn is_of_owner(&self, id: &ProfileId, owner: &Self) -> bool {
        let Some(shared) = owner.profile(id) else { return false };
        let Some(own) = self.profile(id) else { return true };
        let secrets = (self.credential(id), owner.credential(id));
        own.provider == shared.provider && is_clone((&own, &secrets.0), (&shared, &secrets.1))
    }
}

/// Whether two entries of one id belong to one account: by account id, else by e-mail address. A
/// key or a token without either is a clone if it is the same secret.
fn is_clone(own: (&Profile, &Option<Credential>), shared: (&Profile, &Option<Credential>)) -> bool {
    if own.0.kind != shared.0.kind {
        return false;
    }
    if let (Some(own), Some(shared)) = (&own.0.account_id, &shared.0.account_id) {
        return own == shared;
    }
    match (own.1, shared.1) {
        (Some(Credential::OAuth(_)), Some(Credential::OAuth(_))) => {
            match (&own.0.email, &shared.0.email) {
                (Some(own), Some(shared)) => own == shared,
                // Assume a clone, because Clawdbot cloned every profile.
                _ => true,
            }
        }
        (Some(own), Some(shared)) => own.bearer() == shared.bearer(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProviderId;

    fn document(text: &str) -> Document {
        Document::parse(text.as_bytes()).unwrap()
    }

    fn login(account: &str, access: &str) -> String {
        format!(r#"{{"type":"oauth","provider":"p","access":"{access}","refresh":"r"{account}}}"#)
    }

    #[test]
    fn the_owners_profiles_are_seen_with_their_usage_and_order() {
        let own = document(r#"{"profiles":{"q:a":{"type":"api_key","provider":"q","key":"k"}}}"#);
        let owner = document(&format!(
            r#"{{"profiles":{{"p:a":{0},"p:b":{0}}},"order":{{"p":["p:b","p:a"]}},
                "lastGood":{{"p":"p:a"}},"usageStats":{{"p:a":{{"lastUsed":5}}}}}}"#,
            login("", "a")
        ));
        let seen = own.reading_through(&owner);
        let ids: Vec<_> = seen.profiles().map(|it| it.id.to_string()).collect();
        assert_eq!(ids, ["q:a", "p:a", "p:b"]);
        assert_eq!(seen.usage(&"p:a".into()), owner.usage(&"p:a".into()));
        let provider = ProviderId::new("p");
        assert_eq!(seen.order(&provider), owner.order(&provider));
        assert_eq!(seen.last_good(&provider), Some("p:a".into()));
    }

    #[test]
    fn an_order_of_its_own_goes_before_the_owners() {
        let own = document(r#"{"profiles":{},"order":{"p":["p:a"]}}"#);
        let owner = document(&format!(
            r#"{{"profiles":{{"p:a":{0},"p:b":{0}}},"order":{{"p":["p:b"]}}}}"#,
            login("", "a")
        ));
        let seen = own.reading_through(&owner);
        assert_eq!(seen.order(&ProviderId::new("p")), Some(vec!["p:a".into()]));
    }

    #[test]
    fn a_clone_is_the_owners_and_another_account_is_not() {
        let check = |own: &str, shared: &str| {
            let of = |entry: &str| document(&format!(r#"{{"profiles":{{"p:a":{entry}}}}}"#));
            let (own, owner) = (of(own), of(shared));
            let seen = own.reading_through(&owner).credential(&"p:a".into()).unwrap();
            let is_shared = own.is_of_owner(&"p:a".into(), &owner);
            let expected = if is_shared { &owner } else { &own };
            assert!(seen.bearer() == expected.credential(&"p:a".into()).unwrap().bearer());
            is_shared
        };
        let account = |id: &str| format!(r#","accountId":"{id}""#);
        let email = |address: &str| format!(r#","email":"{address}""#);
        assert!(check(&login(&account("1"), "old"), &login(&account("1"), "new")));
        assert!(!check(&login(&account("1"), "old"), &login(&account("2"), "new")));
        assert!(check(&login("", "old"), &login(&account("2"), "new")));
        assert!(!check(&login(&email("a@b"), "old"), &login(&email("c@d"), "new")));
        let key = |key: &str| format!(r#"{{"type":"api_key","provider":"p","key":"{key}"}}"#);
        assert!(check(&key("same"), &key("same")));
        assert!(!check(&key("own"), &key("shared")));
        assert!(!check(&key("own"), &login("", "new")));
        let malformed = r#"{"type":"oauth"}"#;
        assert!(check(malformed, &login("", "new")));
    }
}
