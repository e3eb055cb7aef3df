//! `models auth report`: the result of a request, so that routing learns from it.

use auth_routing::cooldown::judgement::Cost;
use auth_routing::cooldown::response::{Failure, Response, Verdict};
use auth_routing::session::selector::ModelRef;
use auth_routing::{FailureReason, unusable_until};
use auth_store::{AuditKind, Credential, Profile, ProfileId, Timestamp};
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
use crate::profiles::audit;
use crate::profiles::cooldowns::usage::{Failed, Worked, is_about_the_account};
use crate::profiles::remote::{self, RemoteSink};
use crate::profiles::view::{self, no_profile};

/// Writes a success or a failure into the store, or, if it concerns one model only, beside it.
/// Credentials are not touched.
pub fn run(args: &ReportArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    if let Some(sink) = remote::configured(invocation.context)? {
        return to_sink(args, &sink, invocation.context);
    }
    let (config, asked, context) = (invocation.config()?, invocation.agent()?, invocation.context);
    let id = ProfileId::new(args.profile.as_str());
    // A report about a shared profile applies to all agents that use it.
    let agent = shared::holder(asked, &id, &config, context)?;
    let now = context.now();
    let store = agent.store_to_change(context);
    let document = store.read()?;
    let profile = document.profile(&id).ok_or_else(|| no_profile(&id, &document, &agent))?;
    let model = args.model.as_deref().map(|text| model(text, &profile, &config)).transpose()?;
    let Judged { verdict, cost, is_of_one_model } =
        verdict(args, document.credential(&id).as_ref(), now, context)?;

    let policy = config.routing().cooldowns;
    // The other models of the account are served, so the account is not in cooldown.
    let is_of_unknown_model = is_of_one_model && model.is_none();
    let of_model = model.as_ref().filter(|_| match &verdict {
        Verdict::Failed(failure) => !is_about_the_account(failure.reason),
        Verdict::Worked => false,
    });
    let is_counted = cost == Cost::Failure && !is_of_unknown_model;
    let unchanged = || match &model {
        Some(model) => Some(store.model_usage().get(&id, &model.to_string())),
        None => Some(profile.usage.clone()),
    };
    let usage = match (&verdict, cost) {
        (Verdict::Worked, _) => {
            Worked { id: id.clone(), model: model.clone(), at: now }.write(&store)?
        }
        (Verdict::Failed(_), Cost::Nothing) => unchanged(),
        (Verdict::Failed(_), _) if is_of_unknown_model => unchanged(),
        (Verdict::Failed(failure), cost) => {
            let (id, provider) = (&id, &profile.provider);
            let failed = Failed { id, provider, failure, model: of_model, at: now };
            match cost {
                Cost::Pause(until) => failed.pause(until, &policy, &store)?,
                _ => failed.write(&policy, &store)?,
            }
        }
    };
    let usage = usage.ok_or_else(|| no_profile(&id, &document, &agent))?;
    let rests_until = unusable_until(&usage).filter(|end| now < *end);
    invocation.store_changed(&agent);
    invocation.store_changed(asked);

    let failure = match &verdict {
        Verdict::Failed(failure) => Some(failure),
        Verdict::Worked => None,
    };
    if let Some(failure) = failure {
        let until = rests_until.map(|end| format!(", in cooldown until {}", context.time(end)));
        let detail = format!("{}{}", failure.reason.as_str(), until.unwrap_or_default());
        let what = AuditKind::Failover;
        audit::note(what, &profile.provider, &id, &agent, Some(detail), context);
    }
    let mut report = Report::from_data(json!({
        "agentId": agent.id,
        "profileId": id,
        "model": of_model.map(ToString::to_string),
        "outcome": if failure.is_some() { "failed" } else { "ok" },
        "reason": failure.map(|it| it.reason.as_str()),
        "raw": failure.map(|it| &it.raw).filter(|raw| !raw.is_empty()),
        "restsUntil": rests_until,
        "counted": failure.is_some() && is_counted,
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
    if failure.is_some() && is_of_unknown_model {
        report.note(
            "it is about one model: name it with --model, and that one is not used until then",
        );
    } else if failure.is_some() && cost == Cost::Nothing {
        report.note("that says nothing about the account, so nothing was counted");
    }
    Ok(report)
}

/// What became of a request.
struct Judged {
    verdict: Verdict,
    /// What that costs the profile.
    cost: Cost,
    /// Whether it is about one model of the account only.
    is_of_one_model: bool,
}

impl Judged {
    /// As the caller says.
    fn told(verdict: Verdict) -> Self {
        Self { verdict, cost: Cost::Failure, is_of_one_model: false }
    }
}

/// The same at the sink that this machine asks.
fn to_sink(args: &ReportArgs, sink: &RemoteSink, context: &Context) -> Result<Report, CliError> {
    let mut told = json!({ "profileId": args.profile, "ok": args.ok });
    if let Some(model) = &args.model {
        let bare = model.split_once('/').map_or(model.as_str(), |(_, bare)| bare);
        told["model"] = bare.into();
    }
    if let Some(word) = args.failed {
        told["failed"] = reason(word).as_str().into();
        told["retryAfter"] = json!(args.retry_after.map(|wait| wait.as_secs()));
        told["resetAt"] = json!(args.reset_at);
    } else if !args.ok {
        let read = context.read_stdin(LARGEST_ANSWER);
        let text = read.map_err(|error| CliError::usage(format!("no response: {error}")))?;
        told["response"] = text.into();
    }
    let answer = sink.report(&told, context)?;
    let mut report = Report::from_data(answer);
    report.note(format_args!("`{}`: reported to the sink at {}", args.profile, sink.address));
    Ok(report)
}

/// The verdict from the arguments, or from the response on stdin.
fn verdict(
    args: &ReportArgs,
    credential: Option<&Credential>,
    now: Timestamp,
    context: &Context,
) -> Result<Judged, CliError> {
    if let Some(word) = args.failed {
        let until = args.reset_at.or(args.retry_after.map(|wait| now.plus(wait)));
        let failure = Failure { reason: reason(word), until, raw: String::new() };
        return Ok(Judged::told(Verdict::Failed(failure)));
    }
    if args.ok {
        return Ok(Judged::told(Verdict::Worked));
    }
    let read = context.read_stdin(LARGEST_ANSWER);
    let mut text =
        read.map_err(|error| CliError::usage(format!("could not read the answer: {error}")))?;
    // Some providers quote keys in their messages.
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
    let judgement = response.judge(now);
    let cost = judgement.cost(now);
    Ok(Judged {
        cost,
        is_of_one_model: judgement.is_of_one_model,
        verdict: judgement.failure.map_or(Verdict::Worked, Verdict::Failed),
    })
}

/// The requested model; it must belong to the profile's provider.
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

/// Errors are short; nothing after the first mebibyte of a response adds information.
const LARGEST_ANSWER: u64 = 1 << 20;
