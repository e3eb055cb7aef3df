//! Finds an agent's credentials: from `--agent`, the environment and the config to a directory.

pub mod invocation;
pub mod legacy;
pub mod protected;
pub mod sessions;
pub mod sessions_text;
pub mod shared;
pub mod workspace;

use std::path::PathBuf;
use std::time::Duration;

use auth_store::{StateDirectory, Store};

use crate::config::{self, Config};
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::paths;
use crate::host::shell_quote::option;

/// An agent that exists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Agent {
    /// Its canonical id.
    pub id: String,
    /// The directory of its credentials.
    pub directory: PathBuf,
}

impl Agent {
    /// The agent of a command: `--agent`, else the directory that a variable names, else the
    /// config's default agent.
    ///
    /// # Errors
    /// `--agent` names an agent that is neither in the config nor on the disk.
    pub fn named(name: Option<&str>, config: &Config, context: &Context) -> Result<Self, CliError> {
        let paths = context.paths();
        let Some(name) = name else {
            let id = config.default_agent();
            let directory = if paths.agent_dir_is_chosen {
                paths.agent_dir.clone()
            } else {
                directory(&id, config, context)?
            };
            return Ok(Self { id, directory });
        };
        let id = config::explicit_agent_id(name)?;
        let known = all(config, context)?;
        if id != paths::MAIN_AGENT && !known.contains(&id) {
            return Err(CliError::usage(format!("there is no agent `{id}`"))
                .hint(format!("the agents are: {}", known.join(", "))));
        }
        Self::of(&id, config, context)
    }

    /// The agent of this id, wherever it is.
    ///
    /// # Errors
    /// Nobody can say where: see [`directory`].
    pub fn of(id: &str, config: &Config, context: &Context) -> Result<Self, CliError> {
        Ok(Self { directory: directory(id, config, context)?, id: id.to_owned() })
    }

    /// Whether it has the same store as `other`: by the same directory, or by links.
    pub fn is_one_with(&self, other: &Self) -> bool {
        self.id == other.id || self.store_file() == other.store_file()
    }

    /// Its store, all links followed as far as it exists.
    pub(crate) fn store_file(&self) -> PathBuf {
        paths::real(&auth_store::paths::store(&self.directory))
    }

    /// Its credential store.
    pub fn store(&self) -> Store {
        Store::at(auth_store::paths::store(&self.directory))
    }

    /// The store for reading or changing: it waits for locks as long as the environment says
    /// (`CLAWDBOT_LOCK_TIMEOUT`, in seconds), else for a minute, and recoveries are reported to the
    /// user.
    pub fn store_to_change(&self, context: &Context) -> Store {
        self.store().with_timeout(lock_timeout(context)).telling(&context.recoveries)
    }

    /// The option that selects this agent in a printed command; empty if it is selected anyway.
    pub(crate) fn option(&self) -> String {
        match self.id.as_str() {
            paths::MAIN_AGENT => String::new(),
            id => option("--agent", id),
        }
    }
}

/// How long to wait for locks.
pub fn lock_timeout(context: &Context) -> Duration {
    let seconds = context.env("CLAWDBOT_LOCK_TIMEOUT").and_then(|text| text.trim().parse().ok());
    seconds.map_or(Duration::from_mins(1), Duration::from_secs)
}

/// The name of the agent that the session `key` belongs to, if the key names one (`agent:<id>:…`)
/// other than the default agent; else what `--agent` names.
///
/// # Errors
/// `--agent` names another one.
pub fn of_session(
    key: &str,
    named: Option<&str>,
    config: &Config,
) -> Result<Option<String>, CliError> {
    let Some(id) = session_agent(key) else { return Ok(named.map(str::to_owned)) };
    match named {
        Some(name) if config::agent_id(name) != id => Err(CliError::usage(format!(
            "the session `{key}` belongs to the agent `{id}`, not to `{name}`"
        ))
        .hint("leave out --agent")),
        None if id != config.default_agent() => Ok(Some(id)),
        _ => Ok(named.map(str::to_owned)),
    }
}

/// The agent in a session key: `work` in `agent:work:main`.
fn session_agent(key: &str) -> Option<String> {
    let mut parts = auth_store::trim(key).splitn(3, ':');
    let (word, id, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let is_one = word.eq_ignore_ascii_case("agent") && !id.trim().is_empty() && !rest.is_empty();
    is_one.then(|| config::agent_id(id))
}

/// The other agents that have a store, or may have one. If a store cannot be examined, the caller
/// that reads it reports the error.
pub fn others(agent: &Agent, config: &Config, context: &Context) -> Result<Vec<Agent>, CliError> {
    // Two agents may use the same directory, or links to the same file: that is one store.
    let mut seen = vec![agent.store_file()];
    let mut others = Vec::new();
    for id in all(config, context)? {
        // Where nobody can say where it is, nothing was stored.
        let Ok(other) = Agent::of(&id, config, context) else { continue };
        let path = other.store_file();
        if other.store().is_there().unwrap_or(true) && !seen.contains(&path) {
            others.push(other);
        }
        seen.push(path);
    }
    Ok(others)
}

/// The directory of the agent `id`: from the config, else the default location.
///
/// # Errors
/// What the config says is no path: a variable in it is not set, say.
pub fn directory(id: &str, config: &Config, context: &Context) -> Result<PathBuf, CliError> {
    let configured = config.agent(id).and_then(|entry| entry["agentDir"].as_str());
    let what = || format!("the `agentDir` of the agent `{id}` in the config");
    let configured = configured.map(|text| context.path_of(&what(), text)).transpose()?;
    let configured = configured.filter(|path| !path.as_os_str().is_empty());
    let usual = || auth_store::paths::agent_directory(&context.paths().state_dir, id);
    Ok(configured.unwrap_or_else(usual))
}

/// The ids of all agents: those of the config in its order, or `main`; then those that exist only
/// on the disk.
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
    use crate::host::context::Captured;

    /// Runs a command in a home directory; returns its exit code and output.
    fn run(home: &Path, arguments: &[&str]) -> (u8, String) {
        let (said, mut context) = (Captured::default(), Context::sealed(home, Timestamp(0)));
        context.set_stdout(said.clone());
        context.set_stderr(said.clone());
        let exit = crate::run([&["clawdbot", "models"], arguments].concat(), &context);
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

    /// The output of `models auth list` in that environment, and its exit code.
    fn listed(home: &Path, env: &[(&str, &Path)]) -> (u8, String) {
        let (said, mut context) = (Captured::default(), Context::sealed(home, Timestamp(0)));
        context.env = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        context.set_stdout(said.clone());
        context.set_stderr(said.clone());
        let exit = crate::run(["clawdbot", "models", "auth", "list"], &context);
        (exit, said.text())
    }

    #[test]
    fn the_directory_of_another_program_is_left_alone_by_the_legacy_import() {
        let home = home_with(&[]);
        let pi = home.path().join(".pi/agent");
        auth_store::create_private_directory(&pi).unwrap();
        let login = r#"{"zai":{"type":"api_key","key":"s3cret"}}"#;
        let auth = pi.join("auth.json");
        write_atomic(&auth, login.as_bytes()).unwrap();
        let names = || std::fs::read_dir(&pi).unwrap().count();
        // Without one of our stores there, pi's variable is ignored.
        let (exit, said) = listed(home.path(), &[("PI_CODING_AGENT_DIR", &pi)]);
        assert!(exit == 0 && !said.contains(".pi") && !said.contains("zai"), "{said}");
        assert_eq!((std::fs::read_to_string(&auth).unwrap().as_str(), names()), (login, 1));
        // Our variable is not, and the message says why nothing was imported, with the command that
        // imports it.
        let (exit, said) = listed(home.path(), &[("CLAWDBOT_AGENT_DIR", &pi)]);
        assert!(exit == 0 && said.contains("may be another program's"), "{said}");
        assert!(said.contains(&format!("import --from {}", auth.display())), "{said}");
        assert_eq!((std::fs::read_to_string(&auth).unwrap().as_str(), names()), (login, 1));
        // The control: with one of our stores there, pi's variable is used.
        let store = r#"{"version":1,"profiles":{"acme:a":{"type":"api_key","provider":"acme","key":"k-0123456789"}}}"#;
        write_atomic(&pi.join("auth-profiles.json"), store.as_bytes()).unwrap();
        let (exit, said) = listed(home.path(), &[("PI_CODING_AGENT_DIR", &pi)]);
        assert!(exit == 0 && said.contains("acme:a"), "{said}");
        assert_eq!(std::fs::read_to_string(&auth).unwrap(), login);
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
    fn reading_what_another_program_may_be_writing_waits_as_long_as_it_should() {
        let home = home_with(&[
            ("agents/main/agent/auth-profiles.json", "{"),
            ("agents/main/agent/auth-profiles.json.lock/x", ""),
        ]);
        let (said, mut context) = (Captured::default(), Context::sealed(home.path(), Timestamp(0)));
        context.set_stderr(said.clone());
        context.env.insert("CLAWDBOT_LOCK_TIMEOUT".into(), "0".into());
        let exit =
            crate::run(["clawdbot", "models", "auth", "token", "--provider", "acme"], &context);
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
