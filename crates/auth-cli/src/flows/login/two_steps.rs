//! A login in two steps: one command prints the address or the code, another one finishes.

use std::path::PathBuf;

use auth_providers::{Flow, PendingLogins, Provider, RealTime, Way};
use auth_store::{ProfileId, paths};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::config::Config;
use crate::flows::login::error::explain;
use crate::flows::login::request::LoginRequest;
use crate::flows::login::saved::report;
use crate::flows::login::ui::Person;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::global::Global;
use crate::host::network;
use crate::host::process::runtime;
use crate::host::prompt;
use crate::host::text::{printable, utc};
use crate::profiles::save::{self, Owner, Wish};
use crate::profiles::sink;

/// `--start`: the address or the code, and nothing that runs on.
pub(super) fn start(
    request: &LoginRequest,
    agent: &Agent,
    provider: &Provider,
    flow: Flow,
    global: &Global,
    context: &Context,
) -> Result<Exit, CliError> {
    let mut entropy = [0; 112];
    context.fill_random(&mut entropy)?;
    let note = json!({
        "agentId": agent.id,
        "agentDir": agent.directory.to_str(),
        "profileId": request.profile_id,
        "force": request.force,
        "setDefault": request.set_default,
    });
    let (pending, http) = (pending(context), network::client(context));
    let begun = runtime::run(pending.start(provider, flow, note, entropy, &http, &*context.clock))?
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
pub fn finish(
    answer: &str,
    request: &LoginRequest,
    global: &Global,
    context: &Context,
) -> Result<Exit, CliError> {
    let pasted = match answer {
        "-" => prompt::everything(context)?,
        answer => answer.to_owned(),
    };
    let config = Config::load(context)?;
    let pending = pending(context);
    let providers = crate::profiles::view::providers(context);
    let answered = pending.answered(&pasted, &providers, context.now()).map_err(explain)?;
    let note = answered.note.clone();
    let agent = match &global.agent {
        Some(_) => Agent::of(global, &config, context)?,
        None => agent_of(&note).map_or_else(|| Agent::of(global, &config, context), Ok)?,
    };
    let sink = sink::for_agent(&agent, &config, context)?;
    save::check_room(&sink)?;
    let requested = request.profile_id.as_deref().or(note["profileId"].as_str());
    let wish = Wish {
        profile: requested.map(ProfileId::from),
        force: request.force || note["force"] == true,
        owner: Owner::of(&agent, &config, context)?,
    };
    let provider = answered.provider().clone();
    let person = Person::new(&provider.label, false, true, context);
    let ended = runtime::run(async {
        let finishing = answered.finish(&*sink.http, &person, &*sink.clock, &RealTime);
        let login = person.until_interrupted(finishing).await?.map_err(explain)?;
        let id = save::login(&login, &wish, &provider, &agent, &sink).await?;
        Ok::<_, CliError>((id, login))
    });
    person.give_back(context);
    let (id, login) = ended??;
    let set_default = request.set_default || note["setDefault"] == true;
    report(&id, &login, &agent, &provider, set_default, global, context)
}

fn agent_of(note: &Value) -> Option<Agent> {
    let id = note["agentId"].as_str()?.to_owned();
    Some(Agent { id, directory: PathBuf::from(note["agentDir"].as_str()?) })
}

fn pending(context: &Context) -> PendingLogins {
    PendingLogins::at(paths::pending_logins(&context.paths().state_dir))
}
