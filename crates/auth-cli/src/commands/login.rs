//! `models auth login`: in a browser or with a device code, in one step or in two.

use std::path::PathBuf;

use auth_pkce::CallbackError;
use auth_providers::{
    Finished, Flow, Login, LoginError, PendingLogins, Provider, Providers, RealTime, Way,
    device_login, login,
};
use auth_store::{ProfileId, ProviderId};
use serde_json::{Value, json};

use super::plugin_login;
use crate::agent::Agent;
use crate::args::{CopilotArgs, Global, LoginArgs, PasteApiKeyArgs, SetupTokenArgs};
use crate::commands::paste;
use crate::config::Config;
use crate::config_edit;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::login_person::Person;
use crate::login_way::{self, Chosen};
use crate::save::{self, Owner, Wish};
use crate::shell_words::option;
use crate::text::{printable, utc};
use crate::worker;
use crate::{person, runtime_cache, share};

/// Logs in, begins a login, or finishes one.
pub fn run(args: &LoginArgs, global: &Global, context: &mut Context) -> Result<Exit, CliError> {
    if let Some(answer) = &args.finish {
        return finish(answer, args, global, context);
    }
    let config = Config::load(context)?;
    let agent = Agent::of(global, &config, context)?;
    let sink = worker::sink(&agent, &config, context)?;
    let name = match &args.provider {
        Some(name) => name.clone(),
        None => login_way::choose_provider(&sink.providers, context)?,
    };
    let provider = find(&name, &sink.providers)?.clone();
    let flow = match login_way::of(args, &provider, context)? {
        Chosen::Flow(Flow::Plugin) => {
            return plugin_login::run(args, &agent, &provider, &sink, global, context);
        }
        Chosen::Flow(flow) => flow,
        Chosen::Token => {
            return paste::setup_token(&pasted_token(args, &provider), global, context);
        }
        Chosen::ApiKey => {
            return paste::paste_api_key(&pasted_key(args, &provider), global, context);
        }
    };
    save::check_store(&sink)?;
    if args.start {
        return start(args, &agent, &provider, flow, global, context);
    }
    save::check_room(&sink)?;

    let mut entropy = [0; 96];
    fill(&mut entropy, context)?;
    let person = Person::new(&provider.label, !flow.is_device_code(), args.no_browser, context);
    let wish = Wish {
        profile: args.profile_id.as_deref().map(ProfileId::from),
        force: args.force,
        owner: Owner::of(&agent, &config, context)?,
    };
    let ended = person::run(async {
        let (http, clock) = (&*sink.http, &*sink.clock);
        let logging_in = async {
            if !flow.is_device_code() {
                return login(&provider, flow, entropy, http, &person, clock).await;
            }
            let mut parts = [0; 64];
            parts.copy_from_slice(&entropy[..64]);
            let login = device_login(&provider, flow, parts, http, &person, clock, &RealTime);
            Ok(Finished { login: login.await?, browser: None })
        };
        let finished = person.until_interrupted(logging_in).await?.map_err(explain)?;
        let saved = save::login(&finished.login, &wish, &provider, &agent, &sink).await;
        let login = finished.login.clone();
        match &saved {
            Ok(_) => finished.succeed().await,
            Err(error) if error.exit == Exit::Usage => finished.refuse().await,
            Err(_) => finished.fail().await,
        }
        saved.map(|id| (id, login))
    });
    person.give_back(context);
    let (id, login) = ended??;
    report(&id, &login, &agent, &provider, args.set_default, global, context)
}

/// `login-github-copilot`, as people know it from Clawdbot.
pub fn copilot(
    args: &CopilotArgs,
    global: &Global,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let args = LoginArgs {
        provider: Some("github-copilot".to_owned()),
        profile_id: args.profile_id.clone(),
        force: args.yes,
        ..LoginArgs::default()
    };
    run(&args, global, context)
}

/// `add`: asks for the provider, and for the way where it has several.
pub fn add(global: &Global, context: &mut Context) -> Result<Exit, CliError> {
    let providers = crate::view::providers(context);
    let name = login_way::choose_provider(&providers, context)?;
    let method = login_way::choose_method(find(&name, &providers)?, context)?;
    let args = LoginArgs { provider: Some(name), method, ..LoginArgs::default() };
    run(&args, global, context)
}

/// `--start`: the address or the code, and nothing that runs on.
fn start(
    args: &LoginArgs,
    agent: &Agent,
    provider: &Provider,
    flow: Flow,
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
    let begun = person::run(pending.start(provider, flow, note, entropy, &http, &*context.clock))?
        .map_err(explain)?;
    match &begun.way {
        Way::Browser { url, redirect_uri } if global.json => context.print_json(&json!({
            "loginId": begun.id, "url": url, "redirectUri": redirect_uri, "expires": begun.expires,
        }))?,
        Way::Device(code) if global.json => context.print_json(&json!({
            "loginId": begun.id,
            "userCode": code.user_code,
            "verificationUri": code.verification_uri,
            "verificationUriComplete": code.verification_uri_complete,
            "interval": code.interval.as_secs(),
            "expires": begun.expires,
        }))?,
        Way::Browser { url, redirect_uri } => {
            context.say(format_args!(
                "Open this address within ten minutes and log in to {}:",
                printable(&provider.label)
            ));
            context.print(url)?;
            context.say(format_args!(
                "The browser ends on an address that begins with {redirect_uri}, and shows an error there. Copy that address, then:"
            ));
            context.say("  clawdbot models auth login --finish -");
        }
        Way::Device(code) => {
            context.say(format_args!(
                "To log in to {}, open {} before {} and enter:",
                printable(&provider.label),
                code.verification_uri,
                utc(begun.expires)
            ));
            context.print(&code.user_code)?;
            context.say("Then, or at once, since it waits:");
            context.say(format_args!("  clawdbot models auth login --finish {}", begun.id));
        }
    }
    Ok(Exit::Done)
}

/// `--finish`: with the address the browser ended on, or with the id of a login by device code.
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
    let sink = worker::sink(&agent, &config, context)?;
    save::check_room(&sink)?;
    let requested = args.profile_id.as_deref().or(note["profileId"].as_str());
    let wish = Wish {
        profile: requested.map(ProfileId::from),
        force: args.force || note["force"] == true,
        owner: Owner::of(&agent, &config, context)?,
    };
    let provider = answered.provider().clone();
    let person = Person::new(&provider.label, false, true, context);
    let ended = person::run(async {
        let finishing = answered.finish(&*sink.http, &person, &*sink.clock, &RealTime);
        let login = person.until_interrupted(finishing).await?.map_err(explain)?;
        let id = save::login(&login, &wish, &provider, &agent, &sink).await?;
        Ok::<_, CliError>((id, login))
    });
    person.give_back(context);
    let (id, login) = ended??;
    let set_default = args.set_default || note["setDefault"] == true;
    report(&id, &login, &agent, &provider, set_default, global, context)
}

fn pasted_token(args: &LoginArgs, provider: &Provider) -> SetupTokenArgs {
    SetupTokenArgs {
        provider: provider.id.to_string(),
        profile_id: args.profile_id.clone(),
        yes: false,
        force: args.force,
    }
}

fn pasted_key(args: &LoginArgs, provider: &Provider) -> PasteApiKeyArgs {
    PasteApiKeyArgs {
        provider: provider.id.to_string(),
        profile_id: args.profile_id.clone(),
        force: args.force,
        ..PasteApiKeyArgs::default()
    }
}

fn agent_of(note: &Value) -> Option<Agent> {
    let id = note["agentId"].as_str()?.to_owned();
    Some(Agent { id, directory: PathBuf::from(note["agentDir"].as_str()?) })
}

fn pending(context: &Context) -> PendingLogins {
    PendingLogins::at(context.paths().state_dir.join("logins"))
}

/// Says what was saved, and what the person should know about it.
pub(super) fn report(
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
    let agent = &share::holder(agent, id, &Config::load(context)?, context)?;
    let kind = login.credential.kind();
    save::declare(id, &login.provider, kind, login.email.as_deref(), context);
    runtime_cache::follow_anew(agent, context);
    let default = if set_default { set_default_model(provider, context)? } else { None };
    if global.json {
        context.print_json(&json!({
            "agentId": agent.id,
            "profileId": id,
            "provider": login.provider,
            "type": kind.as_str(),
            "accountId": login.account_id,
            "email": login.email,
            "expires": login.credential.expires(),
            "defaultModel": default,
            "warnings": login.warnings,
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

fn fill(entropy: &mut [u8], context: &Context) -> Result<(), CliError> {
    (context.entropy)(entropy).map_err(|error| {
        let message = format!("the system gives no random bytes: {error}");
        CliError::new(Exit::TryLater, "no_entropy", message)
    })
}

/// What went wrong, and what to do next.
pub(super) fn explain(error: LoginError) -> CliError {
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
        LoginError::NoDeviceLogin { provider } => new(Exit::Usage, "no_device_login").hint(format!(
            "switch device codes on in the security settings there, or log in with a browser: clawdbot models auth login{}",
            option("--provider", provider)
        )),
        LoginError::CodeEnded => {
            new(Exit::LogInAgain, "code_ended").hint("begin again; nothing was stored")
        }
        LoginError::TimedOut(_) => new(Exit::LogInAgain, "timed_out").hint("begin again"),
        LoginError::Deaf { .. } => new(Exit::Usage, "deaf")
            .hint("log in in two steps: add --start, then clawdbot models auth login --finish -"),
        LoginError::Canceled => new(Exit::LogInAgain, "canceled").hint("nothing was stored"),
        LoginError::Plugin { .. } => new(Exit::Usage, "plugin")
            .hint("nothing was stored; what it does wrong shows: clawdbot plugins check PATH"),
        LoginError::NoneBegun => new(Exit::Usage, "none_begun").hint(
            "begin one: clawdbot models auth login --provider PROVIDER --start; each can be finished once, within ten minutes",
        ),
        LoginError::Store(_) => match error {
            LoginError::Store(error) => error.into(),
            _ => new(Exit::CannotWrite, "store"),
        },
    }
}
