//! `models auth list`: the profiles of an agent, and what can be done with each.

use std::collections::BTreeMap;

use auth_routing::Plan;
use auth_store::{Credential, ModelUsage, Profile, ProfileId, ProviderId, Usage, paths};
use serde_json::{Map, Value, json};

use crate::agent::invocation::Invocation;
use crate::commands::profiles::args::ListArgs;
use crate::host::error::CliError;
use crate::host::report::Report;
use crate::profiles::table;
use crate::profiles::view::{self, Ability, View};

/// Lists them by provider, in the order in which routing tries them; in JSON in the order of the
/// store.
pub fn run(args: &ListArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    let view = View::read(invocation)?;
    let abilities = view::abilities(&view, &view::providers(context), context);
    let wanted = args.provider.as_deref().map(ProviderId::new);
    let mut providers = view.providers();
    providers.retain(|provider| wanted.as_ref().is_none_or(|wanted| provider == wanted));
    let plans: Vec<_> =
        providers.iter().map(|provider| (provider, view.plan(provider, None))).collect();
    let mut routed = view.routed_providers();
    routed.retain(|provider| wanted.as_ref().is_none_or(|wanted| provider == wanted));
    for provider in &routed {
        for warning in table::warnings(&view.plan(provider, None), provider) {
            context.say(warning);
        }
    }
    let store = paths::store(&view.agent.directory);
    let models = view.model_usage();
    let judged = judged(&plans);
    let profiles = view.profiles.iter().filter(|it| providers.contains(&it.provider));
    let profiles = profiles.map(|profile| {
        let credential = view.document.credential(&profile.id);
        let ability = abilities.get(&profile.id);
        let judged = judged.get(&(&profile.provider, &profile.id));
        let mut json = to_json(profile, credential.as_ref(), ability, judged, &models);
        let holder = view.holder(&profile.id);
        if *holder != view.agent {
            json["sharedFrom"] = holder.id.as_str().into();
        }
        json
    });
    let profiles: Vec<_> = profiles.collect();
    let mut report = Report::of(json!({
        "agentId": view.agent.id,
        "agentDir": view.agent.directory.display().to_string(),
        "storePath": store.display().to_string(),
        "provider": wanted,
        "profiles": profiles,
    }));
    report.line(format_args!("Agent {}: {}", view.agent.id, context.display(&store)));
    if providers.is_empty() {
        report.line("No profiles.");
        report.note("hint: clawdbot models auth login --provider openai-codex");
    }
    let style = invocation.style();
    let width = context.terminal.width.unwrap_or(80);
    for provider in &providers {
        report.line("");
        report.line(provider);
        for line in table::profile_lines(&view, provider, &abilities, style, width) {
            report.styled(line);
        }
    }
    Ok(report)
}

/// What the plans say of each profile: whether it can be used, and why.
type Judged<'a> = BTreeMap<(&'a ProviderId, &'a ProfileId), (bool, String)>;

fn judged<'a>(plans: &'a [(&'a ProviderId, Plan)]) -> Judged<'a> {
    let mut judged = Judged::new();
    for (provider, plan) in plans {
        for candidate in &plan.candidates {
            judged.insert((provider, &candidate.id), (true, candidate.why.to_string()));
        }
        for (id, reason) in &plan.excluded {
            judged.entry((provider, id)).or_insert_with(|| (false, reason.to_string()));
        }
    }
    judged
}

fn to_json(
    profile: &Profile,
    credential: Option<&Credential>,
    ability: Option<&Ability>,
    judged: Option<&(bool, String)>,
    models: &ModelUsage,
) -> Value {
    let (is_eligible, reason) = judged.map_or((false, ""), |(is, reason)| (*is, reason.as_str()));
    let usage = &profile.usage;
    let mut object = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(name.to_owned(), value);
        }
    };
    set("id", Some(json!(profile.id)));
    set("provider", Some(json!(profile.provider)));
    set("type", Some(json!(profile.kind.as_str())));
    if let Some(Credential::Reference(reference)) = credential {
        set("reference", Some(reference.to_string().into()));
    }
    set("email", profile.email.as_ref().map(|it| json!(it)));
    set("accountId", profile.account_id.as_ref().map(|it| json!(it)));
    set("expires", profile.expires.map(|it| json!(it)));
    set("access", ability.map(|it| json!(it.access)));
    set("refresh", ability.map(|it| json!(it.refresh)));
    set("lastUsed", usage.last_used.map(|it| json!(it)));
    set("cooldownUntil", usage.cooldown_until.map(|it| json!(it)));
    set("disabledUntil", usage.disabled_until.map(|it| json!(it)));
    set("disabledReason", usage.disabled_reason.as_ref().map(|it| json!(it)));
    set("lastFailureRaw", usage.last_failure_raw.as_ref().map(|it| json!(it)));
    let models: Vec<_> = models.models(&profile.id).into_iter().map(of_model).collect();
    set("models", (!models.is_empty()).then(|| json!(models)));
    set("eligible", Some(json!(is_eligible)));
    set("reason", Some(json!(reason)));
    Value::Object(object)
}

/// What is known of one model of a profile.
fn of_model((model, usage): (String, Usage)) -> Value {
    json!({
        "model": model,
        "cooldownUntil": usage.cooldown_until,
        "errorCount": usage.error_count,
        "lastFailureRaw": usage.last_failure_raw,
    })
}
