//! The config, `clawdbot.json` or `moltbot.json`: JSON5 with `$include` and `${VAR}`, resolved as
//! Clawdbot resolves them. Only commands that need it read it.

pub mod agent_id;
pub mod cache;
pub mod change;
pub mod check;
pub mod edit;
pub mod include;
pub mod json5;
pub mod locate;
pub mod splice;
pub mod variables;

pub use crate::config::agent_id::{agent_id, explicit_agent_id};

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use auth_store::{ProviderId, Stamp, trim};
use serde_json::{Map, Value};

use crate::config::include::{damaged, read_stamped, read_text, resolved};
use crate::config::json5::{Key, Node, Step};
use crate::config::locate::Part;
use crate::config::variables::{mentions_variable, named_variables, own_variables, substitute};
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::paths::MAIN_AGENT;

/// The resolved config.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its path, whether it exists or not.
    pub path: PathBuf,
    /// Whether the file exists.
    pub exists: bool,
    /// Its value; an empty object if there is no file.
    pub value: Value,
    /// The files it was read from, the main one first.
    pub files: Vec<PathBuf>,
    /// Warnings about the parts that we use.
    pub warnings: Vec<String>,
    /// The stamp of each file from just before it was read; `None` if the system does not report
    /// enough.
    pub stamps: Vec<Option<Stamp>>,
    /// Whether [what routing reads](Self::projection) is independent of environment variables.
    pub is_fixed: bool,
    /// The variables that decide about it.
    pub variables: Vec<String>,
}

/// The models that an agent may use, as the config names them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Models {
    /// The primary model, if one is configured.
    pub primary: Option<String>,
    /// The models to use if it fails.
    pub fallbacks: Vec<String>,
}

impl Config {
    /// Reads and resolves the config of `context`. Without a file the config is empty.
    ///
    /// # Errors
    /// The file, or one it includes, cannot be read or is not JSON5; the error names line and
    /// column.
    pub fn load(context: &Context) -> Result<Self, CliError> {
        Self::read(&context.paths().config, &|name| context.env(name).map(str::to_owned))
    }

    /// The config if there is no file.
    pub fn empty(path: &Path) -> Self {
        Self { value: Value::Object(Map::new()), ..Self::absent(path) }
    }

    /// Like [`load`](Self::load), for a given file and environment.
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
        named_variables(&config.projection(), &mut config.variables);
        if !config.value.is_object() {
            return Err(damaged(path, "it is not an object"));
        }
        let own = own_variables(&config.value);
        // The environment takes precedence, unless its value is blank and the config has one.
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
        problems.extend(check::problems(&config.value));
        if !problems.is_empty() {
            let parts = Part::read(path, &|path| read_text(path).ok().flatten());
            config.warnings = problems.iter().map(|(key, what)| told(key, what, &parts)).collect();
        }
        Ok(config)
    }

    /// A missing config at `path`; its value is null.
    pub(crate) fn absent(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            exists: false,
            value: Value::Null,
            files: Vec::new(),
            warnings: Vec::new(),
            stamps: Vec::new(),
            is_fixed: true,
            variables: Vec::new(),
        }
    }

    /// The part that determines which token is used: everything that the other methods read, except
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

    /// The routing configuration.
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

    /// The default agent's id: the agent marked `default`, else the first one, else `main`.
    pub fn default_agent(&self) -> String {
        let marked = self.agents().find(|entry| entry["default"] == true);
        let entry = marked.or_else(|| self.agents().next());
        let id = entry.and_then(|entry| entry["id"].as_str());
        id.map_or_else(|| MAIN_AGENT.to_owned(), agent_id)
    }

    /// The chat models of all agents.
    pub fn models(&self) -> Models {
        models_of(&self.value["agents"]["defaults"]["model"])
    }

    /// The chat models that the agent `id` overrides.
    pub fn models_of_agent(&self, id: &str) -> Models {
        self.agent(id).map(|entry| models_of(&entry["model"])).unwrap_or_default()
    }

    /// The models to try for the agent `id` when its primary model fails: its own list, if it has
    /// one.
    pub fn fallbacks_of_agent(&self, id: &str) -> Vec<String> {
        let has_own = self.agent(id).is_some_and(|entry| entry["model"]["fallbacks"].is_array());
        if has_own { self.models_of_agent(id).fallbacks } else { self.models().fallbacks }
    }

    /// The image models of all agents.
    pub fn image_models(&self) -> Models {
        models_of(&self.value["agents"]["defaults"]["imageModel"])
    }

    /// `agents.defaults.models`: the allowed models, each with its alias.
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

/// `{primary, fallbacks}`, or just the primary model.
pub(crate) fn models_of(value: &Value) -> Models {
    let text =
        |value: &Value| value.as_str().map(trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let fallbacks = value["fallbacks"].as_array().into_iter().flatten();
    Models {
        primary: text(value).or_else(|| text(&value["primary"])),
        fallbacks: fallbacks.filter_map(text).collect(),
    }
}

/// A problem, with the position of its key.
fn told(key: &[Step], what: &str, parts: &Part) -> String {
    let place = parts.place_of(key);
    let written = place.and_then(|place| {
        let text = read_text(&place.file).ok()??;
        let node = Node::parse(&text).ok()??;
        let start = node.nearest(&place.path).span.start;
        let (line, column) = json5::line_and_column(&text, start);
        Some(format!(" (`{}`, line {line}, column {column})", place.file.display()))
    });
    format!("`{}` {what}{}", Key(key), written.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::host::error::Exit;

    /// Reads the first of `files`; each name is a path below a temporary directory.
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
        assert!(warning.starts_with("`auth.order.acme[1]` is ignored: expected a string (`"));
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
}
