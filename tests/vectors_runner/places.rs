//! `paths`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use auth_cli::host::paths::{self, Inputs, Paths};
use serde_json::{Value, json};

use crate::reference::On;
use crate::routing::text;

pub(crate) fn paths(input: &Value) -> Value {
    reply(input, true)
}

/// Clawdbot's result, with or without our difference: pi's own variable counts wherever it leads.
pub(crate) fn reference(input: &Value, on: On<'_>) -> Value {
    reply(input, on("other program"))
}

fn reply(input: &Value, needs_store: bool) -> Value {
    let root = Path::new("/root-of-the-case");
    let absolute = |text: &str| text.replace("$ROOT", &root.to_string_lossy());
    let relative = |path: &Path| path.to_string_lossy().replace(&*root.to_string_lossy(), "$ROOT");
    let existing: Vec<PathBuf> = ["dirs", "files"]
        .into_iter()
        .flat_map(|kind| input[kind].as_array().into_iter().flatten())
        .map(|path| PathBuf::from(absolute(text(path))))
        .collect();
    let (home, cwd) = (root.join("home"), root.join("cwd"));
    let of_pi = absolute(text(&input["env"]["PI_CODING_AGENT_DIR"]));
    let of_pi = paths::resolve_user_path(OsStr::new(&of_pi), &home, &cwd);
    let store_of_pi = auth_store::paths::store(&of_pi);
    let inputs = Inputs {
        env: &|name| input["env"][name].as_str().map(|value| OsString::from(absolute(value))),
        home: &home,
        cwd: &cwd,
        exists: &|path| {
            let is_assumed = !needs_store && path == store_of_pi;
            is_assumed || existing.iter().any(|known| known.starts_with(path))
        },
    };
    let found = Paths::resolve(&inputs);
    let given = input["agentDir"].as_str().map(absolute);
    let given = given.map(|dir| paths::resolve_user_path(OsStr::new(&dir), &home, &cwd));
    let agent_dir = given.unwrap_or_else(|| found.agent_dir.clone());
    let user_path = absolute(text(&input["userPath"]));
    let user_path = paths::resolve_user_path(OsStr::new(&user_path), &home, &cwd);
    json!({
        "stateDir": relative(&found.state_dir),
        "oauthDir": relative(&found.oauth_dir),
        "oauthPath": relative(&found.oauth_file()),
        "agentDir": relative(&found.agent_dir),
        "authStorePath": relative(&auth_store::paths::store(&agent_dir)),
        "legacyAuthStorePath": relative(&auth_store::paths::runtime_cache(&agent_dir)),
        "configPath": relative(&found.config),
        "canonicalConfigPath": relative(&found.canonical_config),
        "configPathCandidate": relative(&paths::config_candidate(&inputs)),
        "userPath": relative(&user_path),
    })
}
