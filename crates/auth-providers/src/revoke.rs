//! Telling an issuer that a token is not needed any more (RFC 7009).

use std::time::Duration;

use auth_store::{OAuthCredential, Timestamp};

use crate::answer::retry_after;
use crate::discovery::discover;
use crate::http::HttpClient;
use crate::provider::Provider;
use crate::text;

/// What became of a revocation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Revocation {
    /// The issuer says the tokens are of no use to anybody now; also if it never knew them.
    Revoked,
    /// This issuer cannot revoke, or the login is not known to be from it: the tokens live until
    /// they end by themselves.
    NotOffered,
    /// It was tried and failed: the tokens must be taken to be alive.
    Failed {
        /// What happened.
        reason: String,
        /// When the issuer wants to be asked again.
        retry_after: Option<Duration>,
    },
}

impl Provider {
    /// Revokes the tokens of `login`: the refresh token, then the access token. Each is sent only
    /// to the revocation endpoint of the issuer that gave it.
    pub async fn revoke(
        &self,
        login: &OAuthCredential,
        http: &dyn HttpClient,
        now: Timestamp,
    ) -> Revocation {
        let failed = |reason: String| Revocation::Failed { reason, retry_after: None };
        let mut provider = self.clone();
        if provider.endpoints.revocation.is_none()
            && let Some(issuer) = &self.issuer
        {
            match discover(issuer, http, TIMEOUT).await {
                Ok(metadata) => provider = self.with_metadata(&metadata),
                Err(error) => return failed(error.to_string()),
            }
        }
        let (Some(url), Ok(target)) =
            (provider.endpoints.revocation.clone(), provider.refresh_target(login))
        else {
            return Revocation::NotOffered;
        };
        if provider.endpoints.token.as_deref() != Some(target.token_endpoint.as_str()) {
            return Revocation::NotOffered;
        }
        let Ok(endpoint) = provider.token_endpoint(url, Some(target.client_id)) else {
            return Revocation::NotOffered;
        };

        let mut outcome = Revocation::NotOffered;
        for (token, kind) in [(&login.refresh, "refresh_token"), (&login.access, "access_token")] {
            if token.is_blank() {
                continue;
            }
            let params = [("token", token.expose()), ("token_type_hint", kind)];
            let answer = match http.send(endpoint.request(&params, TIMEOUT)).await {
                Ok(answer) => answer,
                Err(error) => return failed(error.to_string()),
            };
            match judge(answer.status, &answer.body) {
                Ok(true) => outcome = Revocation::Revoked,
                Ok(false) => {}
                Err(reason) => {
                    // An access token that lives on is the lesser evil: it ends soon.
                    if outcome == Revocation::Revoked {
                        break;
                    }
                    return Revocation::Failed {
                        reason: text::without(&reason, token),
                        retry_after: answer
                            .header("retry-after")
                            .and_then(|text| retry_after(text, now)),
                    };
                }
            }
        }
        outcome
    }
}

/// `true`: revoked. `false`: this sort of token cannot be (RFC 7009 §2.2.1).
fn judge(status: u16, body: &[u8]) -> Result<bool, String> {
    if (200..300).contains(&status) {
        return Ok(true);
    }
    let body: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let code = body.as_ref().and_then(|body| body.get("error")?.as_str()).unwrap_or_default();
    match code {
        // Servers that answer so mean: nobody can use it.
        "invalid_token" | "invalid_grant" => Ok(true),
        "unsupported_token_type" => Ok(false),
        "" => Err(format!("the revocation endpoint answered {status}")),
        code => Err(format!("the revocation endpoint answered {status} `{}`", text::clean(code))),
    }
}

/// Of one request.
const TIMEOUT: Duration = Duration::from_secs(15);
