//! `models auth refresh PROFILE --retry-merge`: describes an issuer's response that could not be
//! read, and tries again to merge it. Nothing is sent, and no secret is shown.

use auth_providers::refresh::{self, KeptResponse, RefreshError};
use auth_store::{Document, Kind, ProfileId};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::agent::invocation::Invocation;
use crate::agent::shared::Seen;
use crate::commands::profiles::args::RefreshArgs;
use crate::config::Config;
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::remedy::Remedy;
use crate::host::report::Report;
use crate::host::shell_quote::command;
use crate::profiles::refresh_error;
use crate::profiles::runtime_cache;
use crate::profiles::sink;
use crate::profiles::view::no_profile;

/// Shows the kept response for each of the profiles, and merges it if it can be read. The first
/// failure determines the exit code, after all were tried.
pub(super) fn run(args: &RefreshArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let agent = invocation.agent()?;
    let mut tried = Vec::new();
    let ended = retry_all(args, invocation, &mut tried);
    let profiles: Vec<_> = tried.iter().map(Tried::to_json).collect();
    let mut report = Report::from_data(json!({ "agentId": agent.id, "profiles": profiles }));
    let mut failure = None;
    for tried in tried {
        report.line(tried.in_words(invocation.context));
        failure = failure.or(tried.outcome.err());
    }
    Ok(match (ended, failure) {
        (Err(error), _) => report.cut_short(error),
        (Ok(()), Some(failure)) => report.failed(failure),
        (Ok(()), None) => report,
    })
}

fn retry_all(
    args: &RefreshArgs,
    invocation: &Invocation<'_>,
    tried: &mut Vec<Tried>,
) -> Result<(), CliError> {
    let (config, agent) = (invocation.config()?, invocation.agent()?);
    let seen = Seen::by(agent, &config, invocation.context)?;
    for id in args.profiles.iter().map(|id| ProfileId::new(id.as_str())) {
        if !seen.document.contains(&id) {
            return Err(no_profile(&id, &seen.document, agent));
        }
        let (known, outcome) = retry(&id, seen.holder(&id, agent), &config, invocation)?;
        tried.push(Tried { id, known, outcome });
    }
    Ok(())
}

/// The result for one profile.
struct Tried {
    id: ProfileId,
    known: Option<KeptResponse>,
    outcome: Result<&'static str, CliError>,
}

impl Tried {
    fn to_json(&self) -> Value {
        let response = self.known.as_ref().map_or(Value::Null, as_json);
        match &self.outcome {
            Ok(state) => json!({ "profileId": self.id, "state": state, "answer": response }),
            Err(error) => json!({
                "profileId": self.id, "state": "kept", "answer": response, "error": error.to_json(),
            }),
        }
    }

    fn in_words(&self, context: &Context) -> String {
        let what = self
            .known
            .as_ref()
            .map_or_else(|| "no response is kept".to_owned(), |known| in_words(known, context));
        let end = match &self.outcome {
            Ok("merged") => ": merged",
            Ok("settled") => ": it could be read, and there was nothing to merge",
            Ok(_) => "",
            Err(_) => ": not merged",
        };
        format!("{}: {what}{end}", self.id)
    }
}

/// The kept response for the profile `id` of `agent`, and the result of merging it.
fn retry(
    id: &ProfileId,
    agent: &Agent,
    config: &Config,
    invocation: &Invocation<'_>,
) -> Result<(Option<KeptResponse>, Result<&'static str, CliError>), CliError> {
    let context = invocation.context;
    let sink = sink::for_agent(agent, config, context)?;
    let before = sink.store.read()?;
    let provider = before.profile(id).and_then(|profile| sink.provider_of(&profile));
    let Some(provider) = provider else { return Ok((None, Ok("nothing_kept"))) };
    let explain = |error: RefreshError| {
        let is_kept = matches!(error, RefreshError::Unmerged { .. });
        let explained = refresh_error::explain(error, Some(provider), agent, context);
        if is_kept { way_out(explained, id, provider, agent) } else { explained }
    };

    let known = refresh::kept_response(id, provider, sink.refresh_context()).map_err(explain)?;
    let merged = refresh::merge_kept_response(id, provider, sink.refresh_context());
    let refresh_token = |document: &Document| match document.credential(id) {
        Some(auth_store::Credential::OAuth(login)) => Some((login.access, login.refresh)),
        _ => None,
    };
    let outcome = match merged {
        Ok(false) => Ok("nothing_kept"),
        Ok(true) if refresh_token(&sink.store.read()?) == refresh_token(&before) => Ok("settled"),
        Ok(true) => Ok("merged"),
        Err(error) => Err(explain(error)),
    };
    runtime_cache::changed_with_copies(agent, config, invocation);
    Ok((known, outcome))
}

/// What to do if this program cannot read it.
fn way_out(
    error: CliError,
    id: &ProfileId,
    provider: &auth_providers::Provider,
    agent: &Agent,
) -> CliError {
    let options = format!("{} --force", agent.option());
    let again = command("models auth refresh", &[id], &options);
    CliError { remedies: None, ..error }
        .hint("a later version may be able to merge it")
        .remedy(refresh_error::log_in(id, Kind::OAuth, Some(provider), &provider.id, agent))
        .remedy(Remedy::new("send the old token again", again))
}

/// `the response of 2026-01-01T00:00:00Z (status 500, 80 bytes, in UTF-16, with refresh_token)`.
fn in_words(known: &KeptResponse, context: &Context) -> String {
    let encoding = known.encoding.as_ref().map(|it| format!(", in {it}")).unwrap_or_default();
    let found = match known.found.join(" and ") {
        found if found.is_empty() => String::new(),
        found => format!(", with {found}"),
    };
    let KeptResponse { status, received_at, length, .. } = known;
    format!(
        "the response of {} (status {status}, {length} bytes{encoding}{found})",
        context.time(*received_at)
    )
}

fn as_json(known: &KeptResponse) -> Value {
    json!({
        "status": known.status,
        "receivedAt": known.received_at,
        "bytes": known.length,
        "encoding": known.encoding,
        "found": known.found,
    })
}
