//! The text that selects a model and a profile: `/model Opus@anthropic:work`.

use std::fmt;
use std::ops::Range;

use auth_store::{Profile, ProfileId, ProviderId, is_white_space, trim};
use serde_json::Value;

/// A `/model` directive, extracted from a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Directive {
    /// The selected model and profile. `None` if the directive has no argument.
    pub selector: Option<Selector>,
    /// Its byte range in the message, including the white space before it.
    pub range: Range<usize>,
    /// The message without it, with white space collapsed.
    pub rest: String,
}

/// A model or alias, and the profile to use it with: `model` or `model@profile`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Selector {
    /// The model as written. It may be empty (`@profile`).
    pub model: String,
    /// The profile as written.
    pub profile: Option<String>,
}

impl Selector {
    /// Splits `text` at its first `@`. A profile id may contain more of them.
    pub fn parse(text: &str) -> Self {
        match text.split_once('@') {
            None => Self { model: trim(text).to_owned(), profile: None },
            Some((model, profile)) => {
                let profile = trim(profile);
                Self {
                    model: trim(model).to_owned(),
                    profile: (!profile.is_empty()).then(|| profile.to_owned()),
                }
            }
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.model)?;
        match &self.profile {
            Some(profile) => write!(formatter, "@{profile}"),
            None => Ok(()),
        }
    }
}

/// Finds the first `/model` in `message`, or, if there is none, the first `/alias`.
///
/// The directive starts the message or follows white space, in any letter case, and may have a
/// colon after it. A profile id runs to the next white space.
pub fn directive(message: &str, aliases: &[&str]) -> Option<Directive> {
    let model = find(message, |rest| word(rest, "model")).map(|(start, word_end)| {
        let argument = word_end + colon(&message[word_end..]);
        let end = argument + selector_length(&message[argument..]);
        let selector = (end > argument).then(|| Selector::parse(&message[argument..end]));
        (start, end, selector)
    });
    let (start, end, selector) = model.or_else(|| {
        let aliases: Vec<_> =
            aliases.iter().map(|alias| trim(alias)).filter(|alias| !alias.is_empty()).collect();
        let one = |rest: &str| aliases.iter().find_map(|alias| word(rest, alias));
        let (start, word_end) = find(message, one)?;
        let slash = start + message[start..].find('/')?;
        let selector = Selector::parse(&message[slash + 1..word_end]);
        let rest = &message[word_end..];
        let after = if trim_start(rest).starts_with(':') { colon(rest) } else { 0 };
        Some((start, word_end + after, Some(selector)))
    })?;
    let rest = format!("{} {}", &message[..start], &message[end..]);
    Some(Directive { selector, range: start..end, rest: collapse(&rest) })
}

/// The first `/` at the start or after white space that is followed by a name accepted by `name`.
/// Returns the start of the directive (with that white space) and the end of its name.
fn find(message: &str, name: impl Fn(&str) -> Option<usize>) -> Option<(usize, usize)> {
    message.match_indices('/').find_map(|(slash, _)| {
        let start = match message[..slash].chars().next_back() {
            None => slash,
            Some(before) if is_white_space(before) => slash - before.len_utf8(),
            Some(_) => return None,
        };
        let length = name(&message[slash + 1..])?;
        Some((start, slash + 1 + length))
    })
}

/// The length of `name` at the start of `text`, ignoring letter case, if the word ends there.
fn word(text: &str, name: &str) -> Option<usize> {
    let mut rest = text.chars();
    for wanted in name.chars() {
        if fold(rest.next()?) != fold(wanted) {
            return None;
        }
    }
    let after = rest.as_str();
    let ends = after.chars().next().is_none_or(|next| next == ':' || is_white_space(next));
    ends.then_some(text.len() - after.len())
}

/// The length of white space, at most one colon, and white space.
fn colon(text: &str) -> usize {
    let after = trim_start(text);
    let after = trim_start(after.strip_prefix(':').unwrap_or(after));
    text.len() - after.len()
}

/// The length of `model[@profile]` at the start of `text`. A model has a limited set of characters,
/// and single slashes between its parts. A profile is any text without white space.
fn selector_length(text: &str) -> usize {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.:@-".contains(c);
    let mut end = text.find(|c| !is_plain(c)).unwrap_or(text.len());
    while end > 0
        && let Some(part) = text[end..].strip_prefix('/')
    {
        let length = part.find(|c| !is_plain(c)).unwrap_or(part.len());
        if length == 0 {
            break;
        }
        end += 1 + length;
    }
    if text[..end].contains('@') { text.find(is_white_space).unwrap_or(text.len()) } else { end }
}

/// A model of a provider.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ModelRef {
    /// The provider.
    pub provider: ProviderId,
    /// The model's name at the provider.
    pub model: String,
}

impl ModelRef {
    /// Reads `provider/model`, or a bare model of `default_provider`. `None` if a part is empty.
    pub fn parse(text: &str, default_provider: &ProviderId) -> Option<Self> {
        let text = trim(text);
        let (provider, model) = match text.split_once('/') {
            None => (default_provider.clone(), text),
            Some((provider, model)) => (ProviderId::new(provider), trim(model)),
        };
        let is_bare = !text.contains('/');
        if model.is_empty() || (provider.as_str().is_empty() && !is_bare) {
            return None;
        }
        let model = full_name(&provider, model).to_owned();
        Some(Self { provider, model })
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.provider, self.model)
    }
}

/// The user's aliases for models in `agents.defaults.models`.
#[derive(Clone, Debug, Default)]
pub struct Aliases(Vec<(String, ModelRef)>);

impl Aliases {
    /// Reads them from a parsed config. Entries without a usable alias are ignored.
    pub fn from_json(config: &Value, default_provider: &ProviderId) -> Self {
        let models = config["agents"]["defaults"]["models"].as_object().into_iter().flatten();
        Self(
            models
                .filter_map(|(model, entry)| {
                    let alias = trim(entry["alias"].as_str()?);
                    let model = ModelRef::parse(model, default_provider)?;
                    (!alias.is_empty()).then(|| (alias.to_owned(), model))
                })
                .collect(),
        )
    }

    /// The aliases, for [`directive`]: `/opus` is a directive if `Opus` is an alias.
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(alias, _)| alias.as_str()).collect()
    }

    /// The model that `text` names, and its alias if there was one: an alias in any letter case (of
    /// two equal ones the later counts), else `provider/model`, else a model of the default
    /// provider.
    pub fn resolve(
        &self,
        text: &str,
        default_provider: &ProviderId,
    ) -> Option<(ModelRef, Option<&str>)> {
        let wanted = trim(text).to_lowercase();
        let found = self.0.iter().rfind(|(alias, _)| alias.to_lowercase() == wanted);
        match found.filter(|_| !wanted.contains('/')) {
            Some((alias, model)) => Some((model.clone(), Some(alias))),
            None => Some((ModelRef::parse(text, default_provider)?, None)),
        }
    }
}

/// Why a selected profile cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProfileError {
    /// There is no profile with that id.
    #[error("Auth profile \"{0}\" not found.")]
    NotFound(ProfileId),
    /// It belongs to another provider.
    #[error("Auth profile \"{id}\" is for {stored}, not {wanted}.")]
    Foreign {
        /// The profile.
        id: ProfileId,
        /// Its provider, as written in the store.
        stored: String,
        /// The wanted provider, as written.
        wanted: String,
    },
}

/// The profile of `provider` named in a [`Selector`]. `None` if there is only white space. The
/// error messages are Clawdbot's.
pub fn profile_override(
    text: &str,
    profiles: &[Profile],
    provider: &str,
) -> Result<Option<ProfileId>, ProfileError> {
    let id = ProfileId::from(trim(text));
    if id.as_str().is_empty() {
        return Ok(None);
    }
    let Some(profile) = profiles.iter().find(|it| it.id == id) else {
        return Err(ProfileError::NotFound(id));
    };
    if profile.provider != ProviderId::new(provider) {
        let (stored, wanted) = (profile.provider_text.clone(), provider.to_owned());
        return Err(ProfileError::Foreign { id, stored, wanted });
    }
    Ok(Some(id))
}

/// The provider's full name of an abbreviated model.
fn full_name<'a>(provider: &ProviderId, model: &'a str) -> &'a str {
    match (provider.as_str(), model.to_lowercase().as_str()) {
        ("anthropic", "opus-4.5") => "claude-opus-4-5",
        ("anthropic", "sonnet-4.5") => "claude-sonnet-4-5",
        ("google", _) if model == "gemini-3-pro" => "gemini-3-pro-preview",
        ("google", _) if model == "gemini-3-flash" => "gemini-3-flash-preview",
        _ => model,
    }
}

fn trim_start(text: &str) -> &str {
    text.trim_start_matches(is_white_space)
}

/// The words of `text`, separated by single spaces.
pub fn collapse(text: &str) -> String {
    text.split(is_white_space).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Folds `c` as a regular expression with the flag `i` does (ECMA-262 §22.2.2.7.3).
fn fold(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) if c as u32 <= 0xffff && (c.is_ascii() || !one.is_ascii()) => one,
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(message: &str, model: Option<&str>, profile: Option<&str>, rest: &str) {
        let found = directive(message, &[" Opus ", "", "gpt-5"]).unwrap();
        assert_eq!(found.selector.as_ref().map(|it| it.model.as_str()), model);
        assert_eq!(found.selector.and_then(|it| it.profile).as_deref(), profile);
        assert_eq!(found.rest, rest);
    }

    #[test]
    fn a_directive_names_a_model_and_a_profile_whose_id_may_be_an_address() {
        check("hi /model Opus@anthropic:work you", Some("Opus"), Some("anthropic:work"), "hi you");
        let id = "openai:José+x@é.fr";
        check(&format!("/MODEL: openai/gpt-5@{id}\nok"), Some("openai/gpt-5"), Some(id), "ok");
        check("/model @work", Some(""), Some("work"), "");
        check("a  /model", None, None, "a");
    }

    #[test]
    fn exactly_the_directive_is_removed() {
        check("/modelx a /model b", Some("b"), None, "/modelx a");
    }

    #[test]
    fn an_alias_is_a_directive_if_there_is_no_other() {
        check("please /OPUS: now", Some("OPUS"), None, "please now");
        check("/opus /model gpt", Some("gpt"), None, "/opus");
    }

    #[test]
    fn what_only_looks_like_a_directive_is_none() {
        for message in ["", "a/model b", "/models", "http://x/model", "/opusx", "/gpt-55"] {
            assert_eq!(directive(message, &["opus", "gpt-5"]), None, "{message}");
        }
    }

    #[test]
    fn a_model_is_an_alias_or_belongs_to_a_provider() {
        let config = json!({ "agents": { "defaults": { "models": {
            "anthropic/claude-opus-4-5": { "alias": "Opus" },
            "bare": { "alias": " short " },
        } } } });
        let default_provider = ProviderId::new("openai");
        let aliases = Aliases::from_json(&config, &default_provider);
        let resolve =
            |text| aliases.resolve(text, &default_provider).map(|(model, _)| model.to_string());
        assert_eq!(resolve("opus").as_deref(), Some("anthropic/claude-opus-4-5"));
        assert_eq!(resolve("SHORT").as_deref(), Some("openai/bare"));
        assert_eq!(resolve("Z.AI/a/b").as_deref(), Some("zai/a/b"));
        assert_eq!(resolve("anthropic/opus-4.5").as_deref(), Some("anthropic/claude-opus-4-5"));
        for nothing in ["", " / ", "x/", "/x"] {
            assert_eq!(resolve(nothing), None, "{nothing}");
        }
    }

    proptest! {
        #[test]
        fn a_printed_selector_is_read_as_what_it_was(
            model in "[a-z0-9][a-z0-9.:_-]{0,8}(/[a-z0-9.]{1,5}){0,2}",
            profile in prop::option::of("[a-z0-9:@+./é-]{1,12}"),
        ) {
            let selector = Selector { model, profile };
            prop_assert_eq!(&Selector::parse(&selector.to_string()), &selector);
            let found = directive(&format!("a /model {selector} b"), &[]).unwrap();
            prop_assert_eq!(found.selector, Some(selector));
            prop_assert_eq!(found.rest, "a b");
        }

        #[test]
        fn no_message_panics(message in any::<String>(), alias in any::<String>()) {
            if let Some(found) = directive(&message, &[&alias]) {
                prop_assert!(message.get(found.range).is_some());
            }
        }
    }
}
