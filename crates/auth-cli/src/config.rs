//! The user's file, `clawdbot.json` or `moltbot.json`: JSON5 with `$include` and `${VAR}`,
//! resolved as Clawdbot resolves them. Read only by commands that need it.

use std::path::{Path, PathBuf};

use auth_store::{ProviderId, trim};
use serde_json::{Map, Value};

use crate::context::Context;
use crate::error::{CliError, Exit};

/// The resolved config.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it is, or would be.
    pub path: PathBuf,
    /// Whether there is one.
    pub exists: bool,
    /// Its value; an empty object if there is none.
    pub value: Value,
    /// The files it was read from, the main one first.
    pub files: Vec<PathBuf>,
    /// What is odd about the parts that we use.
    pub warnings: Vec<String>,
}

/// The models that an agent may use, as the config names them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Models {
    /// The model to use first, if one is configured.
    pub primary: Option<String>,
    /// What to use when it fails.
    pub fallbacks: Vec<String>,
}

impl Config {
    /// Reads and resolves the config of `context`. No file is an empty config.
    ///
    /// # Errors
    /// The file, or one it includes, cannot be read or is not JSON5; line and column are named.
    pub fn load(context: &Context) -> Result<Self, CliError> {
        Self::read(&context.paths().config, &|name| context.env(name).map(str::to_owned))
    }

    /// The same for a certain file and environment.
    pub fn read(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, CliError> {
        let mut config = Self {
            path: path.to_owned(),
            exists: true,
            value: Value::Object(Map::new()),
            files: Vec::new(),
            warnings: Vec::new(),
        };
        match read_json5(path)? {
            None => {
                config.exists = false;
                return Ok(config);
            }
            Some(value) => {
                config.files.push(path.to_owned());
                let mut chain = vec![path.to_owned()];
                config.value = resolve_includes(value, path, &mut chain, &mut config.files)?;
            }
        }
        if !config.value.is_object() {
            return Err(damaged(path, "it is not an object"));
        }
        let own = own_variables(&config.value);
        let lookup = |name: &str| {
            let is_set = |value: &String| !trim(value).is_empty();
            env(name).filter(is_set).or_else(|| own.get(name).cloned().filter(is_set))
        };
        let warnings = &mut config.warnings;
        substitute(&mut config.value, &mut String::new(), &lookup, &mut |place, name| {
            if ["auth.", "agents."].iter().any(|used| place.starts_with(used)) {
                warnings.push(format!("`{place}` needs the variable `{name}`, which is not set"));
            }
        });
        Ok(config)
    }

    /// What matters to routing.
    pub fn routing(&self) -> auth_routing::Config {
        auth_routing::Config::from_json(&self.value)
    }

    /// The configured agents, in the order of the file.
    pub fn agents(&self) -> impl Iterator<Item = &Value> {
        let list = self.value["agents"]["list"].as_array();
        list.into_iter().flatten().filter(|entry| entry["id"].is_string())
    }

    /// The entry of the agent `id`, if it is configured.
    pub fn agent(&self, id: &str) -> Option<&Value> {
        self.agents().find(|entry| entry["id"].as_str().map(agent_id).as_deref() == Some(id))
    }

    /// The id of the agent that is meant when nobody names one: the one marked `default`, else
    /// the first one, else `main`.
    pub fn default_agent(&self) -> String {
        let marked = self.agents().find(|entry| entry["default"] == true);
        let entry = marked.or_else(|| self.agents().next());
        let id = entry.and_then(|entry| entry["id"].as_str());
        id.map_or_else(|| crate::paths::MAIN_AGENT.to_owned(), agent_id)
    }

    /// The chat models of all agents.
    pub fn models(&self) -> Models {
        models_of(&self.value["agents"]["defaults"]["model"])
    }

    /// The image models of all agents.
    pub fn image_models(&self) -> Models {
        models_of(&self.value["agents"]["defaults"]["imageModel"])
    }

    /// `agents.defaults.models`: the models one may choose, each with its alias.
    pub fn listed_models(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let models = self.value["agents"]["defaults"]["models"].as_object();
        models.into_iter().flatten().map(|(model, entry)| {
            (model.as_str(), entry["alias"].as_str().map(trim).filter(|alias| !alias.is_empty()))
        })
    }

    /// The providers that `models.providers` describes, as written.
    pub fn described_providers(&self) -> impl Iterator<Item = &str> {
        let providers = self.value["models"]["providers"].as_object();
        providers.into_iter().flatten().map(|(id, _)| trim(id)).filter(|id| !id.is_empty())
    }

    /// The API key that `models.providers` has for `provider`.
    pub fn described_key(&self, provider: &ProviderId) -> Option<&str> {
        let providers = self.value["models"]["providers"].as_object()?;
        let (_, entry) = providers.iter().find(|(id, _)| ProviderId::new(id) == *provider)?;
        entry["apiKey"].as_str().map(trim).filter(|key| !key.is_empty())
    }
}

/// `{primary, fallbacks}`, or just the primary one.
pub(crate) fn models_of(value: &Value) -> Models {
    let text =
        |value: &Value| value.as_str().map(trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let fallbacks = value["fallbacks"].as_array().into_iter().flatten();
    Models {
        primary: text(value).or_else(|| text(&value["primary"])),
        fallbacks: fallbacks.filter_map(text).collect(),
    }
}

/// The id of an agent in its canonical form: lower case letters, digits, `_` and `-`, at most 64
/// of them. Nothing usable is `main`.
pub fn agent_id(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut id = String::new();
    for c in trim(text).chars() {
        match c {
            c if is_plain(c) => id.push(c.to_ascii_lowercase()),
            _ if id.ends_with('-') => {}
            _ => id.push('-'),
        }
    }
    let id: String = id.trim_start_matches('-').chars().take(64).collect();
    let id = id.trim_end_matches('-');
    if id.is_empty() { crate::paths::MAIN_AGENT.to_owned() } else { id.to_owned() }
}

/// The value in the file; `None` if there is no file.
fn read_json5(path: &Path) -> Result<Option<Value>, CliError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(damaged(path, &error.to_string())),
    };
    parse(&text).map(Some).map_err(|reason| damaged(path, &reason))
}

/// The value of JSON5 text; a byte order mark is accepted.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    json5::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| match error.position() {
        Some(at) => format!("{} at line {}, column {}", reason(&error), at.line + 1, at.column + 1),
        None => reason(&error),
    })
}

/// The parser's own words without its position.
fn reason(error: &json5::Error) -> String {
    let text = error.to_string();
    let end = text.find(" at line ").unwrap_or(text.len());
    text[..end].to_owned()
}

fn damaged(path: &Path, reason: &str) -> CliError {
    let message = format!("could not read the config `{}`: {reason}", path.display());
    CliError::new(Exit::Usage, "config", message)
        .hint("mend the file; nothing was changed")
        .path(path)
}

/// Replaces `$include` by the files it names. `chain` holds the files that include each other,
/// `files` all of them.
fn resolve_includes(
    value: Value,
    file: &Path,
    chain: &mut Vec<PathBuf>,
    files: &mut Vec<PathBuf>,
) -> Result<Value, CliError> {
    let mut members = match value {
        Value::Array(items) => {
            let items = items.into_iter().map(|item| resolve_includes(item, file, chain, files));
            return items.collect::<Result<_, _>>().map(Value::Array);
        }
        Value::Object(members) => members,
        other => return Ok(other),
    };
    let include = members.shift_remove("$include");
    let mut rest = Map::new();
    for (name, member) in members {
        rest.insert(name, resolve_includes(member, file, chain, files)?);
    }
    let names = match include {
        None => return Ok(Value::Object(rest)),
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => {
            let names = names.iter().map(|name| name.as_str().map(str::to_owned));
            names.collect::<Option<_>>().ok_or_else(|| damaged(file, INCLUDE_SHAPE))?
        }
        Some(_) => return Err(damaged(file, INCLUDE_SHAPE)),
    };
    let mut merged = None;
    for name in names {
        let path = file.parent().unwrap_or(Path::new("")).join(&name);
        if chain.contains(&path) {
            return Err(damaged(file, &format!("`$include` of `{name}` leads back to itself")));
        }
        if chain.len() >= DEEPEST_INCLUDE {
            return Err(damaged(file, "`$include` is nested deeper than 10"));
        }
        let included = read_json5(&path)?
            .ok_or_else(|| damaged(file, &format!("it includes `{name}`, which is not there")))?;
        files.push(path.clone());
        chain.push(path.clone());
        let included = resolve_includes(included, &path, chain, files)?;
        chain.pop();
        merged = Some(match merged {
            None => included,
            Some(before) => merge(before, included),
        });
    }
    match merged {
        Some(included) if rest.is_empty() => Ok(included),
        Some(included @ Value::Object(_)) => Ok(merge(included, Value::Object(rest))),
        Some(_) => Err(damaged(file, "keys beside `$include` need an object to be included")),
        None => Ok(Value::Object(rest)),
    }
}

/// `over` on top of `base`: objects by member, arrays one after the other, else `over`.
fn merge(base: Value, over: Value) -> Value {
    match (base, over) {
        (Value::Object(mut base), Value::Object(over)) => {
            for (name, value) in over {
                let value = match base.get_mut(&name).map(Value::take) {
                    Some(before) => merge(before, value),
                    None => value,
                };
                base.insert(name, value);
            }
            Value::Object(base)
        }
        (Value::Array(mut base), Value::Array(over)) => {
            base.extend(over);
            Value::Array(base)
        }
        (_, over) => over,
    }
}

/// The variables that the config itself sets where the environment does not: `env.vars`, and
/// strings directly in `env`.
fn own_variables(config: &Value) -> std::collections::BTreeMap<String, String> {
    let direct = config["env"].as_object().into_iter().flatten();
    let vars = config["env"]["vars"].as_object().into_iter().flatten();
    let all = direct.chain(vars);
    all.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// Replaces `${NAME}` in all strings below `value`; `$${NAME}` stands for the text `${NAME}`.
/// One that is not set stays as it is and is told to `missing`: it may well be in a part that
/// concerns nobody here.
fn substitute(
    value: &mut Value,
    place: &mut String,
    lookup: &dyn Fn(&str) -> Option<String>,
    missing: &mut dyn FnMut(&str, &str),
) {
    let mut below = |place: &mut String, name: &str, value: &mut Value| {
        let length = place.len();
        if length > 0 {
            place.push('.');
        }
        place.push_str(name);
        substitute(value, place, lookup, missing);
        place.truncate(length);
    };
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                below(place, name, member);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                below(place, &index.to_string(), item);
            }
        }
        Value::String(text) if text.contains("${") => {
            *text = substitute_in(text, lookup, &mut |name| missing(place, name));
        }
        _ => {}
    }
}

fn substitute_in(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    missing: &mut dyn FnMut(&str),
) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let after = &rest[start + 2..];
        let name = after.split_once('}').map(|(name, _)| name).filter(|name| is_variable(name));
        let Some(name) = name else {
            out.push_str(&rest[..start + 2]);
            rest = after;
            continue;
        };
        let whole = &rest[start..start + name.len() + 3];
        if rest[..start].ends_with('$') {
            out.push_str(&rest[..start - 1]);
            out.push_str(whole);
        } else {
            out.push_str(&rest[..start]);
            if let Some(value) = lookup(name) {
                out.push_str(&value);
            } else {
                missing(name);
                out.push_str(whole);
            }
        }
        rest = &after[name.len() + 1..];
    }
    out.push_str(rest);
    out
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

const INCLUDE_SHAPE: &str = "`$include` must be a path or a list of paths";
const DEEPEST_INCLUDE: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Reads the first of `files`; the name is a path below a temporary directory.
    fn read(files: &[(&str, &str)]) -> Result<Config, CliError> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            auth_store::write_atomic(&path, text.as_bytes()).unwrap();
        }
        let env = |name: &str| (name == "SET").then(|| "from env".to_owned());
        Config::read(&dir.path().join(files[0].0), &env)
    }

    #[test]
    fn includes_are_merged_and_keys_beside_them_win() {
        let config = read(&[
            ("c.json", "{ $include: ['./a.json', 'sub/b.json'], x: { own: 1 }, // comment\n }"),
            ("a.json", "{ x: { own: 0, a: 1 }, list: [1] }"),
            ("sub/b.json", "{ $include: './c.json', list: [2] }"),
            ("sub/c.json", "{ deep: true }"),
        ]);
        let config = config.unwrap();
        assert_eq!(config.value, json!({"x": {"own": 1, "a": 1}, "list": [1, 2], "deep": true}));
        assert_eq!(config.files.len(), 4);
    }

    #[test]
    fn an_include_that_leads_back_to_itself_is_an_error() {
        let error = read(&[("a.json", "{$include: 'b.json'}"), ("b.json", "{$include: 'a.json'}")]);
        assert!(error.unwrap_err().message.contains("leads back"));
    }

    #[test]
    fn variables_are_replaced_and_missing_ones_told_only_where_they_matter() {
        let config = read(&[(
            "c.json",
            r#"{ env: { vars: { OWN: "own" } }, auth: { a: "${SET}/${OWN}", b: "x${UNSET}" },
                 channels: { token: "${UNSET}" }, text: "$${SET} ${lower} ${", }"#,
        )]);
        let config = config.unwrap();
        assert_eq!(config.value["auth"]["a"], "from env/own");
        assert_eq!(config.value["auth"]["b"], "x${UNSET}");
        assert_eq!(config.value["text"], "${SET} ${lower} ${");
        assert_eq!(config.warnings, ["`auth.b` needs the variable `UNSET`, which is not set"]);
    }

    #[test]
    fn damage_is_named_by_line_and_column() {
        let error = read(&[("c.json", "{\n  auth: {,\n}")]).unwrap_err();
        assert!(error.message.contains("line 2, column 10"), "{error}");
        assert_eq!(error.exit, Exit::Usage);
    }

    #[test]
    fn no_file_is_an_empty_config() {
        let config = Config::read(Path::new("/nowhere/c.json"), &|_| None).unwrap();
        assert!(!config.exists);
        assert_eq!(config.default_agent(), "main");
    }

    #[test]
    fn agent_ids_are_canonical() {
        assert_eq!(agent_id("Ops Team!"), "ops-team");
        assert_eq!(agent_id(" --a__b-- "), "a__b");
        assert_eq!(agent_id("日本"), "main");
    }
}
