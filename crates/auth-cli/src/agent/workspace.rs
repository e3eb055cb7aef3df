//! Where an agent works: the user's own files, which are not ours to move.

use std::path::PathBuf;

use crate::config::Config;
use crate::host::context::Context;

/// Where the agent `id` of the config works.
pub fn of(id: &str, config: &Config, context: &Context) -> PathBuf {
    let own = config.agent(id).and_then(|entry| entry["workspace"].as_str()).map(auth_store::trim);
    let own = own.filter(|text| !text.is_empty());
    usual(id, own, id == config.default_agent(), config, context)
}

/// Where the agent works: its own folder, the default agent's common one, or one by its name.
pub fn usual(
    id: &str,
    own: Option<&str>,
    is_default: bool,
    config: &Config,
    context: &Context,
) -> PathBuf {
    let common = config.value["agents"]["defaults"]["workspace"].as_str();
    match (own, common) {
        (Some(own), _) => context.user_path(own),
        (None, Some(common)) if is_default => context.user_path(common),
        (None, _) if is_default => match profile(context) {
            Some(profile) => context.home.join(format!("clawd-{profile}")),
            None => context.home.join("clawd"),
        },
        (None, _) => context.home.join(format!("clawd-{id}")),
    }
}

/// The name of the original's `--profile`, under which it keeps another default workspace.
fn profile(context: &Context) -> Option<&str> {
    let names = ["MOLTBOT_PROFILE", "CLAWDBOT_PROFILE"];
    let profile = names.iter().find_map(|name| context.env(name).map(auth_store::trim))?;
    (!profile.is_empty() && !profile.eq_ignore_ascii_case("default")).then_some(profile)
}
