//! The gateway over the stores: what `serve` and `exec --proxy` run.

pub(crate) mod accounts;
mod notes;
mod renewals;
mod reporter;
mod snapshot;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use auth_gateway::{
    Api, ApiData, Clients, ClientsError, DoorError, Gateway, Hosts, Limits, Settings,
};
use auth_store::ProviderId;
use tokio::runtime::{Builder, Runtime};

use crate::flows::gateway::accounts::StoreAccounts;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::process::runtime::not_started;
use crate::host::shell_quote::{moved_away, word};
use crate::profiles::view;

/// A gateway over the stores of this state directory.
///
/// # Errors
/// The system has no thread for it.
pub(crate) fn gateway(
    clients: Clients,
    hosts: Hosts,
    context: &Context,
) -> Result<Arc<Gateway<StoreAccounts>>, CliError> {
    let settings = Settings {
        apis: apis(context),
        clients,
        hosts,
        limits: Limits::default(),
        clock: Arc::clone(&context.clock),
        tls: None,
    };
    Ok(Gateway::new(StoreAccounts::new(context.surroundings())?, settings))
}

/// The APIs that are served: those of the catalogue and of manifests. One that is wrong is named,
/// and the others are served.
pub(crate) fn apis(context: &Context) -> HashMap<ProviderId, Api> {
    let providers = view::providers(context);
    let described = providers.all().iter().filter_map(|it| Some((&it.id, it.api.as_ref()?)));
    let built = described.filter_map(|(id, described)| {
        let data: Result<ApiData, _> = serde_json::from_value(described.clone());
        let data = data.map_err(|error| error.to_string());
        match data.and_then(|data| data.build().map_err(|error| error.to_string())) {
            Ok(api) => Some((id.clone(), api)),
            Err(error) => {
                context.say(format_args!("warning: the API of `{id}` is not served: {error}"));
                None
            }
        }
    });
    built.collect()
}

/// The same error of the clients' file, with what to do.
pub(crate) fn clients_error(error: ClientsError) -> CliError {
    let message = error.to_string();
    match error {
        ClientsError::Damaged { path, .. } => {
            CliError::new(Exit::Store, "clients_damaged", message)
                .hint(format!(
                    "nothing was overwritten; correct the file, or move it away and add the clients again: {}",
                    moved_away(&path, "damaged")
                ))
                .path(&path)
        }
        ClientsError::Busy { path } => CliError::new(Exit::Locked, "locked", message)
            .hint("nothing was written; try again")
            .path(&path),
        ClientsError::Io { path, .. } => {
            CliError::new(Exit::CannotWrite, "cannot_write", message).path(&path)
        }
        ClientsError::Store(error) => error.into(),
    }
}

/// The same error of a door, with what to do.
pub(crate) fn not_open(error: DoorError) -> CliError {
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

/// Where a gateway runs: a thread that waits for a disk delays nobody else.
pub(crate) fn runtime() -> Result<Runtime, CliError> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    runtime.map_err(|error| not_started(&error))
}

/// The port where programs look for a server.
pub(crate) const PORT: u16 = 1460;
