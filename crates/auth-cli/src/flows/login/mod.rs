//! Login in a browser or with a device code, in one step or in two.

pub mod error;
pub mod plugin;
pub mod qr;
pub mod request;
pub mod saved;
pub mod two_steps;
pub mod ui;

use auth_providers::{Finished, Flow, RealTime, device_login, login};
use auth_store::ProfileId;

use crate::agent::invocation::Invocation;
use crate::flows::login::error::explain;
use crate::flows::login::request::LoginRequest;
use crate::flows::login::saved::report;
use crate::flows::login::two_steps::start;
use crate::flows::login::ui::TerminalUser;
use crate::flows::paste;
use crate::host::error::{CliError, Exit};
use crate::host::process::runtime;
use crate::host::report::Report;
use crate::profiles::login_method::{self, Chosen};
use crate::profiles::save::{self, LoginWanted, Owner};
use crate::profiles::sink;

/// Logs in, or begins a login.
pub fn run(request: &LoginRequest, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let (config, agent, context) = (invocation.config()?, invocation.agent()?, invocation.context);
    let sink = sink::for_agent(agent, &config, context)?;
    let name = match &request.provider {
        Some(name) => name.clone(),
        None => login_method::choose_provider(&sink.providers, context)?,
    };
    let provider = login_method::find(&name, &sink.providers)?.clone();
    let flow =
        match login_method::choose(request.method.as_deref(), request.start, &provider, context)? {
            Chosen::Flow(Flow::Plugin) => {
                return plugin::run(request, &provider, &sink, invocation);
            }
            Chosen::Flow(flow) => flow,
            Chosen::Token => return paste::run(&request.pasted_token(&provider), invocation),
            Chosen::ApiKey => return paste::run(&request.pasted_key(&provider), invocation),
        };
    save::check_store(&sink)?;
    if request.start {
        return start(request, &provider, flow, invocation);
    }
    save::check_room(&sink)?;

    let mut entropy = [0; 96];
    context.fill_random(&mut entropy)?;
    let user =
        TerminalUser::new(&provider.label, !flow.is_device_code(), request.no_browser, context);
    let wanted = LoginWanted {
        profile: request.profile_id.as_deref().map(ProfileId::from),
        force: request.force,
        owner: Owner::for_agent(agent, &config, context)?,
    };
    let ended = runtime::run(async {
        let (http, clock) = (&*sink.http, &*sink.clock);
        let logging_in = async {
            if !flow.is_device_code() {
                return login(&provider, flow, entropy, http, &user, clock).await;
            }
            let mut parts = [0; 64];
            parts.copy_from_slice(&entropy[..64]);
            let login = device_login(&provider, flow, parts, http, &user, clock, &RealTime);
            Ok(Finished { login: login.await?, browser: None })
        };
        let finished = user.until_interrupted(logging_in).await?.map_err(explain)?;
        let saved = save::login(&finished.login, &wanted, &provider, agent, &sink).await;
        let login = finished.login.clone();
        match &saved {
            Ok(_) => finished.succeed().await,
            Err(error) if error.exit == Exit::Usage => finished.refuse().await,
            Err(_) => finished.fail().await,
        }
        saved.map(|id| (id, login))
    });
    user.give_back(context);
    let (id, login) = ended??;
    report(&id, &login, agent, &provider, request.set_default, invocation)
}
