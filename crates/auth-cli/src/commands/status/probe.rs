//! `models status --probe`: asks each provider whether its credentials work, with read-only
//! requests that cost nothing. Nothing is refreshed and nothing is stored.

use std::sync::Arc;
use std::time::Duration;

use auth_providers::{HttpClient, Probed, Provider, Providers, RealTime, Waiting};
use auth_routing::FailureReason;
use auth_routing::cooldown::response::{Response, Verdict};
use auth_store::{Credential, ProfileId, ProviderId, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::agent::Agent;
use crate::commands::status::args::StatusArgs;
use crate::commands::status::overview::Overview;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::network;
use crate::host::process::runtime;
use crate::host::remedy::Remedy;
use crate::host::report::Report;
use crate::host::shell_quote::option;
use crate::host::text::printable;
use crate::profiles::save::API_BASE;
use crate::profiles::{key_reference, refresh_error};

/// The requested options; names and default numbers are Clawdbot's.
#[derive(Clone, Debug)]
pub struct Options {
    provider: Option<ProviderId>,
    profiles: Vec<ProfileId>,
    timeout: Duration,
    concurrency: usize,
    max_tokens: u32,
}

/// All results.
#[derive(Debug)]
pub struct Summary {
    options: Options,
    started_at: Timestamp,
    duration: Duration,
    results: Vec<Outcome>,
}

/// A credential to probe.
#[derive(Debug)]
struct Target {
    provider: ProviderId,
    profile: Option<ProfileId>,
    /// `profile`, `env` or `models.json`.
    source: &'static str,
    label: String,
    mode: &'static str,
    model: Option<String>,
    /// The credential, or why there is nothing to send.
    credential: Result<Credential, Reason>,
    /// The origins that are recorded with it.
    recorded: Option<Vec<String>>,
    /// Whether it is a key for an address of the user's own.
    has_api_base: bool,
}

/// A status and its explanation.
type Reason = (&'static str, String);

/// The result of one probe.
#[derive(Debug)]
struct Outcome {
    target: Target,
    status: &'static str,
    error: Option<String>,
    latency: Option<Duration>,
    /// Whether the probe's address is one that the credential is not for.
    is_foreign: bool,
}

impl Options {
    /// The options, if any of them requests a probe.
    ///
    /// # Errors
    /// An invalid number.
    pub fn from_args(args: &StatusArgs) -> Result<Option<Self>, CliError> {
        if !args.probe && args.probe_provider.is_none() && args.probe_profile.is_empty() {
            return Ok(None);
        }
        if args.plain {
            return Err(CliError::usage("`--probe` and `--plain` exclude each other"));
        }
        let ids = args.probe_profile.iter().flat_map(|ids| ids.split(','));
        let ids = ids.map(str::trim).filter(|id| !id.is_empty());
        let options = Self {
            provider: args.probe_provider.as_deref().map(ProviderId::new),
            profiles: ids.map(ProfileId::new).collect(),
            timeout: Duration::from_millis(args.probe_timeout.unwrap_or(8_000)),
            concurrency: args.probe_concurrency.unwrap_or(2) as usize,
            max_tokens: args.probe_max_tokens.unwrap_or(8),
        };
        for (name, is_none) in [
            ("--probe-timeout", options.timeout.is_zero()),
            ("--probe-concurrency", options.concurrency == 0),
            ("--probe-max-tokens", options.max_tokens == 0),
        ] {
            if is_none {
                return Err(CliError::usage(format!("`{name}` must be more than zero")));
            }
        }
        Ok(Some(options))
    }
}

/// Runs the probes.
pub fn run(
    options: Options,
    overview: &Overview,
    providers: &Providers,
    context: &Context,
) -> Result<Summary, CliError> {
    let targets = targets(&options, overview, providers, context);
    let http: Arc<dyn HttpClient> = Arc::new(network::client(context));
    let started_at = context.now();
    let began = RealTime.elapsed();
    let results = runtime::run(ask(targets, &options, providers, http, context.now()))?;
    let duration = RealTime.elapsed().saturating_sub(began);
    Ok(Summary { options, started_at, duration, results })
}

/// Every stored profile; for a provider without any, the key of the environment or the config.
fn targets(
    options: &Options,
    overview: &Overview,
    providers: &Providers,
    context: &Context,
) -> Vec<Target> {
    let view = &overview.standing.view;
    let canonical =
        |name: &ProviderId| providers.find(name).map_or(name.clone(), |it| it.id.clone());
    let wanted = options.provider.as_ref().map(canonical);
    let mut targets = Vec::new();
    for auth in &overview.providers {
        let provider = ProviderId::new(&auth.name);
        if wanted.as_ref().is_some_and(|wanted| *wanted != canonical(&provider)) {
            continue;
        }
        let model = overview.model_of(&provider);
        let target = |source, label: String, mode, credential| Target {
            provider: provider.clone(),
            profile: None,
            source,
            label,
            mode,
            model: model.clone(),
            credential,
            recorded: None,
            has_api_base: false,
        };
        for profile in &auth.profiles {
            if !options.profiles.is_empty() && !options.profiles.contains(&profile.id) {
                continue;
            }
            let stored = view.document.credential(&profile.id);
            let credential = stored.ok_or(("unknown", "it cannot be read".to_owned()));
            let credential = credential.and_then(|it| usable(it, &profile.id, view.now, context));
            let label = match &profile.email {
                Some(email) if !profile.id.as_str().contains(email.as_str()) => {
                    format!("{} ({email})", profile.id)
                }
                _ => profile.id.to_string(),
            };
            let mode = profile.kind.as_str();
            let target = target("profile", label, mode, credential);
            targets.push(Target {
                profile: Some(profile.id.clone()),
                recorded: view.document.destinations(&profile.id),
                has_api_base: view.document.field(&profile.id, API_BASE).is_some(),
                ..target
            });
        }
        if !auth.profiles.is_empty() || !options.profiles.is_empty() {
            continue;
        }
        if let Some(key) = &auth.env {
            let (mode, credential) = if key.is_oauth {
                ("oauth", Credential::Token { token: key.value.clone(), expires: None })
            } else {
                ("api_key", Credential::ApiKey(key.value.clone()))
            };
            targets.push(target("env", format!("env: {}", key.name), mode, Ok(credential)));
        } else if let Some(key) = view.config.described_key(&provider) {
            let credential = Credential::ApiKey(key.into());
            targets.push(target(
                "models.json",
                "models.json".to_owned(),
                "api_key",
                Ok(credential),
            ));
        }
    }
    targets
}

/// The credential to send now. An expired access token is not refreshed for a probe.
fn usable(
    credential: Credential,
    profile: &ProfileId,
    now: Timestamp,
    context: &Context,
) -> Result<Credential, Reason> {
    let credential = key_reference::fetched(credential, profile, context)
        .map_err(|error| ("auth", error.message))?;
    if credential.is_valid(now) {
        return Ok(credential);
    }
    Err(match &credential {
        Credential::OAuth(login) if !login.refresh.is_blank() => {
            ("unknown", "the access token has expired; it is refreshed on use".to_owned())
        }
        credential if credential.bearer().is_blank() => ("auth", "it has no secret".to_owned()),
        _ => ("auth", "it has expired".to_owned()),
    })
}

async fn ask(
    targets: Vec<Target>,
    options: &Options,
    providers: &Providers,
    http: Arc<dyn HttpClient>,
    now: Timestamp,
) -> Vec<Outcome> {
    let turns = Arc::new(Semaphore::new(options.concurrency));
    let mut asking = JoinSet::new();
    for (place, target) in targets.into_iter().enumerate() {
        let (turns, http) = (Arc::clone(&turns), Arc::clone(&http));
        let provider = providers.find(&target.provider).cloned();
        let timeout = options.timeout;
        asking.spawn(async move {
            // The semaphore is never closed.
            let _turn = turns.acquire().await;
            (place, ask_one(target, provider.as_ref(), &*http, timeout, now).await)
        });
    }
    let mut outcomes = Vec::new();
    while let Some(outcome) = asking.join_next().await {
        outcomes.extend(outcome);
    }
    outcomes.sort_by_key(|(place, _)| *place);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

async fn ask_one(
    target: Target,
    provider: Option<&Provider>,
    http: &dyn HttpClient,
    timeout: Duration,
    now: Timestamp,
) -> Outcome {
    let credential = match &target.credential {
        Ok(credential) => credential,
        Err((status, reason)) => {
            let error = Some(reason.clone());
            return Outcome { status, error, latency: None, target, is_foreign: false };
        }
    };
    let Some(provider) = provider else {
        let error = Some("unknown provider".to_owned());
        return Outcome { status: "unknown", error, latency: None, target, is_foreign: false };
    };
    let began = RealTime.elapsed();
    let known = provider.credential_destinations(credential, target.recorded.as_deref());
    let probing = provider.probe(credential, &known, http, timeout);
    let probed = tokio::time::timeout(timeout, probing).await;
    let latency = Some(RealTime.elapsed().saturating_sub(began));
    let is_foreign = matches!(probed, Ok(Probed::Foreign(_))) && !target.has_api_base;
    let (status, error, latency) = match probed {
        Err(_) => {
            ("timeout", Some(format!("no answer within {} ms", timeout.as_millis())), latency)
        }
        Ok(Probed::NotSent(reason)) => ("unknown", Some(reason.to_owned()), None),
        Ok(Probed::Foreign(foreign)) => ("unknown", Some(foreign.to_string()), None),
        Ok(Probed::Failed(error)) => ("unknown", Some(error.to_string()), latency),
        Ok(Probed::Answered(reply)) => {
            let response = Response {
                status: Some(reply.status),
                headers: reply.headers,
                body: String::from_utf8_lossy(&reply.body).into_owned(),
            };
            match response.verdict(now) {
                Verdict::Worked => ("ok", None, latency),
                Verdict::Failed(failure) => {
                    let secret = auth_store::trim(credential.bearer().expose());
                    let raw = failure.raw.replace(secret, "REDACTED");
                    (status_of(failure.reason), Some(raw), latency)
                }
            }
        }
    };
    Outcome { target, status, error, latency, is_foreign }
}

/// The words of Clawdbot's probes.
fn status_of(reason: FailureReason) -> &'static str {
    match reason {
        FailureReason::Auth => "auth",
        FailureReason::Format => "format",
        FailureReason::RateLimit => "rate_limit",
        FailureReason::Billing => "billing",
        FailureReason::Timeout => "timeout",
        FailureReason::Unknown => "unknown",
    }
}

impl Summary {
    /// The failure of a probe whose address is one that the credential is not for: the first one.
    pub fn foreign(&self, agent: &Agent) -> Option<CliError> {
        let found = self.results.iter().find(|it| it.is_foreign)?;
        let message = found.error.clone().unwrap_or_default();
        let failure = CliError::new(Exit::Usage, "destination", message);
        Some(match &found.target.profile {
            Some(id) => refresh_error::with_destination(failure, id, &agent.option()),
            None => failure.remedy(Remedy::new(
                "a key of the environment is sent to built-in providers only; store it",
                format!(
                    "clawdbot models auth paste-api-key{} --from-env NAME",
                    option("--provider", &found.target.provider)
                ),
            )),
        })
    }

    /// Whether a provider refused a credential.
    pub fn has_refusals(&self) -> bool {
        self.results.iter().any(|it| matches!(it.status, "auth" | "billing"))
    }

    /// `auth.probes` of `models status --json`.
    pub fn to_json(&self) -> Value {
        let results = self.results.iter().map(|it| {
            let mut value = json!({
                "provider": it.target.provider,
                "label": it.target.label,
                "source": it.target.source,
                "mode": it.target.mode,
                "status": it.status,
            });
            let latency = it.latency.map(|it| Value::from(milliseconds(it)));
            for (name, part) in [
                ("model", it.target.model.as_deref().map(Value::from)),
                ("profileId", it.target.profile.as_ref().map(|id| id.as_str().into())),
                ("error", it.error.as_deref().map(Value::from)),
                ("latencyMs", latency),
            ] {
                if let Some(part) = part {
                    value[name] = part;
                }
            }
            value
        });
        let options = &self.options;
        json!({
            "startedAt": self.started_at,
            "finishedAt": self.started_at.plus(self.duration),
            "durationMs": milliseconds(self.duration),
            "totalTargets": self.results.len(),
            "options": {
                "provider": options.provider,
                "profileIds": options.profiles,
                "timeoutMs": milliseconds(options.timeout),
                "concurrency": options.concurrency,
                "maxTokens": options.max_tokens,
            },
            "results": results.collect::<Vec<_>>(),
        })
    }

    /// Adds the lines for the user.
    pub fn tell(&self, report: &mut Report) {
        report.line("");
        report.line("Probes");
        if self.results.is_empty() {
            report.line("  no credential to ask about");
        }
        let labels = self.results.iter().map(|it| printable(&it.target.label));
        let labels: Vec<_> = labels.collect();
        let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
        for (it, label) in self.results.iter().zip(&labels) {
            let latency = it.latency.map(|it| format!("{} ms", milliseconds(it)));
            let notes = [it.error.as_deref().map(printable), latency];
            let notes: Vec<_> = notes.into_iter().flatten().collect();
            let line = format!("  {label:width$}  {:10}  {}", it.status, notes.join(", "));
            report.line(line.trim_end());
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
