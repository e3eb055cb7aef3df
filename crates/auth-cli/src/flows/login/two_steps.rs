//! A login in two steps: one command prints the address or the code, another one finishes.

use std::path::PathBuf;

use auth_providers::{Flow, PendingLogins, Provider, RealTime, Way};
use auth_store::{ProfileId, paths};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::agent::invocation::Invocation;
use crate::flows::login::error::explain;
use crate::flows::login::request::LoginRequest;
use crate::flows::login::saved::report;
use crate::flows::login::ui::TerminalUser;
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::network;
use crate::host::process::runtime;
use crate::host::prompt;
use crate::host::report::Report;
use crate::host::text::{printable, utc};
use crate::profiles::save::{self, LoginWanted, Owner};
use crate::profiles::sink;

/// `--start`: prints the address or the code, and leaves nothing running.
pub(super) fn start(
    request: &LoginRequest,
    provider: &Provider,
    flow: Flow,
    invocation: &Invocation<'_>,
) -> Result<Report, CliError> {
    let (agent, context) = (invocation.agent()?, invocation.context);
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
    Ok(match &begun.way {
        Way::Browser { url, redirect_uri } => {
            let mut report = Report::from_data(json!({
                "loginId": begun.id, "url": url, "redirectUri": redirect_uri, "expires": begun.expires,
            }));
            report.note(format_args!(
                "Open this address within ten minutes and log in to {}:",
                printable(&provider.label)
            ));
            report.line(url);
            report.note(format_args!(
                "The browser ends on an address that begins with {redirect_uri}, and shows an error there. Copy that address, then:"
            ));
            report.note("  clawdbot models auth login --finish -");
            report
        }
        Way::Device(code) => {
            let mut report = Report::from_data(json!({
                "loginId": begun.id,
                "userCode": code.user_code,
                "verificationUri": code.verification_uri,
                "verificationUriComplete": code.verification_uri_complete,
                "interval": code.interval.as_secs(),
                "expires": begun.expires,
            }));
            report.note(format_args!(
                "To log in to {}, open {} before {} and enter:",
                printable(&provider.label),
                code.verification_uri,
                utc(begun.expires)
            ));
            report.line(&code.user_code);
            report.note("Then, or at once, since it waits:");
            report.note(format_args!("  clawdbot models auth login --finish {}", begun.id));
            report
        }
    })
}

/// `--finish`: with the redirect URL from the browser, or with the id of a device login.
pub fn finish(
    response: &str,
    request: &LoginRequest,
    invocation: &Invocation<'_>,
) -> Result<Report, CliError> {
    let context = invocation.context;
    let pasted = match response {
        "-" => prompt::everything(context)?,
        response => response.to_owned(),
    };
    let config = invocation.config()?;
    let pending = pending(context);
    let providers = crate::profiles::view::providers(context);
    let answered = pending.answered(&pasted, &providers, context.now()).map_err(explain)?;
    let note = answered.note.clone();
    let begun_for = agent_of(&note).filter(|_| invocation.named().is_none());
    let agent = match begun_for {
        Some(agent) => agent,
        None => invocation.agent()?.clone(),
    };
    let sink = sink::for_agent(&agent, &config, context)?;
    save::check_room(&sink)?;
    let requested = request.profile_id.as_deref().or(note["profileId"].as_str());
    let wanted = LoginWanted {
        profile: requested.map(ProfileId::from),
        force: request.force || note["force"] == true,
        owner: Owner::for_agent(&agent, &config, context)?,
    };
    let provider = answered.provider().clone();
    let user = TerminalUser::new(&provider.label, false, true, context);
    let ended = runtime::run(async {
        let finishing = answered.finish(&*sink.http, &user, &*sink.clock, &RealTime);
        let login = user.until_interrupted(finishing).await?.map_err(explain)?;
        let id = save::login(&login, &wanted, &provider, &agent, &sink).await?;
        Ok::<_, CliError>((id, login))
    });
    user.give_back(context);
    let (id, login) = ended??;
    let set_default = request.set_default || note["setDefault"] == true;
    report(&id, &login, &agent, &provider, set_default, invocation)
}

fn agent_of(note: &Value) -> Option<Agent> {
    let id = note["agentId"].as_str()?.to_owned();
    Some(Agent { id, directory: PathBuf::from(note["agentDir"].as_str()?) })
}

fn pending(context: &Context) -> PendingLogins {
    PendingLogins::at(paths::pending_logins(&context.paths().state_dir))
}
