//! `agents delete`: removes an agent, and keeps a copy from which it can be restored.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use auth_providers::refresh::{self, Replaced, Revocation};
use auth_providers::token_source::TokenSink;
use auth_store::{Credential, Document, OAuthCredential, ProfileId, paths};
use serde_json::{Value, json};

use crate::agent::invocation::Invocation;
use crate::agent::protected::Protected;
use crate::agent::shared;
use crate::agent::workspace;
use crate::agent::{self, Agent};
use crate::commands::agents::args::AgentsDeleteArgs;
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

/// Deletes the agent: first the checks that may refuse, then the steps that cannot be undone, then
/// the move of its folders, under the lock of its store.
pub fn run(args: &AgentsDeleteArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let (config, context) = (invocation.config()?, invocation.context);
    let agent = subject(&args.id, &config, context)?;
    let document = agent.store_to_change(context).read()?;
    let readers = readers(&agent, &config, context)?;
    let others = Others::of(&agent, &config, context)?;
    let going: Vec<ProfileId> = match others.same_store {
        Some(_) => Vec::new(),
        None => document.profiles().map(|profile| profile.id).collect(),
    };
    announce(&agent, &going, &readers, &others, args, context);
    if !args.force && !agreed(&agent, context)? {
        context.say("Nothing was deleted.");
        return Ok(Report::default());
    }

    let removed = forget(&agent.id, &config, invocation)?;
    let sink = sink::for_agent(&agent, &config, context)?;
    let mut revoked = Vec::new();
    if others.same_store.is_none() && args.revoke {
        revoked = revoke(&going, &others, &sink, &agent, context)?;
    }
    let copy = Copy::for_agent(&agent, &others, context);
    keep(&agent, &copy, &sink, context)?;
    if others.same_store.is_none() {
        for reader in &readers {
            // Another agent of that id, made later, is somebody else.
            shared::set(&Agent::of(reader, &config, context)?, None)?;
        }
    }
    let workspace = workspace::of(&agent.id, &config, context).display().to_string();
    let deleted = Deleted { agent, workspace, going, revoked, readers, removed, copy };
    Ok(deleted.report(context))
}

/// The other agents, and what they use of this one's.
struct Others {
    /// One whose store is the same file.
    same_store: Option<String>,
    /// All with a store of their own.
    agents: Vec<Agent>,
    protected: Protected,
}

impl Others {
    fn of(agent: &Agent, config: &Config, context: &Context) -> Result<Self, CliError> {
        let all =
            agent::all(config, context)?.into_iter().chain([host::paths::MAIN_AGENT.to_owned()]);
        let others = all.filter(|id| *id != agent.id);
        let mut others: Vec<_> =
            others.filter_map(|id| Agent::of(&id, config, context).ok()).collect();
        let chosen = context.paths().agent_dir_is_chosen.then(|| context.paths().agent_dir.clone());
        let chosen = chosen.filter(|directory| *directory != agent.directory);
        others.extend(chosen.map(|directory| Agent { id: config.default_agent(), directory }));
        let (same, agents): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|other| other.store_file() == agent.store_file());
        Ok(Self {
            same_store: same.into_iter().next().map(|other| other.id),
            agents,
            protected: Protected::beside(agent, config, context)?,
        })
    }

    /// One that has the same refresh token.
    fn with_login(&self, login: &OAuthCredential, context: &Context) -> Option<&Agent> {
        self.agents.iter().find(|other| {
            let document = other.store_to_change(context).read();
            document.is_ok_and(|document| refresh_tokens(&document).contains(&login.refresh))
        })
    }
}

fn subject(name: &str, config: &Config, context: &Context) -> Result<Agent, CliError> {
    let id = config::explicit_agent_id(name)?;
    if id == host::paths::MAIN_AGENT {
        return Err(CliError::usage("the agent `main` cannot be deleted")
            .hint("its profiles can: clawdbot models auth logout PROFILE"));
    }
    crate::commands::agents::share::named(&id, config, context)
}

/// Says what will be deleted, before the user is asked.
fn announce(
    agent: &Agent,
    going: &[ProfileId],
    readers: &[String],
    others: &Others,
    args: &AgentsDeleteArgs,
    context: &Context,
) {
    if let Some(other) = &others.same_store {
        context.say(format_args!(
            "The agent `{}` has its credentials in one file with `{other}`: they stay, and are not revoked.",
            agent.id
        ));
        return;
    }
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

/// What was removed from the config.
#[derive(Clone, Copy, Debug, Default)]
struct Removed {
    bindings: usize,
    allowed: usize,
}

/// Removes the agent from the config: its entry, its rules, its name in the lists of agents that
/// may be called.
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

/// The refresh tokens of a store.
fn refresh_tokens(document: &Document) -> Vec<auth_store::Secret> {
    let token = |it: auth_store::Profile| match document.credential(&it.id) {
        Some(Credential::OAuth(login)) => Some(login.refresh),
        _ => None,
    };
    document.profiles().filter_map(token).collect()
}

/// The logins that could be under way at an issuer, or that another agent's token may lead to.
fn logins<'a>(document: &Document, sink: &'a TokenSink) -> Vec<Replaced<'a>> {
    let login = |it: auth_store::Profile| Replaced::find(&it.id, document, sink.provider_of(&it));
    document.profiles().filter_map(login).collect()
}

/// Revokes the logins at their issuers; returns the revoked ones. A revoked login is not kept in
/// the copy, where it would be useless.
fn revoke(
    going: &[ProfileId],
    others: &Others,
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
        if let Some(other) = others.with_login(&login, context) {
            context.say(format_args!(
                "warning: `{id}` was not revoked: the agent `{}` has the same login",
                other.id
            ));
            continue;
        }
        // Under the lock of its token, which may be on its way. Its record says so from now on, and
        // its other holders are named.
        let revoke = async |login: &OAuthCredential| {
            provider.revoke(login, &*sink.http, sink.clock.now()).await
        };
        let ended = refresh::logout_if_revoked(id, provider, revoke, sink.refresh_context());
        let out = runtime::run(ended)?
            .map_err(|error| refresh_error::explain(error, Some(provider), agent, context))?;
        match out.revocation {
            Revocation::Done => {
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
            Revocation::Foreign(foreign) => context.say(format_args!(
                "warning: `{id}` was not revoked: {foreign}; its tokens live until they end"
            )),
            Revocation::NotOffered => {}
        }
    }
    Ok(revoked)
}

/// Where the agent's folders and files go.
#[derive(Default)]
struct Copy {
    /// The moves, as source and destination.
    moves: Vec<(PathBuf, PathBuf)>,
    /// Where its credentials are kept, if they are moved.
    credentials: Option<PathBuf>,
    /// What stays, and why.
    stays: Vec<(PathBuf, String)>,
}

impl Copy {
    fn for_agent(agent: &Agent, others: &Others, context: &Context) -> Self {
        let state = &context.paths().state_dir;
        let name = format!("{}-{}", agent.id, context.now());
        let home = paths::agent_home(state, &agent.id);
        let root = host::paths::deleted(state).join(&name);
        let is_inside = agent.directory.starts_with(&home);
        let mut copy = Self::default();
        if home.symlink_metadata().is_ok() {
            match others.keep_in_place(&home) {
                // All that the state directory has of it: credentials, sessions, and what others put
                // there.
                None => {
                    if is_inside && others.same_store.is_none() {
                        copy.credentials =
                            agent.directory.strip_prefix(&home).ok().map(|it| root.join(it));
                    }
                    copy.moves.push((home.clone(), root.clone()));
                }
                Some(what) => {
                    copy.stays.push((home.clone(), what));
                    let sessions = host::paths::sessions(state, &agent.id);
                    if sessions.is_dir() && others.keep_in_place(&sessions).is_none() {
                        let name = sessions.file_name().unwrap_or_default();
                        copy.moves.push((sessions.clone(), root.join(name)));
                    }
                    let inside = agent.directory.strip_prefix(&home);
                    if let (Ok(inside), None) = (inside, &others.same_store) {
                        copy.take_files(&agent.directory, root.join(inside), true);
                    }
                }
            }
        }
        if !is_inside && agent.directory.exists() {
            if let Some(other) = &others.same_store {
                let what = format!("credentials of the agent `{other}`");
                copy.stays.push((agent.directory.clone(), what));
            } else if others.keep_in_place(&agent.directory).is_none()
                && names(&agent.directory).iter().all(|name| is_credential(name, false))
            {
                let beside = agent.directory.file_name().unwrap_or_default().to_string_lossy();
                let to = agent.directory.with_file_name(format!("{beside}.deleted-{name}"));
                copy.credentials = Some(to.clone());
                copy.moves.push((agent.directory.clone(), to));
            } else {
                let what = others.keep_in_place(&agent.directory);
                let what = what.unwrap_or_else(|| "files that are not this program's".to_owned());
                copy.stays.push((agent.directory.clone(), what));
                let to = agent.directory.join(format!(".deleted-{name}"));
                copy.take_files(&agent.directory, to, false);
            }
        }
        copy
    }

    /// Moves the files that are the agent's own, and nothing else of their directory.
    fn take_files(&mut self, directory: &Path, to: PathBuf, is_within_state: bool) {
        for name in names(directory) {
            let from = directory.join(&name);
            if is_credential(&name, is_within_state) && !from.is_dir() {
                self.moves.push((from, to.join(&name)));
            }
        }
        let cache = paths::runtime_cache(directory);
        if !is_within_state && cache.exists() {
            let what = "logins of other programs, and perhaps keys of this agent".to_owned();
            self.stays.push((cache, what));
        }
        self.credentials = Some(to);
    }

    /// The commands that restore the agent.
    fn restore(&self) -> Vec<String> {
        let word = |path: &Path| shell_word(&path.to_string_lossy());
        self.moves.iter().map(|(from, to)| format!("mv {} {}", word(to), word(from))).collect()
    }
}

impl Others {
    /// What in the directory others use, or the user, so that it cannot be moved. Of a link only the
    /// link is moved.
    fn keep_in_place(&self, directory: &Path) -> Option<String> {
        let is_link = directory.symlink_metadata().is_ok_and(|found| found.is_symlink());
        let what = if is_link {
            self.protected.below(directory)
        } else {
            self.protected.within(directory)
        };
        what.map(str::to_owned)
    }
}

/// The names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Whether a file of this name holds the credentials of an agent, or belongs to them. Outside the
/// state directory, other programs have an `auth.json` too.
fn is_credential(name: &str, is_within_state: bool) -> bool {
    paths::is_ours(name)
        && (is_within_state || Path::new(name) != paths::runtime_cache(Path::new("")))
}

/// Moves the folders away, while no token of theirs is on its way, and after each login went to the
/// agents whose own token was used up in its favour: they could not find it any more.
fn keep(agent: &Agent, copy: &Copy, sink: &TokenSink, context: &Context) -> Result<(), CliError> {
    if copy.moves.is_empty() {
        return Ok(());
    }
    let deleted = host::paths::deleted(&context.paths().state_dir);
    auth_store::create_private_directory(&deleted)?;
    let going = |document: &Document| {
        // A store that another agent has too stays where it is, and so do its logins.
        Ok::<_, CliError>(if copy.credentials.is_some() {
            logins(document, sink)
        } else {
            Vec::new()
        })
    };
    refresh::replace(sink.refresh_context(), going, |lock, _| {
        // Elsewhere a folder with an open file in it cannot be moved.
        let _lock = if cfg!(unix) { Some(lock) } else { None };
        move_away(agent, copy).map(Some)
    })?;
    let Some(directory) = &copy.credentials else { return Ok(()) };
    // Our own lock, which was moved with the store, and the sharing note, which no longer applies.
    let leftovers = [paths::lock(&paths::store(directory)), paths::sharing_note(directory)];
    let gone = [fs::remove_dir(&leftovers[0]), fs::remove_file(&leftovers[1])];
    for (result, path) in gone.into_iter().zip(&leftovers) {
        if let Err(error) = result
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(path = %path.display(), %error, "left in the copy");
        }
    }
    make_private(directory)
}

fn move_away(agent: &Agent, copy: &Copy) -> Result<(), CliError> {
    for (from, to) in &copy.moves {
        if let Some(directory) = to.parent().filter(|directory| !directory.exists()) {
            auth_store::create_private_directory(directory)?;
        }
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
    Ok(())
}

/// The copy is accessible to its owner only, whatever its mode was.
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
        let kept = self.copy.credentials.as_ref().unwrap_or(&self.agent.directory);
        let stays = self.copy.stays.iter();
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
            "stays": stays.map(|(path, what)| json!({ "path": path, "holds": what })).collect::<Vec<_>>(),
        }));
        report.line(format_args!("Deleted the agent `{}`.", self.agent.id));
        let workspace = context.display(Path::new(&self.workspace));
        report.line(format_args!("Its workspace stays: {workspace}"));
        for (path, what) in &self.copy.stays {
            report.line(format_args!("{} stays where it is, with {what}.", context.display(path)));
        }
        if self.copy.moves.is_empty() {
            return report;
        }
        let kept = context.display(kept);
        match self.copy.credentials {
            Some(_) => report.line(format_args!("Its credentials and sessions are kept: {kept}")),
            None => report.line("Its sessions are kept."),
        }
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
