//! Token revocation at the issuer (RFC 7009).

use std::time::Duration;

use auth_store::{OAuthCredential, Timestamp};

use crate::http::destination::ForeignDestination;
use crate::http::{HttpClient, HttpResponse};
use crate::oauth::discovery::{Metadata, discover};
use crate::oauth::endpoint::TargetError;
use crate::oauth::response::{error_of, retry_after};
use crate::plugin::{self, Event, FailureKind, Operation};
use crate::provider::Provider;
use crate::text;

/// The result of revoking a login at its issuer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Revocation {
    /// The login was revoked.
    Done,
    /// There was nothing to revoke, or the issuer offers no revocation.
    NotOffered,
    /// The issuer could not be reached, or refused. The tokens stay valid until they expire.
    Failed(String),
    /// Nothing was sent: the tokens are not for the address of the revocation endpoint.
    Foreign(ForeignDestination),
}

impl Provider {
    /// Revokes the tokens of `login`: the refresh token, then the access token. Each is sent only
    /// to the revocation endpoint of the issuer that issued it.
    pub async fn revoke(
        &self,
        login: &OAuthCredential,
        http: &dyn HttpClient,
        now: Timestamp,
    ) -> Revocation {
        let target = match self.refresh_target(login) {
            Err(TargetError::Foreign(foreign)) => return Revocation::Foreign(foreign),
            target => target.ok(),
        };
        if let Some(request) = target.and_then(|target| target.revocation_by_plugin(login)) {
            return match http.send(request).await {
                Ok(response) => said_by_plugin(self, &response.body, login),
                Err(error) => Revocation::Failed(error.to_string()),
            };
        }
        let mut provider = self.clone();
        if provider.endpoints.revocation.is_none()
            && let Some(issuer) = &self.issuer
        {
            let is_enough = |metadata: &Metadata| metadata.endpoints.revocation.is_some();
            match discover(issuer, &is_enough, http, TIMEOUT).await {
                Ok(metadata) => provider = self.with_metadata(&metadata),
                Err(error) => return Revocation::Failed(error.to_string()),
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
        let known = self.login_destinations(login);
        let endpoint =
            provider.token_endpoint("revocation endpoint", &url, &known, Some(target.client_id));
        let mut endpoint = match endpoint {
            Ok(endpoint) => endpoint,
            Err(TargetError::Foreign(foreign)) => return Revocation::Foreign(foreign),
            Err(_) => return Revocation::NotOffered,
        };
        endpoint.body = provider.revocation_body.unwrap_or(endpoint.body);

        let mut outcome = Revocation::NotOffered;
        for (token, kind) in [(&login.refresh, "refresh_token"), (&login.access, "access_token")] {
            if token.is_blank() {
                continue;
            }
            let params = [("token", token.expose()), ("token_type_hint", kind)];
            let response = match http.send(endpoint.request(&params, TIMEOUT)).await {
                Ok(response) => response,
                Err(error) => return Revocation::Failed(error.to_string()),
            };
            match judge(&response) {
                Ok(true) => outcome = Revocation::Done,
                Ok(false) => {}
                Err(reason) => {
                    // A failure here matters less: the access token expires soon.
                    if outcome == Revocation::Done {
                        break;
                    }
                    let wait =
                        response.header("retry-after").and_then(|text| retry_after(text, now));
                    let wait = wait.map(|wait| format!(", ask again in {} s", wait.as_secs()));
                    return Revocation::Failed(
                        text::without(&reason, token) + wait.unwrap_or_default().as_str(),
                    );
                }
            }
        }
        outcome
    }
}

/// Interprets the last line of a plugin that was asked to revoke `login`.
fn said_by_plugin(provider: &Provider, line: &[u8], login: &OAuthCredential) -> Revocation {
    match plugin::last_event(provider, Operation::Revoke, line) {
        Ok(Event::Result(_)) => Revocation::Done,
        Ok(Event::Error(failure)) if failure.kind == FailureKind::Unsupported => {
            Revocation::NotOffered
        }
        Ok(Event::Error(failure)) => {
            Revocation::Failed(failure.without(&login.refresh).without(&login.access).words())
        }
        Ok(_) => Revocation::Failed("the plugin gave no answer".to_owned()),
        Err(violation) => Revocation::Failed(violation.to_string()),
    }
}

/// `true`: revoked. `false`: tokens of this type cannot be revoked (RFC 7009 §2.2.1).
fn judge(response: &HttpResponse) -> Result<bool, String> {
    let status = response.status;
    if let Some(page) = response.page() {
        return Err(page);
    }
    if (200..300).contains(&status) {
        return Ok(true);
    }
    let error = error_of(&response.object());
    match error.as_ref().map_or("", |(code, _)| code.as_str()) {
        // Servers that respond with these codes mean that the token is no longer usable.
        "invalid_token" | "invalid_grant" => Ok(true),
        "unsupported_token_type" => Ok(false),
        "" => Err(format!("the revocation endpoint answered {status}")),
        code => Err(format!("the revocation endpoint answered {status} `{}`", text::clean(code))),
    }
}

/// Applies to a single request.
const TIMEOUT: Duration = Duration::from_secs(15);
