//! Whose credentials: from `--agent`, the environment and the config to a directory.

use std::path::PathBuf;
use std::time::Duration;

use auth_store::{Imported, ProfileId, StateDirectory, Store, import_legacy};

use crate::args::Global;
use crate::config::{self, Config};
use crate::context::Context;
use crate::error::CliError;
use crate::paths;
use crate::shell_words::option;

/// An agent that exists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Agent {
    /// Its canonical id.
    pub id: String,
    /// Where its credentials are.
    pub directory: PathBuf,
}

impl Agent {
    /// The agent that a command means: `--agent`, else the directory that a variable names, else
    /// the config's default agent.
    ///
    /// # Errors
    /// `--agent` names one that neither the config nor the disk knows.
    pub fn of(global: &Global, config: &Config, context: &Context) -> Result<Self, CliError> {
        let paths = context.paths();
        let Some(name) = &global.agent else {
            let id = config.default_agent();
            let directory = if paths.agent_dir_is_chosen {
                paths.agent_dir.clone()
            } else {
                directory(&id, config, context)
            };
            return Ok(Self { id, directory });
        };
        let id = config::agent_id(name);
        let known = all(config, context)?;
        if id != paths::MAIN_AGENT && !known.contains(&id) {
            return Err(CliError::usage(format!("there is no agent `{id}`"))
                .hint(format!("the agents are: {}", known.join(", "))));
        }
        Ok(Self { directory: directory(&id, config, context), id })
    }

    /// Its credential store.
    pub fn store(&self) -> Store {
        Store::at(paths::store_file(&self.directory))
    }

    /// The same to be read or changed: it waits for locks as long as the environment says
    /// (`CLAWDBOT_LOCK_TIMEOUT`, in seconds), else for a minute, and the person is told of what is
    /// recovered.
    pub fn store_to_change(&self, context: &Context) -> Store {
        self.store().with_patience(lock_patience(context)).telling(&context.recoveries)
    }

    /// What names it in a printed command: nothing, if it is the one that is meant anyway.
    pub(crate) fn option(&self) -> String {
        match self.id.as_str() {
            paths::MAIN_AGENT => String::new(),
            id => option("--agent", id),
        }
    }
}

/// Imports what older versions left of the agent's credentials, if it has no store yet, and says
/// so. The state directory's own file goes to the default agent only: it is one login, and agents
/// do not share one unless they are told to.
pub fn import_legacy_files(global: &Global, context: &mut Context) -> Result<(), CliError> {
    // A config or an agent that is wrong is the command's to complain about.
    let Ok(config) = Config::load(context) else { return Ok(()) };
    let Ok(agent) = Agent::of(global, &config, context) else { return Ok(()) };
    let (auth, oauth) = (paths::legacy_store_file(&agent.directory), context.paths().oauth_file());
    let oauth = (agent.id == config.default_agent()).then_some(oauth.as_path());
    let Imported { from_auth_json, from_oauth_json, problem } =
        import_legacy(&agent.store_to_change(context), &auth, oauth)?;
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
    Ok(())
}

/// How long to wait for locks.
pub fn lock_patience(context: &Context) -> Duration {
    let seconds = context.env("CLAWDBOT_LOCK_TIMEOUT").and_then(|text| text.trim().parse().ok());
    seconds.map_or(Duration::from_mins(1), Duration::from_secs)
}

/// `global` with the agent whose session `key` is, where the key says so (`agent:<id>:…`) and it
/// is not the default one.
///
/// # Errors
/// `--agent` names another one.
pub fn of_session(key: &str, global: &Global, config: &Config) -> Result<Global, CliError> {
    let Some(id) = session_agent(key) else { return Ok(global.clone()) };
    match &global.agent {
        Some(name) if config::agent_id(name) != id => Err(CliError::usage(format!(
            "the session `{key}` belongs to the agent `{id}`, not to `{name}`"
        ))
        .hint("leave out --agent")),
        None if id != config.default_agent() => Ok(Global { agent: Some(id), ..global.clone() }),
        _ => Ok(global.clone()),
    }
}

/// The agent in a session key: `work` of `agent:work:main`.
fn session_agent(key: &str) -> Option<String> {
    let mut parts = auth_store::trim(key).splitn(3, ':');
    let (word, id, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let is_one = word.eq_ignore_ascii_case("agent") && !id.trim().is_empty() && !rest.is_empty();
    is_one.then(|| config::agent_id(id))
}

/// The other agents that have a store, or may have one: where nobody can look, whoever needs to
/// know what is in it says so.
pub fn others(agent: &Agent, config: &Config, context: &Context) -> Result<Vec<Agent>, CliError> {
    // Two agents may have one directory, or links to one file: that is one store.
    let mut seen = vec![agent.store().canonical_path()];
    let mut others = Vec::new();
    for id in all(config, context)? {
        let other = Agent { directory: directory(&id, config, context), id };
        let store = other.store();
        let path = store.canonical_path();
        if store.is_there().unwrap_or(true) && !seen.contains(&path) {
            others.push(other);
        }
        seen.push(path);
    }
    Ok(others)
}

/// The directory of the agent `id`: what the config says, else the usual place.
pub fn directory(id: &str, config: &Config, context: &Context) -> PathBuf {
    let configured = config.agent(id).and_then(|entry| entry["agentDir"].as_str());
    let configured = configured.map(|text| context.user_path(text));
    configured
        .filter(|path| !path.as_os_str().is_empty())
        .unwrap_or_else(|| paths::agent_dir(&context.paths().state_dir, id))
}

/// The ids of all agents: those of the config in its order, or `main`; then those that only the
/// disk knows.
pub fn all(config: &Config, context: &Context) -> Result<Vec<String>, CliError> {
    let configured = config.agents().filter_map(|entry| entry["id"].as_str());
    let mut ids: Vec<_> = configured.map(config::agent_id).collect();
    if ids.is_empty() {
        ids.push(paths::MAIN_AGENT.to_owned());
    }
    for id in StateDirectory::at(&context.paths().state_dir).agents()? {
        if config::agent_id(&id) == id && !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use auth_store::{Timestamp, write_atomic};

    use super::*;
    use crate::context::Captured;

    /// Runs a command in a home directory; its exit code and what it said.
    fn run(home: &Path, arguments: &[&str]) -> (u8, String) {
        let (said, mut context) = (Captured::default(), Context::sealed(home, Timestamp(0)));
        context.stdout = Box::new(said.clone());
        context.stderr = Box::new(said.clone());
        let exit = crate::run([&["clawdbot", "models"], arguments].concat(), &mut context);
        (exit, said.text())
    }

    fn home_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = home.path().join(".clawdbot").join(name);
            auth_store::create_private_directory(path.parent().unwrap()).unwrap();
            write_atomic(&path, text.as_bytes()).unwrap();
        }
        home
    }

    const AUTH: &str = "agents/main/agent/auth.json";
    const OAUTH: &str = "credentials/oauth.json";
    const LOGIN: &str = r#"{"acme":{"access":"s3cret","refresh":"r","expires":9999999999999}}"#;

    #[test]
    fn the_first_command_imports_what_older_versions_left_and_says_so() {
        let home =
            home_with(&[(AUTH, r#"{"zai":{"type":"api_key","key":"s3cret"}}"#), (OAUTH, LOGIN)]);
        let (exit, said) = run(home.path(), &["auth", "list"]);
        assert!(exit == 0 && said.contains("imported `zai:default`"), "{said}");
        assert!(said.contains("imported `acme:default`") && !said.contains("s3cret"), "{said}");
        assert!(!home.path().join(".clawdbot").join(AUTH).exists());
        assert!(home.path().join(".clawdbot").join(OAUTH).exists());
        assert!(!run(home.path(), &["auth", "list"]).1.contains("imported"));
        assert_eq!(run(home.path(), &["auth", "token", "--provider", "acme"]).1, "s3cret\n");
    }

    #[test]
    fn the_file_of_the_state_directory_goes_to_the_default_agent_only() {
        let home = home_with(&[(OAUTH, LOGIN), ("agents/work/agent/x", "")]);
        let (_, said) = run(home.path(), &["auth", "list", "--agent", "work"]);
        assert!(!said.contains("acme"), "{said}");
        let (_, said) = run(home.path(), &["auth", "list"]);
        assert!(said.contains("imported `acme:default`"), "{said}");
    }

    #[test]
    fn a_command_that_helps_names_the_agent() {
        use auth_providers::refresh::RefreshError;

        let profile = || ProfileId::from("acme:me");
        let errors: [fn(ProfileId) -> RefreshError; 3] = [
            |profile| RefreshError::UnknownProfile { profile },
            |profile| RefreshError::NeedsLogin { profile, reason: "it ended" },
            |profile| RefreshError::Unavailable {
                profile,
                reason: "away".to_owned(),
                retry_at: Some(Timestamp(9)),
            },
        ];
        for error in errors {
            let hint = |id: &str| {
                let agent = Agent { id: id.to_owned(), directory: PathBuf::new() };
                crate::worker::explain(error(profile()), None, &agent).hint.unwrap()
            };
            assert!(hint("work").contains(" --agent work"), "{}", hint("work"));
            assert!(!hint("main").contains("--agent"), "{}", hint("main"));
        }
    }

    #[test]
    fn reading_what_another_program_may_be_writing_waits_as_long_as_it_should() {
        let home = home_with(&[
            ("agents/main/agent/auth-profiles.json", "{"),
            ("agents/main/agent/auth-profiles.json.lock/x", ""),
        ]);
        let (said, mut context) = (Captured::default(), Context::sealed(home.path(), Timestamp(0)));
        context.stderr = Box::new(said.clone());
        context.env.insert("CLAWDBOT_LOCK_TIMEOUT".into(), "0".into());
        let exit =
            crate::run(["clawdbot", "models", "auth", "token", "--provider", "acme"], &mut context);
        assert!(exit == 7 && said.text().contains("in 0 s"), "{exit} {}", said.text());
    }

    #[test]
    fn a_damaged_legacy_file_is_named_and_left() {
        let home = home_with(&[(AUTH, "{")]);
        let (exit, said) = run(home.path(), &["auth", "list"]);
        assert!(exit == 8 && said.contains("auth.json"), "{exit} {said}");
        let home = home_with(&[(OAUTH, "{")]);
        let (exit, said) = run(home.path(), &["auth", "list"]);
        assert!(exit == 0 && said.contains("oauth.json` is damaged"), "{exit} {said}");
    }
}
