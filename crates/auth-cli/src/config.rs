//! The user's file, `clawdbot.json` or `moltbot.json`: JSON5 with `$include` and `${VAR}`,
//! resolved as Clawdbot resolves them. Read only by commands that need it.

use std::cell::RefCell;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use auth_store::{ProviderId, open_regular, trim};
use serde_json::{Map, Value};

use crate::config_check;
use crate::config_parts::Part;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::json5_tree::{self, Fault, Key, Node, Step};
use crate::stamp::Stamp;

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
    /// The state of each of the files just before it was read; `None` where the system does not
    /// tell.
    pub stamps: Vec<Option<Stamp>>,
    /// No variable of the environment decides about [what routing reads](Self::projection).
    pub is_fixed: bool,
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

    /// What it is where there is no file.
    pub fn empty(path: &Path) -> Self {
        Self { value: Value::Object(Map::new()), ..Self::absent(path) }
    }

    /// The same for a certain file and environment.
    pub fn read(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, CliError> {
        let mut config = Self::empty(path);
        let stamps = RefCell::new(Vec::new());
        let read = |path: &Path| {
            let Some((text, stamp)) = read_stamped(path)? else { return Ok(None) };
            stamps.borrow_mut().push(stamp);
            Ok(Some(text))
        };
        let Some((value, files)) = resolved(path, &read)? else {
            return Ok(config);
        };
        config.exists = true;
        (config.value, config.files) = (value, files);
        config.stamps = stamps.into_inner();
        config.is_fixed = !mentions_variable(&config.projection());
        if !config.value.is_object() {
            return Err(damaged(path, "it is not an object"));
        }
        let own = own_variables(&config.value);
        // What the environment has counts, unless it is blank and the config knows better.
        let lookup = |name: &str| {
            let set = env(name);
            let is_blank = set.as_deref().is_none_or(|value| trim(value).is_empty());
            let known = own.get(name).filter(|_| is_blank).cloned();
            known.or(set).filter(|value| !value.is_empty())
        };
        let mut problems = Vec::new();
        substitute(&mut config.value, &mut Vec::new(), &lookup, &mut |place, name| {
            if matches!(place.first(), Some(Step::Name(first)) if first == "auth" || first == "agents")
            {
                let what = format!("needs the variable `{name}`, which is not set");
                problems.push((place.to_vec(), what));
            }
        });
        problems.extend(config_check::problems(&config.value));
        if !problems.is_empty() {
            let parts = Part::of(path, &|path| read_text(path).ok().flatten());
            config.warnings = problems.iter().map(|(key, what)| told(key, what, &parts)).collect();
        }
        Ok(config)
    }

    /// No config at all, where one would be at `path`; its value is null.
    pub(crate) fn absent(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            exists: false,
            value: Value::Null,
            files: Vec::new(),
            warnings: Vec::new(),
            stamps: Vec::new(),
            is_fixed: true,
        }
    }

    /// The part that decides which token is handed out: all that the other methods read, but for
    /// the models and keys that only `models status` shows.
    pub fn projection(&self) -> Value {
        let is_kept = |(name, value): &(&String, &Value)| {
            *name == "model" || !(value.is_object() || value.is_array())
        };
        let kept = |value: &Value, is_kept: &dyn Fn(&(&String, &Value)) -> bool| {
            let members = value.as_object().into_iter().flatten().filter(is_kept);
            members.map(|(name, value)| (name.clone(), value.clone())).collect::<Value>()
        };
        let agents = &self.value["agents"];
        let list = agents["list"].as_array().into_iter().flatten();
        serde_json::json!({
            "auth": self.value["auth"],
            "session": kept(&self.value["session"], &is_kept),
            "agents": {
                "list": list.map(|entry| kept(entry, &is_kept)).collect::<Value>(),
                "defaults": kept(&agents["defaults"], &|(name, value)| {
                    *name == "models" || is_kept(&(name, value))
                }),
            },
        })
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

    /// What the agent `id` has of its own of the chat models.
    pub fn models_of_agent(&self, id: &str) -> Models {
        self.agent(id).map(|entry| models_of(&entry["model"])).unwrap_or_default()
    }

    /// The models to try for the agent `id` when the first one fails: its own list, if it has one.
    pub fn fallbacks_of_agent(&self, id: &str) -> Vec<String> {
        let has_own = self.agent(id).is_some_and(|entry| entry["model"]["fallbacks"].is_array());
        if has_own { self.models_of_agent(id).fallbacks } else { self.models().fallbacks }
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

/// How a text gets here; `None` if there is no such file.
pub(crate) type ReadText<'a> = &'a dyn Fn(&Path) -> io::Result<Option<String>>;

/// The text of the file at `path`; `None` if there is none.
pub(crate) fn read_text(path: &Path) -> io::Result<Option<String>> {
    Ok(read_stamped(path)?.map(|(text, _stamp)| text))
}

/// The same with the file's state before it was read.
fn read_stamped(path: &Path) -> io::Result<Option<(String, Option<Stamp>)>> {
    let read = || -> io::Result<_> {
        let (mut file, found) = open_regular(path)?;
        let (stamp, mut text) = (Stamp::of(&found), String::new());
        file.read_to_string(&mut text)?;
        Ok((text, stamp))
    };
    match read() {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The value of the config with everything it includes, variables as they are written, and the
/// files it is in; `None` if there is no file.
pub(crate) fn resolved(
    path: &Path,
    read: ReadText<'_>,
) -> Result<Option<(Value, Vec<PathBuf>)>, CliError> {
    let Some(value) = read_json5(path, read)? else { return Ok(None) };
    let mut includes =
        Includes { read, chain: vec![path.to_owned()], files: vec![path.to_owned()] };
    let value = includes.resolve(value, path, &mut Vec::new())?;
    Ok(Some((value, includes.files)))
}

fn read_json5(path: &Path, read: ReadText<'_>) -> Result<Option<Value>, CliError> {
    let text = match read(path) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(None),
        Err(error) => return Err(damaged(path, &error.to_string())),
    };
    match parse(&text) {
        Ok(value) => Ok(Some(value)),
        // Nothing at all, or nothing but comments.
        Err(_) if matches!(Node::parse(&text), Ok(None)) => Ok(Some(Value::Object(Map::new()))),
        Err(reason) => Err(damaged(path, &reason)),
    }
}

/// The value of JSON5 text; a byte order mark is accepted. The error has line, column and the key
/// that was being read.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let at = |line, column, path: &[Step]| match path {
        [] => format!("at line {line}, column {column}"),
        path => format!("at line {line}, column {column}, in `{}`", Key(path)),
    };
    let fault = |fault: Fault| {
        let (line, column) = json5_tree::line_and_column(text, fault.offset);
        format!("{} {}", fault.reason, at(line, column, &fault.path))
    };
    if json5_tree::is_too_deep(text) {
        return Err("nested deeper than 128".to_owned());
    }
    json5::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
        // Ours knows the key, but accepts a little more.
        match (Node::parse(text), error.position()) {
            (Err(known), _) => fault(known),
            (Ok(_), Some(place)) => {
                format!("{} {}", reason(&error), at(place.line + 1, place.column + 1, &[]))
            }
            (Ok(_), None) => reason(&error),
        }
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

/// A problem with the place where it is written.
fn told(key: &[Step], what: &str, parts: &Part) -> String {
    let place = parts.place_of(key);
    let written = place.and_then(|place| {
        let text = read_text(&place.file).ok()??;
        let node = Node::parse(&text).ok()??;
        let start = node.nearest(&place.path).span.start;
        let (line, column) = json5_tree::line_and_column(&text, start);
        Some(format!(" (`{}`, line {line}, column {column})", place.file.display()))
    });
    format!("`{}` {what}{}", Key(key), written.unwrap_or_default())
}

/// The file that `name` means in an `$include` of `file`.
pub(crate) fn included_path(file: &Path, name: &str) -> PathBuf {
    crate::paths::normalise(&file.parent().unwrap_or(Path::new("")).join(name))
}

/// Replaces `$include` by the files it names.
struct Includes<'a> {
    read: ReadText<'a>,
    /// The files that include each other.
    chain: Vec<PathBuf>,
    /// All of them.
    files: Vec<PathBuf>,
}

impl Includes<'_> {
    /// `value`, which is in `file` at `key`, with what it includes.
    fn resolve(
        &mut self,
        value: Value,
        file: &Path,
        key: &mut Vec<Step>,
    ) -> Result<Value, CliError> {
        let mut below = |this: &mut Self, step: Step, value| {
            key.push(step);
            let value = this.resolve(value, file, key)?;
            key.pop();
            Ok::<_, CliError>(value)
        };
        let mut members = match value {
            Value::Array(items) => {
                let items = items.into_iter().enumerate();
                let items = items.map(|(index, item)| below(self, index.into(), item));
                return items.collect::<Result<_, _>>().map(Value::Array);
            }
            Value::Object(members) => members,
            other => return Ok(other),
        };
        let include = members.shift_remove(INCLUDE);
        let mut own = Map::new();
        for (name, member) in members {
            let member = below(self, name.as_str().into(), member)?;
            own.insert(name, member);
        }
        let names = match include {
            None => return Ok(Value::Object(own)),
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => {
                let names = names.iter().map(|name| name.as_str().map(str::to_owned));
                let names = names.collect::<Option<_>>();
                names.ok_or_else(|| self.wrong(file, key, INCLUDE_SHAPE))?
            }
            Some(_) => return Err(self.wrong(file, key, INCLUDE_SHAPE)),
        };
        let mut included = Value::Object(Map::new());
        for name in names {
            included = merge(included, self.file(&name, file, key)?);
        }
        match included {
            included if own.is_empty() => Ok(included),
            Value::Object(_) => Ok(merge(included, Value::Object(own))),
            _ => Err(self.wrong(file, key, "keys beside `$include` need an object to be included")),
        }
    }

    /// The value of the file `name`, which `file` includes at `key`.
    fn file(&mut self, name: &str, file: &Path, key: &[Step]) -> Result<Value, CliError> {
        let path = included_path(file, name);
        if self.chain.contains(&path) {
            let reason = format!("`$include` of `{name}` leads back to itself");
            return Err(self.wrong(file, key, &reason));
        }
        if self.chain.len() > DEEPEST_INCLUDE {
            return Err(self.wrong(file, key, "`$include` is nested deeper than 10"));
        }
        let included = read_json5(&path, self.read)?.ok_or_else(|| {
            let reason = format!("it includes `{name}`, which is not there");
            self.wrong(file, key, &reason)
        })?;
        self.files.push(path.clone());
        self.chain.push(path.clone());
        let included = self.resolve(included, &path, &mut Vec::new())?;
        self.chain.pop();
        Ok(included)
    }

    /// The `$include` at `key` of `file` is wrong.
    fn wrong(&self, file: &Path, key: &[Step], reason: &str) -> CliError {
        let key: Vec<_> = key.iter().cloned().chain([INCLUDE.into()]).collect();
        let text = (self.read)(file).ok().flatten().unwrap_or_default();
        let node = Node::parse(&text).ok().flatten();
        let start = node.and_then(|node| Some(node.at(&key)?.span.start)).unwrap_or_default();
        let (line, column) = json5_tree::line_and_column(&text, start);
        let place = format!("{reason} at line {line}, column {column}, in `{}`", Key(&key));
        damaged(file, &place)
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
/// strings directly in `env`, which win.
fn own_variables(config: &Value) -> std::collections::BTreeMap<String, String> {
    let vars = config["env"]["vars"].as_object().into_iter().flatten();
    let vars = vars.filter(|(_, value)| value.as_str().is_some_and(|it| !it.is_empty()));
    let direct = config["env"].as_object().into_iter().flatten();
    let direct = direct.filter(|(name, value)| {
        *name != "vars" && value.as_str().is_some_and(|it| !trim(it).is_empty())
    });
    let all = vars.chain(direct);
    all.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// Replaces `${NAME}` in all strings below `value`; `$${NAME}` stands for the text `${NAME}`.
/// One that is not set stays as it is and is told to `missing`: it may well be in a part that
/// concerns nobody here.
fn substitute(
    value: &mut Value,
    place: &mut Vec<Step>,
    lookup: &dyn Fn(&str) -> Option<String>,
    missing: &mut dyn FnMut(&[Step], &str),
) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                place.push(name.as_str().into());
                substitute(member, place, lookup, missing);
                place.pop();
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                place.push(index.into());
                substitute(item, place, lookup, missing);
                place.pop();
            }
        }
        Value::String(text) if text.contains("${") => {
            *text = substitute_in(text, lookup, &mut |name| missing(place, name));
        }
        _ => {}
    }
}

fn mentions_variable(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.values().any(mentions_variable),
        Value::Array(items) => items.iter().any(mentions_variable),
        Value::String(text) => text.contains("${"),
        _ => false,
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

/// The key that stands for the content of other files.
pub(crate) const INCLUDE: &str = "$include";
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
        let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
        assert!(warning.starts_with("`auth.b` needs the variable `UNSET`, which is not set (`"));
        assert!(warning.ends_with("c.json`, line 1, column 65)"), "{warning}");
    }

    #[test]
    fn damage_is_named_by_line_and_column() {
        let error = read(&[("c.json", "{\n  auth: {,\n}")]).unwrap_err();
        assert!(error.message.contains("line 2, column 10"), "{error}");
        assert_eq!(error.exit, Exit::Usage);
    }

    #[test]
    fn damage_and_mistakes_are_named_by_file_place_and_key() {
        let wrong = |files: &[(&str, &str)]| read(files).unwrap_err().message;
        let text = wrong(&[("c.json", "{\n  auth: { order: { acme: ['a' 'b'] } },\n}")]);
        assert!(text.contains("c.json`: a comma or the closing bracket is expected at line 2, column 31, in `auth.order.acme`"), "{text}");
        let text =
            wrong(&[("c.json", "{ auth: { $include: 'a.json' } }"), ("a.json", "{ order: x }")]);
        assert!(
            text.contains("a.json`: a value is expected at line 1, column 10, in `order`"),
            "{text}"
        );
        let text = wrong(&[("c.json", "{ auth: {\n $include: 'no.json' } }")]);
        assert!(
            text.contains("`no.json`, which is not there at line 2, column 12, in `auth.$include`"),
            "{text}"
        );

        let parts = [
            ("c.json", "{ auth: { $include: 'a.json' } }"),
            ("a.json", "{\n order: {\n  acme: ['a', 5] } }"),
        ];
        let config = read(&parts).unwrap();
        let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
        assert!(warning.starts_with("`auth.order.acme[1]` is passed over: it is not a string (`"));
        assert!(warning.ends_with("a.json`, line 3, column 15)"), "{warning}");
    }

    #[test]
    fn a_file_with_nothing_but_comments_is_an_empty_config() {
        for text in ["", "\u{feff}", "// later\n/* or never */"] {
            let config = read(&[("c.json", text)]).unwrap();
            assert!(config.exists && config.value == json!({}), "{text}");
        }
    }

    #[test]
    fn the_variables_of_the_config_fill_what_is_blank() {
        let config = read(&[(
            "c.json",
            "{ env: { A: 'direct', SET: 'own', vars: { A: 'vars', B: '${SET}', C: '' } },
               auth: ['${A}', '${B}', '${SET}', '$$${A}', '${C}'] }",
        )]);
        let auth = &config.unwrap().value["auth"];
        assert_eq!(*auth, json!(["direct", "${SET}", "from env", "$${A}", "${C}"]));
    }

    #[test]
    fn brackets_without_an_end_are_an_error() {
        assert!(read(&[("c.json", &"[".repeat(100_000))]).unwrap_err().message.contains("deeper"));
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
