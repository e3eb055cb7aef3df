//! Discovery of an issuer's endpoints (RFC 8414, `OpenID` Connect Discovery 1.0).

use std::time::Duration;

use serde_json::Value;
use url::Url;

use crate::http::address;
use crate::http::{self, HttpClient, HttpRequest, HttpResponse};
use crate::provider::{Endpoints, Provider};
use crate::text;

/// The metadata of an issuer.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    /// The issuer: byte for byte the requested one.
    pub issuer: String,
    /// Its usable endpoints: `https`, and of the issuer's own origin (RFC 8414 §6.2).
    pub endpoints: Endpoints,
    /// Endpoints that may be used only if the manifest names them, each with the reason.
    pub refused: Vec<String>,
    /// The PKCE methods it supports, if listed (RFC 8414 §2).
    pub code_challenge_methods: Option<Vec<String>>,
    /// Whether every authorization response names the issuer (RFC 9207 §3).
    pub names_issuer: bool,
}

/// Why there is no metadata.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DiscoveryError {
    /// The issuer could not be reached: try again later.
    #[error("the issuer `{issuer}` cannot be asked: {reason}")]
    Unreachable {
        /// The issuer.
        issuer: String,
        /// What happened.
        reason: String,
    },
    /// The issuer publishes nothing that can be trusted: correct `issuer` in the manifest, or write
    /// its `endpoints` there.
    #[error("the metadata of the issuer `{issuer}` cannot be used: {reason}")]
    Unusable {
        /// The issuer.
        issuer: String,
        /// What is wrong.
        reason: String,
    },
}

/// Requests the metadata of `issuer`: at the address of `OpenID` Connect Discovery, at that of RFC
/// 8414, and, if the issuer has a path, at the one that RFC 8414 §5 names for both, until
/// `is_enough` accepts the result. For each value the first document wins; some servers leave
/// values out of one document that the other has.
pub async fn discover(
    issuer: &str,
    is_enough: &(dyn Fn(&Metadata) -> bool + Sync),
    http: &dyn HttpClient,
    timeout: Duration,
) -> Result<Metadata, DiscoveryError> {
    let unusable = |reason: &str| DiscoveryError::Unusable {
        issuer: issuer.to_owned(),
        reason: reason.to_owned(),
    };
    let mut unreachable = None;
    let mut wrong = None;
    let mut known: Option<Metadata> = None;
    for url in well_known(issuer).map_err(unusable)? {
        match http.send(HttpRequest::get(url.clone(), timeout)).await {
            // A server that has no document there may say so with a page.
            Ok(response) if !matches!(response.status, 404 | 410) && response.page().is_some() => {
                let page = response.page().unwrap_or_default();
                unreachable = Some(format!("`{url}`: {page}"));
            }
            Ok(response) if (200..300).contains(&response.status) => {
                match Metadata::parse(issuer, &response) {
                    Ok(found) => {
                        let all = match known {
                            Some(known) => known.completed_by(found),
                            None => found,
                        };
                        if is_enough(&all) {
                            return Ok(all);
                        }
                        known = Some(all);
                    }
                    Err(reason) => wrong = wrong.or(Some(format!("{reason} (at `{url}`)"))),
                }
            }
            Ok(response) if http::is_passing(response.status) => {
                unreachable = Some(format!("`{url}` answered {}", response.status));
            }
            Ok(_) => {}
            Err(error) => unreachable = Some(error.to_string()),
        }
    }
    if let Some(metadata) = known {
        return Ok(metadata);
    }
    Err(match (wrong, unreachable) {
        (Some(reason), _) => unusable(&reason),
        (None, Some(reason)) => DiscoveryError::Unreachable { issuer: issuer.to_owned(), reason },
        (None, None) => unusable("it publishes none, neither for OpenID Connect nor for OAuth"),
    })
}

/// The metadata addresses, in order.
fn well_known(issuer: &str) -> Result<Vec<String>, &'static str> {
    let url = address::parse(issuer)?;
    if url.query().is_some() {
        return Err("an issuer has no query");
    }
    let origin = url.origin().ascii_serialization();
    let path = url.path().trim_end_matches('/');
    let mut urls = vec![
        format!("{origin}{path}/.well-known/openid-configuration"),
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
    ];
    if !path.is_empty() {
        urls.push(format!("{origin}/.well-known/openid-configuration{path}"));
    }
    Ok(urls)
}

impl Metadata {
    /// Reads the document that was found for `issuer`.
    fn parse(issuer: &str, response: &HttpResponse) -> Result<Self, String> {
        let body = response.readable();
        let document = body.json().ok_or("it is not a JSON object")?;
        let named = document.get("issuer").and_then(Value::as_str).unwrap_or_default();
        if named != issuer {
            return Err(format!("it is the one of `{}`", text::clean(named)));
        }
        let origin = Url::parse(issuer).map_err(|error| error.to_string())?.origin();
        let mut refused = Vec::new();
        let mut endpoint = |name: &str| {
            let url = document.get(name).and_then(Value::as_str)?;
            let reason = match address::parse(url) {
                // URL parsers skip line breaks in an address; other software does not.
                _ if url.contains(|c: char| c.is_control() || c.is_whitespace()) => {
                    "it has a space or a line break"
                }
                Ok(parsed) if parsed.origin() == origin => return Some(url.to_owned()),
                Ok(_) => "it is not of the issuer's origin",
                Err(reason) => reason,
            };
            refused.push(format!("`{name}` is `{}`: {reason}", text::clean(url)));
            None
        };
        let endpoints = Endpoints {
            authorization: endpoint("authorization_endpoint"),
            token: endpoint("token_endpoint"),
            device_authorization: endpoint("device_authorization_endpoint"),
            revocation: endpoint("revocation_endpoint"),
            userinfo: endpoint("userinfo_endpoint"),
        };
        let strings = |value: &Value| {
            let items = value.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned);
            Some(items.collect())
        };
        Ok(Self {
            issuer: issuer.to_owned(),
            endpoints,
            refused,
            code_challenge_methods: document
                .get("code_challenge_methods_supported")
                .and_then(strings),
            names_issuer: document
                .get("authorization_response_iss_parameter_supported")
                .and_then(Value::as_bool)
                .unwrap_or(false),
        })
    }

    /// This metadata, completed with values that only `other`, of the same issuer, has.
    fn completed_by(self, other: Self) -> Self {
        Self {
            issuer: self.issuer,
            endpoints: self.endpoints.completed_by(other.endpoints),
            refused: [self.refused, other.refused].concat(),
            code_challenge_methods: self.code_challenge_methods.or(other.code_challenge_methods),
            names_issuer: self.names_issuer || other.names_issuer,
        }
    }

    /// Whether the issuer supports PKCE with S256; if nothing is listed, it does not (RFC 8414 §2).
    pub fn supports_pkce(&self) -> bool {
        let methods = self.code_challenge_methods.as_deref().unwrap_or_default();
        methods.iter().any(|method| method == auth_pkce::Challenge::METHOD)
    }
}

impl Provider {
    /// This provider, with endpoints from `metadata` where its entry has none.
    #[must_use]
    pub fn with_metadata(&self, metadata: &Metadata) -> Self {
        let endpoints = self.endpoints.clone().completed_by(metadata.endpoints.clone());
        Self { endpoints, names_issuer: metadata.names_issuer, ..self.clone() }
    }
}

impl Endpoints {
    /// These endpoints, completed with those that only `other` has.
    fn completed_by(self, other: Self) -> Self {
        Self {
            authorization: self.authorization.or(other.authorization),
            token: self.token.or(other.token),
            device_authorization: self.device_authorization.or(other.device_authorization),
            revocation: self.revocation.or(other.revocation),
            userinfo: self.userinfo.or(other.userinfo),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::http::HttpError;

    const TIMEOUT: Duration = Duration::from_secs(1);

    /// The discovery result for a server with `pages`, and the requested addresses.
    fn ask(
        issuer: &str,
        pages: &[(&str, &str)],
    ) -> (Result<Metadata, DiscoveryError>, Vec<String>) {
        let asked = Mutex::new(Vec::new());
        let client = |request: HttpRequest| {
            asked.lock().unwrap().push(request.url().to_owned());
            let page = pages.iter().find(|(url, _)| *url == request.url());
            Ok(HttpResponse {
                status: if page.is_some() { 200 } else { 404 },
                headers: Vec::new(),
                body: page.map_or(Vec::new(), |(_, body)| body.as_bytes().to_vec()),
            })
        };
        let result = block_on(discover(issuer, &|_| true, &client, TIMEOUT));
        let asked = asked.lock().unwrap().clone();
        (result, asked)
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn an_issuer_with_a_path_is_asked_at_each_address_the_standards_name() {
        let (result, asked) = ask("https://a.example/t/1", &[]);
        assert!(matches!(result, Err(DiscoveryError::Unusable { .. })));
        assert_eq!(
            asked,
            [
                "https://a.example/t/1/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server/t/1",
                "https://a.example/.well-known/openid-configuration/t/1",
            ]
        );
        let (_, asked) = ask("https://a.example/", &[]);
        assert_eq!(
            asked,
            [
                "https://a.example/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server",
            ]
        );
    }

    #[test]
    fn either_document_alone_will_do() {
        let document =
            r#"{"issuer":"https://a.example/t","token_endpoint":"https://a.example/token"}"#;
        for url in [
            "https://a.example/t/.well-known/openid-configuration",
            "https://a.example/.well-known/oauth-authorization-server/t",
            "https://a.example/.well-known/openid-configuration/t",
        ] {
            let metadata = ask("https://a.example/t", &[(url, document)]).0.unwrap();
            assert_eq!(metadata.endpoints.token.as_deref(), Some("https://a.example/token"));
            assert_eq!(metadata.endpoints.authorization, None);
            assert!(!metadata.supports_pkce());
        }
    }

    #[test]
    fn what_one_document_leaves_out_is_looked_for_in_the_other() {
        let client = |request: HttpRequest| {
            let (name, end) = if request.url().contains("openid") {
                ("token_endpoint", "one")
            } else {
                ("revocation_endpoint", "two")
            };
            let body = serde_json::json!({
                "issuer": "https://a.example",
                name: format!("https://a.example/{end}"),
                "userinfo_endpoint": format!("https://a.example/{end}"),
            });
            let body = body.to_string().into_bytes();
            Ok(HttpResponse { status: 200, headers: Vec::new(), body })
        };
        let revokes = |metadata: &Metadata| metadata.endpoints.revocation.is_some();
        let found = block_on(discover("https://a.example", &revokes, &client, TIMEOUT)).unwrap();
        let Endpoints { token, revocation, userinfo, .. } = found.endpoints;
        assert_eq!(token.as_deref(), Some("https://a.example/one"));
        assert_eq!(revocation.as_deref(), Some("https://a.example/two"));
        assert_eq!(userinfo.as_deref(), Some("https://a.example/one"));
    }

    #[test]
    fn a_document_is_read_as_servers_write_it_and_a_page_is_called_one() {
        let url = "https://a.example/.well-known/openid-configuration";
        let odd = "\u{feff}{\"issuer\":\"https://a.example\",\"x\":\"\\ud83d\",\"n\":1e999,\
            \"token_endpoint\":\"https://a.example/t\"}";
        let metadata = ask("https://a.example", &[(url, odd)]).0.unwrap();
        assert_eq!(metadata.endpoints.token.as_deref(), Some("https://a.example/t"));
        let error = ask("https://a.example", &[(url, "<html>sign in</html>")]).0.unwrap_err();
        assert!(matches!(error, DiscoveryError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("answered with a web page (status 200)"), "{error}");
        // One that another document does without hides nothing.
        let right = "https://a.example/.well-known/oauth-authorization-server";
        let pages = [(url, "<html>sign in</html>"), (right, r#"{"issuer":"https://a.example"}"#)];
        assert!(ask("https://a.example", &pages).0.is_ok());
    }

    #[test]
    fn the_issuer_must_be_the_same_to_the_byte() {
        for named in ["https://a.example/", "https://A.example", "https://b.example", ""] {
            let document = format!(r#"{{"issuer":"{named}"}}"#);
            let url = "https://a.example/.well-known/openid-configuration";
            let error = ask("https://a.example", &[(url, &document)]).0.unwrap_err();
            assert!(matches!(error, DiscoveryError::Unusable { .. }), "{named}: {error}");
        }
    }

    #[test]
    fn a_wrong_document_does_not_hide_a_right_one() {
        let metadata = ask(
            "https://a.example",
            &[
                ("https://a.example/.well-known/openid-configuration", "<html>"),
                (
                    "https://a.example/.well-known/oauth-authorization-server",
                    r#"{"issuer":"https://a.example","code_challenge_methods_supported":["plain","S256"],
                        "authorization_response_iss_parameter_supported":true}"#,
                ),
            ],
        );
        let metadata = metadata.0.unwrap();
        assert!(metadata.supports_pkce() && metadata.names_issuer);
    }

    #[test]
    fn endpoints_elsewhere_are_named_and_not_used() {
        let document = r#"{"issuer":"https://a.example","token_endpoint":"https://evil.example/t",
            "authorization_endpoint":"http://a.example/auth","userinfo_endpoint":"https://a.example:444/u",
            "device_authorization_endpoint":"https://a.exa\nmple/d",
            "revocation_endpoint":"https://a.example/revoke"}"#;
        let url = "https://a.example/.well-known/openid-configuration";
        let metadata = ask("https://a.example", &[(url, document)]).0.unwrap();
        assert_eq!(metadata.endpoints.token, None);
        assert_eq!(metadata.endpoints.authorization, None);
        assert_eq!(metadata.endpoints.userinfo, None);
        assert!(metadata.endpoints.revocation.is_some());
        assert_eq!(metadata.endpoints.device_authorization, None);
        assert_eq!(metadata.refused.len(), 4);
    }

    #[test]
    fn an_issuer_that_cannot_be_asked_is_not_a_wrong_one() {
        let client = |_: HttpRequest| Err(HttpError::NotSent("no route".to_owned()));
        let error =
            block_on(discover("https://a.example", &|_| true, &client, TIMEOUT)).unwrap_err();
        assert!(matches!(error, DiscoveryError::Unreachable { .. }), "{error}");
        let client =
            |_: HttpRequest| -> Result<HttpResponse, HttpError> { panic!("nothing is sent") };
        for issuer in
            ["http://a.example", "https://u@a.example", "https://a.example/?x", "a.example"]
        {
            let error = block_on(discover(issuer, &|_| true, &client, TIMEOUT)).unwrap_err();
            assert!(matches!(error, DiscoveryError::Unusable { .. }), "{error}");
        }
    }

    #[test]
    fn what_the_entry_says_wins_over_what_is_discovered() {
        let mut provider = crate::Providers::load(None, &|_| None).all()[0].clone();
        provider.endpoints.revocation = None;
        let metadata = Metadata {
            endpoints: Endpoints {
                token: Some("https://other.example/t".to_owned()),
                revocation: Some("https://other.example/r".to_owned()),
                ..Endpoints::default()
            },
            ..Metadata::default()
        };
        let filled = provider.with_metadata(&metadata);
        assert_eq!(filled.endpoints.token, provider.endpoints.token);
        assert_eq!(filled.endpoints.revocation.as_deref(), Some("https://other.example/r"));
    }
}
