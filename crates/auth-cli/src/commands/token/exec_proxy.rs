//! `models auth exec --proxy`: the program gets a base URL and a token that is worth nothing
//! elsewhere, for exactly its own life; the credential stays here.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitStatus;
use std::sync::Arc;

use auth_gateway::{Client, ClientToken, Clients, Hosts, Phase, Server};
use auth_store::{ProfileId, ProviderId, VariableName};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::agent::invocation::Invocation;
use crate::commands::token::exec_args::{ExecArgs, WantedArgs};
use crate::commands::token::exec_env::{chosen, not_run};
use crate::flows::gateway::{self, not_open};
use crate::host::error::{CliError, Exit};
use crate::host::process::launch::{self, Program};
use crate::host::process::runtime;
use crate::host::report::Report;
use crate::profiles::view::{self, View};

/// Runs the program beside a server of its own, and ends as it did.
pub(super) fn run(args: &ExecArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    let program = chosen(args, invocation)?;
    let (client, token) = client(&args.wanted, invocation)?;
    let apis = gateway::apis(context);
    let providers = view::providers(context);
    if let Some(unknown) = client.providers.iter().find(|it| !apis.contains_key(it)) {
        let message =
            format!("the API of `{unknown}` is not known here, so there is no proxy to it");
        return Err(
            CliError::usage(message).hint("leave out --proxy, or describe its `api` in a manifest")
        );
    }
    let mut variables = Variables::default();
    for provider in &client.providers {
        let known = providers.find(provider);
        variables.add(provider, &apis[provider], known.map_or(&[][..], |it| &it.env), args);
    }
    let runtime = gateway::runtime()?;
    let gateway = gateway::gateway(Clients::in_memory(vec![client]), Hosts::default(), context)?;
    context.flush()?;
    let ended = runtime.block_on(async {
        let mut server = Server::without_state(Arc::clone(&gateway));
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let address = server.listen(any_port).await.map_err(not_open)?;
        let (phase, receiver) = watch::channel(Phase::Serving);
        let serving = tokio::spawn(server.run(receiver));
        let ended = end_of(start(args, &program, &variables, address, &token)?).await;
        // Whoever asked is gone.
        let _ = phase.send(Phase::Over);
        let _ = serving.await;
        ended
    });
    gateway.accounts().finish();
    launch::end_like(ended?)
}

/// The grant: what the arguments name, and nothing else.
fn client(
    wanted: &WantedArgs,
    invocation: &Invocation<'_>,
) -> Result<(Client, ClientToken), CliError> {
    let view = View::read(invocation)?;
    let known = view::providers(invocation.context);
    let canonical = |name: &str| {
        let asked = ProviderId::new(name);
        known.find(&asked).map_or(asked, |provider| provider.id.clone())
    };
    let mut providers: Vec<ProviderId> = wanted.provider.iter().map(|it| canonical(it)).collect();
    let profile = match &wanted.profile[..] {
        [] => None,
        [only] if providers.is_empty() => {
            let profile = view.profile(&ProfileId::new(only.as_str()))?;
            providers.push(profile.provider.clone());
            Some(profile.id.clone())
        }
        _ => {
            return Err(CliError::usage("a proxy is for providers, or for one profile")
                .hint("name one --profile and no --provider, or providers only"));
        }
    };
    if providers.is_empty() {
        providers.push(view.agent_model().provider);
    }
    let mut entropy = [0; 32];
    invocation.context.fill_random(&mut entropy)?;
    let (client, token) = Client::new("exec", &providers, entropy);
    let agent = invocation.named().map(crate::config::agent_id);
    let session = wanted.session.clone();
    Ok((Client { agent, profile, session, subscription: true, ..client }, token))
}

/// The variables of the program.
#[derive(Debug, Default)]
struct Variables {
    /// With the base URL of a provider.
    bases: Vec<(String, ProviderId)>,
    /// With the token.
    tokens: Vec<String>,
    /// Those in which a credential could be, which it must not see.
    without: Vec<String>,
}

impl Variables {
    fn add(
        &mut self,
        provider: &ProviderId,
        api: &auth_gateway::Api,
        env: &[VariableName],
        args: &ExecArgs,
    ) {
        let name = args.wanted.name.as_ref().map(|name| name.as_str().to_owned());
        let mut names = env.iter().map(VariableName::as_str);
        let of_keys = names.find(|name| !name.contains("OAUTH_TOKEN")).map(str::to_owned);
        let own = |end: &str| format!("{}_{end}", in_capitals(provider));
        self.tokens.push(name.or(of_keys).unwrap_or_else(|| own("API_KEY")));
        self.without.extend(env.iter().map(|name| name.as_str().to_owned()));
        let beside = BESIDE.iter().filter(|(id, _)| provider.as_str() == *id);
        self.without.extend(beside.flat_map(|(_, names)| names.iter().map(|&it| it.to_owned())));
        let bases = api.base_variables();
        if bases.is_empty() {
            self.bases.push((own("BASE_URL"), provider.clone()));
        }
        self.bases.extend(bases.iter().map(|name| (name.clone(), provider.clone())));
    }
}

fn in_capitals(provider: &ProviderId) -> String {
    let upper = provider.as_str().to_ascii_uppercase();
    let word = upper.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    word.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned()
}

fn start(
    args: &ExecArgs,
    program: &Program,
    variables: &Variables,
    address: SocketAddr,
    token: &ClientToken,
) -> Result<Child, CliError> {
    let mut command = program.command_with_everything();
    command.args(&args.command[1..]);
    for name in &variables.without {
        command.env_remove(name);
    }
    for (name, provider) in &variables.bases {
        command.env(name, format!("http://{address}/{provider}"));
    }
    for name in &variables.tokens {
        command.env(name, token.expose());
    }
    let program = args.command[0].to_string_lossy();
    Command::from(command).spawn().map_err(|error| not_run(Exit::NotExecutable, &program, &error))
}

/// Waits for the end of the program. What a terminal tells us it tells the program, too; what
/// somebody else tells us is passed on.
#[cfg(unix)]
async fn end_of(mut child: Child) -> Result<ExitStatus, CliError> {
    use rustix::process::{Pid, Signal, kill_process};
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| runtime::not_started(&error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(failed)?;
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let pass_on = |signal| {
        if let Some(id) = id {
            // It may have ended.
            let _ = kill_process(id, signal);
        }
    };
    loop {
        tokio::select! {
            ended = child.wait() => return ended.map_err(failed),
            _ = interrupt.recv() => {}
            _ = terminate.recv() => pass_on(Signal::TERM),
            _ = hang_up.recv() => pass_on(Signal::HUP),
        }
    }
}

#[cfg(not(unix))]
async fn end_of(mut child: Child) -> Result<ExitStatus, CliError> {
    child.wait().await.map_err(|error| runtime::not_started(&error))
}

/// Other variables from which programs of a provider take a credential.
const BESIDE: [(&str, &[&str]); 1] =
    [("anthropic", &["ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"])];
