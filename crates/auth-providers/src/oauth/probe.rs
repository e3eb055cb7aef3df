//! Checks whether a credential works, with one read-only request that costs nothing.

use std::time::Duration;

use auth_store::{Credential, Kind};

use crate::http::destination::{Destinations, ForeignDestination};
use crate::http::{HttpClient, HttpError, HttpResponse};
use crate::oauth::discovery::{Metadata, discover};
use crate::provider::Provider;
use crate::provider::probe_request::Probe;

/// The result of a probe.
#[derive(Debug)]
pub enum Probed {
    /// The provider's response, with any status.
    Answered(HttpResponse),
    /// No response came.
    Failed(HttpError),
    /// Nothing was sent, for this reason.
    NotSent(&'static str),
    /// Nothing was sent: the credential is not for the address of the probe.
    Foreign(ForeignDestination),
}

impl Provider {
    /// Asks whether `credential` works. It is sent as it is, and never renewed; a login's token
    /// goes only to the provider whose token endpoint it came from, and any secret only to an origin
    /// in `known`.
    ///
    /// If the entry has no probe, a login is checked at the userinfo endpoint.
    pub async fn probe(
        &self,
        credential: &Credential,
        known: &Destinations,
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
        let to = match known.admit(&asked.url, "probe") {
            Ok(to) => to,
            Err(foreign) => return Probed::Foreign(foreign),
        };
        match http.send(asked.request(&to, kind, credential.bearer(), account, timeout)).await {
            Ok(response) => Probed::Answered(response),
            Err(error) => Probed::Failed(error),
        }
    }
}
