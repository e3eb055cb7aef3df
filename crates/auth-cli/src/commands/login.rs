//! `models auth login`: in a browser, in one step or in two.

use std::io::Write;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use auth_pkce::CallbackError;
use auth_providers::{
    Begun, Flow, Login, LoginError, LoginUi, PendingLogins, Provider, Providers, login,
};
use auth_store::{Kind, ProfileId, ProviderId};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::agent::Agent;
use crate::args::{Global, LoginArgs};
use crate::browser::Opener;
use crate::config::Config;
use crate::config_edit;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::person;
use crate::save::{self, Wish};
use crate::text::printable;
use crate::worker;

/// Logs in, begins a login, or finishes one.
pub fn run(args: &LoginArgs, global: &Global, context: &mut Context) -> Result<Exit, CliError> {
    if let Some(answer) = &args.finish {
        return finish(answer, args, global, context);
    }
    let config = Config::load(context)?;
    let agent = Agent::of(global, &config, context)?;
    let sink = worker::sink(&agent, &config, context);
    let provider = find(args.provider.as_deref().unwrap_or_default(), &sink.providers)?.clone();
    check_method(args, &provider)?;
    save::check_store(&sink)?;
    if args.start {
        return start(args, &agent, &provider, global, context);
    }

    let mut entropy = [0; 96];
    fill(&mut entropy, context)?;
    let lines = person::lines(context);
    let talk = std::mem::replace(&mut context.stderr, Box::new(std::io::sink()));
    let person = Person {
        label: printable(&provider.label),
        opener: if args.no_browser { None } else { Opener::of(context) },
        talk: Mutex::new(talk),
        lines: tokio::sync::Mutex::new(lines),
        is_exchanging: AtomicBool::new(false),
    };
    let wish = Wish { profile: args.profile_id.as_deref().map(ProfileId::from), force: args.force };
    let ended = person::run(async {
        let logging_in = login(&provider, entropy, &*sink.http, &person, &*sink.clock);
        let finished = until_interrupted(logging_in, &person).await?.map_err(explain)?;
        let saved = save::login(&finished.login, &wish, &provider, &agent, &sink).await;
        let login = finished.login.clone();
        match &saved {
            Ok(_) => finished.succeed().await,
            Err(error) if error.exit == Exit::Usage => finished.refuse().await,
            Err(_) => finished.fail().await,
        }
        saved.map(|id| (id, login))
    });
    context.stderr = person.talk.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (id, login) = ended??;
    report(&id, &login, &agent, &provider, args.set_default, global, context)
}

/// `--start`: the address, and nothing that runs on.
fn start(
    args: &LoginArgs,
    agent: &Agent,
    provider: &Provider,
    global: &Global,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let mut entropy = [0; 112];
    fill(&mut entropy, context)?;
    let note = json!({
        "agentId": agent.id,
        "agentDir": agent.directory.to_str(),
        "profileId": args.profile_id,
        "force": args.force,
        "setDefault": args.set_default,
    });
    let (pending, http) = (pending(context), worker::client(context));
    let begun = person::run(pending.start(provider, note, entropy, &http, &*context.clock))?
        .map_err(explain)?;
    if global.json {
        context.print_json(&json!({
            "loginId": begun.id,
            "url": begun.url,
            "redirectUri": begun.redirect_uri,
            "expires": begun.expires,
        }))?;
        return Ok(Exit::Done);
    }
    context.say(format_args!(
        "Open this address within ten minutes and log in to {}:",
        printable(&provider.label)
    ));
    context.print(&begun.url)?;
    context.say(format_args!(
        "The browser ends on an address that begins with {}, and shows an error there. Copy that address, then:",
        begun.redirect_uri
    ));
    context.say("  clawdbot models auth login --finish -");
    Ok(Exit::Done)
}

/// `--finish`: with the address the browser ended on.
fn finish(
    answer: &str,
    args: &LoginArgs,
    global: &Global,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let pasted = match answer {
        "-" => person::everything(context)?,
        answer => answer.to_owned(),
    };
    let config = Config::load(context)?;
    let pending = pending(context);
    let providers = crate::view::providers(context);
    let answered = pending.answered(&pasted, &providers, context.now()).map_err(explain)?;
    let note = answered.note.clone();
    let agent = match &global.agent {
        Some(_) => Agent::of(global, &config, context)?,
        None => agent_of(&note).map_or_else(|| Agent::of(global, &config, context), Ok)?,
    };
    let sink = worker::sink(&agent, &config, context);
    save::check_store(&sink)?;
    let requested = args.profile_id.as_deref().or(note["profileId"].as_str());
    let wish = Wish {
        profile: requested.map(ProfileId::from),
        force: args.force || note["force"] == true,
    };
    let provider = answered.provider().clone();
    let (id, login) = person::run(async {
        let login = answered.finish(&*sink.http, &*sink.clock).await.map_err(explain)?;
        let id = save::login(&login, &wish, &provider, &agent, &sink).await?;
        Ok::<_, CliError>((id, login))
    })??;
    let set_default = args.set_default || note["setDefault"] == true;
    report(&id, &login, &agent, &provider, set_default, global, context)
}

fn agent_of(note: &Value) -> Option<Agent> {
    let id = note["agentId"].as_str()?.to_owned();
    Some(Agent { id, directory: PathBuf::from(note["agentDir"].as_str()?) })
}

fn pending(context: &Context) -> PendingLogins {
    PendingLogins::at(context.paths().state_dir.join("logins"))
}

/// Says what was saved, and what the person should know about it.
fn report(
    id: &ProfileId,
    login: &Login,
    agent: &Agent,
    provider: &Provider,
    set_default: bool,
    global: &Global,
    context: &mut Context,
) -> Result<Exit, CliError> {
    for warning in &login.warnings {
        context.say(format_args!("warning: {}", printable(warning)));
    }
    save::declare(id, &login.provider, Kind::OAuth, login.email.as_deref(), context);
    let default = if set_default { set_default_model(provider, context)? } else { None };
    if global.json {
        context.print_json(&json!({
            "agentId": agent.id,
            "profileId": id,
            "provider": login.provider,
            "type": "oauth",
            "accountId": login.account_id,
            "email": login.email,
            "expires": login.credential.expires(),
            "defaultModel": default,
        }))?;
        return Ok(Exit::Done);
    }
    let who = match &login.email {
        Some(email) => format!(" as {}", printable(email)),
        None => String::new(),
    };
    context.print(format_args!(
        "Logged in to {}{who}: profile `{id}` of the agent `{}`.",
        printable(&provider.label),
        agent.id
    ))?;
    if let Some(model) = default {
        context.print(format_args!("The default model is {model}."))?;
    }
    Ok(Exit::Done)
}

/// The model that is the default one now.
fn set_default_model(
    provider: &Provider,
    context: &mut Context,
) -> Result<Option<String>, CliError> {
    let Some(model) = provider.default_model.clone() else {
        context.say(format_args!(
            "warning: no model is suggested for `{}`; set `agents.defaults.model.primary` in the config",
            provider.id
        ));
        return Ok(None);
    };
    config_edit::set_default_model(&context.paths().config, &model)?;
    Ok(Some(model))
}

/// The provider that is meant. A wrong manifest of that name is an error, even where the
/// catalogue has one: the person wrote it to be used.
pub(crate) fn find<'a>(name: &str, providers: &'a Providers) -> Result<&'a Provider, CliError> {
    let id = ProviderId::new(name);
    let found = providers.find(&id);
    let wanted = found.map_or(&id, |provider| &provider.id);
    let wrong = providers.errors().iter().find(|error| {
        let stem = error.path.file_stem().map(|stem| ProviderId::new(&stem.to_string_lossy()));
        stem.as_ref() == Some(wanted)
    });
    if let Some(error) = wrong {
        return Err(CliError::new(Exit::Usage, "manifest", error.to_string())
            .hint("correct the manifest, then log in again")
            .path(&error.path));
    }
    found.ok_or_else(|| {
        let message = format!("there is no provider `{}`", printable(name));
        CliError::new(Exit::Usage, "unknown_provider", message)
            .hint("see what there is: clawdbot plugins list; or describe it in a manifest")
    })
}

fn check_method(args: &LoginArgs, provider: &Provider) -> Result<(), CliError> {
    let wanted = match args.method.as_deref() {
        _ if args.device_code => Some("device_code"),
        Some("oauth" | "browser" | "authorization_code") | None => None,
        Some(method) => Some(method),
    };
    if let Some(method) = wanted {
        let message = format!("`{}` has no login by `{}` here", provider.id, printable(method));
        return Err(CliError::usage(message).hint(other_ways(provider)));
    }
    if !provider.flows.contains(&Flow::AuthorizationCode) {
        let message = format!("`{}` has no login in a browser", provider.id);
        return Err(CliError::usage(message).hint(other_ways(provider)));
    }
    Ok(())
}

/// What the person can do instead.
fn other_ways(provider: &Provider) -> String {
    let id = &provider.id;
    let ways = provider.flows.iter().filter_map(|flow| match flow {
        Flow::AuthorizationCode => Some(format!("clawdbot models auth login --provider {id}")),
        Flow::Token => Some(match &provider.token.obtain {
            Some(command) => {
                format!("`{command}`, then clawdbot models auth setup-token --provider {id}")
            }
            None => format!("clawdbot models auth paste-token --provider {id}"),
        }),
        Flow::ApiKey => Some(format!("clawdbot models auth paste-api-key --provider {id}")),
        _ => None,
    });
    let ways: Vec<_> = ways.collect();
    match ways.as_slice() {
        [] => format!(
            "this version cannot log in to `{id}` yet; paste a token: clawdbot models auth paste-token --provider {id}"
        ),
        ways => format!("use {}", ways.join(", or ")),
    }
}

fn fill(entropy: &mut [u8], context: &Context) -> Result<(), CliError> {
    (context.entropy)(entropy).map_err(|error| {
        let message = format!("the system gives no random bytes: {error}");
        CliError::new(Exit::TryLater, "no_entropy", message)
    })
}

/// What went wrong, and what to do next.
fn explain(error: LoginError) -> CliError {
    let new = |exit, code| CliError::new(exit, code, error.to_string());
    match &error {
        LoginError::NoSuchFlow { .. } => new(Exit::Usage, "no_such_flow"),
        LoginError::Misconfigured { .. } => new(Exit::Usage, "provider")
            .hint("correct the provider's manifest or the environment, then log in again"),
        LoginError::Answer(answer) if answer.ends_login() => new(Exit::LogInAgain, "refused")
            .hint("begin again, and agree to what the provider asks"),
        LoginError::Answer(CallbackError::StateMismatch) => new(Exit::Usage, "state_mismatch")
            .hint("use the address that the browser ended on in this login; it is still waiting"),
        LoginError::Answer(_) => new(Exit::Usage, "not_an_answer")
            .hint("copy the whole address that the browser ended on; the login is still waiting"),
        LoginError::Refused { .. } => {
            new(Exit::LogInAgain, "refused").hint("begin again; a code is good for one login only")
        }
        LoginError::Unavailable { .. } => {
            new(Exit::TryLater, "unavailable").hint("nothing was stored; begin again")
        }
        LoginError::Untrusted { .. } => {
            new(Exit::LogInAgain, "untrusted").hint("nothing was stored; begin again")
        }
        LoginError::TimedOut(_) => new(Exit::LogInAgain, "timed_out").hint("begin again"),
        LoginError::Deaf { .. } => new(Exit::Usage, "deaf")
            .hint("log in in two steps: add --start, then clawdbot models auth login --finish -"),
        LoginError::NoneBegun => new(Exit::Usage, "none_begun").hint(
            "begin one: clawdbot models auth login --provider PROVIDER --start; each can be finished once, within ten minutes",
        ),
        LoginError::Store(_) => match error {
            LoginError::Store(error) => error.into(),
            _ => new(Exit::CannotWrite, "store"),
        },
    }
}

/// The outcome of `login`, unless Ctrl-C comes first. Once the code is being exchanged it no
/// longer counts: what the provider gives out then must be saved.
async fn until_interrupted<T>(
    login: impl Future<Output = T>,
    person: &Person,
) -> Result<T, CliError> {
    let mut login = std::pin::pin!(login);
    loop {
        tokio::select! {
            outcome = &mut login => return Ok(outcome),
            signal = tokio::signal::ctrl_c() => match signal {
                Ok(()) if !person.is_exchanging.load(Ordering::SeqCst) => {
                    return Err(person::interrupted());
                }
                Ok(()) => person.say("The login is being saved."),
                // Signals cannot be heard here; they end the program by themselves.
                Err(_) => return Ok(login.await),
            },
        }
    }
}

/// The person at our standard streams.
struct Person {
    label: String,
    opener: Option<Opener>,
    talk: Mutex<Box<dyn Write + Send>>,
    lines: tokio::sync::Mutex<UnboundedReceiver<String>>,
    is_exchanging: AtomicBool,
}

impl Person {
    fn say(&self, line: &str) {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        let _nobody_listens = writeln!(talk, "{line}").and_then(|()| talk.flush());
    }
}

impl LoginUi for Person {
    fn begin(&self, begun: &Begun<'_>) {
        self.say(&format!("Log in to {} in a browser:", self.label));
        self.say("");
        self.say(begun.url);
        self.say("");
        if let Some(error) = begun.unbound {
            self.say(&format!("Only the paste can end this login: {error}."));
        }
        let port = begun.redirect_uri.rsplit(':').next().and_then(|rest| rest.split('/').next());
        let port = port.unwrap_or_default();
        self.say(&format!(
            "Browser on another machine? There: ssh -L {port}:127.0.0.1:{port} THIS-HOST"
        ));
        self.say(&format!(
            "Or paste the address the browser ends on ({}…) here, and nowhere else:",
            begun.redirect_uri
        ));
        if let Some(opener) = &self.opener {
            opener.open(begun.url);
        }
    }

    fn pasted(&self) -> Pin<Box<dyn Future<Output = Option<String>> + Send + '_>> {
        Box::pin(async {
            let mut lines = self.lines.lock().await;
            loop {
                let line = lines.recv().await?;
                if !line.trim().is_empty() {
                    return Some(line);
                }
            }
        })
    }

    fn refused(&self, error: &CallbackError) {
        self.say(&format!("That is not it: {error}. The login goes on."));
    }

    fn exchanging(&self) {
        self.is_exchanging.store(true, Ordering::SeqCst);
        self.say("The answer is there.");
    }
}
