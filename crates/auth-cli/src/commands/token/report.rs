//! `models auth report`: what became of a request, so that routing learns from it.

use auth_routing::cooldown::response::{Failure, Response, Verdict};
use auth_routing::session::selector::ModelRef;
use auth_routing::{CooldownPolicy, FailureReason, after_failure, after_success, unusable_until};
use auth_store::{Credential, Profile, ProfileId, ProviderId, Store, Timestamp, Usage};
use serde_json::json;

use crate::agent::invocation::Invocation;
use crate::agent::shared;
use crate::commands::token::args::FailureWord;
use crate::commands::token::args::ReportArgs;
use crate::config::Config;
use crate::host::context::Context;
use crate::host::duration;
use crate::host::error::CliError;
use crate::host::report::Report;
use crate::host::shell_quote::command;
use crate::host::text::printable;
use crate::profiles::view::{self, no_profile};

/// Writes a success or a failure into the store, or, if it is about one model only, beside it.
/// Credentials are not touched.
pub fn run(args: &ReportArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let (config, asked, context) = (invocation.config()?, invocation.agent()?, invocation.context);
    let id = ProfileId::new(args.profile.as_str());
    // What is learned about a shared profile is for all who use it.
    let agent = shared::holder(asked, &id, &config, context)?;
    let now = context.now();
    let store = agent.store_to_change(context);
    let document = store.read()?;
    let profile = document.profile(&id).ok_or_else(|| no_profile(&id, &document, &agent))?;
    let model = args.model.as_deref().map(|text| model(text, &profile, &config)).transpose()?;
    let verdict = verdict(args, document.credential(&id).as_ref(), now, context)?;

    let policy = config.routing().cooldowns;
    let told = Told { id: &id, model: model.as_ref(), policy: &policy, now };
    let usage = match &verdict {
        Verdict::Worked => told.worked(&store)?,
        Verdict::Failed(failure) => told.failed(failure, &profile.provider, &store)?,
    };
    let usage = usage.ok_or_else(|| no_profile(&id, &document, &agent))?;
    let rests_until = unusable_until(&usage).filter(|end| now < *end);
    invocation.store_changed(&agent);
    invocation.store_changed(asked);

    let of_model = model.as_ref().filter(|_| told.is_about_the_model(&verdict));
    let failure = match &verdict {
        Verdict::Failed(failure) => Some(failure),
        Verdict::Worked => None,
    };
    let mut report = Report::from_data(json!({
        "agentId": agent.id,
        "profileId": id,
        "model": of_model.map(ToString::to_string),
        "outcome": if failure.is_some() { "failed" } else { "ok" },
        "reason": failure.map(|it| it.reason.as_str()),
        "raw": failure.map(|it| &it.raw).filter(|raw| !raw.is_empty()),
        "restsUntil": rests_until,
    }));
    let what = match of_model {
        Some(model) => format!("`{id}` with {model}"),
        None => format!("`{id}`"),
    };
    let why = match failure.filter(|_| args.from_response) {
        Some(failure) => format!(": {} ({})", failure.reason.as_str(), printable(&failure.raw)),
        None => String::new(),
    };
    match rests_until {
        Some(end) => {
            let left = duration::until(end, now);
            let until = context.time(end);
            report.note(format_args!("{what} is in cooldown until {until} ({left}){why}"));
        }
        None => report.note(format_args!("{what} is ready{why}")),
    }
    Ok(report)
}

/// What the caller says, or what the response on stdin says.
fn verdict(
    args: &ReportArgs,
    credential: Option<&Credential>,
    now: Timestamp,
    context: &Context,
) -> Result<Verdict, CliError> {
    if let Some(word) = args.failed {
        let until = args.reset_at.or(args.retry_after.map(|wait| now.plus(wait)));
        return Ok(Verdict::Failed(Failure { reason: reason(word), until, raw: String::new() }));
    }
    if args.ok {
        return Ok(Verdict::Worked);
    }
    let read = context.read_stdin(LARGEST_ANSWER);
    let mut text =
        read.map_err(|error| CliError::usage(format!("could not read the answer: {error}")))?;
    // Providers quote keys in their messages.
    let secret = credential.map(|it| auth_store::trim(it.bearer().expose()));
    if let Some(secret) = secret.filter(|secret| secret.len() > 3) {
        text = text.replace(secret, "…");
    }
    if text.trim().is_empty() {
        return Err(CliError::usage("there is no answer on stdin; nothing was reported").hint(
            format!(
                "if the provider gave none: {}",
                command("models auth report", &[&args.profile], " --failed timeout")
            ),
        ));
    }
    let response = Response::parse(&text).map_err(|error| {
        CliError::usage(format!("what is on stdin cannot be judged: {error}; nothing was reported"))
            .hint("curl -sS -i … | clawdbot models auth report PROFILE --from-response")
    })?;
    Ok(response.verdict(now))
}

/// The model that was asked for; it must be one of the profile's provider.
fn model(text: &str, profile: &Profile, config: &Config) -> Result<ModelRef, CliError> {
    let model = view::model_of(text, &profile.provider, config)?;
    if model.provider == profile.provider {
        return Ok(model);
    }
    let message = format!(
        "{model} is not a model of `{}`, the provider of `{}`",
        profile.provider, profile.id
    );
    Err(CliError::usage(message).hint("nothing was reported").profile(&profile.id))
}

/// Who is reported about.
struct Told<'a> {
    id: &'a ProfileId,
    model: Option<&'a ModelRef>,
    policy: &'a CooldownPolicy,
    now: Timestamp,
}

impl Told<'_> {
    /// Whether the rest belongs to the model alone. What is wrong with the credential or its
    /// account concerns all models.
    fn is_about_the_model(&self, verdict: &Verdict) -> bool {
        let is_account = |reason| matches!(reason, FailureReason::Auth | FailureReason::Billing);
        self.model.is_some()
            && matches!(verdict, Verdict::Failed(failure) if !is_account(failure.reason))
    }

    /// The profile, and the model it was used with, are ready. `None`: the profile is gone.
    fn worked(&self, store: &Store) -> Result<Option<Usage>, CliError> {
        let usage = store.update(|document| {
            let profile = document.profile(self.id)?;
            let usage = after_success(&profile.usage, self.now);
            document.set_usage(self.id, &usage);
            document.set_last_good(&profile.provider, self.id);
            Some(usage)
        })?;
        if let Some(model) = self.model {
            let model = model.to_string();
            if store.model_usage().get(self.id, &model) != Usage::default() {
                store.update_model_usage(|usage| usage.forget_model(self.id, &model))?;
            }
        }
        Ok(usage)
    }

    /// The profile, or the one model, rests. `None`: the profile is gone.
    fn failed(
        &self,
        failure: &Failure,
        provider: &ProviderId,
        store: &Store,
    ) -> Result<Option<Usage>, CliError> {
        let raw = Some(failure.raw.clone()).filter(|raw| !raw.is_empty());
        let after = |usage: &Usage| {
            let (policy, now) = (self.policy, self.now);
            let next = after_failure(usage, failure.reason, policy, provider, failure.until, now);
            Usage { last_failure_raw: raw.clone(), ..next }
        };
        let verdict = Verdict::Failed(failure.clone());
        let Some(model) = self.model.filter(|_| self.is_about_the_model(&verdict)) else {
            return Ok(store.update(|document| {
                let usage = after(&document.profile(self.id)?.usage);
                document.set_usage(self.id, &usage);
                Some(usage)
            })?);
        };
        let model = model.to_string();
        let usage = store.update_model_usage(|known| {
            known.forget_before(self.now.minus(self.policy.failure_window), self.now);
            let usage = after(&known.get(self.id, &model));
            known.set(self.id, &model, &usage);
            usage
        })?;
        Ok(Some(usage))
    }
}

fn reason(word: FailureWord) -> FailureReason {
    match word {
        FailureWord::RateLimit => FailureReason::RateLimit,
        FailureWord::Auth => FailureReason::Auth,
        FailureWord::Billing => FailureReason::Billing,
        FailureWord::Timeout => FailureReason::Timeout,
        FailureWord::Format => FailureReason::Format,
        FailureWord::Unknown => FailureReason::Unknown,
    }
}

/// Errors are short; what comes after the first mebibyte of a response tells nothing more.
const LARGEST_ANSWER: u64 = 1 << 20;
