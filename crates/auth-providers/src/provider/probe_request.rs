//! The request that checks whether a credential works, as data.

use std::collections::BTreeMap;
use std::time::Duration;

use auth_store::{Kind, Secret};
use serde::Deserialize;

use crate::http::HttpRequest;
use crate::http::destination::Destination;

/// How to check a credential: a `GET`, and its header fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Probe {
    /// The address.
    pub url: String,
    /// The header field for an API key, if that is not `authorization`.
    pub key_header: Option<String>,
    /// The prefix of an API key. The default is `Bearer ` in `authorization`, and nothing in
    /// another header field.
    pub key_prefix: Option<String>,
    /// The header field for the account id of a login.
    pub account_header: Option<String>,
    /// Additional header fields.
    pub headers: BTreeMap<String, String>,
    /// Additional header fields for credentials other than API keys.
    pub token_headers: BTreeMap<String, String>,
}

impl Probe {
    /// The request that sends `secret`, of this `kind`, to the address of the probe.
    pub(crate) fn request(
        &self,
        to: &Destination,
        kind: Kind,
        secret: &Secret,
        account: Option<&str>,
        timeout: Duration,
    ) -> HttpRequest {
        let mut headers = Vec::new();
        let mut set = |name: &str, value: String| headers.push((name.to_owned(), value));
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
        to.get(headers, timeout)
    }
}
