//! All providers of this machine: the catalogue, then the manifests people wrote.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use auth_store::{ProviderId, Secret};
use serde_json::Value;

use crate::provider::{Builtin, Origin, Provider, RedirectData, Wrong, wrong};
use crate::text;

/// The providers that are known, and the manifests that are wrong.
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
    /// The field, if it is one field; empty if the file as a whole is wrong.
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
    /// Its value, without white space around it.
    pub value: Secret,
    /// Whether the variable is for a subscription's token (its name has `OAUTH_TOKEN` in it)
    /// rather than for a key.
    pub is_oauth: bool,
}

impl Providers {
    /// The catalogue and the manifests `*.json` in `manifests`, which need not exist.
    ///
    /// `env` looks up an environment variable; it is asked for those the entries name.
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
            let content = std::fs::read_to_string(&path);
            (path, content)
        });
        let mut providers = Self::from_manifests(read.collect(), env);
        errors.append(&mut providers.errors);
        Self { errors, ..providers }
    }

    /// The catalogue and the manifests in `files`, each with its path and what reading it gave.
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
                Err(Wrong { field, reason }) => errors.push(ManifestError { path, field, reason }),
            }
        }
        Self { all, errors }
    }

    /// The provider with the id or alias `name`.
    pub fn find(&self, name: &ProviderId) -> Option<&Provider> {
        let exact = self.all.iter().find(|provider| provider.id == *name);
        exact.or_else(|| self.all.iter().find(|provider| provider.is_called(name)))
    }

    /// All of them: the catalogue's in its order, then those that are only manifests.
    pub fn all(&self) -> &[Provider] {
        &self.all
    }

    /// The manifests that are wrong.
    pub fn errors(&self) -> &[ManifestError] {
        &self.errors
    }

    /// The key or token that the environment has for `provider`: the first of its variables that
    /// is set and not blank.
    pub fn env_key(
        &self,
        provider: &ProviderId,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Option<EnvKey> {
        self.find(provider)?.env.iter().find_map(|name| {
            let value = first_set(std::slice::from_ref(name), env)?;
            let is_oauth = name.contains("OAUTH_TOKEN");
            Some(EnvKey { name: name.clone(), value: value.into(), is_oauth })
        })
    }
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

fn manifest(
    path: &Path,
    content: io::Result<String>,
    catalogue: &[Value],
    known: &[Provider],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Provider, Wrong> {
    let content = content.map_err(|error| wrong("", &format!("it cannot be read: {error}")))?;
    let value: Value = serde_json::from_str(content.trim_start_matches('\u{feff}'))
        .map_err(|error| wrong("", &format!("it is not JSON: {error}")))?;
    if !value.is_object() {
        return Err(wrong("", "it is not a JSON object"));
    }
    let mut provider = build(value, catalogue, env)?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    if stem.as_deref().map(ProviderId::new).as_ref() != Some(&provider.id) {
        return Err(wrong("id", &format!("the file must be called `{}.json`", provider.id)));
    }
    if provider.builtin.is_some() && provider.extends.as_ref() != Some(&provider.id) {
        let reason = format!("it is built in; add `\"extends\": \"{}\"` to change it", provider.id);
        return Err(wrong("id", &reason));
    }
    for other in known.iter().filter(|other| other.id != provider.id) {
        let taken = provider.aliases.iter().find(|alias| other.is_called(&ProviderId::new(alias)));
        if let Some(alias) = taken {
            return Err(wrong("aliases", &format!("`{alias}` is a name of `{}`", other.id)));
        }
    }
    provider.origin = Origin::Manifest(path.to_owned());
    Ok(provider)
}

/// The entry `value`, laid over the built-in one it extends, with what the environment changes.
fn build(
    value: Value,
    catalogue: &[Value],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Provider, Wrong> {
    let entry_of =
        |id: &ProviderId| catalogue.iter().find(|entry| entry["id"].as_str() == Some(id.as_str()));
    let value = match value.get("extends").and_then(Value::as_str).map(ProviderId::new) {
        Some(base_id) => {
            let base = entry_of(&base_id)
                .ok_or_else(|| wrong("extends", &format!("`{base_id}` is not built in")))?;
            overlay(base.clone(), value)
        }
        None => value,
    };
    let mut provider: Provider = serde_path_to_error::deserialize(&value).map_err(|error| {
        let field = error.path().to_string();
        let field = if field == "." { String::new() } else { field };
        Wrong { field, reason: text::clean(&error.inner().to_string()) }
    })?;
    provider.check()?;
    if provider.label.is_empty() {
        provider.label = provider.id.to_string();
    }
    provider.builtin = entry_of(&provider.id).map(|entry| Builtin {
        token_endpoint: entry["endpoints"]["token"].as_str().map(str::to_owned),
        client_id: provider.client_id_from(env).or(entry["client_id"].as_str().map(str::to_owned)),
    });
    provider.read_environment(env);
    Ok(provider)
}

/// `change` laid over `base` as a JSON merge patch (RFC 7396). An issuer replaces the addresses
/// of the base, and a new id does not inherit its aliases.
fn overlay(mut base: Value, change: Value) -> Value {
    if change.get("issuer").is_some_and(Value::is_string) {
        base["endpoints"] = Value::Null;
    }
    if change.get("id") != base.get("id") {
        base["aliases"] = Value::Null;
    }
    merge_patch(&mut base, change);
    base
}

fn merge_patch(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(members) = target {
        for (name, value) in patch {
            if value.is_null() {
                members.remove(&name);
            } else {
                merge_patch(members.entry(name).or_insert(Value::Null), value);
            }
        }
    }
}

impl Provider {
    fn client_id_from(&self, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        first_set(&self.client_id_env, env)
    }

    fn read_environment(&mut self, env: &dyn Fn(&str) -> Option<String>) {
        if let Some(client_id) = self.client_id_from(env) {
            self.client_id = Some(client_id);
        }
        self.client_secret = first_set(&self.client_secret_env, env).map(Secret::from);
        if let Some(scopes) = first_set(&self.scopes_env, env) {
            self.scopes = scopes.split_whitespace().map(str::to_owned).collect();
        }
        if let Some(uri) = first_set(&self.redirect_uri_env, env) {
            self.redirect = Some(redirect_data(uri));
        }
    }
}

/// What cannot be a redirect becomes its host, so that the login that uses it says so.
fn redirect_data(uri: String) -> RedirectData {
    let url = crate::address::parse(&uri).ok().filter(|url| url.scheme() == "http");
    let parts = url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
    match (url.as_ref(), parts) {
        (Some(url), Some((host, port))) => {
            RedirectData { host: host.to_owned(), ports: vec![port], path: url.path().to_owned() }
        }
        _ => RedirectData { host: uri, ports: Vec::new(), path: "/".to_owned() },
    }
}

fn first_set(names: &[String], env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    names.iter().find_map(|name| {
        let value = env(name)?;
        let value = auth_store::trim(&value);
        (!value.is_empty()).then(|| value.to_owned())
    })
}

/// The catalogue's entries, as they are written. A test builds each of them.
fn catalogue() -> Vec<Value> {
    let single = [
        include_str!("catalog/openai-codex.json"),
        include_str!("catalog/anthropic.json"),
        include_str!("catalog/github-copilot.json"),
        include_str!("catalog/qwen-portal.json"),
        include_str!("catalog/minimax-portal.json"),
        include_str!("catalog/chutes.json"),
        include_str!("catalog/openrouter.json"),
    ];
    let mut entries: Vec<Value> =
        single.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
    let keys: Vec<Value> =
        serde_json::from_str(include_str!("catalog/api_keys.json")).unwrap_or_default();
    entries.extend(keys);
    entries
}
