//! A provider's API as data: its base address, the allowed paths, the repeatable requests, and the
//! headers for credentials.

pub(crate) mod catalogue;
pub(crate) mod credential_header;
pub(crate) mod pointer;
pub(crate) mod refusal;
pub(crate) mod shape;

use std::collections::BTreeMap;
use std::fmt;

use auth_store::Kind;
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{HeaderMap, Uri};
use serde::Deserialize;
use url::Url;

use crate::accounts::Live;
use crate::api::credential_header::{Template, merge};
use crate::api::pointer::Place;
use crate::api::shape::Shape;

/// The description of an API. Only `base` is required; the defaults fit an API like OpenAI's.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiData {
    /// The address to which the part of a path after `/<provider>` is appended.
    pub base: String,
    /// The prefixes of the allowed paths.
    #[serde(default = "default_paths")]
    pub paths: Vec<String>,
    /// `POST /responses`: requests that may be sent to another account when one refuses them. A `*`
    /// at the end matches anything.
    #[serde(default = "default_repeatable")]
    pub repeatable: Vec<String>,
    /// The header of each kind of credential (`api_key`, `token`, `oauth`), with `{}` for the
    /// secret. The default is `authorization: Bearer {}`; for `token` it is the header of `oauth`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The header for the account id.
    #[serde(default)]
    pub account_header: Option<String>,
    /// Headers that a login or token requires; a list that the client sent is extended.
    #[serde(default)]
    pub token_headers: BTreeMap<String, String>,
    /// Where the conversation's id is: headers, and JSON pointers into the body. The first match
    /// counts.
    #[serde(default = "default_session")]
    pub session: Vec<String>,
    /// Where a request names ids that only the account that created them knows; in the same
    /// notation, with `*` for every element of a list.
    #[serde(default = "default_bound")]
    pub bound: Vec<String>,
    /// The format of its errors.
    #[serde(default)]
    pub error_shape: Shape,
    /// Whether a response with a success status may contain an error.
    #[serde(default)]
    pub error_in_success: bool,
    /// The family of its quota headers.
    #[serde(default)]
    pub limits: Limits,
    /// The variables in which the provider's own tools look for the base.
    #[serde(default)]
    pub base_env: Vec<String>,
    /// Where an account's quota can be asked for.
    #[serde(default)]
    pub usage: Option<UsageEndpoint>,
}

/// Where the quota of an account can be asked for. Such endpoints are not documented, and count the
/// questions of an address: one at a time, and none for five minutes after.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageEndpoint {
    /// The address of a `GET`.
    pub url: String,
    /// The header of the credential, `{}` for the secret; `authorization: Bearer {}` where nothing
    /// is written. The account's header and the token headers are those of the API.
    #[serde(default)]
    pub header: Option<String>,
    /// The kinds of credentials that may ask (`api_key`, `token`, `oauth`); all of them, where
    /// nothing is written.
    #[serde(default)]
    pub kinds: Vec<String>,
}

/// A family of quota headers.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Limits {
    /// `x-ratelimit-…`
    #[default]
    Openai,
    /// `anthropic-ratelimit-…`
    Anthropic,
    /// `x-codex-…`
    Codex,
    /// `x-quota-snapshot-…`
    Copilot,
    /// There are no such headers.
    None,
}

impl Limits {
    /// The prefix of those header names.
    pub(crate) fn prefix(self) -> Option<&'static str> {
        match self {
            Self::Openai => Some("x-ratelimit-"),
            Self::Anthropic => Some("anthropic-ratelimit-"),
            Self::Codex => Some("x-codex-"),
            Self::Copilot => Some("x-quota-snapshot-"),
            Self::None => None,
        }
    }
}

/// A validated API, ready for requests.
#[derive(Clone, Debug)]
pub struct Api {
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    /// The path of the base, without a trailing slash.
    prefix: String,
    paths: Vec<String>,
    repeatable: Vec<Rule>,
    headers: [Template; 3],
    account_header: Option<HeaderName>,
    token_headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) session: Vec<Place>,
    pub(crate) bound: Vec<Place>,
    /// The format of its errors.
    pub error_shape: Shape,
    pub(crate) error_in_success: bool,
    pub(crate) limits: Limits,
    base_env: Vec<String>,
}

/// The error in a description: the field, and the reason.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`api.{field}`: {reason}")]
pub struct WrongApi {
    field: &'static str,
    reason: String,
}

#[derive(Clone, Debug)]
struct Rule {
    method: Method,
    path: String,
    is_prefix: bool,
}

impl ApiData {
    /// Validates the description.
    pub fn build(&self) -> Result<Api, WrongApi> {
        let base = Url::parse(&self.base).map_err(|error| wrong("base", error))?;
        let is_loopback = match base.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let scheme = match base.scheme() {
            "https" => Scheme::HTTPS,
            "http" if is_loopback => Scheme::HTTP,
            _ => return Err(wrong("base", "it must be https, or http on a loopback host")),
        };
        let has_more = base.query().is_some() || base.fragment().is_some();
        if has_more || !base.username().is_empty() || base.password().is_some() {
            return Err(wrong("base", "nothing but host, port and path may stand there"));
        }
        let authority: Authority =
            base.authority().parse().map_err(|error| wrong("base", error))?;
        let host =
            HeaderValue::from_str(authority.as_str()).map_err(|error| wrong("base", error))?;
        if let Some(path) = self.paths.iter().find(|path| !path.starts_with('/')) {
            return Err(wrong("paths", format!("`{path}` does not begin with `/`")));
        }
        let repeatable = self.repeatable.iter().map(|text| Rule::parse(text));
        let token_headers = self.token_headers.iter().map(|(name, value)| {
            let name = name.parse().map_err(|error| wrong("token_headers", error))?;
            let value = value.parse().map_err(|error| wrong("token_headers", error))?;
            Ok((name, value))
        });
        let places = |field, texts: &[String]| {
            let places = texts.iter().map(|text| Place::parse(text));
            places.collect::<Result<_, _>>().map_err(|reason| wrong(field, reason))
        };
        if let Some(usage) = &self.usage {
            Url::parse(&usage.url).map_err(|error| wrong("usage", error))?;
            let header = usage.header.as_deref().unwrap_or(BEARER);
            Template::parse(header).map_err(|reason| wrong("usage", reason))?;
        }
        let account_header = self.account_header.as_ref().map(|name| name.parse());
        Ok(Api {
            scheme,
            authority,
            host,
            prefix: base.path().trim_end_matches('/').to_owned(),
            paths: self.paths.clone(),
            repeatable: repeatable.collect::<Result<_, _>>()?,
            headers: self.templates()?,
            account_header: account_header
                .transpose()
                .map_err(|error| wrong("account_header", error))?,
            token_headers: token_headers.collect::<Result<_, _>>()?,
            session: places("session", &self.session)?,
            bound: places("bound", &self.bound)?,
            error_shape: self.error_shape,
            error_in_success: self.error_in_success,
            limits: self.limits,
            base_env: self.base_env.clone(),
        })
    }

    /// The templates for an API key, a token and a login.
    fn templates(&self) -> Result<[Template; 3], WrongApi> {
        let known = ["api_key", "token", "oauth"];
        if let Some(kind) = self.headers.keys().find(|kind| !known.contains(&kind.as_str())) {
            return Err(wrong("headers", format!("there is no kind `{kind}`")));
        }
        let written = |kind: &str| self.headers.get(kind).map(String::as_str);
        let login = written("oauth").unwrap_or(BEARER);
        let template = |text| Template::parse(text).map_err(|reason| wrong("headers", reason));
        Ok([
            template(written("api_key").unwrap_or(BEARER))?,
            template(written("token").unwrap_or(login))?,
            template(login)?,
        ])
    }
}

impl Api {
    /// Whether `path`, the part after `/<provider>`, is allowed.
    pub(crate) fn admits(&self, path: &str) -> bool {
        self.paths.iter().any(|beginning| path.starts_with(beginning.as_str()))
    }

    /// Whether a refused request may be sent again.
    pub(crate) fn may_repeat(&self, method: &Method, path: &str) -> bool {
        self.repeatable.iter().any(|rule| rule.is_met(method, path))
    }

    /// The address of a request.
    pub(crate) fn uri(&self, path: &str, query: Option<&str>) -> Option<Uri> {
        let mut text = String::with_capacity(self.prefix.len() + path.len() + 64);
        text.push_str(&self.prefix);
        text.push_str(path);
        if let Some(query) = query.filter(|query| !query.is_empty()) {
            text.push('?');
            text.push_str(query);
        }
        let mut parts = hyper::http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query =
            Some(PathAndQuery::from_maybe_shared(bytes::Bytes::from(text)).ok()?);
        Uri::from_parts(parts).ok()
    }

    /// Whether ids of an account may stand in a body.
    pub(crate) fn binds_by_body(&self) -> bool {
        self.bound.iter().any(|place| matches!(place, Place::Body(_)))
    }

    /// The variables in which the provider's own tools look for the base.
    pub fn base_variables(&self) -> &[String] {
        &self.base_env
    }

    /// Its origin, for callers that check where a secret is sent.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    /// Adds a credential and its headers to `headers`, and removes other credentials.
    pub(crate) fn put_credential(
        &self,
        headers: &mut HeaderMap,
        live: &Live,
    ) -> Result<(), hyper::header::InvalidHeaderValue> {
        let template = match live.kind {
            Kind::ApiKey => &self.headers[0],
            Kind::Token => &self.headers[1],
            Kind::OAuth => &self.headers[2],
        };
        headers.insert(hyper::header::HOST, self.host.clone());
        headers.insert(template.name().clone(), template.fill(&live.secret)?);
        if let Some(name) = &self.account_header {
            headers.remove(name);
            if let Some(account) = &live.account {
                headers.insert(name.clone(), HeaderValue::from_str(account)?);
            }
        }
        if live.kind != Kind::ApiKey {
            for (name, value) in &self.token_headers {
                merge(headers, name, value);
            }
        }
        Ok(())
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Self, WrongApi> {
        let parts = text.split_once(' ').filter(|(_, path)| path.starts_with('/'));
        let (method, path) =
            parts.ok_or_else(|| wrong("repeatable", format!("`{text}` is not `METHOD /path`")))?;
        let method = method.parse().map_err(|error| wrong("repeatable", error))?;
        let (path, is_prefix) = match path.strip_suffix('*') {
            Some(beginning) => (beginning, true),
            None => (path, false),
        };
        Ok(Self { method, path: path.to_owned(), is_prefix })
    }

    fn is_met(&self, method: &Method, path: &str) -> bool {
        let is_there =
            if self.is_prefix { path.starts_with(&self.path) } else { path == self.path };
        is_there && *method == self.method
    }
}

fn wrong(field: &'static str, reason: impl fmt::Display) -> WrongApi {
    WrongApi { field, reason: format!("{reason}") }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn default_paths() -> Vec<String> {
    texts(&["/"])
}

fn default_repeatable() -> Vec<String> {
    texts(&[
        "POST /chat/completions",
        "POST /responses",
        "POST /completions",
        "POST /embeddings",
        "GET /models*",
    ])
}

fn default_session() -> Vec<String> {
    texts(&[
        "session-id",
        "session_id",
        "thread-id",
        "x-session-affinity",
        "x-session-id",
        "/prompt_cache_key",
    ])
}

fn default_bound() -> Vec<String> {
    texts(&[
        "x-codex-turn-state",
        "/previous_response_id",
        "/conversation",
        "/conversation/id",
        "/input/*/encrypted_content",
        "/input/*/content/*/file_id",
        "/input_file_id",
    ])
}

const BEARER: &str = "authorization: Bearer {}";

#[cfg(test)]
mod tests {
    use super::*;

    fn api(more: &str) -> Result<Api, WrongApi> {
        let text = format!(r#"{{"base": "https://api.acme.example/v1"{more}}}"#);
        serde_json::from_str::<ApiData>(&text).unwrap().build()
    }

    #[test]
    fn only_the_base_has_to_be_written() {
        let api = api("").unwrap();
        assert!(api.admits("/chat/completions"));
        assert!(api.may_repeat(&Method::POST, "/chat/completions"));
        assert!(!api.may_repeat(&Method::GET, "/chat/completions"));
        assert!(!api.may_repeat(&Method::POST, "/files"));
        assert!(api.may_repeat(&Method::GET, "/models/gpt"));
        let uri = api.uri("/responses", Some("a=b")).unwrap();
        assert_eq!(uri, "https://api.acme.example/v1/responses?a=b");
        let mut headers = HeaderMap::new();
        api.put_credential(&mut headers, &Live::api_key("secret")).unwrap();
        assert_eq!(headers["authorization"], "Bearer secret");
        assert_eq!(headers["host"], "api.acme.example");
    }

    #[test]
    fn a_login_has_its_own_header_and_what_it_needs_is_merged() {
        let api = api(r#", "headers": {"api_key": "x-api-key: {}"},
            "account_header": "chatgpt-account-id",
            "token_headers": {"anthropic-beta": "oauth-2025-04-20"}"#)
        .unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-beta", "context-1m, tools".parse().unwrap());
        headers.insert("chatgpt-account-id", "somebody-else".parse().unwrap());
        let mut key = headers.clone();
        let login = Live {
            kind: Kind::OAuth,
            secret: auth_store::Secret::new("token"),
            account: Some("account-1".to_owned()),
            expires: None,
        };
        api.put_credential(&mut headers, &login).unwrap();
        assert_eq!(headers["authorization"], "Bearer token");
        assert_eq!(headers["anthropic-beta"], "context-1m,tools,oauth-2025-04-20");
        assert_eq!(headers["chatgpt-account-id"], "account-1");
        api.put_credential(&mut headers, &login).unwrap();
        assert_eq!(headers["anthropic-beta"], "context-1m,tools,oauth-2025-04-20");
        api.put_credential(&mut key, &Live::api_key("k")).unwrap();
        assert_eq!((key.get("authorization"), &key["x-api-key"]), (None, &"k".parse().unwrap()));
        assert_eq!(key["anthropic-beta"], "context-1m, tools");
        assert_eq!(key.get("chatgpt-account-id"), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (more, field) in [
            (r#", "paths": ["v1"]"#, "paths"),
            (r#", "repeatable": ["/responses"]"#, "repeatable"),
            (r#", "headers": {"key": "x: {}"}"#, "headers"),
            (r#", "headers": {"api_key": "x-api-key"}"#, "headers"),
            (r#", "bound": ["/a/*b"]"#, "bound"),
            (r#", "usage": {"url": "usage"}"#, "usage"),
            (r#", "usage": {"url": "https://a.example/", "header": "x"}"#, "usage"),
        ] {
            assert_eq!(api(more).unwrap_err().field, field, "{more}");
        }
        for base in ["http://acme.example", "https://user@acme.example/", "https://a/?b", "x"] {
            let data: ApiData = serde_json::from_value(serde_json::json!({"base": base})).unwrap();
            assert_eq!(data.build().unwrap_err().field, "base", "{base}");
        }
        // The control.
        let local = serde_json::json!({"base": "http://127.0.0.1:8080/"});
        assert!(serde_json::from_value::<ApiData>(local).unwrap().build().is_ok());
    }
}
