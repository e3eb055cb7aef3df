//! All providers of this machine: the catalogue, then the users' manifests.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use auth_store::{ProviderId, Secret};
use serde_json::Value;

use crate::provider::executable::Executable;
use crate::provider::manifest::{build, first_set, manifest};
use crate::provider::{Flow, Origin, Provider, Wrong};
use crate::text;

/// The known providers, and the manifests with errors.
#[derive(Clone, Debug)]
pub struct Providers {
    all: Vec<Provider>,
    errors: Vec<ManifestError>,
}

/// A manifest that cannot be used. The other providers are not affected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ManifestError {
    /// The file, or the directory that cannot be read.
    pub path: PathBuf,
    /// The field with the error; empty if the file as a whole is invalid.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "provider manifest `{}`: ", self.path.display())?;
        if !self.field.is_empty() {
            write!(formatter, "field `{}`: ", self.field)?;
        }
        formatter.write_str(&self.reason)
    }
}

impl std::error::Error for ManifestError {}

/// A key or token from the environment.
#[derive(Clone, Debug)]
pub struct EnvKey {
    /// The variable.
    pub name: String,
    /// Its value, trimmed.
    pub value: Secret,
    /// Whether the variable is for a subscription's token (its name contains `OAUTH_TOKEN`) rather
    /// than for a key.
    pub is_oauth: bool,
}

impl Providers {
    /// The catalogue, and the manifests `*.json` in the directory `manifests`, which need not
    /// exist.
    ///
    /// `env` looks up an environment variable; it is called for the variables that the entries
    /// name.
    pub fn load(manifests: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut files = Vec::new();
        let mut errors = Vec::new();
        if let Some(directory) = manifests {
            match manifest_files(directory) {
                Ok(found) => files = found,
                Err(error) => errors.push(ManifestError {
                    path: directory.to_owned(),
                    field: String::new(),
                    reason: error.to_string(),
                }),
            }
        }
        let read = files.into_iter().map(|path| {
            let content =
                auth_store::read_text_at_most(&path, LARGEST_MANIFEST).map(|(text, _)| text);
            (path, content)
        });
        let mut providers = Self::from_manifests(read.collect(), env);
        if let Some(directory) = manifests {
            providers.add_plugins(&directory.join("bin"));
        }
        errors.append(&mut providers.errors);
        Self { errors, ..providers }
    }

    /// Finds the plugins in the directory `bin`: those of manifests, and those without one.
    fn add_plugins(&mut self, bin: &Path) {
        for provider in &mut self.all {
            if provider.flows.contains(&Flow::Plugin) {
                let own = || Executable::file_in(bin, &provider.id);
                provider.command = Some(provider.command.take().unwrap_or_else(own));
            }
        }
        let entries = std::fs::read_dir(bin).into_iter().flatten().flatten();
        let mut found: Vec<_> = entries
            .filter_map(|entry| Some((Executable::id_in(&entry.file_name())?, entry.path())))
            .collect();
        found.sort_by(|(_, one), (_, other)| one.cmp(other));
        for (id, path) in found {
            let refused =
                |reason: String| ManifestError { path: path.clone(), field: String::new(), reason };
            match self.find(&id) {
                Some(known) if known.plugin().is_some() => {}
                Some(known) => {
                    let reason = format!(
                        "`{}` is a provider already; a manifest with the flow `plugin` makes it use this program",
                        known.id
                    );
                    self.errors.push(refused(reason));
                }
                None => match of_plugin(&id, &path) {
                    Ok(provider) => self.all.push(provider),
                    Err(wrong) => self.errors.push(refused(wrong.reason)),
                },
            }
        }
    }

    /// The catalogue and the manifests in `files`, each with its path and the result of reading it.
    pub fn from_manifests(
        files: Vec<(PathBuf, io::Result<String>)>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Self {
        let catalogue = catalogue();
        let mut all: Vec<Provider> = catalogue
            .iter()
            .filter_map(|entry| build(entry.clone(), &catalogue, env).ok())
            .collect();
        let mut errors = Vec::new();
        for (path, content) in files {
            match manifest(&path, content, &catalogue, &all, env) {
                Ok(provider) => match all.iter_mut().find(|known| known.id == provider.id) {
                    Some(known) => *known = provider,
                    None => all.push(provider),
                },
                // The reason contains names and values from the file.
                Err(Wrong { field, reason }) => errors.push(ManifestError {
                    path,
                    field: text::clean(&field),
                    reason: text::clean(&reason),
                }),
            }
        }
        Self { all, errors }
    }

    /// The provider with the id or alias `name`.
    pub fn find(&self, name: &ProviderId) -> Option<&Provider> {
        let exact = self.all.iter().find(|provider| provider.id == *name);
        exact.or_else(|| self.all.iter().find(|provider| provider.is_called(name)))
    }

    /// All providers: those of the catalogue in its order, then those that exist only as manifests.
    pub fn all(&self) -> &[Provider] {
        &self.all
    }

    /// The manifests with errors.
    pub fn errors(&self) -> &[ManifestError] {
        &self.errors
    }

    /// The key or token in the environment for `provider`: the first of its variables that is set
    /// and not blank.
    pub fn env_key(
        &self,
        provider: &ProviderId,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Option<EnvKey> {
        self.find(provider)?.env.iter().find_map(|name| {
            let value = first_set(std::slice::from_ref(name), env)?;
            let is_oauth = name.as_str().contains("OAUTH_TOKEN");
            Some(EnvKey { name: name.to_string(), value: value.into(), is_oauth })
        })
    }
}

/// The largest file that is read as a manifest.
const LARGEST_MANIFEST: u64 = 1 << 20;

/// The provider of a plugin at `path` that has no manifest.
pub(crate) fn of_plugin(id: &ProviderId, path: &Path) -> Result<Provider, Wrong> {
    let entry = serde_json::json!({ "id": id, "flows": ["plugin"] });
    let provider = build(entry, &[], &|_| None)?;
    let (command, origin) = (Some(path.to_owned()), Origin::Plugin(path.to_owned()));
    Ok(Provider { command, origin, ..provider })
}

fn manifest_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_hidden =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.extension().is_some_and(|extension| extension == "json") && !is_hidden {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The catalogue's entries as written. A test builds each of them.
fn catalogue() -> Vec<Value> {
    let single = [
        include_str!("catalog/openai-codex.json"),
        include_str!("catalog/anthropic.json"),
        include_str!("catalog/github-copilot.json"),
        include_str!("catalog/qwen-portal.json"),
        include_str!("catalog/minimax-portal.json"),
        include_str!("catalog/chutes.json"),
        include_str!("catalog/openrouter.json"),
        include_str!("catalog/github-copilot-ghe.json"),
        include_str!("catalog/google-gemini-cli.json"),
        include_str!("catalog/kimi-code.json"),
        include_str!("catalog/minimax-portal-cn.json"),
        include_str!("catalog/xai.json"),
    ];
    let mut entries: Vec<Value> =
        single.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
    let keys: Vec<Value> =
        serde_json::from_str(include_str!("catalog/api_keys.json")).unwrap_or_default();
    entries.extend(keys);
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ProviderId {
        ProviderId::new(text)
    }

    #[test]
    fn the_error_of_a_manifest_cannot_touch_the_terminal() {
        let text = "{\"id\": \"acme\", \"fl\u{1b}[31m\u{202e}ws\": 1}".to_owned();
        let providers = Providers::from_manifests(vec![("acme.json".into(), Ok(text))], &|_| None);
        let error = providers.errors()[0].to_string();
        assert!(!error.contains('\u{1b}') && !error.contains('\u{202e}'), "{error:?}");
    }

    #[test]
    fn every_entry_of_the_catalogue_is_sound_and_found_by_each_of_its_names() {
        let providers = Providers::load(None, &|_| None);
        assert_eq!(providers.all().len(), 27);
        assert_eq!(providers.all().len(), catalogue().len());
        for provider in providers.all() {
            assert_eq!(provider.origin, Origin::BuiltIn);
            assert_eq!(providers.find(&provider.id).map(|found| &found.id), Some(&provider.id));
            for alias in &provider.aliases {
                let found = providers.find(&id(alias)).map(|found| &found.id);
                assert_eq!(found, Some(&provider.id), "{alias}");
            }
        }
        assert_eq!(providers.find(&id("Z.AI")).map(|found| found.id.as_str()), Some("zai"));
        assert!(providers.find(&id("nobody")).is_none());
    }

    #[test]
    fn no_client_secret_is_shipped() {
        for provider in Providers::load(None, &|_| None).all() {
            assert!(provider.client_secret.is_none(), "{}", provider.id);
        }
    }

    #[test]
    fn an_unreadable_manifest_and_directory_are_named() {
        let file = (PathBuf::from("/p/acme.json"), Err(io::Error::other("no luck")));
        let providers = Providers::from_manifests(vec![file], &|_| None);
        assert_eq!(
            providers.errors()[0].to_string(),
            "provider manifest `/p/acme.json`: it cannot be read: no luck"
        );
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Providers::load(Some(&directory.path().join("none")), &|_| None).errors(), []);
    }

    #[test]
    fn manifests_are_the_json_files_of_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let manifest = r#"{"id": "acme", "flows": ["token"]}"#;
        for name in ["acme.json", "acme.json~", ".acme.json", "notes.txt"] {
            auth_store::write_atomic(&directory.path().join(name), manifest.as_bytes()).unwrap();
        }
        let providers = Providers::load(Some(directory.path()), &|_| None);
        assert_eq!(providers.errors(), []);
        assert!(providers.find(&id("acme")).is_some());
    }

    #[test]
    fn a_key_of_the_environment_is_the_first_variable_that_is_not_blank() {
        let providers = Providers::load(None, &|_| None);
        let key = |provider: &str, env: &[(&str, &str)]| {
            let env = |name: &str| {
                env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            let key = providers.env_key(&id(provider), &env)?;
            Some((key.name, key.value.expose().to_owned(), key.is_oauth))
        };
        let both = [("ANTHROPIC_OAUTH_TOKEN", " "), ("ANTHROPIC_API_KEY", " k\n")];
        assert_eq!(key("anthropic", &both), Some(("ANTHROPIC_API_KEY".into(), "k".into(), false)));
        let oauth = [("QWEN_OAUTH_TOKEN", "t")];
        assert_eq!(key("qwen", &oauth), Some(("QWEN_OAUTH_TOKEN".into(), "t".into(), true)));
        assert_eq!(key("openai-codex", &[("OPENAI_API_KEY", "k")]), None);
    }
}
