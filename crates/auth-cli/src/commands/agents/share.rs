//! `agents share`: lets an agent use the profiles of another agent, or only its own again.

use auth_store::{ProfileId, paths};
use serde_json::json;

use crate::agent::invocation::Invocation;
use crate::agent::shared::{self, Seen};
use crate::agent::{self, Agent};
use crate::commands::agents::args::AgentsShareArgs;
use crate::config::Config;
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::report::Report;
use crate::host::shell_quote::{command, option};
use crate::profiles::audit;

/// Starts or ends sharing, and shows the resulting profiles.
pub fn run(args: &AgentsShareArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let (config, context) = (invocation.config()?, invocation.context);
    let agent = named(&args.id, &config, context)?;
    if args.none {
        shared::set(&agent, None)?;
        audit::grant(&agent, "its own profiles only".to_owned(), context);
    } else if let Some(from) = &args.from {
        let owner = named(from, &config, context)?;
        check(&agent, &owner, &config, context)?;
        shared::set(&agent, Some(&owner))?;
        audit::grant(&agent, format!("the profiles of {}", owner.id), context);
    }

    let (owner, ids) = match Seen::by(&agent, &config, context)?.shared {
        Some((owner, ids)) => (Some(owner), ids),
        None => (None, Vec::new()),
    };
    let mut report = Report::from_data(json!({
        "agentId": agent.id,
        "from": owner.as_ref().map(|owner| &owner.id),
        "profiles": ids,
        "path": paths::sharing_note(&agent.directory).display().to_string(),
    }));
    match owner {
        None => report.line(format_args!("`{}` sees its own profiles only.", agent.id)),
        Some(owner) => {
            let list = ids.iter().map(ProfileId::as_str).collect::<Vec<_>>().join(", ");
            let list = if list.is_empty() { "none yet".to_owned() } else { list };
            report.line(format_args!(
                "`{}` reads the profiles of `{}`: {list}. They are refreshed there, and nothing is copied.",
                agent.id, owner.id
            ));
        }
    }
    Ok(report)
}

/// The agent that a user names.
pub(crate) fn named(name: &str, config: &Config, context: &Context) -> Result<Agent, CliError> {
    Agent::named(Some(name), config, context)
}

/// Sharing goes only one step, so that the user can always see where a profile comes from.
fn check(agent: &Agent, owner: &Agent, config: &Config, context: &Context) -> Result<(), CliError> {
    if agent.id == owner.id {
        return Err(CliError::usage(format!("`{}` cannot share with itself", agent.id)));
    }
    if agent.is_one_with(owner) {
        let message = format!("`{}` and `{}` have one store already", agent.id, owner.id);
        return Err(
            CliError::usage(message).hint("there is nothing to share; see: clawdbot agents list")
        );
    }
    if let Some(further) = shared::owner_of(owner, config, context)? {
        let message = format!("`{}` itself reads the profiles of `{}`", owner.id, further.id);
        let hint = command("agents share", &[&agent.id], &option("--from", &further.id));
        return Err(CliError::usage(message).hint(hint));
    }
    let readers = readers(agent, config, context)?;
    if !readers.is_empty() {
        let message = format!("`{}` is read from by {}", agent.id, readers.join(", "));
        let hint = format!(
            "let them read from `{}` first: {}",
            owner.id,
            command("agents share", &[&readers[0]], &option("--from", &owner.id))
        );
        return Err(CliError::usage(message).hint(hint));
    }
    Ok(())
}

/// The agents that read the profiles of `owner`, by id.
pub(crate) fn readers(
    owner: &Agent,
    config: &Config,
    context: &Context,
) -> Result<Vec<String>, CliError> {
    let all = agent::all(config, context)?.into_iter();
    let readers = all.filter(|id| {
        let agent = Agent::of(id, config, context);
        let from = agent.and_then(|agent| shared::owner_of(&agent, config, context));
        from.is_ok_and(|from| from.is_some_and(|from| from.is_one_with(owner)))
    });
    Ok(readers.collect())
}
