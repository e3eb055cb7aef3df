//! `serve`: failover that happens by itself, and one door instead of the whole store.

pub mod args;
mod tls;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use auth_gateway::{Clients, DoorError, Hosts, Phase, Server};
use tokio::sync::watch;

use crate::agent::invocation::Invocation;
use crate::commands::serve::args::ServeArgs;
use crate::flows::gateway::accounts::StoreAccounts;
use crate::flows::gateway::{self, not_open};
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::process::browser::Opener;
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
    let hosts = Hosts { allowed: hosts(args) };
    let runtime = gateway::runtime()?;
    let gateway = gateway::gateway(clients, hosts, context)?;
    let ended = runtime.block_on(async {
        let mut server = Server::new(Arc::clone(&gateway), &state).map_err(not_open)?;
        let doors = open(&mut server, args, context).await?;
        let phase = signals()?;
        for door in &doors {
            context.say(format_args!("listening on {door}"));
        }
        if args.open {
            let first = doors.iter().find(|door| door.starts_with("http://"));
            open_page(first.map_or("", String::as_str), &gateway.one_time_link(), context);
        }
        notify::ready(context);
        server.run(phase).await;
        notify::stopping(context);
        Ok(())
    });
    gateway.accounts().finish();
    ended.map(|()| Report::default())
}

/// Shows the status page to the user of this machine.
fn open_page(door: &str, link: &str, context: &Context) {
    let address = format!("{door}{link}");
    context.say(format_args!("the status page, by a link that is good once: {address}"));
    if let Some(opener) = Opener::from_environment(context) {
        opener.open(&address);
    }
}

/// The names by which it may be called: those that were given, and the address of other machines.
fn hosts(args: &ServeArgs) -> Vec<String> {
    let own = args.tls_listen.filter(|address| !address.ip().is_unspecified());
    let own = own.map(|address| address.ip().to_string());
    args.allow_host.iter().cloned().chain(own).collect()
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
    if let (Some(address), Some(certificate), Some(key)) =
        (args.tls_listen, &args.tls_cert, &args.tls_key)
    {
        let config = tls::config(certificate, key, args.tls_client_ca.as_deref(), context)?;
        let address = server.listen_with_tls(address, config).await.map_err(not_open)?;
        doors.push(format!("https://{address}"));
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
