//! Finds existing credentials before a login: keys in the environment, logins of other tools,
//! stores of Clawdbot, profiles of our own. Nothing here changes anything.

use std::path::PathBuf;

use auth_providers::Providers;
use auth_store::{ProviderId, paths};

use crate::host::context::Context;
use crate::host::other_tools::{self, Tool};
use crate::host::paths::{MAIN_AGENT, usual_state_dirs};
use crate::profiles::view::View;

/// Prints what was found, or that nothing was.
pub(crate) fn tell(view: &View, providers: &Providers, context: &Context) {
    let mut found = Vec::new();
    if !view.profiles.is_empty() {
        let ids: Vec<_> = view.profiles.iter().map(|it| it.id.as_str()).collect();
        let store = paths::store(&view.agent.directory);
        found.push(format!("{}: {}", context.display(&store), listed(&ids)));
    }
    for tool in Tool::ALL {
        for foreign in other_tools::of_tool(tool, context) {
            let path = context.display(&foreign.path);
            found.push(format!("{path}: a login of {} ({})", tool.name(), foreign.provider));
        }
    }
    for store in stores(context) {
        found.push(format!("{}: profiles of another state directory", context.display(&store)));
    }
    for (id, name) in keys(providers, context) {
        found.push(format!("${name}: a key of {id}; used as it is, if no profile comes first"));
    }
    if found.is_empty() {
        context.say("No logins found yet.");
    } else {
        context.say("Found:");
        for line in found {
            context.say(format_args!("  {line}"));
        }
    }
    context.say("");
}

fn listed(ids: &[&str]) -> String {
    match ids {
        [first, second, third, _, ..] => {
            format!("{first}, {second}, {third} and {} more", ids.len() - 3)
        }
        few => few.join(", "),
    }
}

/// The providers whose key is in the environment, with the variable's name.
pub(crate) fn keys(providers: &Providers, context: &Context) -> Vec<(ProviderId, String)> {
    let env = |name: &str| context.env(name).map(str::to_owned);
    let keys = providers.all().iter().filter_map(|provider| {
        let key = providers.env_key(&provider.id, &env)?;
        Some((provider.id.clone(), key.name))
    });
    keys.collect()
}

/// The main agents' stores of state directories other than the current one.
pub(crate) fn stores(context: &Context) -> Vec<PathBuf> {
    let ours = &context.paths().state_dir;
    let others = usual_state_dirs(&context.home).into_iter().filter(|home| home != ours);
    let stores = others.map(|home| paths::store(&paths::agent_directory(&home, MAIN_AGENT)));
    let has_profiles = |path: &PathBuf| {
        auth_store::read_regular(path)
            .is_ok_and(|bytes| !other_tools::of_file(path, &bytes).is_empty())
    };
    stores.filter(has_profiles).collect()
}

/// The provider of the file that `--from` names; empty if it cannot be read.
pub(crate) fn provider_of(from: &str, context: &Context) -> ProviderId {
    let tool = Tool::ALL.into_iter().find(|tool| tool.word() == from);
    let of_path = || {
        let path = context.user_path(from);
        let bytes = auth_store::read_regular(&path).unwrap_or_default();
        other_tools::of_file(&path, &bytes)
    };
    let found = tool.map_or_else(of_path, |tool| other_tools::of_tool(tool, context));
    found.into_iter().next().map_or_else(|| ProviderId::new(""), |it| it.provider)
}
