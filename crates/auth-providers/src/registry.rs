//! All providers of this machine: the catalogue, then the manifests people wrote.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use auth_store::{ProviderId, Secret};
use serde_json::Value;

use crate::plugin::Executable;
use crate::provider::{
    Builtin, Flow, IdentitySource, Origin, Provider, RedirectData, Wrong, wrong,
};
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
            let content = auth_store::read_regular_text(&path);
            (path, content)
        });
        let mut providers = Self::from_manifests(read.collect(), env);
        if let Some(directory) = manifests {
            providers.add_plugins(&directory.join("bin"));
        }
        errors.append(&mut providers.errors);
        Self { errors, ..providers }
    }

    /// Finds the plugins in the directory `bin`: those that manifests speak of, and those that
    /// need none.
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
                // Names and values of the file are in these words.
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

/// The provider that the plugin at `path` makes by itself.
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
    let is_openid = provider.issuer.is_some() && provider.scopes.iter().any(|it| it == "openid");
    if is_openid && provider.identity.source.is_none() {
        // Whoever asks for `openid` is told who logged in (OpenID Connect Core §2).
        provider.identity.source = Some(IdentitySource::IdToken);
        provider.identity.account.get_or_insert_with(|| "/sub".to_owned());
        provider.identity.email.get_or_insert_with(|| "/email".to_owned());
    }
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
/// of the base, another token endpoint takes its probe away, and a new id does not inherit its aliases.
fn overlay(mut base: Value, change: Value) -> Value {
    if change.get("issuer").is_some_and(Value::is_string) {
        base["endpoints"] = Value::Null;
        base["probe"] = Value::Null;
    }
    if change["endpoints"].get("token").is_some() {
        // Credentials of another server are nothing to ask the built-in one about.
        base["probe"] = Value::Null;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ProviderId {
        ProviderId::new(text)
    }

    /// The providers with one manifest `name`.json.
    fn with(name: &str, manifest: &str, env: &[(&str, &str)]) -> Providers {
        let path = PathBuf::from(format!("/state/providers/{name}.json"));
        let files = vec![(path, Ok(manifest.to_owned()))];
        Providers::from_manifests(files, &|name| {
            env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    /// Asserts that the manifest is refused for that field and for a reason with `reason` in it,
    /// and that everybody else is still there.
    #[track_caller]
    fn refuses(name: &str, manifest: &str, field: &str, reason: &str) {
        let providers = with(name, manifest, &[]);
        let [error] = providers.errors() else { panic!("{:?}", providers.errors()) };
        assert_eq!(error.field, field, "{error}");
        assert!(error.reason.contains(reason), "{error}");
        assert!(error.path.ends_with(format!("{name}.json")));
        assert_eq!(providers.all().len(), catalogue().len());
    }

    const ACME: &str = r#"{
      "id": "acme", "label": "Acme AI", "aliases": ["acme-ai"], "extends": null,
      "flows": ["authorization_code", "device_code", "token", "api_key"],
      "issuer": "https://login.acme.example",
      "endpoints": { "token": "https://login.acme.example/token" },
      "client_id": "c", "client_id_env": ["ACME_CLIENT_ID"], "client_secret_env": ["ACME_CLIENT_SECRET"],
      "scopes": ["openid", "email", "offline_access"],
      "redirect": { "host": "127.0.0.1", "ports": [1455, 1457], "path": "/auth/callback" },
      "authorize_params": {}, "token_params": {}, "token_body": "form",
      "identity": { "source": "id_token", "account": "/sub", "email": "/email" },
      "replay_after_lost_response": true, "revoke_superseded": false, "bare_code": false,
      "env": ["ACME_API_KEY"]
    }"#;

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
        assert_eq!(providers.all().len(), 24);
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
    fn the_manifest_of_the_documentation_is_a_provider() {
        let providers =
            with("acme", ACME, &[("ACME_CLIENT_ID", " mine "), ("ACME_CLIENT_SECRET", "s")]);
        assert_eq!(providers.errors(), []);
        let acme = providers.find(&id("acme-ai")).unwrap();
        assert_eq!(acme.client_id.as_deref(), Some("mine"));
        assert_eq!(acme.client_secret, Some("s".into()));
        assert_eq!(acme.flows[0], Flow::AuthorizationCode);
        assert!(matches!(&acme.origin, Origin::Manifest(path) if path.ends_with("acme.json")));
        assert!(!format!("{acme:?}").contains("\"s\""));
    }

    #[test]
    fn a_manifest_changes_the_built_in_provider_it_extends() {
        let manifest = r#"{"id": "openai-codex", "extends": "openai-codex",
            "endpoints": {"token": "http://127.0.0.1:9/token"}, "authorize_params": {"originator": null}}"#;
        let providers = with("openai-codex", manifest, &[]);
        assert_eq!(providers.errors(), []);
        let codex = providers.find(&id("openai-codex")).unwrap();
        assert_eq!(codex.endpoints.token.as_deref(), Some("http://127.0.0.1:9/token"));
        assert_eq!(
            codex.endpoints.authorization.as_deref(),
            Some("https://auth.openai.com/oauth/authorize")
        );
        assert_eq!(codex.authorize_params.len(), 2);
        assert_eq!(providers.all().len(), catalogue().len());
    }

    #[test]
    fn an_issuer_takes_the_place_of_all_the_addresses_it_extends() {
        let manifest =
            r#"{"id": "my-codex", "extends": "openai-codex", "issuer": "https://gateway.example"}"#;
        let providers = with("my-codex", manifest, &[]);
        let mine = providers.find(&id("my-codex")).unwrap();
        assert!(mine.endpoints.token.is_none() && mine.endpoints.authorization.is_none());
        assert_eq!(providers.find(&id("codex")).unwrap().id.as_str(), "openai-codex");
    }

    #[test]
    fn a_wrong_manifest_is_named_with_file_field_and_reason() {
        let acme = |from: &str, to: &str| ACME.replace(from, to);
        refuses("acme", "{", "", "not JSON");
        refuses("acme", "[]", "", "not a JSON object");
        refuses("acme", "{}", "", "missing field `id`");
        refuses("other", ACME, "id", "`acme.json`");
        refuses("a b", r#"{"id": "a b", "flows": ["token"]}"#, "id", "only letters");
        refuses("acme", &acme("\"flows\"", "\"flow\""), "flow", "unknown field");
        refuses(
            "acme",
            &acme("[\"authorization_code\", ", "[\"magic\", "),
            "flows[0]",
            "unknown variant",
        );
        refuses("acme", r#"{"id": "acme", "flows": []}"#, "flows", "no way to log in");
        refuses(
            "acme",
            &acme("[1455, 1457]", "[1455, 70000]"),
            "redirect.ports[1]",
            "expected u16",
        );
        refuses("acme", &acme("\"127.0.0.1\"", "\"0.0.0.0\""), "redirect", "0.0.0.0");
        refuses(
            "acme",
            &acme("https://login.acme.example/token", "http://login.acme.example/token"),
            "endpoints.token",
            "plain http",
        );
        refuses("acme", &acme("\"https://login.acme.example\"", "\"acme\""), "issuer", "not a URL");
        refuses("acme", &acme("\"/sub\"", "\"sub\""), "identity.account", "begins with `/`");
        refuses(
            "acme",
            &acme("\"id_token\"", "\"passport\""),
            "identity.source",
            "unknown variant",
        );
        refuses(
            "acme",
            &acme("\"authorize_params\": {}", "\"authorize_params\": {\"state\": \"x\"}"),
            "authorize_params.state",
            "set by the login itself",
        );
        refuses(
            "acme",
            &acme("\"token_params\": {}", "\"token_params\": {\"grant_type\": \"x\"}"),
            "token_params.grant_type",
            "set by the login itself",
        );
        refuses(
            "acme",
            &acme("\"extends\": null", "\"extends\": \"nobody\""),
            "extends",
            "not built in",
        );
        refuses("acme", &acme("[\"acme-ai\"]", "[\"z.ai\"]"), "aliases", "`zai`");
        refuses("anthropic", r#"{"id": "anthropic", "flows": ["token"]}"#, "id", "\"extends\"");
        refuses(
            "acme",
            r#"{"id": "acme", "flows": ["authorization_code"], "client_id": "c"}"#,
            "endpoints.authorization",
            "no `issuer`",
        );
        refuses(
            "acme",
            r#"{"id": "acme", "flows": ["device_code"], "issuer": "https://a.example"}"#,
            "client_id",
            "missing",
        );
        refuses(
            "acme",
            r#"{"id": "acme", "flows": ["plugin"], "command": "plugin"}"#,
            "command",
            "absolute",
        );
        refuses(
            "acme",
            &acme("\"bare_code\": false", "\"bare_code\": 3"),
            "bare_code",
            "expected a boolean",
        );
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
        for name in ["acme.json", "acme.json~", ".acme.json", "notes.txt"] {
            auth_store::write_atomic(&directory.path().join(name), ACME.as_bytes()).unwrap();
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

    #[test]
    fn a_redirect_of_the_environment_that_cannot_be_used_fails_at_the_login_only() {
        let env = |name: &str| {
            (name == "CHUTES_OAUTH_REDIRECT_URI").then(|| "https://chutes.example/cb".to_owned())
        };
        let providers = Providers::load(None, &env);
        let chutes = providers.find(&id("chutes")).unwrap();
        assert!(chutes.redirect().unwrap_err().to_string().contains("chutes.example"));
        let env = |name: &str| {
            (name == "CHUTES_OAUTH_REDIRECT_URI").then(|| "http://localhost:99/cb".to_owned())
        };
        let providers = Providers::load(None, &env);
        let redirect = providers.find(&id("chutes")).unwrap().redirect().unwrap();
        assert_eq!(redirect.uri(99), "http://localhost:99/cb");
    }

    #[test]
    fn an_openid_issuer_names_the_account_unless_the_manifest_says_otherwise() {
        let source = |rest: &str| {
            let manifest = format!(
                r#"{{"id": "acme", "flows": ["authorization_code"], "client_id": "c", {rest}}}"#
            );
            let files = vec![("acme.json".into(), Ok(manifest))];
            let providers = Providers::from_manifests(files, &|_| None);
            assert_eq!(providers.errors(), []);
            let identity = &providers.find(&id("acme")).unwrap().identity;
            (identity.source, identity.account.clone())
        };
        let issuer = r#""issuer": "https://login.acme.example""#;
        let openid = r#""scopes": ["openid"]"#;
        let named = (Some(IdentitySource::IdToken), Some("/sub".to_owned()));
        assert_eq!(source(&format!("{issuer}, {openid}")), named);
        assert_eq!(source(issuer), (None, None));
        let own = r#""identity": {"source": "userinfo", "account": "/id"}"#;
        let userinfo = (Some(IdentitySource::Userinfo), Some("/id".to_owned()));
        assert_eq!(source(&format!("{issuer}, {openid}, {own}")), userinfo);
    }
}
