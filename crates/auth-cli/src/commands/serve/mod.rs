//! `serve`: failover that happens by itself, and one door instead of the whole store.

pub mod args;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use auth_gateway::{Clients, DoorError, Hosts, Phase, Server};
use tokio::sync::watch;

use crate::agent::invocation::Invocation;
use crate::commands::serve::args::ServeArgs;
use crate::flows::gateway;
use crate::flows::gateway::accounts::StoreAccounts;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::process::{notify, runtime};
use crate::host::report::Report;
use crate::host::shell_quote::word;

/// Serves until it is told to end, and everything that it has begun is finished.
pub fn run(args: &ServeArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    // What is wrong with them is said now, and not to the first program that asks.
    invocation.config()?;
    let state = context.paths().state_dir.clone();
    let clients = Clients::in_state_directory(&state);
    let known = clients.read().map_err(gateway::clients_error)?;
    if let Some(name) = &args.client
        && !known.iter().any(|client| client.name == *name)
    {
        return Err(CliError::usage(format!("there is no client `{name}`"))
            .hint(format!("clawdbot clients add {} --provider PROVIDER", word(name))));
    }
    let hosts = Hosts { allowed: args.allow_host.clone() };
    let runtime = gateway::runtime()?;
    let gateway = gateway::gateway(clients, hosts, context)?;
    let ended = runtime.block_on(async {
        let mut server = Server::new(Arc::clone(&gateway), &state).map_err(|it| not_open(it))?;
        let doors = open(&mut server, args, context).await?;
        let phase = signals()?;
        for door in doors {
            context.say(format_args!("listening on {door}"));
        }
        notify::ready(context);
        server.run(phase).await;
        notify::stopping(context);
        Ok(())
    });
    gateway.accounts().finish();
    ended.map(|()| Report::default())
}

/// Opens the doors. Returns how each is called.
async fn open(
    server: &mut Server<StoreAccounts>,
    args: &ServeArgs,
    context: &Context,
) -> Result<Vec<String>, CliError> {
    let mut doors = Vec::new();
    for address in &args.listen {
        doors.push(format!("http://{}", server.listen(*address).await.map_err(not_open)?));
    }
    if args.listen.is_empty() {
        let first = SocketAddr::from((Ipv4Addr::LOCALHOST, gateway::PORT));
        doors.push(format!("http://{}", server.listen(first).await.map_err(not_open)?));
        match server.listen((Ipv6Addr::LOCALHOST, gateway::PORT).into()).await {
            Ok(second) => doors.push(format!("http://{second}")),
            Err(error @ DoorError::PortTaken { .. }) => return Err(not_open(error)),
            // A machine without IPv6.
            Err(_) => {}
        }
    }
    let path = server.listen_for_owner().map_err(not_open)?;
    doors.push(format!("unix:{}", path.display()));
    if let (Some(path), Some(client)) = (&args.socket, &args.client) {
        let path = context.user_path(path);
        server.listen_for_client(&path, client).map_err(not_open)?;
        doors.push(format!("unix:{}, for `{client}`", path.display()));
    }
    Ok(doors)
}

/// SIGTERM, SIGINT and SIGHUP have everything finished that was begun; a second one ends at once.
fn signals() -> Result<watch::Receiver<Phase>, CliError> {
    let (phase, receiver) = watch::channel(Phase::Serving);
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let hear = |kind| signal(kind).map_err(|error| runtime::not_started(&error));
        let mut terminate = hear(SignalKind::terminate())?;
        let mut interrupt = hear(SignalKind::interrupt())?;
        let mut hang_up = hear(SignalKind::hangup())?;
        tokio::spawn(async move {
            for next in [Phase::Finishing, Phase::Over] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    _ = hang_up.recv() => {}
                }
                // The server may have ended.
                let _ = phase.send(next);
            }
            std::future::pending::<()>().await;
        });
    }
    Ok(receiver)
}

fn not_open(error: DoorError) -> CliError {
    let message = error.to_string();
    match error {
        DoorError::AlreadyServed { process, .. } => {
            let hint = match process {
                Some(process) => format!("use that one, or end it: kill {process}"),
                None => "use that one, or end it first".to_owned(),
            };
            CliError::new(Exit::TryLater, "already_served", message).hint(hint)
        }
        DoorError::PortTaken { address } => {
            let other = SocketAddr::new(address.ip(), address.port().wrapping_add(1).max(1024));
            CliError::new(Exit::TryLater, "port_taken", message).hint(format!(
                "see whose it is: ss -ltnp 'sport = :{}'; or take another: clawdbot serve --listen {other}", address.port()
            ))
        }
        DoorError::NotLoopback { address } => CliError::usage(message).hint(format!(
            "other machines come in with TLS: clawdbot serve --tls-listen {address} --tls-cert FILE --tls-key FILE"
        )),
        DoorError::InTheWay { path } => CliError::new(Exit::CannotWrite, "in_the_way", message)
            .hint(format!("move it away: mv {0} {0}.old", word(path.display())))
            .path(&path),
        DoorError::Io { .. } | DoorError::NoState => CliError::new(Exit::CannotWrite, "not_open", message),
    }
}
