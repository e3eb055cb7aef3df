//! The refresh that survives its caller.
//!
//! People press Ctrl-C, and tools end their helpers after seconds; a request that was sent must
//! be answered all the same. So the command line sends in a child with a session of its own. The
//! lock on the refresh token goes to the child as its standard input: it is held without a gap,
//! until both are gone.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use auth_providers::plugin::{Environment, WithPlugins};
use auth_providers::refresh::{self, Force, Prepared, RefreshError, Wanted};
use auth_providers::{Provider, Providers, ReqwestClient};
use auth_store::{Credential, Records, Recovery, StateDirectory, TokenKey, TokenLock};
use serde_json::{Value, json};

use crate::agent::{self, Agent};
use crate::config::Config;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::hardening;
use crate::reference;
use crate::rescue;
use crate::runtime_cache;
use crate::shell_words::{command, option};
use crate::sink::{self, TokenSink};
use crate::text::printable;
use crate::warm::Warm;

/// The first argument of the child. Nobody types it.
pub const WORD: &str = "__refresh";

/// The token sink of `agent`, in the real world.
///
/// # Errors
/// Nobody can say which other agents there are, who may have copies of its logins.
pub fn sink(agent: &Agent, config: &Config, context: &Context) -> Result<TokenSink, CliError> {
    let patience = agent::lock_patience(context);
    let state = StateDirectory::at(&context.paths().state_dir);
    let others = agent::others(agent, config, context)?;
    let providers = Providers::load(Some(&state.root().join("providers")), &|name| {
        context.env(name).map(str::to_owned)
    });
    let http = Box::new(client(context));
    let http = WithPlugins::new(http, &providers, plugin_environment(context));
    let records = rescue::places(context).into_iter().fold(state.records(), Records::with_rescue);
    Ok(TokenSink {
        store: agent.store_to_change(context),
        siblings: others.iter().map(|it| it.store().telling(&context.recoveries)).collect(),
        records,
        providers,
        http: Box::new(http),
        clock: Arc::clone(&context.clock),
        patience,
        flights: sink::Flights::default(),
        warm: Warm::default(),
    })
}

/// What a plugin finds in its environment.
pub fn plugin_environment(context: &Context) -> Environment {
    let all = context.env.iter().map(|(name, value)| (name.clone(), value.clone()));
    Environment::scrubbed(all).launched_by(context.program.clone())
}

/// The network, with the certificates that the environment adds. Its errors name those, and the
/// proxy.
pub fn client(context: &Context) -> ReqwestClient {
    let set = |name: &'static str| {
        let value = context.env(name).filter(|value| !value.is_empty())?;
        Some((name, value))
    };
    let extra_ca = ["CLAWDBOT_CA_FILE", "NODE_EXTRA_CA_CERTS"].into_iter().find_map(set);
    let proxy = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].into_iter().find_map(set);
    let trusted = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(set);
    // Of a proxy only the host: people write passwords before it.
    let proxy = proxy.map(|(name, value)| (name, value.rsplit('@').next().unwrap_or_default()));
    let named = |(name, value): (&str, &str)| format!("{name} is `{}`", printable(value));
    let certificates = trusted.chain(extra_ca).map(named).collect();
    let client = match extra_ca {
        Some((_, path)) => ReqwestClient::with_extra_ca(context.user_path(path)),
        None => ReqwestClient::new(),
    };
    client.naming(proxy.map(named), certificates)
}

/// The credential, refreshed first if that is due, fetched if it is kept elsewhere.
pub fn credential(
    wanted: Wanted,
    agent: &Agent,
    sink: &TokenSink,
    context: &Context,
) -> Result<Credential, CliError> {
    let profile = wanted.profile.clone();
    reference::fetched(renewed(wanted, agent, sink, context)?, &profile, context)
}

fn renewed(
    mut wanted: Wanted,
    agent: &Agent,
    sink: &TokenSink,
    context: &Context,
) -> Result<Credential, CliError> {
    let document = sink.store.read()?;
    wanted = wanted.about(&document);
    let explain = |error, provider| explain(error, provider, agent);
    let profile = document.profile(&wanted.profile);
    let stored = document.credential(&wanted.profile);
    let (Some(profile), Some(stored)) = (profile, stored) else {
        let profile = wanted.profile;
        return Err(explain(RefreshError::UnknownProfile { profile }, None));
    };
    let Some(provider) = sink.provider_of(&profile) else {
        return sink::without_provider(stored, &wanted, context.now())
            .map_err(|error| explain(error, None));
    };
    let mut attempts = refresh::attempts();
    loop {
        let prepared = refresh::prepare(&wanted, provider, sink.doors(), &mut attempts)
            .map_err(|error| explain(error, Some(provider)))?;
        let lock = match prepared {
            Prepared::Valid(credential) => return Ok(credential),
            Prepared::Send(lock) => lock,
        };
        let sent = send(lock, &wanted, agent, provider, sink, context);
        let ended = |error| explain(error, Some(provider));
        let usable = refresh::after_send(sent, &mut wanted, Some(&stored), sink.doors(), ended)?;
        if let Some(credential) = usable {
            return Ok(credential);
        }
    }
}

/// Sends in a child where the system can hand it a lock, else right here.
fn send(
    lock: TokenLock,
    wanted: &Wanted,
    agent: &Agent,
    provider: &Provider,
    sink: &TokenSink,
    context: &Context,
) -> Result<bool, CliError> {
    match &context.program {
        Some(program) if cfg!(unix) => {
            let request = Request { wanted, key: lock.key(), agent, provider };
            let mut command = Command::new(program);
            command.args(request.arguments());
            let needs = [
                &provider.client_id_env[..],
                &provider.client_secret_env,
                &provider.scopes_env,
                &provider.redirect_uri_env,
            ];
            let needs = needs.concat();
            command.env_clear().envs(context.env_without_secrets(&needs));
            in_child(command, lock, sink)
        }
        _ => sink::block_on(refresh::send(lock, wanted, provider, sink.doors()))
            .and_then(|sent| sent)
            .map_err(|error| explain(error, Some(provider), agent)),
    }
}

fn in_child(mut command: Command, lock: TokenLock, sink: &TokenSink) -> Result<bool, CliError> {
    let failed = |error: std::io::Error| {
        CliError::new(Exit::TryLater, "no_child", format!("could not start the refresh: {error}"))
            .hint("nothing was sent; try again")
    };
    let mut child = command
        .stdin(Stdio::from(lock.share()?))
        .stdout(Stdio::piped())
        // Whoever ends us may wait until nobody has our stderr any more.
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    drop(lock);
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        // What cannot be read is no report.
        let _ = stdout.read_to_string(&mut text);
    }
    let _ = child.wait();
    let Ok(mut report) = serde_json::from_str::<Value>(&text) else {
        // It died; the token's record says how far it came, so look again.
        refresh::clear_up(sink.doors());
        return Ok(false);
    };
    // What cannot be read was told by no child of ours.
    let recovered = serde_json::from_value::<Vec<Recovery>>(report["recovered"].take());
    recovered.unwrap_or_default().into_iter().for_each(|it| sink.store.recoveries().add(it));
    match report["sent"].as_bool() {
        Some(sent) => Ok(sent),
        None => Err(CliError::from_json(&report["error"])),
    }
}

/// What the child is told, as arguments: nothing in it is secret.
struct Request<'a> {
    wanted: &'a Wanted,
    key: TokenKey,
    agent: &'a Agent,
    provider: &'a Provider,
}

impl Request<'_> {
    fn arguments(&self) -> [OsString; 9] {
        let force = match self.wanted.force {
            Force::No => "no",
            Force::Refresh => "refresh",
            Force::Send => "send",
        };
        [
            WORD.into(),
            self.key.to_string().into(),
            self.agent.id.clone().into(),
            self.agent.directory.clone().into(),
            self.provider.id.as_str().into(),
            self.wanted.profile.as_str().into(),
            force.into(),
            self.wanted.at_least.as_millis().to_string().into(),
            self.wanted.only_if.clone().unwrap_or_default().into(),
        ]
    }
}

/// The child: takes over the lock, sends, saves, says what came of it.
pub fn run(arguments: &[OsString], context: &mut Context) -> u8 {
    let mut report = match child(arguments, context) {
        Ok(sent) => json!({ "sent": sent }),
        Err(error) => json!({ "error": error.to_json() }),
    };
    report["recovered"] = json!(context.recoveries.take());
    // The one who asked may be gone; what matters is on the disk.
    let _ = writeln!(context.stdout, "{report}");
    0
}

#[cfg(unix)]
fn child(arguments: &[OsString], context: &mut Context) -> Result<bool, CliError> {
    let nobody = || CliError::usage(format!("`{WORD}` is not for people"));
    let [_, _, key, id, directory, provider, profile, force, at_least, only_if] = arguments else {
        return Err(nobody());
    };
    let text = |argument: &OsString| argument.to_str().map(str::to_owned).ok_or_else(nobody);
    let key: TokenKey = text(key)?.parse().map_err(|_| nobody())?;
    let agent = Agent { id: text(id)?, directory: directory.into() };
    let wanted = Wanted {
        profile: text(profile)?.into(),
        at_least: Duration::from_millis(text(at_least)?.parse().map_err(|_| nobody())?),
        force: match text(force)?.as_str() {
            "no" => Force::No,
            "refresh" => Force::Refresh,
            _ => Force::Send,
        },
        only_if: Some(text(only_if)?).filter(|hash| !hash.is_empty()),
    };

    // Ctrl-C in the terminal, and its end, are for the one who asked.
    let _ = rustix::process::setsid();
    let config = Config::load(context)?;
    let sink = sink(&agent, &config, context)?;
    let provider = sink.providers.find(&auth_store::ProviderId::new(&text(provider)?));
    let provider = provider.ok_or_else(nobody)?;
    let stdin =
        std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned().map_err(|_| nobody())?;
    let lock = sink.records.inherited(key, File::from(stdin))?;
    ignore_signals();
    let sent = sink::block_on(refresh::send(lock, &wanted, provider, sink.doors()))
        .and_then(|sent| sent)
        .map_err(|error| explain(error, Some(provider), &agent))?;
    // Here, since the one who asked may be gone. Others may have had copies of the token.
    runtime_cache::follow(&agent, &config, context);
    // Best effort: what was sent is stored.
    for other in agent::others(&agent, &config, context).unwrap_or_default() {
        runtime_cache::follow_if_there(&other, &config, context);
    }
    Ok(sent)
}

#[cfg(not(unix))]
fn child(_: &[OsString], _: &mut Context) -> Result<bool, CliError> {
    Err(CliError::usage(format!("`{WORD}` is not for people")))
}

/// From now on no polite signal ends us: the answer must be saved first. The deadline of the
/// request bounds how long that can take.
#[cfg(unix)]
fn ignore_signals() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    hardening::hear([SIGINT, SIGTERM, SIGHUP, SIGQUIT]);
}

/// What a person is told, and which command helps.
pub fn explain(error: RefreshError, provider: Option<&Provider>, agent: &Agent) -> CliError {
    let message = {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    };
    let log_in = |profile: &auth_store::ProfileId| log_in_command(profile, provider, agent);
    let new = |exit, code| CliError::new(exit, code, message.clone());
    match &error {
        RefreshError::UnknownProfile { profile } => new(Exit::NoCredential, "no_credential")
            .hint(format!("see what there is: clawdbot models auth list{}", agent.option()))
            .profile(profile),
        RefreshError::NeedsLogin { profile, .. } => {
            new(Exit::LogInAgain, "needs_login").hint(log_in(profile)).profile(profile)
        }
        RefreshError::Rejected { profile, .. } => {
            new(Exit::LogInAgain, "rejected").hint(log_in(profile)).profile(profile)
        }
        RefreshError::OtherAccount { profile } => {
            new(Exit::LogInAgain, "other_account").hint(log_in(profile)).profile(profile)
        }
        RefreshError::StaleCopy { profile, store } => new(Exit::LogInAgain, "stale_copy")
            .hint(format!(
                "{}{}, or send the old token all the same: {}",
                share_command(store, agent),
                log_in(profile),
                command(
                    "models auth refresh",
                    &[profile],
                    &format!("{} --force", option("--agent", &agent.id))
                )
            ))
            .profile(profile)
            .path(store),
        RefreshError::Unmerged { profile, store, .. } => {
            new(Exit::LogInAgain, "unmerged").hint(log_in(profile)).profile(profile).path(store)
        }
        RefreshError::Target { profile, .. } => new(Exit::Usage, "provider")
            .hint("correct the provider's manifest in the `providers` directory, or log in again")
            .profile(profile),
        RefreshError::Misconfigured { profile, .. } => new(Exit::TryLater, "misconfigured")
            .hint("check the client id and secret of the provider's manifest or environment; the login is kept")
            .profile(profile),
        RefreshError::Unavailable { profile, retry_at, .. } => {
            let hint = match retry_at {
                Some(at) => format!(
                    "nothing is sent before {}; to ask at once: clawdbot models auth token{}{} --force-refresh",
                    crate::text::utc(*at),
                    option("--profile", profile),
                    agent.option()
                ),
                None => "try again; the login is kept".to_owned(),
            };
            new(Exit::TryLater, "unavailable").hint(hint).profile(profile)
        }
        RefreshError::CannotSave { profile, .. } => new(Exit::CannotWrite, "cannot_save")
            .hint("make room or make the directory writable, then try again; the login is kept")
            .profile(profile),
        RefreshError::Store(_) => match error {
            RefreshError::Store(store) => store.into(),
            _ => new(Exit::Store, "store"),
        },
        RefreshError::Unsettled { profile } => {
            new(Exit::TryLater, "unsettled").hint("try again").profile(profile)
        }
        _ => new(Exit::TryLater, "refresh"),
    }
}

/// The command by which the agent reads through to the one whose store this is, with what follows
/// it; empty if the path does not tell which agent that is.
fn share_command(store: &Path, agent: &Agent) -> String {
    let home = store.parent().and_then(Path::parent);
    let is_among_agents =
        home.and_then(Path::parent).is_some_and(|agents| agents.ends_with("agents"));
    match home.and_then(Path::file_name).and_then(OsStr::to_str).filter(|_| is_among_agents) {
        Some(owner) => format!(
            "use the login of `{owner}`: {}, or ",
            command("agents share", &[&agent.id], &option("--from", owner))
        ),
        None => String::new(),
    }
}

/// The command that makes a new login of that profile.
pub(crate) fn log_in_command(
    profile: &auth_store::ProfileId,
    provider: Option<&Provider>,
    agent: &Agent,
) -> String {
    let of = format!("{}{}", option("--profile-id", profile), agent.option());
    match provider {
        Some(provider) if provider.has_oauth_login() => format!(
            "log in again: clawdbot models auth login{}{of}",
            option("--provider", &provider.id)
        ),
        Some(provider) if provider.id.as_str() == "anthropic" => format!(
            "store a new token: claude setup-token, then clawdbot models auth setup-token{of}"
        ),
        Some(provider) => format!(
            "store a new one: clawdbot models auth paste-token{}{of}",
            option("--provider", &provider.id)
        ),
        None => {
            format!("store a new one: clawdbot models auth paste-token --provider PROVIDER{of}")
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_child_says_that_is_no_report_we_look_again() {
        let home = tempfile::tempdir().unwrap();
        let context = Context::sealed(home.path(), auth_store::Timestamp(0));
        let config = Config::load(&context).unwrap();
        let agent = Agent { id: "main".to_owned(), directory: home.path().join("agent") };
        let sink = sink(&agent, &config, &context).unwrap();
        let said = |text: &str| {
            let key = TokenKey::new("endpoint", "client", &"refresh".into());
            let lock = sink.records.lock(key, Duration::from_mins(1)).unwrap();
            let mut command = Command::new("printf");
            command.arg(text);
            in_child(command, lock, &sink)
        };
        for text in ["", "{\"sent\"", "{\"sent\": true} \\377"] {
            assert!(!said(text).unwrap(), "{text}");
        }
        // The control.
        assert!(said("{\"sent\": true}").unwrap());
    }
}
