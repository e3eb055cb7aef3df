//! The gateway over the stores: what `serve` and `exec --proxy` run.

pub(crate) mod accounts;
mod notes;
mod renewals;
mod reporter;
mod snapshot;

use std::collections::HashMap;
use std::sync::Arc;

use auth_gateway::{Api, Clients, ClientsError, Gateway, Hosts, Limits, Settings};
use auth_store::ProviderId;
use tokio::runtime::{Builder, Runtime};

use crate::flows::gateway::accounts::StoreAccounts;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::process::runtime::not_started;
use crate::host::shell_quote::moved_away;

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

/// The APIs that are served: those that are built in, and those of manifests.
pub(crate) fn apis(_context: &Context) -> HashMap<ProviderId, Api> {
    auth_gateway::built_in()
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

/// Where a gateway runs: a thread that waits for a disk delays nobody else.
pub(crate) fn runtime() -> Result<Runtime, CliError> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    runtime.map_err(|error| not_started(&error))
}

/// The port where programs look for a server.
pub(crate) const PORT: u16 = 1460;
