//! `models auth cooldown list|clear`: profiles in cooldown after a failure, and models in cooldown
//! with some of them.

use auth_routing::{cleared, unusable_until};
use auth_store::{ProfileId, ProviderId, Usage};
use serde_json::json;

use crate::agent::Agent;
use crate::agent::invocation::Invocation;
use crate::agent::shared::Seen;
use crate::commands::profiles::args::CooldownClearArgs;
use crate::commands::profiles::args::ListArgs;
use crate::config::Config;
use crate::host::context::Context;
use crate::host::duration;
use crate::host::error::CliError;
use crate::host::report::Report;
use crate::host::text::printable;
use crate::profiles::cooldowns::in_cooldown_with;
use crate::profiles::view::{self, DEFAULT_PROVIDER, View, no_profile};

/// Shows each cooldown, its reason and its end.
pub fn list(args: &ListArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let view = View::read(invocation)?;
    let mut in_cooldown = in_cooldown_with(&view, &view.model_usage());
    if let Some(provider) = args.provider.as_ref().or(args.named.as_ref()) {
        in_cooldown.retain(|it| ProviderId::new(&it.provider) == ProviderId::new(provider));
    }
    let mut report =
        Report::from_data(json!({ "agentId": view.agent.id, "profiles": in_cooldown }));
    if in_cooldown.is_empty() {
        report.line("No profile is in cooldown.");
    }
    for it in &in_cooldown {
        let model = it.model.as_deref().map(|it| format!(" with {it}")).unwrap_or_default();
        let reason = it.reason.as_deref().map(|it| format!(": {it}")).unwrap_or_default();
        let left = duration::until(it.until, view.now);
        report.line(format_args!(
            "{}{model}  {}{reason}, back in {left} ({})",
            it.profile_id,
            it.kind,
            invocation.context.time(it.until)
        ));
        if let Some(raw) = &it.raw {
            report.line(format_args!("    {}", printable(raw)));
        }
    }
    Ok(report)
}

/// Ends the cooldown of the named profiles, including those after a billing failure and those of
/// models; or, if a model is named, the cooldown of that model only.
pub fn clear(args: &CooldownClearArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let (config, agent, context) = (invocation.config()?, invocation.agent()?, invocation.context);
    let seen = Seen::by(agent, &config, context)?;
    let named: Vec<_> = args.profiles.iter().map(|id| ProfileId::new(id.as_str())).collect();
    if let Some(unknown) = named.iter().find(|id| !seen.document.contains(id)) {
        return Err(no_profile(unknown, &seen.document, agent));
    }
    let all: Vec<ProfileId> =
        if args.all { seen.document.profiles().map(|profile| profile.id).collect() } else { named };
    let mut ended = Vec::new();
    let owner = seen.shared.as_ref().map(|(owner, _)| owner);
    for holder in [Some(agent), owner].into_iter().flatten() {
        let own = all.iter().filter(|id| seen.holder(id, agent) == holder);
        let own: Vec<ProfileId> = own.cloned().collect();
        if !own.is_empty() {
            ended.extend(wake(&own, args.model.as_deref(), holder, &config, context)?);
            invocation.store_changed(holder);
        }
    }
    invocation.store_changed(agent);

    let profiles: Vec<_> = ended.iter().filter(|it| it.1.is_none()).map(|it| &it.0).collect();
    let models = ended.iter().filter_map(|(id, model)| Some((id, model.as_ref()?)));
    let models: Vec<_> =
        models.map(|(id, model)| json!({ "profileId": id, "model": model })).collect();
    let mut report = Report::from_data(json!({
        "agentId": agent.id, "cleared": profiles, "clearedModels": models,
    }));
    for (id, model) in &ended {
        let model = model.as_deref().map(|it| format!(" with {it}")).unwrap_or_default();
        report.line(printable(&format!("`{id}`{model} is ready")));
    }
    if ended.is_empty() {
        report.line("None of them was in cooldown.");
    }
    Ok(report)
}

/// Ends the cooldowns of `ids` in the files of `holder`: of the profiles and their models, or of
/// the one model. Returns those that were in cooldown.
fn wake(
    ids: &[ProfileId],
    model: Option<&str>,
    holder: &Agent,
    config: &Config,
    context: &Context,
) -> Result<Vec<(ProfileId, Option<String>)>, CliError> {
    let store = holder.store_to_change(context);
    let document = store.read()?;
    let now = context.now();
    let cooldowns = |usage: &Usage| unusable_until(usage).is_some_and(|end| now < end);
    // The models, by the name they have with each profile.
    let mut models: Vec<(ProfileId, String)> = Vec::new();
    for id in ids {
        match model {
            None => models.extend(
                store.model_usage().models(id).into_iter().map(|(model, _)| (id.clone(), model)),
            ),
            Some(text) => {
                let provider = document.profile(id).map(|profile| profile.provider);
                let provider = provider.unwrap_or_else(|| ProviderId::new(DEFAULT_PROVIDER));
                let model = view::model_of(text, &provider, config)?;
                models.push((id.clone(), model.to_string()));
            }
        }
    }

    let mut ended: Vec<(ProfileId, Option<String>)> = Vec::new();
    if model.is_none() && ids.iter().any(|id| cooldowns(&document.usage(id))) {
        let awake = store.update(|document| {
            let in_cooldown = ids.iter().filter(|id| cooldowns(&document.usage(id)));
            let in_cooldown: Vec<_> = in_cooldown.cloned().collect();
            for id in &in_cooldown {
                document.set_usage(id, &cleared(&document.usage(id)));
            }
            in_cooldown
        })?;
        ended.extend(awake.into_iter().map(|id| (id, None)));
    }
    if !models.is_empty() {
        let awake = store.update_model_usage(|usage| {
            let in_cooldown = models.iter().filter(|(id, model)| cooldowns(&usage.get(id, model)));
            let in_cooldown: Vec<_> = in_cooldown.cloned().collect();
            for (id, model) in &models {
                usage.forget_model(id, model);
            }
            in_cooldown
        })?;
        ended.extend(awake.into_iter().map(|(id, model)| (id, Some(model))));
    }
    Ok(ended)
}
