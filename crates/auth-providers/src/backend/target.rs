//! Where the refresh token of a login is sent: back to the endpoint, or the plugin, that issued it.

use std::time::Duration;

use auth_store::{EndpointKey, OAuthCredential, Secret};

use crate::http::HttpRequest;
use crate::http::destination::Destination;
use crate::oauth::endpoint::{Missing, TargetError, TokenEndpoint};
use crate::plugin;
use crate::provider::Provider;

/// The destination of one refresh token.
#[derive(Clone, Debug)]
pub struct RefreshTarget {
    /// The token endpoint that issued the token. It is part of the token's identity, as is the
    /// client id.
    pub token_endpoint: String,
    /// The client the token was issued to.
    pub client_id: String,
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    Endpoint(TokenEndpoint),
    Plugin { at: Destination, provider: String, account_id: Option<String> },
}

impl Provider {
    /// The endpoint and the client for the refresh token of `login`.
    ///
    /// A refresh token is bound to the address that issued it. That is the address recorded in the
    /// profile; without a record, the built-in address for this provider id, never one that a
    /// manifest put in its place. A manifest's own address is used only for a provider that exists
    /// only as a manifest.
    pub fn refresh_target(&self, login: &OAuthCredential) -> Result<RefreshTarget, TargetError> {
        let provider = || self.id.to_string();
        if !self.refreshable || !self.has_oauth_login() {
            return Err(TargetError::NotRefreshable { provider: provider() });
        }
        let recorded = login.token_endpoint.clone();
        if let Some(target) = self.plugin_target(login) {
            return target;
        }
        let own = match &self.builtin {
            Some(builtin) => builtin.token_endpoint.clone(),
            None => self.endpoints.token.clone(),
        };
        let stored = login.client_id.as_deref().map(auth_store::trim).filter(|id| !id.is_empty());
        let client_id = stored.map(str::to_owned).or_else(|| match (&recorded, &self.builtin) {
            (None, Some(builtin)) => builtin.client_id.clone(),
            _ => self.client_id.clone(),
        });
        let Some(url) = recorded.or(own) else {
            return Err(match login.issuer.clone().or_else(|| self.issuer.clone()) {
                Some(issuer) => TargetError::NeedsDiscovery { issuer },
                None => TargetError::Incomplete {
                    provider: provider(),
                    missing: Missing::TokenEndpoint,
                },
            });
        };
        let known = self.login_destinations(login);
        let endpoint = self.token_endpoint("token endpoint", &url, &known, client_id)?;
        Ok(RefreshTarget {
            token_endpoint: url,
            client_id: endpoint.client_id.clone(),
            way: Way::Endpoint(endpoint),
        })
    }

    /// The plugin as the target, if a plugin issued the login. Such a token goes back to that
    /// plugin and to no address; a token issued by an address never goes to a plugin.
    fn plugin_target(&self, login: &OAuthCredential) -> Option<Result<RefreshTarget, TargetError>> {
        let is_own =
            self.builtin.is_none() && self.endpoints.token.is_none() && self.issuer.is_none();
        let id = match &login.token_endpoint {
            Some(recorded) => recorded.strip_prefix(plugin::SCHEME)?,
            None if is_own && self.plugin().is_some() => self.id.as_str(),
            None => return None,
        };
        let token_endpoint = format!("{}{id}", plugin::SCHEME);
        if id != self.id.as_str() || self.plugin().is_none() {
            let reason = "the plugin it came from is not there any more";
            return Some(Err(TargetError::BadEndpoint { url: token_endpoint, reason }));
        }
        let at = match self.login_destinations(login).admit(&token_endpoint, "plugin") {
            Ok(at) => at,
            Err(foreign) => return Some(Err(foreign.into())),
        };
        let provider = self.id.to_string();
        let way = Way::Plugin { at, provider, account_id: login.account_id.clone() };
        Some(Ok(RefreshTarget { token_endpoint, client_id: String::new(), way }))
    }
}

impl RefreshTarget {
    /// What the endpoint answers to one of this client's tokens may concern the others.
    pub(crate) fn endpoint_key(&self) -> EndpointKey {
        EndpointKey::new(&self.token_endpoint, &self.client_id)
    }

    /// The request that exchanges `refresh` for new tokens (RFC 6749 §6).
    pub fn request(&self, refresh: &Secret, timeout: Duration) -> HttpRequest {
        match &self.way {
            Way::Endpoint(endpoint) => endpoint.refresh(refresh, timeout),
            Way::Plugin { at, provider, account_id } => {
                let timeout = timeout.min(plugin::REFRESH_TIMEOUT);
                let request = plugin::Request::Refresh {
                    version: plugin::VERSIONS[0],
                    provider: provider.clone(),
                    refresh_token: refresh.clone(),
                    account_id: account_id.clone(),
                    timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
                };
                to_plugin(at, &request, timeout)
            }
        }
    }

    /// The request that revokes `login` at its plugin; `None` if no plugin issued it.
    pub(super) fn revocation_by_plugin(&self, login: &OAuthCredential) -> Option<HttpRequest> {
        let Way::Plugin { at, provider, .. } = &self.way else { return None };
        let request = plugin::Request::Revoke {
            version: plugin::VERSIONS[0],
            provider: provider.clone(),
            refresh_token: login.refresh.clone(),
            access_token: login.access.clone(),
        };
        Some(to_plugin(at, &request, plugin::REVOKE_TIMEOUT))
    }
}

fn to_plugin(at: &Destination, request: &plugin::Request, timeout: Duration) -> HttpRequest {
    at.post("application/json", request.line(), Vec::new(), timeout)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use auth_store::ProviderId;

    use super::*;
    use crate::http::Method;
    use crate::provider::registry::Providers;

    fn provider(id: &str, manifest: Option<&str>, env: &[(&str, &str)]) -> Provider {
        let path = PathBuf::from(format!("/{id}.json"));
        let files = manifest.map(|text| (path, Ok(text.to_owned()))).into_iter().collect();
        let providers = Providers::from_manifests(files, &|name| {
            env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        });
        assert_eq!(providers.errors(), []);
        providers.find(&ProviderId::new(id)).unwrap().clone()
    }

    fn login(endpoint: Option<&str>, client: Option<&str>) -> OAuthCredential {
        OAuthCredential {
            refresh: "r".into(),
            token_endpoint: endpoint.map(str::to_owned),
            client_id: client.map(str::to_owned),
            ..OAuthCredential::default()
        }
    }

    fn target(provider: &Provider, login: &OAuthCredential) -> (String, String) {
        let target = provider.refresh_target(login).unwrap();
        (target.token_endpoint, target.client_id)
    }

    const CODEX: &str = "https://auth.openai.com/oauth/token";
    const GATEWAY: &str = r#"{"id": "openai-codex", "extends": "openai-codex", "client_id": "mine",
        "endpoints": {"token": "https://gateway.example/token"}}"#;
    const ACME: &str = r#"{"id": "acme", "flows": ["authorization_code"], "client_id": "acme-cli",
        "issuer": "https://acme.example", "client_id_env": ["ACME_ID"], "client_secret_env": ["ACME_SECRET"],
        "token_params": {"resource": "https://api.acme.example"},
        "endpoints": {"token": "https://acme.example/token"}}"#;

    #[test]
    fn the_refresh_of_codex_is_the_same_to_the_byte() {
        let codex = provider("openai-codex", None, &[]);
        let target = codex.refresh_target(&login(None, None)).unwrap();
        let request = target.request(&"r t&1".into(), Duration::from_secs(12));
        assert_eq!((request.method(), request.url()), (Method::Post, CODEX));
        assert_eq!(
            String::from_utf8(request.body().unwrap().to_vec()).unwrap(),
            "grant_type=refresh_token&refresh_token=r+t%261&client_id=app_EMoamEEZ73f0CkXaXp7hrann"
        );
        assert_eq!(
            request.headers(),
            [
                ("accept".to_owned(), "application/json".to_owned()),
                ("accept-encoding".to_owned(), "identity".to_owned()),
                ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
            ]
        );
        assert_eq!(request.timeout(), Duration::from_secs(12));
        assert!(request.gate().is_none());
    }

    #[test]
    fn a_recorded_endpoint_is_the_only_one_the_token_is_sent_to() {
        let recorded = login(Some("https://old.example/token"), Some("old"));
        for provider in [
            provider("openai-codex", None, &[]),
            provider("openai-codex", Some(GATEWAY), &[]),
            provider("acme", Some(ACME), &[]),
        ] {
            let (endpoint, client) = target(&provider, &recorded);
            assert_eq!((endpoint.as_str(), client.as_str()), ("https://old.example/token", "old"));
        }
    }

    #[test]
    fn a_token_without_a_record_belongs_to_the_built_in_endpoint_whatever_a_manifest_says() {
        let gateway = provider("openai-codex", Some(GATEWAY), &[]);
        let (endpoint, client) = target(&gateway, &login(None, None));
        assert_eq!((endpoint.as_str(), client.as_str()), (CODEX, "app_EMoamEEZ73f0CkXaXp7hrann"));
        // The control: with the record, the token goes to the gateway, with the gateway's client
        // id.
        let (endpoint, client) =
            target(&gateway, &login(Some("https://gateway.example/token"), None));
        assert_eq!((endpoint.as_str(), client.as_str()), ("https://gateway.example/token", "mine"));
    }

    #[test]
    fn a_provider_that_is_a_manifest_alone_has_its_own_endpoint_and_client() {
        let acme = provider("acme", Some(ACME), &[("ACME_ID", "from-env")]);
        let (endpoint, client) = target(&acme, &login(None, None));
        assert_eq!(
            (endpoint.as_str(), client.as_str()),
            ("https://acme.example/token", "from-env")
        );
    }

    #[test]
    fn where_only_the_issuer_is_known_it_must_be_asked() {
        let manifest = ACME.replace(
            "\"endpoints\": {\"token\": \"https://acme.example/token\"}",
            "\"label\": \"A\"",
        );
        let acme = provider("acme", Some(&manifest), &[]);
        let error = acme.refresh_target(&login(None, None)).unwrap_err();
        assert_eq!(
            error,
            TargetError::NeedsDiscovery { issuer: "https://acme.example".to_owned() }
        );
    }

    #[test]
    fn a_secret_goes_nowhere_but_over_tls_or_loopback() {
        let codex = provider("openai-codex", None, &[]);
        for url in
            ["http://auth.openai.com/oauth/token", "https://u:p@auth.openai.com/", "file:///x", ""]
        {
            let error = codex.refresh_target(&login(Some(url), None)).unwrap_err();
            assert!(matches!(error, TargetError::BadEndpoint { .. }), "{url}: {error}");
        }
        for url in ["http://127.0.0.1:9/t", "http://localhost:9/t", "http://[::1]:9/t"] {
            assert_eq!(target(&codex, &login(Some(url), None)).0, url);
        }
    }

    #[test]
    fn a_client_secret_goes_to_the_endpoint_of_its_entry_and_to_no_foreign_one() {
        let secret = [("ACME_SECRET", "s")];
        let acme = provider("acme", Some(ACME), &secret);
        let foreign = login(Some("https://foreign.example/token"), None);
        let error = acme.refresh_target(&foreign).unwrap_err();
        let TargetError::Foreign(foreign) = error else { panic!("{error}") };
        assert_eq!(foreign.wanted, "https://acme.example");
        assert_eq!(foreign.allowed, ["https://foreign.example"]);
        // The built-in client has none, whatever a manifest adds for another endpoint.
        let gateway = GATEWAY.replace("{\"id", r#"{"client_secret_env": ["ACME_SECRET"], "id"#);
        let codex = provider("openai-codex", Some(&gateway), &secret);
        let sent = |login: &OAuthCredential| {
            let target = codex.refresh_target(login).unwrap();
            let request = target.request(&"r".into(), Duration::ZERO);
            String::from_utf8(request.body().unwrap().to_vec()).unwrap().contains("client_secret")
        };
        assert!(!sent(&login(None, None)));
        assert!(sent(&login(Some("https://gateway.example/token"), None)));
    }

    #[test]
    fn a_recorded_endpoint_outside_the_recorded_origins_gets_nothing() {
        let odd = OAuthCredential {
            destinations: Some(vec!["https://acme.example".to_owned()]),
            ..login(Some("https://evil.example/token"), None)
        };
        let error = provider("acme", Some(ACME), &[]).refresh_target(&odd).unwrap_err();
        assert!(matches!(error, TargetError::Foreign(_)), "{error}");
        // What cannot be read as origins allows none.
        let unreadable = OAuthCredential { destinations: Some(Vec::new()), ..login(None, None) };
        let error = provider("acme", Some(ACME), &[]).refresh_target(&unreadable).unwrap_err();
        assert!(error.to_string().contains("no destination is recorded"), "{error}");
    }

    #[test]
    fn what_cannot_be_refreshed_says_so() {
        for id in ["anthropic", "github-copilot", "openrouter", "groq"] {
            let error = provider(id, None, &[]).refresh_target(&login(None, None)).unwrap_err();
            assert!(matches!(error, TargetError::NotRefreshable { .. }), "{id}: {error}");
        }
        let error = provider("chutes", None, &[]).refresh_target(&login(None, None)).unwrap_err();
        assert_eq!(error.to_string(), "`chutes` has no client id");
    }

    #[test]
    fn a_client_secret_is_presented_in_the_body_or_in_the_header_never_both() {
        let secret = [("ACME_SECRET", "s/1")];
        let refresh = |manifest: &str| {
            let acme = provider("acme", Some(manifest), &secret);
            let target = acme.refresh_target(&login(None, None)).unwrap();
            let request = target.request(&"r".into(), Duration::from_secs(1));
            let authorization =
                request.headers().iter().find(|(name, _)| name == "authorization").cloned();
            (
                String::from_utf8(request.body().unwrap().to_vec()).unwrap(),
                authorization.map(|(_, value)| value),
            )
        };
        assert_eq!(
            refresh(ACME),
            (
                "grant_type=refresh_token&refresh_token=r&client_id=acme-cli&client_secret=s%2F1\
                 &resource=https%3A%2F%2Fapi.acme.example"
                    .to_owned(),
                None
            )
        );
        let basic =
            ACME.replace("\"id\"", "\"client_auth\": \"basic\", \"token_body\": \"json\", \"id\"");
        assert_eq!(
            refresh(&basic),
            (
                r#"{"grant_type":"refresh_token","refresh_token":"r","resource":"https://api.acme.example"}"#
                    .to_owned(),
                // acme-cli:s%2F1
                Some("Basic YWNtZS1jbGk6cyUyRjE=".to_owned())
            )
        );
    }

    #[test]
    fn nothing_secret_is_printed() {
        let acme = provider("acme", Some(ACME), &[("ACME_SECRET", "CANARY")]);
        let target = acme.refresh_target(&login(None, None)).unwrap();
        let request = target.request(&"CANARY".into(), Duration::from_secs(1));
        assert!(!format!("{acme:?} {target:?} {request:?}").contains("CANARY"));
    }
}
