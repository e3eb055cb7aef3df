//! `doctor`: what is wrong or about to go wrong, what it means, and the command that mends it.
//!
//! Looking changes nothing and sends no secret. Each file of this folder looks at one thing and
//! returns its findings; [`examine`] puts them together.

pub mod args;
pub mod command;
pub mod files;
pub mod finding;
pub mod neighbours;
pub mod network;
pub mod patient;
pub mod profiles;
pub mod settings;

use std::rc::Rc;

use auth_store::{StateDirectory, paths};

use crate::agent::invocation::Invocation;
use crate::agent::{self, Agent};
use crate::commands::doctor::finding::{Finding, Severity};
use crate::commands::doctor::patient::Patient;
use crate::config::Config;
use crate::profiles::view;

/// Everything that was found, the worst first. `online`: ask the issuers too.
pub fn examine(invocation: &Invocation<'_>, online: bool) -> Vec<Finding> {
    let context = invocation.context;
    let mut findings = Vec::new();
    let config = invocation.config().unwrap_or_else(|error| {
        findings.push(
            Finding::new("config_unreadable", Severity::Error, error.message.clone())
                .costs("no command that needs the config works")
                .at(&context.paths().config),
        );
        Rc::new(Config::empty(&context.paths().config))
    });
    let ids = agent::all(&config, context).unwrap_or_else(|error| {
        findings
            .push(files::unreadable(&paths::agents(&context.paths().state_dir), &error.message));
        vec![config.default_agent()]
    });
    let agents =
        ids.into_iter().map(|id| Agent { directory: agent::directory(&id, &config, context), id });
    let patient = Patient {
        agents: agents.collect(),
        providers: view::providers(context),
        records: StateDirectory::at(&context.paths().state_dir).records(),
        now: context.now(),
        config,
        context,
    };
    findings.extend(files::examine(&patient));
    findings.extend(settings::examine(&patient));
    for agent in &patient.agents {
        findings.extend(profiles::examine(agent, &patient));
    }
    findings.extend(neighbours::examine(&patient));
    if online {
        findings.extend(network::examine(&patient));
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}
