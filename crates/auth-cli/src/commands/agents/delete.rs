//! `agents delete`: an agent goes, and a copy stays from which it can be brought back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use auth_providers::refresh::{self, Revocation};
use auth_providers::token_source::TokenSink;
use auth_store::{Credential, Document, OAuthCredential, ProfileId, paths};
use serde_json::{Value, json};

use crate::agent::invocation::Invocation;
use crate::agent::shared;
use crate::agent::{self, Agent};
use crate::commands::agents::args::AgentsDeleteArgs;
use crate::commands::agents::list;
use crate::commands::agents::share::readers;
use crate::config::edit::{Change, Missing};
use crate::config::{self, Config};
use crate::host;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::process::runtime;
use crate::host::prompt;
use crate::host::report::Report;
use crate::host::shell_quote::{command, option, shell_word};
use crate::host::text::printable;
use crate::profiles::refresh_error;
use crate::profiles::sink;

/// Deletes the agent: first what may be refused, then what cannot be undone, then the move of its
/// folders, under the lock of its store.
pub fn run(args: &AgentsDeleteArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let (config, context) = (invocation.config()?, invocation.context);
    let agent = subject(&args.id, &config, context)?;
    let document = agent.store_to_change(context).read()?;
    let readers = readers(&agent, &config, context)?;
    let going: Vec<ProfileId> = document.profiles().map(|profile| profile.id).collect();
    announce(&agent, &going, &readers, args, context);
    if !args.force && !agreed(&agent, context)? {
        context.say("Nothing was deleted.");
        return Ok(Report::default());
    }

    let removed = forget(&agent.id, &config, invocation)?;
    let sink = sink::for_agent(&agent, &config, context)?;
    hand_over(&sink)?;
    let revoked = if args.revoke { revoke(&going, &sink, &agent, context)? } else { Vec::new() };
    let copy = Copy::for_agent(&agent, context);
    keep(&agent, &copy, &sink, context)?;
    for reader in &readers {
        // Another agent of that id, made later, is somebody else.
        let directory = agent::directory(reader, &config, context);
        shared::set(&Agent { id: reader.clone(), directory }, None)?;
    }
    let workspace = list::workspace_of(&agent.id, &config, context);
    let deleted = Deleted { agent, workspace, going, revoked, readers, removed, copy };
    Ok(deleted.report(context))
}

fn subject(name: &str, config: &Config, context: &Context) -> Result<Agent, CliError> {
    let id = config::agent_id(name);
    if id == host::paths::MAIN_AGENT {
        return Err(CliError::usage("the agent `main` cannot be deleted")
            .hint("its profiles can: clawdbot models auth logout PROFILE"));
    }
    crate::commands::agents::share::named(&id, config, context)
}

/// Says what goes, before anybody is asked.
fn announce(
    agent: &Agent,
    going: &[ProfileId],
    readers: &[String],
    args: &AgentsDeleteArgs,
    context: &Context,
) {
    if going.is_empty() {
        context.say(format_args!("The agent `{}` has no credentials of its own.", agent.id));
    } else {
        let list = going.iter().map(|id| printable(id.as_str())).collect::<Vec<_>>().join(", ");
        let end =
            if args.revoke { "are revoked where that is possible" } else { "are not revoked" };
        context.say(format_args!(
            "With the agent `{}` go its credentials: {list}; they {end}.",
            agent.id
        ));
    }
    for reader in readers {
        context.say(format_args!(
            "warning: `{reader}` reads the profiles of `{}`, and loses them",
            agent.id
        ));
    }
}

fn agreed(agent: &Agent, context: &Context) -> Result<bool, CliError> {
    if !context.terminal.stdin {
        return Err(CliError::usage("--force is required when stdin is not a terminal").hint(
            format!(
                "nothing was deleted; to do it: {}",
                command("agents delete", &[&agent.id], " --force")
            ),
        ));
    }
    let response = prompt::line(&format!("Delete the agent `{}`? [y/N] ", agent.id), context)?;
    Ok(matches!(response.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// What went out of the config.
#[derive(Clone, Copy, Debug, Default)]
struct Removed {
    bindings: usize,
    allowed: usize,
}

/// Takes the agent out of the config: its entry, its rules, its name where agents may talk to it.
fn forget(id: &str, config: &Config, invocation: &Invocation<'_>) -> Result<Removed, CliError> {
    const ALLOW: [&str; 3] = ["tools", "agentToAgent", "allow"];
    let places = |list: &Value, is_it: &dyn Fn(&Value) -> bool| -> Vec<usize> {
        let items = list.as_array().into_iter().flatten().enumerate();
        items.filter(|(_, item)| is_it(item)).map(|(index, _)| index).collect()
    };
    let entries = |value: &Value| {
        places(&value["agents"]["list"], &|entry| {
            entry["id"].as_str().map(config::agent_id).as_deref() == Some(id)
        })
    };
    let rules = |value: &Value| {
        places(&value["bindings"], &|rule| {
            rule["agentId"].as_str().map(config::agent_id).as_deref() == Some(id)
        })
    };
    let allowed = |value: &Value| {
        places(&value["tools"]["agentToAgent"]["allow"], &|item| item.as_str() == Some(id))
    };
    invocation.edit_config(Missing::LeaveAlone, |value| {
        let from = |names: &'static [&'static str], places: Vec<usize>| {
            places.into_iter().rev().map(move |index| Change::remove_item(names, index))
        };
        let changes = from(&["agents", "list"], entries(value));
        let changes = changes.chain(from(&["bindings"], rules(value)));
        changes.chain(from(&ALLOW, allowed(value))).collect()
    })?;
    Ok(Removed { bindings: rules(&config.value).len(), allowed: allowed(&config.value).len() })
}

/// Finishes what a dead process left of a refresh, and gives each living token to the agents
/// whose own token was used up in its favour: they could not find it any more.
fn hand_over(sink: &TokenSink) -> Result<(), CliError> {
    let mut document = sink.store.read()?;
    for _ in 0..ATTEMPTS {
        let mut is_unchanged = true;
        for (profile, login) in logins(&document) {
            let Some(provider) = sink.provider_of(&profile) else { continue };
            let email = profile.email.as_deref();
            // What cannot be finished stays beside the store, and goes into the copy with it.
            if refresh::finish_begun(&login, email, provider, sink.refresh_context())
                .unwrap_or(false)
            {
                is_unchanged = false;
            } else {
                refresh::give_to_successors(&login, provider, sink.refresh_context())?;
            }
        }
        let now = sink.store.read()?;
        if is_unchanged && tokens(&now) == tokens(&document) {
            return Ok(());
        }
        document = now;
    }
    Ok(())
}

fn logins(document: &Document) -> Vec<(auth_store::Profile, OAuthCredential)> {
    let login = |profile: auth_store::Profile| match document.credential(&profile.id) {
        Some(Credential::OAuth(login)) => Some((profile, login)),
        _ => None,
    };
    document.profiles().filter_map(login).collect()
}

/// What must not change between the hand-over and the move.
fn tokens(document: &Document) -> Vec<(ProfileId, auth_store::Secret)> {
    logins(document).into_iter().map(|(profile, login)| (profile.id, login.refresh)).collect()
}

/// Ends the logins at their issuers; those that could be ended. A revoked login is not in the
/// copy: it would be of no use.
fn revoke(
    going: &[ProfileId],
    sink: &TokenSink,
    agent: &Agent,
    context: &Context,
) -> Result<Vec<ProfileId>, CliError> {
    let mut revoked = Vec::new();
    sink.store.check_writable()?;
    for id in going {
        let document = sink.store.read()?;
        let Some(profile) = document.profile(id) else { continue };
        let Some(provider) = sink.provider_of(&profile) else { continue };
        let Some(Credential::OAuth(login)) = document.credential(id) else { continue };
        let outcome = runtime::run(provider.revoke(&login, &*sink.http, sink.clock.now()))?;
        match outcome {
            Revocation::Done => {
                // Its record says so from now on, and its other holders are named.
                let done = async |_: &OAuthCredential| Revocation::Done;
                let out = runtime::run(refresh::logout(
                    id,
                    Some(provider),
                    done,
                    sink.refresh_context(),
                ))?
                .map_err(|error| refresh_error::explain(error, Some(provider), agent, context))?;
                for path in out.others {
                    context.say(format_args!(
                        "warning: `{}` had the same login as `{id}`: it is dead there too",
                        context.display(&path)
                    ));
                }
                revoked.push(id.clone());
            }
            Revocation::Failed(reason) => context.say(format_args!(
                "warning: `{id}` was not revoked: {}; its tokens live until they end",
                printable(&reason)
            )),
            Revocation::NotOffered => {}
        }
    }
    Ok(revoked)
}

/// Where the agent's folders go.
struct Copy {
    /// What is moved, from where to where.
    moves: Vec<(PathBuf, PathBuf)>,
}

impl Copy {
    fn for_agent(agent: &Agent, context: &Context) -> Self {
        let state = &context.paths().state_dir;
        let name = format!("{}-{}", agent.id, context.now());
        let home = paths::agent_home(state, &agent.id);
        let root = host::paths::deleted(state).join(&name);
        let mut moves = Vec::new();
        // All that the state directory has of it: credentials, sessions, and what others put there.
        if home.exists() {
            moves.push((home.clone(), root.clone()));
        }
        if !agent.directory.starts_with(&home) && agent.directory.exists() {
            let beside = agent.directory.file_name().unwrap_or_default().to_string_lossy();
            let to = agent.directory.with_file_name(format!("{beside}.deleted-{name}"));
            moves.push((agent.directory.clone(), to));
        }
        Self { moves }
    }

    /// Where what was at `path` is now.
    fn of_path(&self, path: &Path) -> PathBuf {
        let moved = self
            .moves
            .iter()
            .find_map(|(from, to)| path.strip_prefix(from).ok().map(|rest| to.join(rest)));
        moved.unwrap_or_else(|| path.to_owned())
    }

    /// The commands that bring it back.
    fn restore(&self) -> Vec<String> {
        let word = |path: &Path| shell_word(&path.to_string_lossy());
        self.moves.iter().map(|(from, to)| format!("mv {} {}", word(to), word(from))).collect()
    }
}

/// Moves the folders away, while nobody can be in the middle of a refresh.
fn keep(agent: &Agent, copy: &Copy, sink: &TokenSink, context: &Context) -> Result<(), CliError> {
    if copy.moves.is_empty() {
        return Ok(());
    }
    let deleted = host::paths::deleted(&context.paths().state_dir);
    auth_store::create_private_directory(&deleted)?;
    let lock = sink.store.lock_for_refresh()?;
    // Elsewhere a folder with an open file in it cannot be moved.
    let lock = if cfg!(unix) { Some(lock) } else { None };
    for (from, to) in &copy.moves {
        fs::rename(from, to).map_err(|error| {
            let message = format!(
                "the agent `{}` is out of the config, but `{}` could not be moved: {error}",
                agent.id,
                from.display()
            );
            CliError::new(Exit::CannotWrite, "cannot_move", message)
                .hint(format!("move it yourself, to `{}`", to.display()))
                .path(from)
        })?;
    }
    drop(lock);
    let directory = copy.of_path(&agent.directory);
    // Our own lock, which was moved with it, and the note of a sharing that is over.
    let leftovers = [paths::lock(&paths::store(&directory)), paths::sharing_note(&directory)];
    let gone = [fs::remove_dir(&leftovers[0]), fs::remove_file(&leftovers[1])];
    for (result, path) in gone.into_iter().zip(&leftovers) {
        if let Err(error) = result
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(path = %path.display(), %error, "left in the copy");
        }
    }
    make_private(&directory)
}

/// What is kept is for its owner only, whatever it was.
#[cfg(unix)]
fn make_private(directory: &Path) -> Result<(), CliError> {
    use std::os::unix::fs::PermissionsExt as _;
    let set = |path: &Path, mode| {
        let permissions = fs::Permissions::from_mode(mode);
        match fs::set_permissions(path, permissions) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let message = format!("could not make `{}` private: {error}", path.display());
                Err(CliError::new(Exit::CannotWrite, "cannot_write", message).path(path))
            }
            _ => Ok(()),
        }
    };
    set(directory, 0o700)?;
    let store = paths::store(directory);
    for file in [paths::backup(&store), paths::runtime_cache(directory), store] {
        set(&file, 0o600)?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn make_private(_directory: &Path) -> Result<(), CliError> {
    Ok(())
}

/// What was done.
struct Deleted {
    agent: Agent,
    workspace: String,
    going: Vec<ProfileId>,
    revoked: Vec<ProfileId>,
    readers: Vec<String>,
    removed: Removed,
    copy: Copy,
}

impl Deleted {
    fn report(&self, context: &Context) -> Report {
        let restore = self.copy.restore();
        let sessions = host::paths::sessions(&context.paths().state_dir, &self.agent.id);
        let kept = self.copy.of_path(&self.agent.directory);
        let mut report = Report::from_data(json!({
            "agentId": self.agent.id,
            "workspace": self.workspace,
            "agentDir": self.agent.directory.display().to_string(),
            "sessionsDir": sessions.display().to_string(),
            "removedBindings": self.removed.bindings,
            "removedAllow": self.removed.allowed,
            "credentials": self.going,
            "revoked": self.revoked,
            "readers": self.readers,
            "kept": kept.display().to_string(),
            "restore": restore,
        }));
        report.line(format_args!("Deleted the agent `{}`.", self.agent.id));
        let workspace = context.display(Path::new(&self.workspace));
        report.line(format_args!("Its workspace stays: {workspace}"));
        if self.copy.moves.is_empty() {
            return report;
        }
        report.line(format_args!(
            "Its credentials and sessions are kept: {}",
            context.display(&kept)
        ));
        report.line("To bring it back:");
        for command in restore {
            report.line(format_args!("  {command}"));
        }
        report.line(format_args!(
            "  {}",
            command("agents add", &[&self.agent.id], &option("--workspace", &self.workspace))
        ));
        report
    }
}

const ATTEMPTS: u32 = 5;
