//! A refresh that survives its caller.
//!
//! Users press Ctrl-C, and tools end their helpers after seconds; but the response to a request
//! that was sent must be saved. So the command line sends in a child process with its own session.
//! The lock on the refresh token is passed to the child as its standard input: it is held without a
//! gap, until both processes have ended.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use auth_providers::Provider;
use auth_providers::refresh::{self, Force, RefreshContext, RefreshError, Wanted};
use auth_providers::token_source::TokenSink;
#[cfg(unix)]
use auth_providers::{HttpClient, HttpRequest, Sending};
use auth_store::{Credential, ProfileId, Recovery, TokenKey, TokenLock};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::agent::invocation::Invocation;
use crate::config::Config;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::process::environment::Sees;
use crate::host::process::launch::{Command, Program};
use crate::host::process::state;
use crate::host::process::{hardening, logging, parent};
use crate::host::report::Output;
use crate::profiles::audit::Noted;
use crate::profiles::refresh_error::explain;
use crate::profiles::{key_reference, runtime_cache, sink};

/// The first argument of the child. It is for internal use.
pub const WORD: &str = "__refresh";

/// The credential, refreshed first if it is due, and fetched if it is kept elsewhere.
pub fn credential(
    wanted: &Wanted,
    agent: &Agent,
    sink: &TokenSink,
    context: &Context,
) -> Result<Credential, CliError> {
    let is_slow = || {
        if context.terminal.stderr {
            context.say("Refreshing the token: the issuer is slow. Ctrl-C is safe.");
        }
    };
    let sender = |lock, wanted: &Wanted, provider: &Provider| {
        if let Some(launch) = Launch::for_provider(provider, context) {
            return launch.send((lock, wanted), agent, provider, sink, &is_slow);
        }
        let http = Noted::new(&*sink.http, &provider.id, &wanted.profile, agent, context);
        let refreshing = RefreshContext { http: &http, ..sink.refresh_context() };
        Ok(refresh::send_blocking(lock, wanted, provider, refreshing)?)
    };
    let credential = sink
        .credential_by(wanted, sender)
        .map_err(|failure: Failure| failure.explained(wanted, agent, sink, context))?;
    key_reference::fetched(credential, &wanted.profile, context)
}

/// The stored credential, refreshed first if that is due, in a child. It needs no context, so several
/// may be refreshed at once.
pub(crate) fn refreshed(
    wanted: &Wanted,
    agent: &Agent,
    sink: &TokenSink,
    launch: &Launch,
) -> Result<Credential, Failure> {
    sink.credential_by(wanted, |lock, wanted: &Wanted, provider: &Provider| {
        launch.send((lock, wanted), agent, provider, sink, &|| {})
    })
}

fn provider_of<'a>(profile: &ProfileId, sink: &'a TokenSink) -> Option<&'a Provider> {
    sink.provider_of(&sink.store.read().ok()?.profile(profile)?)
}

/// The process in which a refresh failed. A child explains its own failure.
pub(crate) enum Failure {
    Here(RefreshError),
    InChild(CliError),
}

impl Failure {
    /// What the user is told.
    pub(crate) fn explained(
        self,
        wanted: &Wanted,
        agent: &Agent,
        sink: &TokenSink,
        context: &Context,
    ) -> CliError {
        match self {
            Self::Here(error) => explain(error, provider_of(&wanted.profile, sink), agent, context),
            Self::InChild(error) => error,
        }
    }
}

impl From<RefreshError> for Failure {
    fn from(error: RefreshError) -> Self {
        Self::Here(error)
    }
}

/// How the child for a login of one provider is started.
#[derive(Clone, Debug)]
pub(crate) struct Launch(Arc<Launching>);

#[derive(Debug)]
struct Launching {
    program: Program,
    /// What it sees of the environment.
    sees: Sees,
    /// Who asked, for the audit log.
    asking: Option<String>,
    /// What it logs, and whether our standard error shows it.
    log: Option<(&'static str, &'static str)>,
    is_logged: bool,
}

impl Launch {
    /// The one for a login of `provider`; `None` where the system cannot hand a child a lock.
    pub(crate) fn for_provider(provider: &Provider, context: &Context) -> Option<Self> {
        let program = context.program.as_ref().filter(|_| cfg!(unix))?;
        let needs = [
            &provider.client_id_env[..],
            &provider.client_secret_env,
            &provider.scopes_env,
            &provider.redirect_uri_env,
        ];
        let needs = needs.concat();
        let mut needs: Vec<String> = needs.iter().map(ToString::to_string).collect();
        // It reads the config, too.
        needs.extend(Config::load(context).into_iter().flat_map(|config| config.variables));
        Some(Self(Arc::new(Launching {
            program: Program::ourselves(program),
            sees: Sees::worker(context, &needs),
            asking: parent::program(context),
            log: logging::for_child(context),
            is_logged: logging::is_on(context),
        })))
    }

    fn send(
        &self,
        (lock, wanted): (TokenLock, &Wanted),
        agent: &Agent,
        provider: &Provider,
        sink: &TokenSink,
        is_slow: &dyn Fn(),
    ) -> Result<bool, Failure> {
        let request = Request { wanted, key: lock.key(), agent, provider };
        let mut command = self.0.program.command(&self.0.sees);
        command.envs(self.0.asking.iter().map(|asking| (parent::ASKED_BY, asking)));
        command.envs(self.0.log).args(request.arguments());
        in_child(command, lock, sink, self.0.is_logged, is_slow).map_err(Failure::InChild)
    }
}

fn in_child(
    mut command: Command,
    lock: TokenLock,
    sink: &TokenSink,
    is_logged: bool,
    is_slow: &dyn Fn(),
) -> Result<bool, CliError> {
    let failed = |error: std::io::Error| {
        CliError::new(Exit::TryLater, "no_child", format!("could not start the refresh: {error}"))
            .hint("nothing was sent; try again")
    };
    let mut child = command
        .stdin(Stdio::from(lock.share()?))
        .stdout(Stdio::piped())
        // Whoever ends us may wait until nobody has our stderr any more; a log is worth it.
        .stderr(if is_logged { Stdio::inherit() } else { Stdio::null() })
        .spawn()
        .map_err(failed)?;
    drop(lock);
    let text = child.stdout.take().map(|stdout| said(stdout, is_slow)).unwrap_or_default();
    let _ = child.wait();
    let Ok(mut report) = serde_json::from_str::<Value>(&text) else {
        // The child crashed; the token's record says how far it got, so look again.
        refresh::clear_up(sink.refresh_context());
        return Ok(false);
    };
    // Anything else in the report is not from our child.
    let recovered = serde_json::from_value::<Vec<Recovery>>(report["recovered"].take());
    recovered.unwrap_or_default().into_iter().for_each(|it| sink.store.recoveries().add(it));
    match report["sent"].as_bool() {
        Some(sent) => Ok(sent),
        None => Err(CliError::from_json(&report["error"])),
    }
}

/// All that the child says. A user at a terminal is told why it takes long.
fn said(mut stdout: std::process::ChildStdout, is_slow: &dyn Fn()) -> String {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        // Unreadable output is treated as no report.
        let _ = stdout.read_to_string(&mut text);
        let _ = sender.send(text);
    });
    if let Ok(text) = receiver.recv_timeout(LONG) {
        return text;
    }
    is_slow();
    receiver.recv().unwrap_or_default()
}

/// A refresh that takes longer says so.
const LONG: Duration = Duration::from_secs(1);

/// The child's arguments: they contain no secret.
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

/// The child process: takes over the lock, sends, saves, and reports the result.
pub fn run(arguments: &[OsString], context: &Context) -> u8 {
    logging::start(false, context);
    let mut report = match child(arguments, context) {
        Ok(sent) => json!({ "sent": sent }),
        Err(error) => json!({ "error": error.to_json() }),
    };
    report["recovered"] = json!(context.recoveries.take());
    // The parent may be gone; the result is on the disk anyway.
    let _ = context.write(format!("{report}\n").as_bytes());
    0
}

#[cfg(unix)]
fn child(arguments: &[OsString], context: &Context) -> Result<bool, CliError> {
    let bad_arguments = || CliError::usage(format!("`{WORD}` is not for people"));
    let [_, _, key, id, directory, provider, profile, force, at_least, only_if] = arguments else {
        return Err(bad_arguments());
    };
    let text = |argument: &OsString| argument.to_str().map(str::to_owned).ok_or_else(bad_arguments);
    let key: TokenKey = text(key)?.parse().map_err(|_| bad_arguments())?;
    let agent = Agent { id: text(id)?, directory: directory.into() };
    let wanted = Wanted {
        profile: text(profile)?.into(),
        at_least: Duration::from_millis(text(at_least)?.parse().map_err(|_| bad_arguments())?),
        force: match text(force)?.as_str() {
            "no" => Force::No,
            "refresh" => Force::Refresh,
            _ => Force::Send,
        },
        only_if: Some(text(only_if)?).filter(|hash| !hash.is_empty()),
    };

    // Ctrl-C and a hang-up of the terminal are meant for the parent only.
    let _ = rustix::process::setsid();
    state::check(context)?;
    let invocation = Invocation::new(context, Output::default(), None);
    let config = invocation.config()?;
    let sink = sink::for_agent(&agent, &config, context)?;
    let provider = sink.providers.find(&auth_store::ProviderId::new(&text(provider)?));
    let provider = provider.ok_or_else(bad_arguments)?;
    let stdin = std::os::fd::AsFd::as_fd(&std::io::stdin())
        .try_clone_to_owned()
        .map_err(|_| bad_arguments())?;
    let lock = sink.records.inherited(key, File::from(stdin))?;
    end_after(LIFETIME);
    let http = Committed(&*sink.http);
    let noted = Noted::new(&http, &provider.id, &wanted.profile, &agent, context);
    let refreshing = RefreshContext { http: &noted, ..sink.refresh_context() };
    let sent = refresh::send_blocking(lock, &wanted, provider, refreshing)
        .map_err(|error| explain(error, Some(provider), &agent, context))?;
    // In the child, since the parent may be gone.
    runtime_cache::changed_with_copies(&agent, &config, &invocation);
    runtime_cache::follow_changes(&invocation);
    Ok(sent)
}

#[cfg(not(unix))]
fn child(_: &[OsString], _: &Context) -> Result<bool, CliError> {
    Err(CliError::usage(format!("`{WORD}` is not for people")))
}

/// The network, on which nothing polite ends us once the token has begun to leave; before that, any
/// signal does, and the lock is free.
#[cfg(unix)]
struct Committed<'a>(&'a dyn HttpClient);

#[cfg(unix)]
impl HttpClient for Committed<'_> {
    fn send(&self, request: HttpRequest) -> Sending<'_> {
        let gate = request.gate().cloned();
        let request = request.gated(Arc::new(move || {
            let may_go = gate.as_ref().is_none_or(|gate| gate());
            if may_go {
                ignore_signals();
            }
            may_go
        }));
        self.0.send(request)
    }
}

/// Ends this process after `lifetime`, whatever it waits for: a disk, another process, a file of
/// certificates. What was done so far is on the disk, as after any other end.
#[cfg(unix)]
#[expect(clippy::exit, reason = "the thread that hangs is another one")]
fn end_after(lifetime: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(lifetime);
        std::process::exit(i32::from(Exit::TryLater as u8));
    });
}

/// Far more than a refresh takes: a lock is waited for one minute, the issuer twenty seconds.
#[cfg(unix)]
const LIFETIME: Duration = Duration::from_mins(5);

/// From now on ordinary signals do not end us: the response must be saved first. The deadline of the
/// request limits how long that can take.
#[cfg(unix)]
fn ignore_signals() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    hardening::handle_signals([SIGINT, SIGTERM, SIGHUP, SIGQUIT]);
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
        let sink = sink::for_agent(&agent, &config, &context).unwrap();
        let said = |text: &str| {
            let key = TokenKey::new("endpoint", "client", &"refresh".into());
            let lock = sink.records.lock(key, Duration::from_mins(1)).unwrap();
            let mut command = Command::new("printf");
            command.arg(text);
            in_child(command, lock, &sink, false, &|| {})
        };
        for text in ["", "{\"sent\"", "{\"sent\": true} \\377"] {
            assert!(!said(text).unwrap(), "{text}");
        }
        // The control.
        assert!(said("{\"sent\": true}").unwrap());
    }
}
