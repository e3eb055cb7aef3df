//! A browser login between its start and its response: the authorization URL, the check of the
//! redirect, and the token exchange.

use auth_pkce::{Attempt, AuthorizationRequest, CallbackError, Challenge, Code, ResponseRules};
use auth_store::{Clock, Credential, Secret};
use serde_json::Value;
use url::Url;

use crate::http::address;
use crate::http::{self, HttpClient, HttpRequest, HttpResponse};
use crate::login::error::{LoginError, misconfigured, target, unavailable};
use crate::login::token_exchange::{Grant, destination_fields};
use crate::login::{Login, TIMEOUT};
use crate::oauth::endpoint::TokenEndpoint;
use crate::oauth::response::error_of;
use crate::oauth::tokens::{is_sendable, pointed};
use crate::provider::{Flow, IdentitySource, Provider, Yields};
use crate::text;

/// The data of a login that has started and has no response yet. It holds no connection and no
/// listener.
#[derive(Debug)]
pub struct PendingAuthorization {
    /// The provider, with its endpoints discovered.
    pub provider: Provider,
    /// Verifier, state and nonce.
    pub attempt: Attempt,
    /// Whether the exchange yields an API key.
    pub(crate) for_key: bool,
    endpoint: TokenEndpoint,
}

impl PendingAuthorization {
    /// A login of `provider`, whose endpoints are [resolved](crate::resolve), by `flow`, with the
    /// random values in `attempt`.
    pub fn new(provider: Provider, flow: Flow, attempt: Attempt) -> Result<Self, LoginError> {
        let for_key = flow == Flow::AuthorizationCodeKey;
        let url = provider.endpoints.token.as_deref().unwrap_or_default();
        let known = provider.destinations();
        // Providers that issue API keys in this way do not use client ids.
        let client_id = provider.client_id.clone().or_else(|| for_key.then(String::new));
        let endpoint = provider.token_endpoint("token endpoint", url, &known, client_id);
        let endpoint = endpoint.map_err(|error| target(&provider, &error))?;
        Ok(Self { provider, attempt, for_key, endpoint })
    }

    /// The endpoint where the code will be exchanged.
    pub fn token_endpoint(&self) -> &str {
        self.endpoint.url()
    }

    /// The authorization URL for the browser.
    pub fn url(&self) -> Result<String, LoginError> {
        let provider = &self.provider;
        if self.for_key {
            return self.key_url().map_err(|reason| misconfigured(provider, &reason));
        }
        let params = provider.authorize_params.iter();
        let request = AuthorizationRequest {
            authorization_endpoint: provider.endpoints.authorization.clone().unwrap_or_default(),
            client_id: self.endpoint.client_id.clone(),
            scopes: provider.scopes.clone(),
            extra: params.map(|(name, value)| (name.clone(), value.clone())).collect(),
            nonce: self.sends_nonce(),
        };
        self.attempt.authorization_url(&request).map_err(|error| misconfigured(provider, &error))
    }

    /// OpenRouter's flow has no parameter for the state, so the state is part of the redirect URI.
    fn key_url(&self) -> Result<String, &'static str> {
        let endpoint = self.provider.endpoints.authorization.as_deref().unwrap_or_default();
        let mut url = address::parse(endpoint)?;
        let mut callback =
            Url::parse(self.attempt.redirect_uri()).map_err(|_| "the redirect is not a URL")?;
        callback.query_pairs_mut().append_pair("state", self.attempt.state().expose());
        let challenge = self.attempt.verifier().challenge();
        url.query_pairs_mut()
            .append_pair("callback_url", callback.as_str())
            .append_pair("code_challenge", challenge.as_str())
            .append_pair("code_challenge_method", Challenge::METHOD)
            .extend_pairs(&self.provider.authorize_params);
        Ok(url.into())
    }

    /// The code in the text that a user pasted, if it belongs to this login.
    pub fn accept(&self, pasted: &str) -> Result<Code, CallbackError> {
        self.attempt.accept_pasted(pasted, self.provider.bare_code, &self.rules())
    }

    /// Exchanges the code, and determines the account.
    pub async fn exchange(
        &self,
        code: &Code,
        http: &dyn HttpClient,
        clock: &dyn Clock,
    ) -> Result<Login, LoginError> {
        let request = if self.for_key {
            self.key_request(code)
        } else {
            self.endpoint.exchange(code, &self.attempt, TIMEOUT)
        };
        let response = http.send(request).await.map_err(|error| unavailable(&error))?;
        let received_at = clock.now();
        if self.for_key {
            return self.key_of(&response, code);
        }
        let grant = Grant {
            provider: &self.provider,
            endpoint: &self.endpoint,
            nonce: self.sends_nonce().then(|| self.attempt.nonce()),
            yields: Yields::Oauth,
        };
        let login = grant.login(&response, &self.sent(code), received_at, http).await;
        login.map_err(|error| match error {
            // Any word may be pasted for a code: that the issuer does not know it ends nothing.
            LoginError::Refused { .. } if code.is_bare() => {
                LoginError::Callback(CallbackError::Malformed { reason: UNKNOWN_CODE })
            }
            other => other,
        })
    }

    fn key_request(&self, code: &Code) -> HttpRequest {
        let params = [
            ("code", code.expose()),
            ("code_verifier", self.attempt.verifier().expose()),
            ("code_challenge_method", Challenge::METHOD),
        ];
        self.endpoint.request_without_client(&params, TIMEOUT)
    }

    /// The secrets that a response may repeat and our messages must not.
    fn sent(&self, code: &Code) -> [Secret; 2] {
        [code.expose().into(), self.attempt.verifier().expose().into()]
    }

    /// The API key in the response to the code.
    fn key_of(&self, response: &HttpResponse, code: &Code) -> Result<Login, LoginError> {
        let body = response.object();
        let key = body.get("key").and_then(Value::as_str).map(auth_store::trim);
        let key = key.filter(|key| !key.is_empty() && is_sendable(key));
        let Some(key) = key.filter(|_| (200..300).contains(&response.status)) else {
            let sent = self.sent(code);
            let without =
                |it: String| sent.iter().fold(it, |it, secret| text::without(&it, secret));
            if (400..500).contains(&response.status)
                && !http::is_passing(response.status)
                && let Some((code, description)) = error_of(&body)
            {
                let description = description.map(without);
                return Err(LoginError::Refused { code: without(code), description });
            }
            let reason = response.page().unwrap_or_else(|| {
                format!("the server answered {}, without a key", response.status)
            });
            return Err(LoginError::Unavailable { reason });
        };
        let mut fields = destination_fields(&self.provider);
        fields.insert("authFlow".to_owned(), "oauth-pkce".into());
        for (field, pointer) in &self.provider.response_fields {
            if let Some(value) = pointed(&body, pointer).filter(|value| !value.is_null()) {
                fields.insert(field.clone(), value.clone());
            }
        }
        let account = fields.get("accountId").and_then(Value::as_str).map(str::to_owned);
        Ok(Login {
            provider: self.provider.id.clone(),
            credential: Credential::ApiKey(key.into()),
            account_id: account,
            email: None,
            fields,
            warnings: Vec::new(),
        })
    }

    /// The checks for a response in addition to its state.
    pub(crate) fn rules(&self) -> ResponseRules {
        ResponseRules {
            issuer: self.provider.issuer.clone(),
            authorization_endpoint: self.provider.endpoints.authorization.clone(),
            issuer_required: self.provider.names_issuer,
        }
    }

    /// A nonce binds the ID token to this login, which matters where that names the account.
    fn sends_nonce(&self) -> bool {
        self.provider.identity.source == Some(IdentitySource::IdToken)
            && self.provider.scopes.iter().any(|scope| scope == "openid")
    }
}

const UNKNOWN_CODE: &str = "the provider does not know this code; paste the whole address";
