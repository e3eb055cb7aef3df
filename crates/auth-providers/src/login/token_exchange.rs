//! From the answer of a token endpoint to a login: what was granted, and whose it is.

use std::time::Duration;

use auth_pkce::Nonce;
use auth_store::{Credential, OAuthCredential, Secret, Timestamp, unverified_claims};
use serde_json::Value;

use crate::http::{HttpClient, HttpRequest, HttpResponse};
use crate::login::error::{LoginError, misconfigured};
use crate::login::{Login, TIMEOUT};
use crate::oauth::endpoint::TokenEndpoint;
use crate::oauth::response::Answer;
use crate::oauth::tokens::{MergeError, Tokens};
use crate::provider::{IdentitySource, Provider, Yields};

/// Who was asked for tokens, and as whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant<'a> {
    /// The provider, its endpoints discovered.
    pub(crate) provider: &'a Provider,
    /// Where the tokens came from.
    pub(crate) endpoint: &'a TokenEndpoint,
    /// The nonce that was sent, if one was.
    pub(crate) nonce: Option<&'a Nonce>,
    /// What is made of the tokens.
    pub(crate) yields: Yields,
}

impl Grant<'_> {
    /// The login that `answer`, received at `received_at`, gives for `sent` (a code, and a verifier
    /// with it), which no message repeats.
    pub(crate) async fn login(
        &self,
        answer: &HttpResponse,
        sent: &[Secret],
        received_at: Timestamp,
        http: &dyn HttpClient,
    ) -> Result<Login, LoginError> {
        let read = self.provider.read_token_response(
            answer.status,
            &answer.headers,
            &answer.body,
            received_at,
        );
        let read = sent.iter().fold(read, Answer::without);
        let mut tokens = match read {
            Answer::Tokens(tokens) => *tokens,
            Answer::Rejected { code, description }
            | Answer::Misconfigured { code, description } => {
                return Err(LoginError::Refused { code, description });
            }
            Answer::Unavailable { reason, .. } | Answer::Unread { reason } => {
                return Err(LoginError::Unavailable { reason });
            }
        };
        if let Some(kind) = tokens.proof() {
            return Err(misconfigured(self.provider, &MergeError::NeedsProof(kind)));
        }
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
        let is_token = self.yields == Yields::Token;
        if login.refresh.is_blank() && !is_token {
            warnings.push(
                "the provider gave no refresh token: the login ends with its access token"
                    .to_owned(),
            );
        }
        if let Some(granted) = &tokens.scope {
            // GitHub separates them with commas.
            let granted: Vec<_> = granted.split([' ', ',']).collect();
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
        let account_id = login.account_id.clone();
        let credential = if is_token {
            if let Some(account) = &account_id {
                fields.insert("accountId".to_owned(), account.as_str().into());
            }
            Credential::Token { token: login.access, expires: None }
        } else {
            Credential::OAuth(login)
        };
        Ok(Login {
            provider: self.provider.id.clone(),
            account_id,
            credential,
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
        if let Some(sent) = self.nonce {
            match claims.get("nonce").and_then(Value::as_str) {
                Some(nonce) if sent.matches(nonce) => {}
                Some(_) => return untrusted("the nonce of the ID token is another login's"),
                None if names_the_account => return untrusted("the ID token has no nonce"),
                None => {}
            }
        }
        if !names_the_account {
            return Ok(());
        }
        if let Some(issuer) = &self.provider.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return untrusted("the ID token comes from another issuer");
        }
        let client = Value::from(self.endpoint.client_id.as_str());
        let is_for_us = match claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.contains(&client),
            Some(audience) => *audience == client,
            None => false,
        };
        if !is_for_us || claims.get("azp").is_some_and(|party| *party != client) {
            return untrusted("the ID token is for another client");
        }
        let ends = claims.get("exp").and_then(Value::as_i64).unwrap_or(i64::MAX);
        if Timestamp(ends.saturating_mul(1000)).plus(CLOCK_SKEW) < now {
            return untrusted("the ID token has expired; check the clock of this machine");
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
        if !(200..300).contains(&answer.status) {
            return Err(unknown(format!("the userinfo endpoint answered {}", answer.status)));
        }
        let claims = answer.readable().json().ok_or_else(|| {
            unknown("the userinfo endpoint did not answer with a JSON object".to_owned())
        })?;
        let id_claims = tokens.id_token().and_then(|token| unverified_claims(token.expose()));
        let subject = id_claims.as_ref().and_then(|claims| claims.get("sub"));
        if subject.is_some_and(|subject| claims.get("sub") != Some(subject)) {
            return Err(unknown("the userinfo endpoint speaks of another account".to_owned()));
        }
        tokens.identify(self.provider, &claims);
        Ok(())
    }
}

/// How far the clocks of issuer and machine may be apart.
const CLOCK_SKEW: Duration = Duration::from_mins(10);
