//! The first command of an agent imports the legacy credential files.

use std::path::Path;

use auth_store::{Imported, ProfileId, import_legacy, paths};

use crate::agent::invocation::Invocation;
use crate::host::error::CliError;
use crate::host::shell_quote::word;

/// Imports the legacy credential files of the agent, if it has no store yet, and reports it. The
/// state directory's own file goes to the default agent only: it is one login, and agents share a
/// login only if the user asks for it.
pub fn import_legacy_files(invocation: &Invocation<'_>) -> Result<(), CliError> {
    // The command itself reports an invalid config or agent.
    let Ok(config) = invocation.config() else { return Ok(()) };
    let Ok(agent) = invocation.agent() else { return Ok(()) };
    let context = invocation.context;
    let (auth, oauth) = (paths::runtime_cache(&agent.directory), context.paths().oauth_file());
    let oauth = (agent.id == config.default_agent()).then_some(oauth.as_path());
    let state = context.paths().state_dir.clone();
    let Imported { from_auth_json, from_oauth_json, problem, outside } =
        import_legacy(&agent.store_to_change(context), &auth, oauth, &state)?;
    let list = |ids: &[ProfileId]| {
        let ids: Vec<_> = ids.iter().map(|id| format!("`{id}`")).collect();
        ids.join(", ")
    };
    if !from_auth_json.is_empty() {
        let (ids, path) = (list(&from_auth_json), context.display(&auth));
        context.say(format_args!("note: imported {ids} from `{path}`, which is removed"));
    }
    if let (false, Some(path)) = (from_oauth_json.is_empty(), oauth) {
        let (ids, path) = (list(&from_oauth_json), context.display(path));
        context.say(format_args!("note: imported {ids} from `{path}`, which is left in place"));
    }
    if let Some(problem) = problem {
        let error = CliError::from(problem);
        context.say(format_args!("warning: nothing is imported: {error}"));
    }
    if let Some(outside) = outside {
        let (shown, way) = (context.display(&outside), way_out(&outside, &auth));
        context.say(format_args!(
            "note: `{shown}` is outside the state directory and may be another program's, so nothing was imported from it; {way}"
        ));
    }
    Ok(())
}

/// What to do with a file outside the state directory: import its content, or, if an earlier
/// version of this program renamed it, rename it back.
fn way_out(outside: &Path, auth: &Path) -> String {
    let file = word(outside.display());
    if outside == auth {
        format!("to take what is in it: clawdbot models auth import --from {file}")
    } else {
        format!("to give it back to its program: mv -n {file} {}", word(auth.display()))
    }
}
