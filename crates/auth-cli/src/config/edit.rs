//! Changes to the config that preserve its comments and its layout.
//!
//! This finds the file that holds a key (`$include`), changes its text (`splice`), and reads
//! everything again with another parser. The change is written only if that gives exactly the
//! intended value. Clawdbot writes the file without a lock, so the bytes are compared once more
//! just before the write. If the edit is not possible or its position is ambiguous, nothing is
//! written and the user gets the lines to paste.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use auth_store::{Kind, ProfileId, ProviderId, StoreError};
use serde_json::{Map, Value, json};

use crate::config::change::{apply, due, snippet};
use crate::config::include::{read_text, resolved};
use crate::config::json5::{Key, Step};
use crate::config::locate::{Part, Unclear};
use crate::config::splice::{Action, nested, spliced};
use crate::host::error::{CliError, Exit};

pub use crate::config::change::Change;

/// The text of one file with `value` at `names`; `None` if the position is ambiguous.
#[doc(hidden)]
pub fn edited_text(text: &str, names: &[&str], value: Option<&Value>) -> Option<String> {
    let path: Vec<Step> = names.iter().map(|name| Step::from(*name)).collect();
    let action = value.map_or(Action::Remove, |value| Action::Set(value.clone()));
    spliced(text, &path, &action)
}

/// Adds the profile to `auth.profiles`, and appends it to the provider's `auth.order`, if there is
/// a config: without one, every stored profile is used anyway. Returns whether the file was
/// changed.
///
/// # Errors
/// The file was left unchanged.
pub fn declare_profile(
    path: &Path,
    id: &ProfileId,
    provider: &ProviderId,
    kind: Kind,
    email: Option<&str>,
) -> Result<bool, CliError> {
    edit(path, Missing::LeaveAlone, |value| {
        let entry = |name| ["auth", "profiles", id.as_str(), name];
        let mut changes = if value["auth"]["profiles"][id.as_str()].is_object() {
            let mut changes = vec![
                Change::set(&entry("provider"), provider.as_str().into()),
                Change::set(&entry("mode"), kind.as_str().into()),
            ];
            changes.extend(email.map(|email| Change::set(&entry("email"), email.into())));
            changes
        } else {
            let mut entry = json!({ "provider": provider.as_str(), "mode": kind.as_str() });
            if let Some(email) = email {
                entry["email"] = email.into();
            }
            vec![Change::set(&["auth", "profiles", id.as_str()], entry)]
        };
        let orders = value["auth"]["order"].as_object().into_iter().flatten();
        let own = orders.into_iter().find(|(name, _)| ProviderId::new(name) == *provider);
        if let Some((name, Value::Array(order))) = own
            && !order.iter().any(|listed| *listed == id.as_str())
        {
            changes.push(Change::push(&["auth", "order", name], id.as_str().into()));
        }
        changes
    })
}

/// Removes every reference to the profile from `auth.profiles` and `auth.order`. An order that
/// would be empty is removed, since an empty order means that no profile is used. Returns whether
/// the file was changed.
///
/// # Errors
/// The file was left unchanged.
pub fn forget_profile(path: &Path, id: &ProfileId) -> Result<bool, CliError> {
    edit(path, Missing::LeaveAlone, |value| {
        let mut changes = Vec::new();
        if value["auth"]["profiles"].get(id.as_str()).is_some() {
            changes.push(Change::remove(&["auth", "profiles", id.as_str()]));
        }
        for (provider, order) in value["auth"]["order"].as_object().into_iter().flatten() {
            let order = order.as_array().map(Vec::as_slice).unwrap_or_default();
            let place = ["auth", "order", provider];
            let mentions = order.iter().enumerate().filter(|(_, it)| **it == id.as_str());
            let mentions: Vec<_> = mentions.map(|(index, _)| index).collect();
            if !mentions.is_empty() && mentions.len() == order.len() {
                changes.push(Change::remove(&place));
            } else {
                let last_first = mentions.into_iter().rev();
                changes.extend(last_first.map(|index| Change::remove_item(&place, index)));
            }
        }
        changes
    })
}

/// Makes `model` (`provider/model`) the default; the fallbacks stay. If the config lists the
/// allowed models, the model is added to that list. Returns whether the file was changed.
///
/// # Errors
/// The file was left unchanged.
pub fn set_default_model(path: &Path, model: &str) -> Result<bool, CliError> {
    edit(path, Missing::Create, |value| set_model(value, "model", model))
}

/// The changes that make `model` the primary model of `agents.defaults.<place>`.
pub fn set_model(config: &Value, place: &str, model: &str) -> Vec<Change> {
    let defaults = &config["agents"]["defaults"];
    let mut changes = vec![match &defaults[place] {
        Value::String(_) => Change::set(&["agents", "defaults", place], model.into()),
        _ => Change::set(&["agents", "defaults", place, "primary"], model.into()),
    }];
    changes.extend(list_model(config, model));
    changes
}

/// The change that adds `model` to the list of allowed models, if the config has one.
pub fn list_model(config: &Value, model: &str) -> Option<Change> {
    let listed = config["agents"]["defaults"]["models"].as_object()?;
    let is_missing = !listed.is_empty() && !listed.contains_key(model);
    is_missing.then(|| Change::set(&["agents", "defaults", "models", model], json!({})))
}

/// What to do if there is no config.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Missing {
    /// Create it.
    Create,
    /// Do nothing.
    LeaveAlone,
}

/// Makes the changes that `wanted` derives from the config with all its parts. Returns whether
/// anything was changed.
///
/// # Errors
/// Nothing was changed; the hint has the lines to paste, if the user can do it. If an edit of
/// several files fails at a later file, the error names the files that were written.
pub fn edit(
    path: &Path,
    missing: Missing,
    wanted: impl Fn(&Value) -> Vec<Change>,
) -> Result<bool, CliError> {
    for _attempt in 0..ATTEMPTS {
        // Each file is read once, and every decision uses that text.
        let texts = RefCell::new(BTreeMap::<PathBuf, String>::new());
        let once = |path: &Path| {
            if let Some(text) = texts.borrow().get(path) {
                return Ok(Some(text.clone()));
            }
            let text = read_text(path)?;
            texts.borrow_mut().extend(text.clone().map(|text| (path.to_owned(), text)));
            Ok(text)
        };
        let Some((before, _)) = resolved(path, &once)? else {
            if missing == Missing::LeaveAlone {
                return Ok(false);
            }
            let value = Value::Object(Map::new());
            let changes = due(&value, wanted(&value));
            if changes.is_empty() {
                return Ok(false);
            }
            if write_new(path, &changes)? {
                return Ok(true);
            }
            continue;
        };
        let changes = due(&before, wanted(&before));
        if changes.is_empty() {
            return Ok(false);
        }
        let mut texts = Texts { before: texts.take(), after: BTreeMap::new() };
        let refused =
            |(file, reason): (PathBuf, String)| failed(&file, &reason).hint(snippet(&changes));
        texts.make(path, &before, &changes).map_err(refused)?;
        if texts.write(&changes)? {
            return Ok(true);
        }
    }
    Err(failed(path, "another process keeps writing it").hint("try again"))
}

/// Creates the file, unless another program has just created it.
fn write_new(path: &Path, changes: &[Change]) -> Result<bool, CliError> {
    let mut value = Value::Object(Map::new());
    for change in changes {
        apply(&mut value, change);
    }
    let text = spliced("", &[], &Action::Set(value)).unwrap_or_default();
    let path = target(path);
    if let Some(directory) = path.parent() {
        auth_store::create_private_directory(directory)?;
    }
    Ok(auth_store::replace_if_unchanged(&path, None, text.as_bytes())?)
}

/// The texts of the files, before and after.
struct Texts {
    before: BTreeMap<PathBuf, String>,
    after: BTreeMap<PathBuf, String>,
}

impl Texts {
    fn now(&self, path: &Path) -> Option<&String> {
        self.after.get(path).or_else(|| self.before.get(path))
    }

    /// Makes the changes, and checks that the result is exactly the intended one. The error names
    /// the file.
    fn make(
        &mut self,
        path: &Path,
        before: &Value,
        changes: &[Change],
    ) -> Result<(), (PathBuf, String)> {
        let mut expected = before.clone();
        for change in changes {
            self.make_one(path, change)?;
            apply(&mut expected, change);
        }
        let read = |path: &Path| Ok::<_, io::Error>(self.now(path).cloned());
        match resolved(path, &read) {
            Ok(Some((value, _))) if value == expected => Ok(()),
            _ => Err((path.to_owned(), UNUSUAL.to_owned())),
        }
    }

    fn make_one(&mut self, path: &Path, change: &Change) -> Result<(), (PathBuf, String)> {
        let parts = Part::read(path, &|path| self.now(path).cloned());
        let (at, action) = place(&parts, change).map_err(|unclear| {
            let place = parts.place_of(&change.path).map_or(path, |place| &place.file);
            (place.to_owned(), unclear_because(unclear, &change.path))
        })?;
        let (file, path) = at;
        let text = self.now(&file).and_then(|text| spliced(text, &path, &action));
        let text =
            text.ok_or_else(|| (file.clone(), unclear_because(Unclear::OtherKind, &change.path)))?;
        self.after.insert(file, text);
        Ok(())
    }

    /// Writes the changed files; `false`: another program wrote one of them meanwhile.
    fn write(&self, changes: &[Change]) -> Result<bool, CliError> {
        let is_as_before = |(file, text): (&PathBuf, &String)| {
            read_text(file).is_ok_and(|now| now.unwrap_or_default() == *text)
        };
        if !self.before.iter().all(is_as_before) {
            return Ok(false);
        }
        for (done, (file, text)) in self.after.iter().enumerate() {
            let before = self.before.get(file).map(String::as_bytes);
            let replaced = auth_store::replace_if_unchanged(&target(file), before, text.as_bytes());
            if !replaced.map_err(|error| not_written(error, changes))? {
                if done == 0 {
                    return Ok(false);
                }
                let written: Vec<_> =
                    self.after.keys().take(done).map(|it| it.display().to_string()).collect();
                let reason =
                    format!("another process wrote it; changed are {}", written.join(", "));
                return Err(failed(file, &reason).hint("do the same again"));
            }
        }
        Ok(true)
    }
}

/// The file and the position of a change, and the action there.
fn place(parts: &Part, change: &Change) -> Result<((PathBuf, Vec<Step>), Action), Unclear> {
    let path = &change.path;
    let set = |value: &Value| {
        let (place, taken) = parts.to_set(path)?;
        let mut at = place.path.clone();
        let value = match &path[taken..] {
            [] => value.clone(),
            [next, rest @ ..] => {
                at.push(next.clone());
                nested(rest, value)
            }
        };
        Ok(((place.file.clone(), at), Action::Set(value)))
    };
    match &change.action {
        Action::Set(value) => set(value),
        Action::Push(value) => match parts.to_push(path) {
            Ok(place) => Ok(((place.file.clone(), place.path.clone()), change.action.clone())),
            Err(_) if !parts.has(path) => set(&Value::Array(vec![value.clone()])),
            Err(unclear) => Err(unclear),
        },
        Action::Remove => {
            let place = parts.to_remove(path)?;
            Ok(((place.file.clone(), place.path.clone()), Action::Remove))
        }
    }
}

fn unclear_because(unclear: Unclear, path: &[Step]) -> String {
    match unclear {
        Unclear::Several => {
            format!("`{}` may be in any of several files that it includes", Key(path))
        }
        Unclear::OtherKind => {
            format!("there is something else than expected on the way to `{}`", Key(path))
        }
    }
}

/// Another user's file stays that user's: the lines are for whoever may write it.
fn not_written(error: StoreError, changes: &[Change]) -> CliError {
    let is_forbidden = matches!(
        &error,
        StoreError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied
    );
    let error = CliError::from(error);
    if is_forbidden { error.hint(snippet(changes)) } else { error }
}

/// A config is often a link into a folder of dot files: the link stays, and what it leads to is
/// written.
fn target(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn failed(path: &Path, reason: &str) -> CliError {
    let message = format!("could not change the config `{}`: {reason}", path.display());
    CliError::new(Exit::CannotWrite, "config", message).path(path)
}

const UNUSUAL: &str = "it is written in a way that cannot be edited safely";
const ATTEMPTS: u32 = 5;

#[cfg(test)]
mod tests {
    use std::fs;

    use auth_store::write_atomic;

    use super::*;
    use crate::config::json5;

    /// Runs `change` on a config with that text; returns the text after it.
    fn after<T>(text: &str, change: impl FnOnce(&Path) -> T) -> (T, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clawdbot.json");
        write_atomic(&path, text.as_bytes()).unwrap();
        let result = change(&path);
        (result, fs::read_to_string(&path).unwrap())
    }

    fn declare(path: &Path) -> Result<bool, CliError> {
        let (id, provider) = (ProfileId::from("acme:a"), ProviderId::new("acme"));
        declare_profile(path, &id, &provider, Kind::OAuth, Some("a@b.c"))
    }

    #[test]
    fn comments_and_layout_survive() {
        let text = "\
// mine
{
  auth: {
    order: { acme: ['acme:b'] }, // why
    profiles: {
      'acme:b': { provider: 'acme', mode: 'token' },
    },
  },
  /* the end */
}
";
        let (changed, text) = after(text, declare);
        assert!(changed.unwrap());
        for kept in
            ["// mine", "// why", "/* the end */", "'acme:b': { provider: 'acme', mode: 'token' },"]
        {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        let value = json5::parse(&text).unwrap();
        assert_eq!(value["auth"]["order"]["acme"], json!(["acme:b", "acme:a"]));
        let entry = json!({"provider": "acme", "mode": "oauth", "email": "a@b.c"});
        assert_eq!(value["auth"]["profiles"]["acme:a"], entry);
        let (again, same) = after(&text, declare);
        assert!(!again.unwrap());
        assert_eq!(same, text);
    }

    #[test]
    fn a_forgotten_profile_leaves_nothing_behind_and_no_empty_order() {
        let text = "{ auth: {
            profiles: { a: { mode: 'x' }, /* kept */ b: {} }, order: { p: ['a', 'b'], q: ['a'] },
        } } // end";
        let (changed, text) = after(text, |path| forget_profile(path, &"a".into()));
        assert!(changed.unwrap());
        assert!(text.contains("/* kept */") && text.contains("// end"), "{text}");
        let auth = json!({"profiles": {"b": {}}, "order": {"p": ["b"]}});
        assert_eq!(json5::parse(&text).unwrap(), json!({ "auth": auth }));
    }

    /// Runs `declare` on a config in parts; returns the result, and the parts after it.
    fn declared(parts: &[(&str, &str)]) -> (Result<bool, CliError>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in parts {
            write_atomic(&dir.path().join(name), text.as_bytes()).unwrap();
        }
        let result = declare(&dir.path().join(parts[0].0));
        let texts =
            parts.iter().map(|(name, _)| fs::read_to_string(dir.path().join(name)).unwrap());
        (result, texts.collect())
    }

    #[test]
    fn an_edit_goes_to_the_file_that_holds_the_key() {
        let main = "{ auth: { $include: './auth.json5' } } // main";
        let (result, texts) = declared(&[
            ("c.json", main),
            ("auth.json5", "{ // auth\n  order: { $include: 'order.json' },\n}"),
            ("order.json", "{\"acme\":[\"acme:b\"]}"),
        ]);
        assert!(result.unwrap());
        assert_eq!(texts[0], main);
        assert_eq!(
            texts[1],
            "{ // auth\n  order: { $include: 'order.json' },\n  profiles: {\n    'acme:a': {\n      \
             provider: 'acme',\n      mode: 'oauth',\n      email: 'a@b.c'\n    }\n  },\n}"
        );
        assert_eq!(texts[2], "{\"acme\":[\"acme:b\", \"acme:a\"]}");
    }

    #[test]
    fn keys_beside_an_include_go_beside_it() {
        let (result, texts) =
            declared(&[("c.json", "{ $include: 'b.json', x: 1 }"), ("b.json", "{ y: 1 }")]);
        assert!(result.unwrap());
        assert!(
            texts[0].starts_with("{ $include: 'b.json', x: 1, auth: { profiles: "),
            "{texts:?}"
        );
        assert_eq!(texts[1], "{ y: 1 }");
    }

    #[test]
    fn a_place_that_is_not_clear_is_refused_with_the_lines_to_paste() {
        let parts =
            [("c.json", "{ $include: ['a.json', 'b.json'] }"), ("a.json", "{}"), ("b.json", "{}")];
        let (result, texts) = declared(&parts);
        let error = result.unwrap_err();
        assert!(error.hint.unwrap().contains("\"acme:a\""), "{}", error.message);
        assert!(error.message.contains("`auth.profiles[\"acme:a\"]`"), "{}", error.message);
        assert_eq!(texts, parts.map(|(_, text)| text));
        // Control: one of the files has the object.
        let parts = [parts[0], ("a.json", "{ auth: { } }"), ("b.json", "{}")];
        assert!(declared(&parts).0.unwrap());
    }

    #[test]
    fn a_file_that_is_included_twice_is_left_alone() {
        let parts = [
            (
                "c.json",
                "{ auth: { profiles: { $include: 'p.json' } }, other: { $include: 'p.json' } }",
            ),
            ("p.json", "{ 'acme:b': {} }"),
        ];
        let (result, texts) = declared(&parts);
        assert!(result.is_err());
        assert_eq!(texts[1], parts[1].1);
    }

    #[test]
    fn a_file_without_a_value_gets_one_below_its_comments() {
        let (changed, text) = after("// mine\n", declare);
        assert!(changed.unwrap());
        assert!(text.starts_with("// mine\n{\n  \"auth\": {\n"), "{text}");
    }

    #[test]
    fn what_somebody_else_writes_meanwhile_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.json");
        write_atomic(&path, b"{ a: 1 }").unwrap();
        let asked = std::cell::Cell::new(0);
        let change = |writes: i32| {
            edit(&path, Missing::Create, |_| {
                asked.set(asked.get() + 1);
                if asked.get() <= writes {
                    let theirs = format!("{{ a: {} }} // theirs", asked.get() + 1);
                    write_atomic(&path, theirs.as_bytes()).unwrap();
                }
                vec![Change::set(&["b"], asked.get().into())]
            })
        };
        assert!(change(1).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "{ a: 2, b: 2 } // theirs");
        asked.set(0);
        let error = change(100).unwrap_err();
        assert!(error.message.contains("keeps writing"), "{error}");
    }

    #[test]
    #[cfg(unix)]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real.json"), dir.path().join("link.json"));
        std::os::unix::fs::symlink("real.json", &link).unwrap();
        // One that leads nowhere is a config that is missing, and not no config.
        let error = set_default_model(&link, "a/b").unwrap_err();
        assert!(error.message.contains("is not there") && !real.exists(), "{error}");
        write_atomic(&real, b"{}").unwrap();
        assert!(set_default_model(&link, "a/b").unwrap());
        assert!(set_default_model(&link, "a/c").unwrap());
        assert!(link.read_link().is_ok());
        assert!(fs::read_to_string(real).unwrap().contains("a/c"));
    }

    #[test]
    fn what_cannot_be_edited_is_left_alone() {
        for text in ["{ auth: 1 }", "{ 'aut\\u0068': { profiles: 1 } }", "[]", "{,}"] {
            let (result, same) = after(text, declare);
            assert!(result.is_err(), "{text}");
            assert_eq!(same, text);
        }
    }

    #[test]
    fn the_default_model_keeps_its_fallbacks_and_its_shape() {
        let set = |text: &str| {
            let (changed, text) = after(text, |path| set_default_model(path, "a/b"));
            assert!(changed.unwrap());
            json5::parse(&text).unwrap()["agents"]["defaults"].take()
        };
        assert_eq!(set("{agents: {defaults: {model: 'x/y'}}}"), json!({"model": "a/b"}));
        assert_eq!(
            set(
                "{agents: {defaults: {model: {primary: 'x/y', fallbacks: ['z/z']}, models: {'x/y': {}}}}}"
            ),
            json!({"model": {"primary": "a/b", "fallbacks": ["z/z"]}, "models": {"x/y": {}, "a/b": {}}})
        );
    }

    #[test]
    fn no_config_is_made_for_a_profile_but_for_a_default_model() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/moltbot.json");
        assert!(!declare(&path).unwrap());
        assert!(!path.exists());
        assert!(set_default_model(&path, "a/b").unwrap());
        let value = json5::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(value, json!({"agents": {"defaults": {"model": {"primary": "a/b"}}}}));
    }
}
