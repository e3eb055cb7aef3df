//! The effect of a `/model` directive on a session.
//!
//! A runtime with its own sessions uses the parser like this; `clawdbot sessions model` does the
//! same with `sessions.json`:
//!
//! ```
//! use auth_routing::session::choice::{Meanings, choose};
//! use auth_routing::session::selector::{Aliases, ModelRef, directive};
//! use auth_routing::session::{self, Entry};
//! use auth_routing::{Pin, Timestamp};
//! use auth_store::{Document, ProviderId};
//! use serde_json::json;
//!
//! let config = json!({ "agents": { "defaults": { "models": {
//!     "anthropic/claude-opus-4-5": { "alias": "Opus" },
//! } } } });
//! let store = Document::parse(br#"{"version": 1, "profiles": {
//!     "anthropic:me+work@example.com": {"type": "token", "provider": "anthropic", "token": "t"}
//! }}"#).map_err(|error| error.to_string())?;
//! let default_provider = ProviderId::new("openai");
//! let aliases = Aliases::from_json(&config, &default_provider);
//! let meanings = Meanings {
//!     aliases: &aliases,
//!     default_model: &ModelRef::parse("openai/gpt-5", &default_provider).ok_or("no model")?,
//!     profiles: &store.profiles().collect::<Vec<_>>(),
//! };
//!
//! let message = "please /model Opus@anthropic:me+work@example.com look at this";
//! let found = directive(message, &aliases.names()).ok_or("no directive")?;
//! assert_eq!(found.rest, "please look at this");
//!
//! let mut entry = Entry::new();
//! if let Some(selector) = &found.selector {
//!     entry = choose(selector, &entry, &meanings)?.apply(&entry, Timestamp(1));
//! }
//! let model = session::model(&entry, meanings.default_model);
//! assert_eq!(model.to_string(), "anthropic/claude-opus-4-5");
//! let work = "anthropic:me+work@example.com".into();
//! assert_eq!(session::pin(&entry), Some(Pin::Require(work)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use auth_store::{Profile, ProfileId, Timestamp};

use crate::session::selector::{Aliases, ModelRef, ProfileError, Selector, profile_override};
use crate::session::{self, Entry};

/// The possible meanings of a directive.
#[derive(Clone, Copy, Debug)]
pub struct Meanings<'a> {
    /// The user's aliases for models.
    pub aliases: &'a Aliases,
    /// The model of a session without a choice. A bare model name belongs to its provider.
    pub default_model: &'a ModelRef,
    /// The agent's profiles.
    pub profiles: &'a [Profile],
}

/// The user's choice for a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Choice {
    /// The model. `None`: the default model at the time of use.
    pub model: Option<ModelRef>,
    /// The profile. `None`: routing chooses.
    pub profile: Option<ProfileId>,
}

/// Why a directive cannot be followed. The session stays unchanged. Show the error to the user.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ChoiceError {
    /// The text before the `@` is not a model.
    #[error("`{0}` names no model")]
    NoModel(String),
    /// The profile cannot be used with the model.
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

/// The choice of `selector` in the session `entry`: a model by alias, by `provider/model`, or by
/// its bare name; `default`; or, with a profile alone, the current model of the session.
///
/// # Errors
/// The model is empty, the profile does not exist, or it belongs to another provider.
pub fn choose(
    selector: &Selector,
    entry: &Entry,
    meanings: &Meanings<'_>,
) -> Result<Choice, ChoiceError> {
    let default = meanings.default_model;
    let model = match selector.model.as_str() {
        "" => session::model(entry, default),
        text if text.eq_ignore_ascii_case("default") => default.clone(),
        text => {
            let found = meanings.aliases.resolve(text, &default.provider);
            found.ok_or_else(|| ChoiceError::NoModel(text.to_owned()))?.0
        }
    };
    let profile = match &selector.profile {
        Some(text) => profile_override(text, meanings.profiles, model.provider.as_str())?,
        None => None,
    };
    Ok(Choice { model: (model != *default).then_some(model), profile })
}

impl Choice {
    /// The entry with this choice. It is the user's choice, so the profile stays for the whole
    /// session.
    #[must_use]
    pub fn apply(&self, entry: &Entry, now: Timestamp) -> Entry {
        let mut entry = session::unpinned(entry, now);
        if let Some(model) = &self.model {
            entry.insert(session::PROVIDER.to_owned(), model.provider.as_str().into());
            entry.insert(session::MODEL.to_owned(), model.model.as_str().into());
        } else {
            entry.shift_remove(session::PROVIDER);
            entry.shift_remove(session::MODEL);
        }
        if let Some(profile) = &self.profile {
            entry.insert(session::PROFILE.to_owned(), profile.as_str().into());
            entry.insert(session::SOURCE.to_owned(), "user".into());
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use auth_store::{Document, ProviderId};
    use serde_json::{Value, json};

    use super::*;

    fn check(text: &str, entry: &Value) -> Result<Value, String> {
        let key = |provider: &str| json!({ "type": "api_key", "provider": provider, "key": "k" });
        let store = json!({ "profiles": { "a.b+c@d:1": key("acme"), "zai:x": key("Z.AI") } });
        let store = Document::parse(store.to_string().as_bytes()).unwrap();
        let config = json!({ "agents": { "defaults": { "models": {
            "acme/big-1": { "alias": "Big" },
        } } } });
        let provider = ProviderId::new("acme");
        let meanings = Meanings {
            aliases: &Aliases::from_json(&config, &provider),
            default_model: &ModelRef { provider, model: "small".into() },
            profiles: &store.profiles().collect::<Vec<_>>(),
        };
        let entry = entry.as_object().unwrap();
        let choice = choose(&Selector::parse(text), entry, &meanings);
        let choice = choice.map_err(|error| error.to_string())?;
        let mut entry = choice.apply(entry, Timestamp(7));
        entry.shift_remove("updatedAt");
        Ok(entry.into())
    }

    #[test]
    fn a_choice_is_written_into_the_session_and_nothing_else_is_touched() {
        let before = json!({ "sessionId": "s", "x": [1], "authProfileOverride": "old",
            "authProfileOverrideSource": "auto", "authProfileOverrideCompactionCount": 2 });
        let after = json!({ "sessionId": "s", "x": [1], "providerOverride": "acme",
            "modelOverride": "big-1", "authProfileOverride": "a.b+c@d:1",
            "authProfileOverrideSource": "user" });
        assert_eq!(check("bIG@a.b+c@d:1", &before), Ok(after.clone()));
        let back = json!({ "sessionId": "s", "x": [1] });
        assert_eq!(check("default", &after), Ok(back.clone()));
        assert_eq!(check("acme/small", &after), Ok(back));
    }

    #[test]
    fn a_profile_alone_keeps_the_model_of_the_session() {
        let entry = json!({ "providerOverride": "zai", "modelOverride": "glm" });
        let pinned = json!({ "providerOverride": "zai", "modelOverride": "glm",
            "authProfileOverride": "zai:x", "authProfileOverrideSource": "user" });
        assert_eq!(check("@zai:x", &entry), Ok(pinned));
        let pinned =
            json!({ "authProfileOverride": "a.b+c@d:1", "authProfileOverrideSource": "user" });
        assert_eq!(check("@a.b+c@d:1", &json!({})), Ok(pinned));
    }

    #[test]
    fn what_cannot_be_followed_is_an_error() {
        let error = |text| check(text, &json!({})).unwrap_err();
        assert_eq!(error("acme/"), "`acme/` names no model");
        assert_eq!(error("big@gone"), "Auth profile \"gone\" not found.");
        assert_eq!(error("big@zai:x"), "Auth profile \"zai:x\" is for Z.AI, not acme.");
    }
}
