//! `models auth explain`: why which profile comes first.

use auth_routing::{Pin, Plan, Why, session};
use auth_store::{ProfileId, ProviderId};
use serde_json::{Map, Value, json};

use crate::args::{ExplainArgs, Global};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::sessions::Sessions;
use crate::table;
use crate::text::{printable, utc};
use crate::view::View;

/// Shows the plan that `models auth token` follows.
pub fn run(args: &ExplainArgs, global: &Global, context: &mut Context) -> Result<Exit, CliError> {
    let view = View::read(global, context)?;
    let pin = pin(args, &view, context)?;
    let provider = match (&args.provider, &pin) {
        (Some(provider), _) => ProviderId::new(provider),
        (None, Some(Pin::Prefer(id) | Pin::Require(id))) => view.profile(id)?.provider.clone(),
        (None, None) => view.default_model().provider,
    };
    let plan = view.plan(&provider, pin.as_ref());
    for warning in table::warnings(&plan, &provider) {
        context.say(warning);
    }
    if global.json {
        context.print_json(&to_json(&plan, &provider, pin.as_ref(), &view))?;
    } else {
        print_text(&plan, &provider, pin.as_ref(), &view, context)?;
    }
    Ok(Exit::Done)
}

fn pin(args: &ExplainArgs, view: &View, context: &Context) -> Result<Option<Pin>, CliError> {
    if let Some(id) = &args.profile {
        return Ok(Some(Pin::Require(ProfileId::new(id.as_str()))));
    }
    let Some(key) = &args.session else { return Ok(None) };
    let sessions = Sessions::of(&view.agent, &view.config, context);
    Ok(sessions.entry(key)?.as_ref().and_then(session::pin))
}

fn to_json(plan: &Plan, provider: &ProviderId, pin: Option<&Pin>, view: &View) -> Value {
    let candidates = plan.candidates.iter().map(|candidate| {
        let mut object = Map::new();
        object.insert("id".to_owned(), json!(candidate.id));
        object.insert("why".to_owned(), json!(candidate.why.to_string()));
        if let Why::Resting { until, .. } = &candidate.why {
            object.insert("until".to_owned(), json!(until));
        }
        Value::Object(object)
    });
    let candidates: Vec<_> = candidates.collect();
    let excluded = plan.excluded.iter().map(
        |(id, reason)| json!({ "id": id, "reason": reason.to_string(), "code": reason.code() }),
    );
    let excluded: Vec<_> = excluded.collect();
    let warnings: Vec<_> = plan.warnings.iter().map(ToString::to_string).collect();
    json!({
        "agentId": view.agent.id,
        "provider": provider,
        "pin": pin.map(|(Pin::Prefer(id) | Pin::Require(id))| id),
        "source": plan.source.to_string(),
        "candidates": candidates,
        "excluded": excluded,
        "warnings": warnings,
    })
}

fn print_text(
    plan: &Plan,
    provider: &ProviderId,
    pin: Option<&Pin>,
    view: &View,
    context: &mut Context,
) -> Result<(), CliError> {
    context.print(format_args!("{provider}, agent {}: by {}", view.agent.id, plan.source))?;
    match pin {
        Some(Pin::Require(id)) => context.print(format_args!("Pinned: {id}, and no other"))?,
        Some(Pin::Prefer(id)) => context.print(format_args!("Pinned: {id} first"))?,
        None => {}
    }
    let ids = plan.candidates.iter().map(|it| &it.id).chain(plan.excluded.iter().map(|it| &it.0));
    let width = ids.map(|id| id.as_str().chars().count()).max().unwrap_or(0).min(40);
    let mut lines = Vec::new();
    let columns = context.terminal.width.unwrap_or(80);
    let mut line = |mark: String, id: &ProfileId, reason: String| {
        let start = format!("{mark:>3}  {:width$}  ", printable(id.as_str()));
        table::fill(&start, &[printable(&reason)], columns, &mut lines);
    };
    for (place, candidate) in plan.candidates.iter().enumerate() {
        let until = match &candidate.why {
            Why::Resting { until, .. } => format!(" until {}", utc(*until)),
            _ => String::new(),
        };
        line((place + 1).to_string(), &candidate.id, format!("{}{until}", candidate.why));
    }
    for (id, reason) in &plan.excluded {
        line("-".to_owned(), id, reason.to_string());
    }
    for line in lines {
        context.print(line)?;
    }
    if plan.candidates.is_empty() && plan.excluded.is_empty() {
        context.print("  no profiles")?;
    }
    Ok(())
}
