//! Checks of settings: the config, manifests, variables, and a second state directory.

use std::path::Path;

use auth_providers::Proxy;
use auth_routing::health::repair;
use auth_store::{Document, Kind, Profile, ProfileId, ProviderId, paths};
use serde_json::Value;

use crate::agent::Agent;
use crate::commands::doctor::examination::Examination;
use crate::commands::doctor::finding::{Finding, Severity};
use crate::host::paths::usual_state_dirs;
use crate::host::shell_quote::{option, word};

pub(crate) fn examine(examination: &Examination<'_>) -> Vec<Finding> {
    let mut findings = manifests(examination);
    findings.extend(config(examination));
    findings.extend(variables(examination));
    findings.extend(second_state(examination));
    findings
}

fn manifests(examination: &Examination<'_>) -> Vec<Finding> {
    let wrong = examination.providers.errors().iter().map(|error| {
        Finding::new("manifest", Severity::Error, error.to_string())
            .costs("this provider is not known; the others are")
            .at(&error.path)
            .command(format!("fix it, then: clawdbot plugins list; see {MANIFESTS}"))
    });
    let changed = examination.providers.all().iter().filter_map(|provider| {
        let base = provider.extends.as_ref()?;
        let what = format!("the provider `{}` is `{base}` with changes of a manifest", provider.id);
        Some(
            Finding::new("extended_provider", Severity::Note, what)
                .costs("nothing, if that is what you want: its logins go where the manifest says")
                .command("clawdbot plugins list"),
        )
    });
    wrong.chain(changed).collect()
}

fn config(examination: &Examination<'_>) -> Vec<Finding> {
    let config = &examination.config;
    let path = &config.path;
    let mut findings: Vec<_> = config
        .warnings
        .iter()
        .map(|warning| {
            Finding::new("config_warning", Severity::Warning, warning.clone())
                .costs("that part of the config means something else than you wrote")
                .at(path)
        })
        .collect();
    findings.extend(config.agents().filter_map(|entry| missing_directory(entry, examination)));
    let stores: Vec<(&Agent, Vec<Profile>)> = examination
        .agents
        .iter()
        .filter_map(|agent| Some((agent, read(agent)?.profiles().collect())))
        .collect();
    let holder =
        |id: &str| stores.iter().flat_map(|(_, profiles)| profiles).find(|it| it.id.as_str() == id);
    let declared = config.value["auth"]["profiles"].as_object();
    for (id, entry) in declared.into_iter().flatten() {
        let mode = entry["mode"].as_str().unwrap_or_default();
        match holder(id) {
            None => {
                if let Some(to) = renamed(id, entry, &stores, examination) {
                    let what = format!("the config names the login `{to}` by its old id `{id}`");
                    findings.push(
                        Finding::new("legacy_id", Severity::Warning, what)
                            .costs("its order and pins do not reach it")
                            .at(path)
                            .about(id)
                            .command(format!(
                                "rename `{id}` to `{to}` in auth.profiles and auth.order of {}",
                                examination.context.display(path)
                            )),
                    );
                    continue;
                }
                let what = format!("the config declares the profile `{id}`, which no agent has");
                findings.push(
                    Finding::new("profile_missing", Severity::Warning, what)
                        .costs("an order that counts on it has one profile less")
                        .at(path)
                        .about(id)
                        .command(format!(
                            "log in: clawdbot models auth login{}{}; or take it out of auth.profiles",
                            option("--provider", entry["provider"].as_str().unwrap_or("PROVIDER")),
                            option("--profile-id", id)
                        )),
                );
            }
            Some(profile) if !agrees(mode, profile.kind) => {
                let what = format!(
                    "the config says that `{id}` is of mode `{mode}`, and the store has `{}`",
                    profile.kind.as_str()
                );
                findings.push(
                    Finding::new("mode_mismatch", Severity::Error, what)
                        .costs("the profile is not used")
                        .at(path)
                        .about(id)
                        .command(format!(
                            "set auth.profiles[\"{id}\"].mode to `{}`",
                            profile.kind.as_str()
                        )),
                );
            }
            Some(_) => {}
        }
    }
    let orders = config.value["auth"]["order"].as_object();
    for (provider, order) in orders.into_iter().flatten() {
        let ids: Vec<_> =
            order.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        findings.extend(order_finding(
            &format!("auth.order in the config for {provider}"),
            &ids,
            &|id| holder(id).map(|profile| profile.provider.clone()),
            &ProviderId::new(provider),
            &format!("change auth.order.{provider} in {}", examination.context.display(path)),
        ));
    }
    findings
}

/// An agent's own directory that is not there: after a move to another home, or by a mistake.
fn missing_directory(entry: &Value, examination: &Examination<'_>) -> Option<Finding> {
    let (id, text) = (entry["id"].as_str()?, entry["agentDir"].as_str()?);
    let path = examination.context.user_path(text);
    if path.exists() {
        return None;
    }
    let what = format!("the agentDir of agent `{id}` does not exist: {}", path.display());
    Some(
        Finding::new("agent_dir_missing", Severity::Warning, what)
            .costs("the agent has no credentials; a login there makes the directory")
            .at(&path)
            .command(format!(
                "correct agents.list in {}, or: mkdir -m 700 -p {}",
                examination.context.display(&examination.config.path),
                word(path.display())
            )),
    )
}

/// An order without a profile, or with a missing one.
pub(crate) fn order_finding(
    which: &str,
    ids: &[&str],
    provider_of: &dyn Fn(&str) -> Option<ProviderId>,
    provider: &ProviderId,
    command: &str,
) -> Option<Finding> {
    if ids.is_empty() {
        let what = format!("{which} is empty");
        let cost = format!("no profile of {provider} is used");
        return Some(
            Finding::new("order_empty", Severity::Error, what).costs(cost).command(command),
        );
    }
    let unknown: Vec<_> = ids.iter().filter(|id| provider_of(id).is_none()).copied().collect();
    let foreign: Vec<_> = ids
        .iter()
        .filter(|id| provider_of(id).is_some_and(|of| of != *provider))
        .copied()
        .collect();
    if unknown.is_empty() && foreign.is_empty() {
        return None;
    }
    let mut parts = Vec::new();
    if !unknown.is_empty() {
        parts.push(format!("`{}`, which no agent has", unknown.join("`, `")));
    }
    if !foreign.is_empty() {
        parts.push(format!("`{}`, of another provider", foreign.join("`, `")));
    }
    let is_all = unknown.len() + foreign.len() == ids.len();
    let (severity, cost) = if is_all {
        (Severity::Error, format!("no profile of {provider} is used"))
    } else {
        (Severity::Warning, "they are ignored".to_owned())
    };
    let what = format!("{which} names {}", parts.join(" and "));
    Some(Finding::new("order_stale", severity, what).costs(cost).command(command))
}

fn variables(examination: &Examination<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in ["CLAWDBOT_CA_FILE", "NODE_EXTRA_CA_CERTS"] {
        let Some(value) = examination.context.env(name).filter(|value| !value.is_empty()) else {
            continue;
        };
        let path = examination.context.user_path(value);
        let text = auth_store::read_regular_text(&path).unwrap_or_default();
        if !text.contains("-----BEGIN CERTIFICATE-----") {
            let what = format!("{name} names {}, which holds no certificate", path.display());
            findings.push(
                Finding::new("ca_file", Severity::Error, what)
                    .costs("no issuer can be asked")
                    .at(&path)
                    .command(format!("correct {name}, or unset it")),
            );
        }
        break;
    }
    findings.extend(directory_of_pi(examination));
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let Some(value) = examination.context.env(name).filter(|value| !value.trim().is_empty())
        else {
            continue;
        };
        if let Err(what) = Proxy::new(name, value, "").check() {
            findings.push(
                Finding::new("proxy", Severity::Error, what)
                    .costs("no issuer can be asked")
                    .command(format!(
                        "correct {name}, such as http://proxy.example:3128, or unset it"
                    )),
            );
        }
    }
    findings
}

/// pi's variable names a directory without one of our stores, so it is ignored.
fn directory_of_pi(examination: &Examination<'_>) -> Option<Finding> {
    let context = examination.context;
    let value = context.env("PI_CODING_AGENT_DIR").filter(|value| !value.trim().is_empty())?;
    let path = context.user_path(value);
    if context.paths().agent_dir_is_chosen || paths::store(&path).exists() {
        return None;
    }
    let shown = context.display(&path);
    let what = format!("PI_CODING_AGENT_DIR names {shown}, which has no store of ours");
    Some(
        Finding::new("agent_dir_ignored", Severity::Note, what)
            .costs("nothing: the variable is pi's own, and ignored here until a store is there")
            .at(&path)
            .command(format!(
                "to keep the credentials there: export CLAWDBOT_AGENT_DIR={}",
                word(path.display())
            )),
    )
}

/// Both default locations are in use: some of the logins may be in the other one.
fn second_state(examination: &Examination<'_>) -> Option<Finding> {
    let used = &examination.context.paths().state_dir;
    let is_other = |path: &Path| {
        paths::agents(path).is_dir() && path.canonicalize().ok() != used.canonicalize().ok()
    };
    let other =
        usual_state_dirs(&examination.context.home).into_iter().find(|path| is_other(path))?;
    let context = examination.context;
    let what = format!(
        "there is a second state directory, {}; the one in use is {}",
        context.display(&other),
        context.display(used)
    );
    Some(
        Finding::new("second_state", Severity::Warning, what)
            .costs("logins that were made there are not seen here; the same login in both ends one of them")
            .at(&other)
            .command(format!(
                "look: CLAWDBOT_STATE_DIR={} clawdbot models auth list",
                word(other.display())
            )),
    )
}

fn renamed(
    id: &str,
    entry: &Value,
    stores: &[(&Agent, Vec<Profile>)],
    examination: &Examination<'_>,
) -> Option<ProfileId> {
    let provider = ProviderId::new(entry["provider"].as_str()?);
    let value = &examination.config.value;
    stores.iter().find_map(|(_, profiles)| {
        repair::repair(value, profiles, None, &provider, &ProfileId::new(id)).map(|it| it.to)
    })
}

fn agrees(mode: &str, kind: Kind) -> bool {
    mode.is_empty() || mode == kind.as_str() || (mode == "oauth" && kind == Kind::Token)
}

fn read(agent: &Agent) -> Option<Document> {
    Document::parse(&agent.store().bytes().ok()??).ok()
}

const MANIFESTS: &str = "docs/providers.md";
