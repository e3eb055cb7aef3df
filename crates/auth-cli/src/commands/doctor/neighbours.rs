//! Finds one refresh token in several places: our agents, and the files of other tools. Tokens are
//! compared by hash, and never shown.

use std::collections::BTreeMap;
use std::path::PathBuf;

use auth_store::{Credential, Document, Secret, TokenKey};

use crate::commands::doctor::examination::Examination;
use crate::commands::doctor::finding::{Finding, Severity};
use crate::host::other_tools::{Tool, of_tool};
use crate::host::shell_quote::{command, option, word};

pub(crate) fn examine(examination: &Examination<'_>) -> Vec<Finding> {
    let mut holders: BTreeMap<TokenKey, Vec<(String, String)>> = BTreeMap::new();
    let mut stores: BTreeMap<PathBuf, &str> = BTreeMap::new();
    let mut findings = Vec::new();
    for agent in &examination.agents {
        // One file under two names holds each token once: removing it there would remove it here.
        if let Some(other) = stores.insert(agent.store_file(), &agent.id) {
            let what = format!("`{other}` and `{}` have one store", agent.id);
            findings.push(
                Finding::new("one_store", Severity::Note, what)
                    .costs("what is changed or removed for one of them is so for the other")
                    .at(agent.store().path())
                    .command(format!("ls -l {}", word(agent.store().path().display()))),
            );
            stores.insert(agent.store_file(), other);
            continue;
        }
        let Ok(Some(bytes)) = agent.store().bytes() else { continue };
        let Ok(document) = Document::parse(&bytes) else { continue };
        for profile in document.profiles() {
            if let Some(Credential::OAuth(login)) = document.credential(&profile.id)
                && !login.refresh.is_blank()
            {
                let holder = (agent.id.clone(), profile.id.to_string());
                holders.entry(hash(&login.refresh)).or_default().push(holder);
            }
        }
    }
    for places in holders.values().filter(|places| places.len() > 1) {
        let (first, rest) = (&places[0], &places[1..]);
        let list: Vec<_> = rest.iter().map(|(agent, id)| format!("`{id}` of `{agent}`")).collect();
        let what = format!(
            "`{}` of `{}` and {} hold one refresh token",
            first.1,
            first.0,
            list.join(", ")
        );
        let agents: Vec<_> = rest.iter().filter(|(agent, _)| *agent != first.0).collect();
        let way_out = match agents.first() {
            Some((agent, id)) => format!(
                "{}, then {}",
                command("models auth remove", &[id], &option("--agent", agent)),
                command("agents share", &[agent], &option("--from", &first.0))
            ),
            None => command("models auth remove", &[&rest[0].1], ""),
        };
        findings.push(
            Finding::new("shared_token", Severity::Warning, what)
                .costs("this program renews it once for all; a Clawdbot that renews one ends the others")
                .about(&first.1)
                .command(way_out),
        );
    }
    let others = Tool::ALL.into_iter().flat_map(|tool| of_tool(tool, examination.context));
    for foreign in others {
        let Credential::OAuth(login) = &foreign.credential else { continue };
        let Some(places) = holders.get(&hash(&login.refresh)) else { continue };
        let (agent, id) = &places[0];
        let what = format!("`{id}` of `{agent}` and {} hold one refresh token", foreign.tool);
        findings.push(
            Finding::new("shared_with_tool", Severity::Error, what)
                .costs("the first one to refresh it logs the other one out")
                .at(&foreign.path)
                .about(id)
                .command(format!(
                    "log in anew for this program: clawdbot models auth login{}{}{}",
                    option("--provider", id.split(':').next().unwrap_or(id)),
                    option("--profile-id", id),
                    option("--agent", agent)
                )),
        );
    }
    findings
}

fn hash(refresh: &Secret) -> TokenKey {
    TokenKey::new("", "", refresh)
}
