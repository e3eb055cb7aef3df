//! `doctor`: what is wrong or about to fail, the consequence, and the command that fixes it.
//!
//! Checking changes nothing and sends no secret. Each file of this folder checks one area and
//! returns its findings; [`examine`] combines them.

pub mod args;
pub mod command;
pub mod examination;
pub mod files;
pub mod finding;
pub mod neighbours;
pub mod network;
pub mod profiles;
pub mod settings;

use std::rc::Rc;

use auth_store::{StateDirectory, paths};

use crate::agent::invocation::Invocation;
use crate::agent::{self, Agent};
use crate::commands::doctor::examination::Examination;
use crate::commands::doctor::finding::{Finding, Severity};
use crate::config::Config;
use crate::profiles::view;

/// All findings, the most serious first. `online`: also contact the issuers.
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
    // The check of the config names those of which nobody can say where they are.
    let agents = ids.iter().filter_map(|id| Agent::of(id, &config, context).ok());
    let examination = Examination {
        agents: agents.collect(),
        providers: view::providers(context),
        records: StateDirectory::at(&context.paths().state_dir).records(),
        now: context.now(),
        config,
        context,
    };
    findings.extend(files::examine(&examination));
    findings.extend(settings::examine(&examination));
    for agent in &examination.agents {
        findings.extend(profiles::examine(agent, &examination));
    }
    findings.extend(neighbours::examine(&examination));
    if online {
        findings.extend(network::examine(&examination));
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}
