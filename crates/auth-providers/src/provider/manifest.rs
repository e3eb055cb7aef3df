//! Builds a provider from its entry: the entry it extends, the checks, and the changes from the
//! environment.

use std::io;
use std::path::Path;

use auth_store::{ProviderId, Secret, VariableName};
use serde_json::Value;

use crate::http::address;
use crate::provider::{Builtin, IdentitySource, Origin, Provider, RedirectData, Wrong, wrong};
use crate::text;

/// The provider described by the manifest at `path` with the text `content`.
pub(crate) fn manifest(
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

/// The entry `value`, merged into the built-in one that it extends, with the changes from the
/// environment.
pub(crate) fn build(
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
        // A request for `openid` returns an ID token with the account (OpenID Connect Core §2).
        provider.identity.source = Some(IdentitySource::IdToken);
    }
    if is_openid && provider.identity.source != Some(IdentitySource::AccessToken) {
        // The names of both: OpenID Connect Core §5.1.
        provider.identity.account.get_or_insert_with(|| "/sub".to_owned());
        provider.identity.email.get_or_insert_with(|| "/email".to_owned());
    }
    if provider.label.is_empty() {
        provider.label = provider.id.to_string();
    }
    provider.builtin = entry_of(&provider.id).map(|entry| {
        let changed = provider.extends.is_some();
        let original = changed.then(|| serde_json::from_value::<Provider>(entry.clone()).ok());
        let original = original.flatten();
        let original = original.as_ref().unwrap_or(&provider);
        let client_id = entry["client_id"].as_str().map(str::to_owned);
        Builtin {
            token_endpoint: original.endpoints.token.clone(),
            client_id: provider.client_id_from(env).or(client_id),
            client_secret_env: original.client_secret_env.clone(),
            destinations: original.destinations(),
        }
    });
    provider.read_environment(env);
    Ok(provider)
}

/// Merges `change` into `base` as a JSON merge patch (RFC 7396). An issuer replaces the endpoints
/// of the base, another token endpoint removes its probe, and an entry with a new id does not
/// inherit the aliases.
fn overlay(mut base: Value, change: Value) -> Value {
    if change.get("issuer").is_some_and(Value::is_string) {
        base["endpoints"] = Value::Null;
        base["probe"] = Value::Null;
    }
    if change["endpoints"].get("token").is_some() {
        // The built-in probe must not receive credentials of another server.
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

/// A URI that cannot be a redirect URI becomes the host, so that the login that uses it reports the
/// error.
fn redirect_data(uri: String) -> RedirectData {
    let url = address::parse(&uri).ok().filter(|url| url.scheme() == "http");
    let parts = url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
    match (url.as_ref(), parts) {
        (Some(url), Some((host, port))) => {
            RedirectData { host: host.to_owned(), ports: vec![port], path: url.path().to_owned() }
        }
        _ => RedirectData { host: uri, ports: Vec::new(), path: "/".to_owned() },
    }
}

/// The value of the first variable that is set and not blank, trimmed.
pub(crate) fn first_set(
    names: &[VariableName],
    env: &dyn Fn(&str) -> Option<String>,
) -> Option<String> {
    names.iter().find_map(|name| {
        let value = env(name.as_str())?;
        let value = auth_store::trim(&value);
        (!value.is_empty()).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::provider::Flow;
    use crate::provider::registry::Providers;

    fn id(text: &str) -> ProviderId {
        ProviderId::new(text)
    }

    /// The number of providers without any manifest.
    fn built_in() -> usize {
        Providers::load(None, &|_| None).all().len()
    }

    /// The providers with one manifest `name`.json.
    fn with(name: &str, manifest: &str, env: &[(&str, &str)]) -> Providers {
        let path = PathBuf::from(format!("/state/providers/{name}.json"));
        let files = vec![(path, Ok(manifest.to_owned()))];
        Providers::from_manifests(files, &|name| {
            env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    /// Asserts that the manifest is refused for that field and for a reason that contains `reason`,
    /// and that all other providers still exist.
    #[track_caller]
    fn refuses(name: &str, manifest: &str, field: &str, reason: &str) {
        let providers = with(name, manifest, &[]);
        let [error] = providers.errors() else { panic!("{:?}", providers.errors()) };
        assert_eq!(error.field, field, "{error}");
        assert!(error.reason.contains(reason), "{error}");
        assert!(error.path.ends_with(format!("{name}.json")));
        assert_eq!(providers.all().len(), built_in());
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
        assert_eq!(providers.all().len(), built_in());
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
        for name in ["X; id; Y", "PATH", "LD_PRELOAD", ""] {
            let env = format!("\"env\": [\"{name}\"]");
            let refused = acme("\"env\": [\"ACME_API_KEY\"]", &env);
            refuses(
                "acme",
                &refused,
                "env[0]",
                if name.len() > 3 && !name.contains(' ') || name == "PATH" {
                    "no key"
                } else {
                    "letters"
                },
            );
        }
        refuses(
            "acme",
            &acme("\"bare_code\": false", "\"bare_code\": 3"),
            "bare_code",
            "expected a boolean",
        );
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
