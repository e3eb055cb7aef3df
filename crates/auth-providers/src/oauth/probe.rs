//! Asking a provider whether a credential works: one request that reads and costs nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use auth_store::{Credential, Kind, Secret};
use serde::Deserialize;

use crate::http::{HttpClient, HttpError, HttpRequest, HttpResponse};
use crate::oauth::discovery::{Metadata, discover};
use crate::provider::Provider;

/// How a provider is asked: a `GET`, and what stands in its header.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Probe {
    /// The address.
    pub url: String,
    /// The header field for an API key, if that is not `authorization`.
    pub key_header: Option<String>,
    /// What stands before an API key, if that is not `Bearer ` in `authorization`, and nothing in
    /// another field.
    pub key_prefix: Option<String>,
    /// The header field for the account of a login.
    pub account_header: Option<String>,
    /// More header fields.
    pub headers: BTreeMap<String, String>,
    /// More header fields, where it is no API key.
    pub token_headers: BTreeMap<String, String>,
}

/// What came of asking.
#[derive(Debug)]
pub enum Probed {
    /// The provider's answer, whatever it says.
    Answered(HttpResponse),
    /// No answer came.
    Failed(HttpError),
    /// Nothing was sent: the reason.
    NotSent(&'static str),
}

impl Provider {
    /// Asks whether `credential` works. It is sent as it is, and never renewed; a login's token
    /// goes only to the provider whose token endpoint it came from.
    ///
    /// Where the entry says nothing about probes, a login is asked about at the userinfo endpoint.
    pub async fn probe(
        &self,
        credential: &Credential,
        http: &dyn HttpClient,
        timeout: Duration,
    ) -> Probed {
        let kind = credential.kind();
        let mut provider = self.clone();
        let has_userinfo = |provider: &Self| provider.endpoints.userinfo.is_some();
        let is_login = kind == Kind::OAuth && self.probe.is_none();
        let knows_it = |metadata: &Metadata| has_userinfo(&self.with_metadata(metadata));
        if is_login
            && !(has_userinfo(&provider) && provider.endpoints.token.is_some())
            && let Some(issuer) = &self.issuer
            && let Ok(metadata) = discover(issuer, &knows_it, http, timeout).await
        {
            provider = self.with_metadata(&metadata);
        }
        if let Credential::OAuth(login) = credential {
            let builtin = self.builtin.as_ref().and_then(|it| it.token_endpoint.as_ref());
            let own = login.token_endpoint.as_ref().or(builtin);
            if own.is_some_and(|own| provider.endpoints.token.as_ref() != Some(own)) {
                return Probed::NotSent("it came from another server than the provider's own");
            }
        }
        let asked = match (&provider.probe, &provider.endpoints.userinfo) {
            (Some(probe), _) => probe.clone(),
            (None, Some(url)) if is_login => Probe { url: url.clone(), ..Probe::default() },
            _ => return Probed::NotSent("the provider has no request that costs nothing"),
        };
        let account = match credential {
            Credential::OAuth(login) => login.account_id.as_deref(),
            _ => None,
        };
        match http.send(asked.request(kind, credential.bearer(), account, timeout)).await {
            Ok(answer) => Probed::Answered(answer),
            Err(error) => Probed::Failed(error),
        }
    }
}

impl Probe {
    fn request(
        &self,
        kind: Kind,
        secret: &Secret,
        account: Option<&str>,
        timeout: Duration,
    ) -> HttpRequest {
        let mut request = HttpRequest::get(&self.url, timeout);
        let mut set = |name: &str, value: String| request.headers.push((name.to_owned(), value));
        let secret = auth_store::trim(secret.expose());
        let name = self.key_header.as_deref().filter(|_| kind == Kind::ApiKey);
        let prefix = self.key_prefix.as_deref().filter(|_| kind == Kind::ApiKey);
        let usual = if name.is_some() { "" } else { "Bearer " };
        set(name.unwrap_or("authorization"), format!("{}{secret}", prefix.unwrap_or(usual)));
        if let (Some(name), Some(account)) = (&self.account_header, account) {
            set(name, account.to_owned());
        }
        for (name, value) in &self.headers {
            set(name, value.clone());
        }
        for (name, value) in self.token_headers.iter().filter(|_| kind != Kind::ApiKey) {
            set(name, value.clone());
        }
        request
    }
}
