//! Reads a login from the response of a token endpoint: the granted tokens, and their account.

use auth_pkce::Nonce;
use auth_store::{Credential, OAuthCredential, Secret, Timestamp, unverified_claims};
use serde_json::{Map, Value};
use url::Url;

use crate::http::address;
use crate::http::{HttpClient, HttpResponse};
use crate::login::error::{LoginError, misconfigured};
use crate::login::{Login, TIMEOUT};
use crate::oauth::discovery::{Metadata, discover};
use crate::oauth::endpoint::TokenEndpoint;
use crate::oauth::id_token::{self, Doubt};
use crate::oauth::response::TokenResponse;
use crate::oauth::tokens::{MergeError, Tokens};
use crate::provider::{IdentitySource, Provider, Yields};

/// The request for tokens: endpoint, provider, and client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant<'a> {
    /// The provider, with its endpoints discovered.
    pub(crate) provider: &'a Provider,
    /// The endpoint that issued the tokens.
    pub(crate) endpoint: &'a TokenEndpoint,
    /// The nonce that was sent, if any.
    pub(crate) nonce: Option<&'a Nonce>,
    /// What kind of credential the tokens become.
    pub(crate) yields: Yields,
}

impl Grant<'_> {
    /// Reads the login from the response to `sent` (a code and its verifier), which no message may
    /// repeat. The response arrived at `received_at`.
    pub(crate) async fn login(
        &self,
        response: &HttpResponse,
        sent: &[Secret],
        received_at: Timestamp,
        http: &dyn HttpClient,
    ) -> Result<Login, LoginError> {
        let read = self.provider.read_token_response(
            response.status,
            &response.headers,
            &response.body,
            received_at,
        );
        let read = sent.iter().fold(read, TokenResponse::without);
        let mut tokens = match read {
            TokenResponse::Tokens(tokens) => *tokens,
            TokenResponse::Rejected { code, description }
            | TokenResponse::LoginRequired { code, description }
            | TokenResponse::Misconfigured { code, description } => {
                return Err(LoginError::Refused { code, description });
            }
            TokenResponse::Unavailable { reason, .. } | TokenResponse::Unread { reason } => {
                return Err(LoginError::Unavailable { reason });
            }
        };
        if let Some(kind) = tokens.proof() {
            return Err(misconfigured(self.provider, &MergeError::NeedsProof(kind)));
        }
        let doubts = self.doubts(&tokens, received_at)?;
        let mut warnings = Vec::new();
        if !doubts.is_empty() {
            tokens.forget_identity(self.provider);
        }
        let wants_userinfo = self.provider.identity.source == Some(IdentitySource::Userinfo);
        let asked = if wants_userinfo || !doubts.is_empty() {
            self.ask_userinfo(&mut tokens, doubts.is_empty(), http).await
        } else {
            Ok(())
        };
        if !doubts.is_empty() {
            warnings.push(not_believed(&doubts, asked.is_ok()));
        }
        warnings.extend(asked.err());
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
            token_endpoint: Some(self.endpoint.url().to_owned()),
            destinations: Some(self.provider.destinations().origins()),
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
        // GitHub's apps have no scopes, and say so with an empty one.
        let granted = tokens.scope.as_ref().filter(|scope| !scope.trim().is_empty());
        if let Some(granted) = granted {
            // GitHub separates scopes with commas.
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
        if let Some(prompt) = &self.provider.prompt_host
            && let Some(host) =
                address::parse(self.endpoint.url()).ok().as_ref().and_then(Url::host_str)
        {
            fields.insert(prompt.field.clone(), host.into());
        }
        let account_id = login.account_id.clone();
        let credential = if is_token {
            if let Some(account) = &account_id {
                fields.insert("accountId".to_owned(), account.as_str().into());
            }
            fields.extend(destination_fields(self.provider));
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

    /// Why the ID token is not believed, where the account's name comes from it. One that cannot be
    /// read proves nothing and harms nothing: it names nobody.
    ///
    /// # Errors
    /// Its nonce is another login's: somebody may have put this response in the place of ours.
    fn doubts(&self, tokens: &Tokens, now: Timestamp) -> Result<Vec<Doubt>, LoginError> {
        let claims = tokens.id_token().and_then(|token| unverified_claims(token.expose()));
        let Some(Value::Object(claims)) = claims else { return Ok(Vec::new()) };
        let mut doubts = Vec::new();
        if let Some(sent) = self.nonce {
            match claims.get("nonce").filter(|nonce| !nonce.is_null()) {
                Some(nonce) if nonce.as_str().is_some_and(|nonce| sent.matches(nonce)) => {}
                Some(_) => {
                    let reason = "the nonce of the ID token is another login's";
                    return Err(LoginError::Untrusted { reason });
                }
                None => doubts.push(Doubt::NoNonce),
            }
        }
        if self.provider.identity.source == Some(IdentitySource::IdToken) {
            let issuer = self.provider.issuer.as_deref();
            doubts.extend(id_token::doubts(&claims, issuer, Some(&self.endpoint.client_id), now));
        }
        Ok(doubts)
    }

    /// Requests the userinfo (`OpenID` Connect Core §5.3). A failure does not fail the login.
    /// The ID token must speak of the same account, if it `is_believed`.
    async fn ask_userinfo(
        &self,
        tokens: &mut Tokens,
        is_believed: bool,
        http: &dyn HttpClient,
    ) -> Result<(), String> {
        let unknown = |why: String| format!("the account is not known: {why}");
        let (Some(url), Some(access)) = (self.userinfo_endpoint(http).await, tokens.access())
        else {
            return Err(unknown("there is no userinfo endpoint".to_owned()));
        };
        let to = self.provider.destinations().admit(&url, "userinfo endpoint");
        let to = to.map_err(|error| unknown(error.to_string()))?;
        let bearer = ("authorization".to_owned(), format!("Bearer {}", access.expose()));
        let request = to.get(vec![bearer], TIMEOUT);
        let response = http.send(request).await.map_err(|error| unknown(error.to_string()))?;
        if let Some(page) = response.page() {
            return Err(unknown(format!("instead of the userinfo endpoint, {page}")));
        }
        if !(200..300).contains(&response.status) {
            return Err(unknown(format!("the userinfo endpoint answered {}", response.status)));
        }
        let body = response.readable();
        // A signed one (`OpenID` Connect Core §5.3.2) came over TLS all the same.
        let signed = || unverified_claims(body.text().trim())?.as_object().cloned();
        let claims = body.json().or_else(signed).ok_or_else(|| {
            unknown("the userinfo endpoint did not answer with a JSON object".to_owned())
        })?;
        let id_token = tokens.id_token().filter(|_| is_believed);
        let id_claims = id_token.and_then(|token| unverified_claims(token.expose()));
        let subject = id_claims.as_ref().and_then(|claims| claims.get("sub"));
        if subject.is_some_and(|subject| claims.get("sub") != Some(subject)) {
            return Err(unknown("the userinfo endpoint speaks of another account".to_owned()));
        }
        tokens.identify(self.provider, &claims);
        Ok(())
    }

    /// Where to ask who it is: what the entry says, else what the issuer does, if the tokens came
    /// from its own endpoint.
    async fn userinfo_endpoint(&self, http: &dyn HttpClient) -> Option<String> {
        if let Some(url) = &self.provider.endpoints.userinfo {
            return Some(url.clone());
        }
        let has_one = |metadata: &Metadata| metadata.endpoints.userinfo.is_some();
        let issuer = self.provider.issuer.as_deref()?;
        let found = discover(issuer, &has_one, http, TIMEOUT).await.ok()?.endpoints;
        found.userinfo.filter(|_| found.token.as_deref() == Some(self.endpoint.url()))
    }
}

/// What the user is told of an ID token that is not believed.
fn not_believed(doubts: &[Doubt], is_known: bool) -> String {
    let words: Vec<_> = doubts.iter().map(|doubt| doubt.words()).collect();
    let words = words.join(", and ");
    let instead = if is_known {
        "the account comes from the userinfo endpoint"
    } else {
        "it names no account"
    };
    let issuer = if doubts.contains(&Doubt::Issuer) {
        "correct `issuer` in the provider's manifest, or "
    } else {
        ""
    };
    format!(
        "the ID token is not believed, since {words}: {instead}; {issuer}write {SETTING} in the manifest to ask the server instead"
    )
}

const SETTING: &str = "`\"identity\": {\"source\": \"userinfo\"}`";
/// What the profile of a key or token records: the origins it is for.
pub(crate) fn destination_fields(provider: &Provider) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert(Credential::DESTINATIONS.to_owned(), provider.destinations().origins().into());
    fields
}
