//! The requests to the token endpoint, as values.

use std::fmt;
use std::time::Duration;

use auth_store::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded;

use crate::http::destination::{Destination, Destinations, ForeignDestination};
use crate::http::{HttpRequest, address};
use crate::provider::{ClientAuth, HOST, Provider, TokenBody};

/// A token endpoint, and the client that uses it.
#[derive(Clone, Debug)]
pub struct TokenEndpoint {
    /// The address: the only one that may receive the codes and refresh tokens of this client.
    at: Destination,
    /// The client id.
    pub client_id: String,
    /// The client secret that the user supplied, if any.
    pub client_secret: Option<Secret>,
    /// How the client secret is presented.
    pub client_auth: ClientAuth,
    /// The encoding of the request body.
    pub body: TokenBody,
    /// Additional parameters.
    pub params: Vec<(String, String)>,
}

/// Why the refresh token of a login has no destination. Nothing is sent.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TargetError {
    /// Only the issuer is known: discover its metadata, put it into the provider with
    /// [`Provider::with_metadata`], and try again.
    #[error("the token endpoint of `{issuer}` is not known yet")]
    NeedsDiscovery {
        /// The issuer.
        issuer: String,
    },
    /// Logins of this provider cannot be refreshed: the user logs in again.
    #[error("logins of `{provider}` cannot be refreshed")]
    NotRefreshable {
        /// The provider.
        provider: String,
    },
    /// The provider's entry lacks the endpoint or the client id: complete the manifest or the
    /// environment.
    #[error("`{provider}` has no {missing}")]
    Incomplete {
        /// The provider.
        provider: String,
        /// What is missing.
        missing: Missing,
    },
    /// The address must not receive a secret: correct the profile or the manifest.
    #[error("the token endpoint `{url}` cannot be used: {reason}")]
    BadEndpoint {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The secrets of this login are not for that address. The user looks at both, and accepts it.
    #[error(transparent)]
    Foreign(#[from] ForeignDestination),
}

/// What a provider's entry lacks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Missing {
    /// The token endpoint.
    TokenEndpoint,
    /// The client id.
    ClientId,
    /// The client secret, which the user brings.
    ClientSecret,
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::TokenEndpoint => "token endpoint",
            Self::ClientId => "client id",
            Self::ClientSecret => "client secret",
        })
    }
}

impl Provider {
    /// This provider's way to ask its `what` at `url`, as `client_id`, for a login whose secrets are
    /// for `known`.
    pub(crate) fn token_endpoint(
        &self,
        what: &'static str,
        url: &str,
        known: &Destinations,
        client_id: Option<String>,
    ) -> Result<TokenEndpoint, TargetError> {
        if self.prompt_host.is_some() && url.contains(HOST) {
            let reason = "its host is required";
            return Err(TargetError::BadEndpoint { url: url.to_owned(), reason });
        }
        if let Err(reason) = address::parse(url) {
            return Err(TargetError::BadEndpoint { url: url.to_owned(), reason });
        }
        let at = known.admit(url, what)?;
        let client_id = client_id.ok_or_else(|| TargetError::Incomplete {
            provider: self.id.to_string(),
            missing: Missing::ClientId,
        })?;
        if self.client_secret_required && self.client_secret.is_none() {
            return Err(TargetError::Incomplete {
                provider: self.id.to_string(),
                missing: Missing::ClientSecret,
            });
        }
        Ok(TokenEndpoint {
            client_secret: self.client_secret_for(&at, known)?,
            at,
            client_id,
            client_auth: self.client_auth,
            body: self.token_body,
            params: self
                .token_params
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        })
    }
}

impl TokenEndpoint {
    /// The address.
    pub fn url(&self) -> &str {
        self.at.url()
    }

    /// The same client at another address.
    pub(crate) fn moved_to(&self, at: Destination) -> Self {
        Self { at, ..self.clone() }
    }

    /// The request that exchanges an authorization code (RFC 6749 §4.1.3, RFC 7636 §4.5).
    pub fn exchange(
        &self,
        code: &auth_pkce::Code,
        attempt: &auth_pkce::Attempt,
        timeout: Duration,
    ) -> HttpRequest {
        let params = [
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", attempt.redirect_uri()),
            ("code_verifier", attempt.verifier().expose()),
        ];
        self.request(&params, timeout)
    }

    /// The request that exchanges `refresh` for new tokens (RFC 6749 §6).
    pub(crate) fn refresh(&self, refresh: &Secret, timeout: Duration) -> HttpRequest {
        let params = [("grant_type", "refresh_token"), ("refresh_token", refresh.expose())];
        self.request(&params, timeout)
    }

    /// A request with `params` and the provider's parameters, without a client.
    pub(crate) fn request_without_client(
        &self,
        params: &[(&str, &str)],
        timeout: Duration,
    ) -> HttpRequest {
        self.post(params.to_vec(), Vec::new(), timeout)
    }

    /// A request with `params`, the provider's parameters, and the client's.
    pub(crate) fn request(&self, params: &[(&str, &str)], timeout: Duration) -> HttpRequest {
        self.request_with(params, Vec::new(), timeout)
    }

    /// The same with more header fields.
    pub(crate) fn request_with(
        &self,
        params: &[(&str, &str)],
        mut headers: Vec<(String, String)>,
        timeout: Duration,
    ) -> HttpRequest {
        let mut all: Vec<(&str, &str)> = params.to_vec();
        let mut authorization = None;
        match (&self.client_secret, self.client_auth) {
            (Some(secret), ClientAuth::Basic) => {
                authorization = Some(basic(&self.client_id, secret));
            }
            (Some(secret), ClientAuth::Post) => {
                all.push(("client_id", &self.client_id));
                all.push(("client_secret", secret.expose()));
            }
            (None, _) => all.push(("client_id", &self.client_id)),
        }
        headers.extend(authorization.map(|value| ("authorization".to_owned(), value)));
        self.post(all, headers, timeout)
    }

    fn post<'a>(
        &'a self,
        mut all: Vec<(&'a str, &'a str)>,
        headers: Vec<(String, String)>,
        timeout: Duration,
    ) -> HttpRequest {
        all.extend(self.params.iter().map(|(name, value)| (name.as_str(), value.as_str())));

        let (content_type, body) = match self.body {
            TokenBody::Form => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                form.extend_pairs(&all);
                ("application/x-www-form-urlencoded", form.finish().into_bytes())
            }
            TokenBody::Json => {
                let members = all.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
                let object = serde_json::Value::Object(members.collect());
                ("application/json", object.to_string().into_bytes())
            }
        };
        self.at.post(content_type, body, headers, timeout)
    }
}

/// RFC 6749 §2.3.1: both parts are form-encoded before they are joined.
fn basic(client_id: &str, secret: &Secret) -> String {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(client_id), encode(secret.expose()));
    format!("Basic {}", STANDARD.encode(pair))
}
