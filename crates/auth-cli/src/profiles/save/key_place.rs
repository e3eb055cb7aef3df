//! Chooses the profile for a key or token if one is stored already. A second key never replaces the
//! first automatically: it gets a name of its own, as a second login does.

use auth_store::{Credential, Document, ProfileId, ProviderId};

use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::prompt;

/// The wanted profile, and what to do if it has other content.
#[derive(Clone, Debug)]
pub(crate) struct KeyPlace {
    /// The profile.
    pub(crate) id: ProfileId,
    /// What to do if it is taken.
    pub(crate) taken: Taken,
}

/// What to do if a profile has other content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Taken {
    /// The user named the profile, so it is an error.
    Refuse,
    /// Use the next free name.
    Beside,
    /// Replace it, because the user asked for that.
    Replace,
}

/// The decision about a credential.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Decision {
    /// Save it as `id`, because `beside` has other content.
    Save { id: ProfileId, beside: Option<ProfileId> },
    /// This profile has the credential already.
    Same(ProfileId),
    /// The named profile has other content.
    Refused,
}

impl KeyPlace {
    /// The profile `requested`, else `usual`.
    ///
    /// # Errors
    /// The name is empty.
    pub(crate) fn for_key(
        requested: Option<&str>,
        usual: ProfileId,
        force: bool,
    ) -> Result<Self, CliError> {
        let taken = match (force, requested) {
            (true, _) => Taken::Replace,
            (false, Some(_)) => Taken::Refuse,
            (false, None) => Taken::Beside,
        };
        match requested {
            Some(id) if id.trim().is_empty() => Err(CliError::usage("the profile has no name")),
            Some(id) => Ok(Self { id: ProfileId::new(id), taken }),
            None => Ok(Self { id: usual, taken }),
        }
    }

    /// The profile for `credential` among the profiles of `document`.
    pub(crate) fn decide(
        &self,
        provider: &ProviderId,
        credential: &Credential,
        document: &Document,
    ) -> Decision {
        let holds_it = |id: &ProfileId| {
            let is_of_provider = document.profile(id).is_some_and(|it| it.provider == *provider);
            let stored = document.credential(id).filter(|_| is_of_provider);
            stored.is_some_and(|stored| is_same(&stored, credential))
        };
        if holds_it(&self.id) {
            return Decision::Same(self.id.clone());
        }
        let is_free = !document.contains(&self.id);
        match self.taken {
            Taken::Replace => Decision::Save { id: self.id.clone(), beside: None },
            Taken::Refuse if is_free => Decision::Save { id: self.id.clone(), beside: None },
            Taken::Refuse => Decision::Refused,
            Taken::Beside => {
                let mut ids = document.profiles().map(|profile| profile.id);
                match ids.find(holds_it) {
                    Some(id) => Decision::Same(id),
                    None if is_free => Decision::Save { id: self.id.clone(), beside: None },
                    None => Decision::Save {
                        id: next_free(&self.id, document),
                        beside: Some(self.id.clone()),
                    },
                }
            }
        }
    }
}

/// Whether two credentials are the same: the same secret, or the same place of one.
pub(crate) fn is_same(one: &Credential, other: &Credential) -> bool {
    let is_equal = |one: &auth_store::Secret, other: &auth_store::Secret| {
        auth_store::trim(one.expose()) == auth_store::trim(other.expose())
    };
    match (one, other) {
        (Credential::Reference(one), Credential::Reference(other)) => one == other,
        (Credential::ApiKey(one), Credential::ApiKey(other)) => is_equal(one, other),
        (Credential::Token { token: one, .. }, Credential::Token { token: other, .. }) => {
            is_equal(one, other)
        }
        (Credential::OAuth(one), Credential::OAuth(other)) => {
            let has_refresh = !one.refresh.is_blank();
            is_equal(&one.refresh, &other.refresh)
                && (has_refresh || is_equal(&one.access, &other.access))
        }
        _ => false,
    }
}

/// The name of an additional profile beside `id`.
pub(crate) fn next_free(id: &ProfileId, document: &Document) -> ProfileId {
    let mut numbered = (2..).map(|number| ProfileId::new(format!("{}-{number}", id.as_str())));
    // Always found: there are more numbers than profiles.
    numbered.find(|id| !document.contains(id)).unwrap_or_else(|| id.clone())
}

/// The content of a profile, in words for a message.
pub(crate) fn holding(id: &ProfileId, credential: &Credential, document: &Document) -> String {
    let kind = document.profile(id).map(|profile| profile.kind);
    match kind {
        Some(kind) if kind != credential.kind() => {
            format!("`{id}` is a profile of type `{}`", kind.as_str())
        }
        Some(auth_store::Kind::ApiKey) => format!("`{id}` holds another key"),
        Some(auth_store::Kind::Token) => format!("`{id}` holds another token"),
        Some(auth_store::Kind::OAuth) => format!("`{id}` holds another login"),
        None => format!("`{id}` is an entry that this program does not understand"),
    }
}

/// Asks whether to replace a profile, or to store the new one beside it. `true`: replace.
pub(crate) fn ask(held: &str, free: &ProfileId, context: &Context) -> Result<bool, CliError> {
    context.say(format_args!("{held}."));
    context.say(format_args!("  1  Keep that, and store this one beside it as `{free}`"));
    context.say("  2  Replace it");
    Ok(prompt::number(2, context)? == 1)
}

#[cfg(test)]
mod tests {
    use auth_store::KeyReference;
    use serde_json::Map;

    use super::*;

    fn key(text: &str) -> Credential {
        Credential::ApiKey(text.into())
    }

    fn with(profiles: &[(&str, &str, Credential)]) -> Document {
        let mut document = Document::empty();
        for (id, provider, credential) in profiles {
            document.put(&(*id).into(), provider, credential, &Map::new());
        }
        document
    }

    #[track_caller]
    fn check(requested: Option<&str>, force: bool, document: &Document, wanted: &str) {
        let place = KeyPlace::for_key(requested, "acme:default".into(), force).unwrap();
        let decision = place.decide(&ProviderId::new("acme"), &key("new"), document);
        let text = match decision {
            Decision::Save { id, beside: None } => format!("save {id}"),
            Decision::Save { id, beside: Some(other) } => format!("save {id} beside {other}"),
            Decision::Same(id) => format!("same {id}"),
            Decision::Refused => "refused".to_owned(),
        };
        assert_eq!(text, wanted);
    }

    #[test]
    fn a_second_key_takes_the_next_free_name_unless_it_is_forced_or_named() {
        check(None, false, &Document::empty(), "save acme:default");
        let one = with(&[("acme:default", "acme", key("old"))]);
        check(None, false, &one, "save acme:default-2 beside acme:default");
        check(None, true, &one, "save acme:default");
        check(Some("acme:default"), false, &one, "refused");
        check(Some("acme:default"), true, &one, "save acme:default");
        check(Some("acme:work"), false, &one, "save acme:work");
        let two = with(&[("acme:default", "acme", key("a")), ("acme:default-2", "acme", key("b"))]);
        check(None, false, &two, "save acme:default-3 beside acme:default");
    }

    #[test]
    fn the_same_key_is_not_stored_twice() {
        let same = with(&[("acme:default", "acme", key(" new\n"))]);
        check(None, false, &same, "same acme:default");
        check(None, true, &same, "same acme:default");
        check(Some("acme:default"), false, &same, "same acme:default");
        let elsewhere =
            with(&[("acme:default", "acme", key("a")), ("acme:work", "acme", key("new"))]);
        check(None, false, &elsewhere, "same acme:work");
        check(Some("acme:third"), false, &elsewhere, "save acme:third");
        // A key of another provider is a different key, even with the same text.
        let other = with(&[("acme:default", "other", key("new"))]);
        check(None, false, &other, "save acme:default-2 beside acme:default");
    }

    #[test]
    fn a_place_of_a_key_is_not_the_key_and_a_token_is_no_key() {
        let reference = || Credential::Reference(KeyReference::Env { id: "A".to_owned() });
        let token = |text: &str| Credential::Token { token: text.into(), expires: None };
        assert!(is_same(&reference(), &reference()) && is_same(&token("t"), &token("t ")));
        assert!(!is_same(&reference(), &key("A")) && !is_same(&token("k"), &key("k")));
    }
}
