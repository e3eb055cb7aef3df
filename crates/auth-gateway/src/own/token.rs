//! `GET /v1/token`: a live token, for clients that were granted it.

use auth_store::{Kind, ProfileId};
use hyper::StatusCode;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::accounts::{Accounts, AccountsError, Candidate, Fingerprint, Live, Reason};
use crate::api::shape::Refusal;
use crate::client::asked::Caller;
use crate::gateway::Gateway;
use crate::own::query::{Wanted, Written};
use crate::proxy::order::all_in_cooldown;

impl<A: Accounts> Gateway<A> {
    /// The token of the first profile that has one.
    pub(super) async fn token(
        &self,
        caller: &Caller,
        query: Option<&str>,
    ) -> Result<Value, Refusal> {
        let (written, refused) = read(query)?;
        let is_named = written.profile.is_some();
        let wanted = Wanted::within_grant(written, caller, |id| self.provider_of(caller, id))?;
        let question = wanted.question();
        let candidates = self.accounts.plan(&question).map_err(|error| refusal(&error))?;
        // Who names a profile gets it, in cooldown or not.
        let usable = |candidate: &&Candidate| is_named || candidate.cooldown.is_none();
        let mut usable = candidates.iter().filter(usable).peekable();
        if usable.peek().is_none() && !candidates.is_empty() {
            return Err(all_in_cooldown(&candidates, self.clock.now()));
        }
        let mut failed = None;
        for candidate in usable {
            let got = self.accounts.credential(&question, &candidate.profile, refused.as_ref());
            match got.await {
                Ok(live) => return Ok(told(&wanted, &candidate.profile, &live)),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let missing = || AccountsError {
            reason: Reason::NotThere,
            message: format!("there is no profile of `{}` that can be used", wanted.provider),
        };
        Err(refusal(&failed.unwrap_or_else(missing)))
    }
}

fn told(wanted: &Wanted, profile: &ProfileId, live: &Live) -> Value {
    let mode = match live.kind {
        Kind::OAuth => "oauth",
        Kind::Token => "token",
        Kind::ApiKey => "api-key",
    };
    json!({
        "provider": wanted.provider,
        "profileId": profile,
        "mode": mode,
        "token": live.secret.expose(),
        "expires": live.expires,
        "accountId": live.account,
    })
}

/// What is asked for, and the token that must not come back.
fn read(query: Option<&str>) -> Result<(Written, Option<Fingerprint>), Refusal> {
    let bad = |message: String| Refusal::new(StatusCode::BAD_REQUEST, message);
    let (mut written, mut refused) = (Written::default(), None);
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let place = match &*name {
            "provider" => &mut written.provider,
            "profile" => &mut written.profile,
            "model" => &mut written.model,
            "agent" => &mut written.agent,
            "session" => &mut written.session,
            "refused" => {
                let hash = Fingerprint::from_hex(&value);
                let hash = hash.ok_or_else(|| bad("`refused` is no SHA-256".to_owned()))?;
                refused = Some(hash);
                continue;
            }
            other => return Err(bad(format!("nothing is called `{}`", other.escape_debug()))),
        };
        if place.replace(value.into_owned()).is_some() {
            return Err(bad(format!("`{name}` is there twice")));
        }
    }
    Ok((written, refused))
}

/// The refusal for what the accounts do not have.
pub(crate) fn refusal(error: &AccountsError) -> Refusal {
    let (status, code) = match error.reason {
        Reason::NotThere => (StatusCode::NOT_FOUND, "no_credential"),
        Reason::NeedsLogin => (StatusCode::SERVICE_UNAVAILABLE, "needs_login"),
        Reason::TryLater => (StatusCode::SERVICE_UNAVAILABLE, "try_later"),
    };
    Refusal { code: Some(code), ..Refusal::new(status, error.message.clone()) }
}
