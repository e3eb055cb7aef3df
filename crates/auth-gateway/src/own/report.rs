//! `POST /v1/report`: how a token fared that a client was given.

use std::time::Duration;

use auth_routing::FailureReason;
use auth_routing::cooldown::judgement::{Class, Judgement};
use auth_routing::cooldown::response::{Failure, Response};
use auth_store::{ProfileId, Timestamp};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::accounts::Accounts;
use crate::api::shape::Refusal;
use crate::client::asked::Caller;
use crate::gateway::Gateway;
use crate::own::query::{Wanted, Written};
use crate::own::token::refusal;

/// What a client tells.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Told {
    provider: Option<String>,
    profile_id: String,
    model: Option<String>,
    agent: Option<String>,
    session: Option<String>,
    /// It worked.
    #[serde(default)]
    ok: bool,
    /// It failed, for this reason.
    failed: Option<String>,
    /// Seconds until it may be tried again.
    retry_after: Option<u64>,
    /// When it may be tried again.
    reset_at: Option<i64>,
    /// The provider's answer: status line, headers and body, or any part of it.
    response: Option<String>,
}

impl<A: Accounts> Gateway<A> {
    /// Has the accounts learn from what a client tells.
    pub(super) fn take_report(&self, caller: &Caller, body: &[u8]) -> Result<Value, Refusal> {
        let bad = |message: String| Refusal::new(StatusCode::BAD_REQUEST, message);
        let told: Told = serde_json::from_slice(body)
            .map_err(|error| bad(format!("it is no report: {error}")))?;
        let now = self.clock.now();
        let judgement = told.judgement(now).map_err(bad)?;
        let profile = ProfileId::new(&told.profile_id);
        let written = Written {
            provider: told.provider,
            profile: Some(told.profile_id),
            model: told.model,
            agent: told.agent,
            session: told.session,
        };
        let wanted = Wanted::within_grant(written, caller, |id| self.provider_of(caller, id))?;
        let question = wanted.question();
        let plan = || self.accounts.plan(&question).map_err(|error| refusal(&error));
        if plan()?.is_empty() {
            let message = format!("there is no profile `{profile}` of `{}`", wanted.provider);
            let code = Some("no_credential");
            return Err(Refusal { code, ..Refusal::new(StatusCode::NOT_FOUND, message) });
        }
        self.accounts.report(&question, &profile, &judgement);
        let after = plan()?;
        let until = after.first().and_then(|it| it.cooldown).map(|cooldown| cooldown.until);
        Ok(json!({ "profileId": profile, "cooldownUntil": until }))
    }
}

impl Told {
    fn judgement(&self, now: Timestamp) -> Result<Judgement, String> {
        let of = |class, failure| Judgement {
            class,
            failure,
            is_of_one_model: false,
            windows: Vec::new(),
        };
        match (self.ok, &self.failed, &self.response) {
            (true, None, None) => Ok(of(Class::Served, None)),
            (false, None, Some(text)) => {
                let response = Response::parse(text).map_err(|error| error.to_string())?;
                Ok(response.judge(now))
            }
            (false, Some(word), None) => {
                let reason = FailureReason::parse(word)
                    .ok_or_else(|| format!("there is no reason `{}`", word.escape_debug()))?;
                let wait = self.retry_after.map(|seconds| now.plus(Duration::from_secs(seconds)));
                let until = self.reset_at.map(Timestamp).or(wait);
                let class = match reason {
                    FailureReason::Auth => Class::Credential,
                    FailureReason::Billing => Class::Billing,
                    _ => Class::Limit,
                };
                Ok(of(class, Some(Failure { reason, until, raw: String::new() })))
            }
            _ => Err("one of `ok`, `failed` and `response` has to be there".to_owned()),
        }
    }
}
