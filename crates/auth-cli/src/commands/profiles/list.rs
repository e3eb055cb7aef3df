//! `models auth list`: the profiles of an agent, and the state of each.

use std::collections::HashMap;

use auth_store::{Credential, ModelUsage, Profile, ProfileId, ProviderId, Usage, paths};
use serde_json::{Map, Value, json};

use crate::agent::invocation::Invocation;
use crate::commands::profiles::args::ListArgs;
use crate::host::error::CliError;
use crate::host::other_tools::secret_ref::secret_ref_id;
use crate::host::report::Report;
use crate::host::text::one_line;
use crate::profiles::remote;
use crate::profiles::standing::{Ability, Routed, Standing};
use crate::profiles::table;
use crate::profiles::view::{self, View};

/// Lists the profiles by provider, in routing order; in JSON in the order of the store.
pub fn run(args: &ListArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    if let Some(sink) = remote::configured(context)? {
        let wanted = args.provider.as_deref().or(args.named.as_deref());
        return remote::profiles(&sink, wanted);
    }
    let providers = view::providers(context);
    let standing = Standing::judge(View::read(invocation)?, &providers, context);
    let wanted = args.provider.as_deref().or(args.named.as_deref()).map(ProviderId::new);
    let is_wanted = |it: &ProviderId| wanted.as_ref().is_none_or(|wanted| it == wanted);
    for (provider, routed) in standing.plans().filter(|(provider, _)| is_wanted(provider)) {
        for warning in table::warnings(&routed.plan, provider) {
            context.say(warning);
        }
    }
    let has_profiles = standing.view.profiles.iter().any(|it| is_wanted(&it.provider));
    if let Some(wanted) = wanted.as_ref().filter(|_| !has_profiles)
        && let Err(nearest) = view::known_provider(wanted, &providers, &standing.view)
    {
        let meant =
            nearest.map(|it| format!("; did you mean `{}`?", one_line(&it))).unwrap_or_default();
        context.say(format_args!("warning: there is no provider `{wanted}`{meant}"));
    }
    let data = || list_json(&standing, wanted.as_ref(), &is_wanted);
    Ok(Report::shown(invocation.output, data, |report| {
        let view = &standing.view;
        let store = context.display(&paths::store(&view.agent.directory));
        report.line(format_args!("Agent {}: {store}", view.agent.id));
        if !has_profiles {
            let of = wanted.as_ref().map(|it| format!(" for {it}")).unwrap_or_default();
            report.line(format_args!("No profiles{of}."));
            let provider = wanted.clone().unwrap_or_else(|| ProviderId::new("openai-codex"));
            report.note(format_args!("hint: {}", view::way_in(&provider, &providers)));
        }
        let (style, width) = (invocation.style(), context.terminal.width.unwrap_or(80));
        for provider in view.providers().iter().filter(|it| is_wanted(it)) {
            report.line("");
            report.line(provider);
            for line in table::profile_lines(&standing, provider, style, width) {
                report.styled(line);
            }
        }
    }))
}

fn list_json(
    standing: &Standing,
    wanted: Option<&ProviderId>,
    is_wanted: &dyn Fn(&ProviderId) -> bool,
) -> Value {
    let view = &standing.view;
    let judged = judged(standing);
    let profiles = view.profiles.iter().filter(|it| is_wanted(&it.provider));
    let profiles = profiles.map(|profile| {
        let credential = view.document.credential(&profile.id);
        let judged = judged.get(&profile.id);
        let ability = standing.ability(&profile.id);
        let mut json = to_json(profile, credential.as_ref(), ability, judged, &standing.models);
        let holder = standing.holder(&profile.id);
        if *holder != view.agent {
            json["sharedFrom"] = holder.id.as_str().into();
        }
        json
    });
    json!({
        "agentId": view.agent.id,
        "agentDir": view.agent.directory.display().to_string(),
        "storePath": paths::store(&view.agent.directory).display().to_string(),
        "provider": wanted,
        "profiles": profiles.collect::<Vec<_>>(),
    })
}

/// What the plan of its provider says of each profile: whether it can be used, and why.
fn judged(standing: &Standing) -> HashMap<&ProfileId, (bool, String)> {
    let mut judged = HashMap::new();
    for (provider, Routed { plan, .. }) in standing.plans() {
        let is_its = |id| standing.profile(id).is_some_and(|it| it.provider == *provider);
        for candidate in plan.candidates.iter().filter(|it| is_its(&it.id)) {
            judged.insert(&candidate.id, (true, candidate.why.to_string()));
        }
        for (id, reason) in plan.excluded.iter().filter(|(id, _)| is_its(id)) {
            judged.entry(id).or_insert_with(|| (false, reason.to_string()));
        }
    }
    judged
}

fn to_json(
    profile: &Profile,
    credential: Option<&Credential>,
    ability: Option<Ability>,
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
    set("secretRefId", secret_ref_id(profile).map(|it| json!(it)));
    set("email", profile.email.as_ref().map(|it| json!(it)));
    set("accountId", profile.account_id.as_ref().map(|it| json!(it)));
    set("expires", profile.expires.map(|it| json!(it)));
    set("access", ability.map(|it| json!(it.access)));
    set("refresh", ability.map(|it| json!(it.refresh)));
    set("lastUsed", usage.last_used.map(|it| json!(it)));
    set("cooldownUntil", usage.cooldown_until.map(|it| json!(it)));
    set("disabledUntil", usage.disabled_until.map(|it| json!(it)));
    set("disabledReason", usage.disabled_reason.as_ref().map(|it| json!(it)));
    set("cooldownModel", usage.cooldown_model.as_ref().map(|it| json!(it)));
    set("blockedUntil", usage.blocked_until.map(|it| json!(it)));
    set("blockedReason", usage.blocked_reason.as_ref().map(|it| json!(it)));
    set("lastFailureRaw", usage.last_failure_raw.as_ref().map(|it| json!(it)));
    let models: Vec<_> = models.models(&profile.id).into_iter().map(of_model).collect();
    set("models", (!models.is_empty()).then(|| json!(models)));
    set("eligible", Some(json!(is_eligible)));
    set("reason", Some(json!(reason)));
    Value::Object(object)
}

/// The usage of one model of a profile.
fn of_model((model, usage): (String, Usage)) -> Value {
    json!({
        "model": model,
        "cooldownUntil": usage.cooldown_until,
        "errorCount": usage.error_count,
        "lastFailureRaw": usage.last_failure_raw,
    })
}
