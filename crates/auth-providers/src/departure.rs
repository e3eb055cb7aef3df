//! A login between its beginning and its answer: the address to send the browser to, the
//! judgement of what comes back, the exchange, and whose login it is.

use std::time::Duration;

use auth_pkce::{
    AnswerRules, Attempt, AuthorizationRequest, Callback, CallbackError, Code, PasteRules,
};
use auth_store::{Clock, Credential, OAuthCredential, Timestamp, unverified_claims};
use serde_json::{Map, Value};

use crate::answer::{Answer, Tokens};
use crate::http::{HttpClient, HttpError, HttpRequest};
use crate::login::{Login, LoginError, TIMEOUT, misconfigured};
use crate::oauth::{TargetError, TokenEndpoint};
use crate::provider::{IdentitySource, Provider};

/// A login between its beginning and its answer: what a driver knows, and nothing of its state in
/// the world.
#[derive(Debug)]
pub struct Departure {
    /// The provider, its endpoints discovered.
    pub provider: Provider,
    /// Verifier, state and nonce.
    pub attempt: Attempt,
    endpoint: TokenEndpoint,
}

impl Departure {
    /// A login of `provider`, whose endpoints are [resolved](crate::resolve), with the parts in `attempt`.
    pub fn new(provider: Provider, attempt: Attempt) -> Result<Self, LoginError> {
        let url = provider.endpoints.token.clone().unwrap_or_default();
        let endpoint = provider
            .token_endpoint(url, provider.client_id.clone())
            .map_err(|error| target(&provider, &error))?;
        Ok(Self { provider, attempt, endpoint })
    }

    /// Where the code will be exchanged.
    pub fn token_endpoint(&self) -> &str {
        &self.endpoint.url
    }

    /// Where to send the browser.
    pub fn url(&self) -> Result<String, LoginError> {
        let provider = &self.provider;
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

    /// The code in what a person pasted, if it answers this login.
    pub fn accept(&self, pasted: &str) -> Result<Code, CallbackError> {
        let rules = PasteRules {
            redirect_uri: self.attempt.redirect_uri(),
            bare_code: self.provider.bare_code,
        };
        self.attempt.accept(&Callback::from_pasted(pasted, &rules)?, &self.rules())
    }

    /// Exchanges the code, and finds out whose login it is.
    pub async fn exchange(
        &self,
        code: &Code,
        http: &dyn HttpClient,
        clock: &dyn Clock,
    ) -> Result<Login, LoginError> {
        let answer = http.send(self.endpoint.exchange(code, &self.attempt, TIMEOUT)).await;
        let answer = answer.map_err(|error| unavailable(&error))?;
        let received_at = clock.now();
        let read =
            self.provider.read_answer(answer.status, &answer.headers, &answer.body, received_at);
        let mut tokens = match read.without(&code.expose().into()) {
            Answer::Tokens(tokens) => *tokens,
            Answer::Rejected { code, description }
            | Answer::Misconfigured { code, description } => {
                return Err(LoginError::Refused { code, description });
            }
            Answer::Unavailable { reason, .. } => return Err(LoginError::Unavailable { reason }),
        };
        self.check_id_token(&tokens, received_at)?;
        let mut warnings = Vec::new();
        if self.provider.identity.source == Some(IdentitySource::Userinfo)
            && let Err(warning) = self.ask_userinfo(&mut tokens, http).await
        {
            warnings.push(warning);
        }
        self.login_of(tokens, received_at, warnings)
    }

    fn login_of(
        &self,
        tokens: Tokens,
        received_at: Timestamp,
        mut warnings: Vec<String>,
    ) -> Result<Login, LoginError> {
        let nothing_yet = OAuthCredential {
            client_id: Some(self.endpoint.client_id.clone()),
            token_endpoint: Some(self.endpoint.url.clone()),
            issuer: self.provider.issuer.clone(),
            ..OAuthCredential::default()
        };
        let login = tokens
            .merge(&nothing_yet, received_at)
            .map_err(|error| LoginError::Unavailable { reason: error.to_string() })?;
        if login.refresh.is_blank() {
            warnings.push(
                "the provider gave no refresh token: the login ends with its access token"
                    .to_owned(),
            );
        }
        if let Some(granted) = &tokens.scope {
            let granted: Vec<_> = granted.split_whitespace().collect();
            let asked = self.provider.scopes.iter();
            let missing: Vec<_> = asked
                .filter(|scope| !granted.contains(&scope.as_str()))
                .map(String::as_str)
                .collect();
            if !missing.is_empty() {
                warnings.push(format!("the provider did not grant: {}", missing.join(" ")));
            }
        }
        let mut fields = tokens.fields;
        if let Some(email) = &tokens.email {
            fields.insert("email".to_owned(), email.as_str().into());
        }
        if let Some(scope) = tokens.scope {
            fields.insert("scope".to_owned(), scope.into());
        }
        Ok(Login {
            provider: self.provider.id.clone(),
            account_id: login.account_id.clone(),
            credential: Credential::OAuth(login),
            email: tokens.email,
            fields,
            warnings,
        })
    }

    /// `OpenID` Connect Core §3.1.3.7, as far as a token that came over TLS from its issuer needs
    /// it. One that cannot be read proves nothing and harms nothing: it names nobody.
    fn check_id_token(&self, tokens: &Tokens, now: Timestamp) -> Result<(), LoginError> {
        let claims = tokens.id_token().and_then(|token| unverified_claims(token.expose()));
        let Some(claims) = claims else { return Ok(()) };
        let untrusted = |reason| Err(LoginError::Untrusted { reason });
        let names_the_account = self.provider.identity.source == Some(IdentitySource::IdToken);
        if self.sends_nonce() {
            match claims.get("nonce").and_then(Value::as_str) {
                Some(nonce) if self.attempt.nonce().matches(nonce) => {}
                Some(_) => return untrusted("its nonce is another login's"),
                None if names_the_account => return untrusted("it has no nonce"),
                None => {}
            }
        }
        if !names_the_account {
            return Ok(());
        }
        if let Some(issuer) = &self.provider.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return untrusted("it comes from another issuer");
        }
        let client = Value::from(self.endpoint.client_id.as_str());
        let is_for_us = match claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.contains(&client),
            Some(audience) => *audience == client,
            None => false,
        };
        if !is_for_us {
            return untrusted("it is for another client");
        }
        let ends = claims.get("exp").and_then(Value::as_i64).unwrap_or(i64::MAX);
        if Timestamp(ends.saturating_mul(1000)).plus(CLOCK_SKEW) < now {
            return untrusted("it has expired; check the clock of this machine");
        }
        Ok(())
    }

    /// Asks who the person is (`OpenID` Connect Core §5.3). Not to know it is no reason to fail.
    async fn ask_userinfo(&self, tokens: &mut Tokens, http: &dyn HttpClient) -> Result<(), String> {
        let unknown = |why: String| format!("the account is not known: {why}");
        let (Some(url), Some(access)) = (&self.provider.endpoints.userinfo, tokens.access()) else {
            return Err(unknown("there is no userinfo endpoint".to_owned()));
        };
        let mut request = HttpRequest::get(url, TIMEOUT);
        request.headers.push(("authorization".to_owned(), format!("Bearer {}", access.expose())));
        let answer = http.send(request).await.map_err(|error| unknown(error.to_string()))?;
        if answer.status != 200 {
            return Err(unknown(format!("the userinfo endpoint answered {}", answer.status)));
        }
        let claims: Map<String, Value> = serde_json::from_slice(&answer.body).map_err(|_| {
            unknown("the userinfo endpoint did not answer with a JSON object".to_owned())
        })?;
        let id_claims = tokens.id_token().and_then(|token| unverified_claims(token.expose()));
        let subject = id_claims.as_ref().and_then(|claims| claims.get("sub"));
        if subject.is_some_and(|subject| claims.get("sub") != Some(subject)) {
            return Err(unknown("the userinfo endpoint speaks of another account".to_owned()));
        }
        tokens.identify(&self.provider, &claims);
        Ok(())
    }

    /// What an answer must satisfy beyond its state.
    pub(crate) fn rules(&self) -> AnswerRules {
        AnswerRules {
            issuer: self.provider.issuer.clone(),
            issuer_required: self.provider.names_issuer,
        }
    }

    fn sends_nonce(&self) -> bool {
        self.provider.scopes.iter().any(|scope| scope == "openid")
    }
}

fn target(provider: &Provider, error: &TargetError) -> LoginError {
    let mut reason = error.to_string();
    if let (TargetError::Incomplete { .. }, [name, ..]) = (error, &provider.client_id_env[..]) {
        reason = format!("it needs a client id of your own in the environment variable `{name}`");
    }
    misconfigured(provider, &reason)
}

fn unavailable(error: &HttpError) -> LoginError {
    LoginError::Unavailable { reason: error.to_string() }
}

/// How far the clocks of issuer and machine may be apart.
const CLOCK_SKEW: Duration = Duration::from_mins(10);
