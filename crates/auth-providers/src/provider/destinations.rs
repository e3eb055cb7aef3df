//! The origins that the secrets of a provider's credentials are for.

use auth_store::{Credential, OAuthCredential, Secret};

use serde_json::Value;

use crate::http::PLUGIN_SCHEME;
use crate::http::destination::{Destination, Destinations, ForeignDestination};
use crate::provider::Provider;

impl Provider {
    /// The origins of this entry: what a login that is made with it now records. The issuer's is one
    /// of them, because a discovered endpoint is always of that origin.
    pub fn destinations(&self) -> Destinations {
        let endpoints = &self.endpoints;
        let plugin = self.plugin().map(|_| format!("{PLUGIN_SCHEME}{}", self.id));
        let addresses = [
            self.issuer.as_deref(),
            endpoints.token.as_deref(),
            endpoints.device_authorization.as_deref(),
            endpoints.revocation.as_deref(),
            endpoints.userinfo.as_deref(),
            self.device.poll.as_deref(),
            self.probe.as_ref().map(|probe| probe.url.as_str()),
            plugin.as_deref(),
        ];
        let mut addresses: Vec<&str> = addresses.into_iter().flatten().collect();
        if let Some(api) = &self.api {
            collect_addresses(api, &mut addresses);
        }
        Destinations::from_urls(addresses)
    }

    /// The origins that the secrets of `login` may be sent to: those recorded when it was made.
    /// Without a record, those of the catalogue if the login is of the built-in token endpoint, else
    /// the origin of its token endpoint alone. A manifest never adds one.
    pub fn login_destinations(&self, login: &OAuthCredential) -> Destinations {
        if let Some(recorded) = &login.destinations {
            return Destinations::from_urls(recorded.iter().map(String::as_str));
        }
        match (&login.token_endpoint, &self.builtin) {
            (Some(own), Some(builtin)) if builtin.token_endpoint.as_ref() == Some(own) => {
                builtin.destinations.clone()
            }
            (Some(own), _) => Destinations::from_urls([own.as_str()]),
            (None, Some(builtin)) => builtin.destinations.clone(),
            (None, None) => match &self.endpoints.token {
                Some(token) => Destinations::from_urls([token.as_str()]),
                None => Destinations::from_urls([format!("{PLUGIN_SCHEME}{}", self.id).as_str()]),
            },
        }
    }

    /// The origins that `credential` may be sent to. `recorded` is what its profile has, if it is a
    /// key or a token: without it, those of the catalogue.
    pub fn credential_destinations(
        &self,
        credential: &Credential,
        recorded: Option<&[String]>,
    ) -> Destinations {
        match (credential, recorded, &self.builtin) {
            (Credential::OAuth(login), ..) => self.login_destinations(login),
            (_, Some(recorded), _) => Destinations::from_urls(recorded.iter().map(String::as_str)),
            (_, None, Some(builtin)) => builtin.destinations.clone(),
            (_, None, None) => Destinations::default(),
        }
    }

    /// The addresses of this entry to which secrets would be sent, each with its name, where the
    /// origin is not among `known`.
    pub fn foreign_destinations(&self, known: &Destinations) -> Vec<ForeignDestination> {
        let endpoints = &self.endpoints;
        let addresses = [
            ("token endpoint", endpoints.token.as_deref()),
            ("revocation endpoint", endpoints.revocation.as_deref()),
            ("userinfo endpoint", endpoints.userinfo.as_deref()),
            ("probe", self.probe.as_ref().map(|probe| probe.url.as_str())),
            ("API", self.api.as_ref().and_then(|api| api["base"].as_str())),
        ];
        let addresses = addresses.into_iter();
        addresses.filter_map(|(what, url)| known.admit(url?, what).err()).collect()
    }

    /// The client secret for a request to `at`, about a login whose secrets are for `known`. It belongs
    /// to the token endpoint of this entry, and to others only if the login is for both.
    pub(crate) fn client_secret_for(
        &self,
        at: &Destination,
        known: &Destinations,
    ) -> Result<Option<Secret>, ForeignDestination> {
        let Some(own) = self.endpoints.token.as_deref().or(self.issuer.as_deref()) else {
            return Ok(self.client_secret.clone());
        };
        let builtin = self.builtin.as_ref();
        let is_builtin = builtin.is_some_and(|it| it.token_endpoint.as_deref() == Some(at.url()));
        // The catalogue's own variable is for the catalogue's endpoint.
        let is_of_catalogue = is_builtin
            && builtin.is_some_and(|it| {
                !it.client_secret_env.is_empty() && it.client_secret_env == self.client_secret_env
            });
        if Destinations::from_urls([own]).allow(at.url()) || known.allow(own) || is_of_catalogue {
            return Ok(self.client_secret.clone());
        }
        if is_builtin || self.client_secret.is_none() {
            // The built-in client has no secret.
            return Ok(None);
        }
        known.admit(own, "token endpoint").map(|_| None)
    }
}

/// The addresses of an API as its entry describes it: the base, and where usage is told.
fn collect_addresses<'a>(api: &'a Value, addresses: &mut Vec<&'a str>) {
    match api {
        Value::String(text) if text.contains("://") => addresses.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect_addresses(item, addresses)),
        Value::Object(members) => {
            members.values().for_each(|member| collect_addresses(member, addresses));
        }
        _ => {}
    }
}
