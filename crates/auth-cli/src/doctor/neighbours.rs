//! One refresh token in several places: our agents, and the files of other tools. Tokens are
//! compared by hash, and never shown.

use std::collections::BTreeMap;
use std::path::PathBuf;

use auth_store::{Credential, Document, Secret, TokenKey};
use serde_json::Value;

use super::{Finding, Patient, Severity};

pub(super) fn examine(patient: &Patient<'_>) -> Vec<Finding> {
    let mut holders: BTreeMap<TokenKey, Vec<(String, String)>> = BTreeMap::new();
    for agent in &patient.agents {
        let bytes = std::fs::read(agent.store().path()).unwrap_or_default();
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
    let mut findings = Vec::new();
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
        let command = match agents.first() {
            Some((agent, id)) => format!(
                "clawdbot models auth remove {id} --agent {agent}, then clawdbot agents share {agent} --from {}",
                first.0
            ),
            None => format!("clawdbot models auth remove {}", rest[0].1),
        };
        findings.push(
            Finding::new("shared_token", Severity::Warning, what)
                .costs("this program renews it once for all; a Clawdbot that renews one ends the others")
                .about(&first.1)
                .command(command),
        );
    }
    for (tool, path, token) in others(patient) {
        let Some(places) = token.and_then(|token| holders.get(&hash(&token))) else { continue };
        let (agent, id) = &places[0];
        let what = format!("`{id}` of `{agent}` and {tool} hold one refresh token");
        findings.push(
            Finding::new("shared_with_tool", Severity::Error, what)
                .costs("whoever renews it first logs the other one out")
                .at(&path)
                .about(id)
                .command(format!(
                    "log in anew for this program: clawdbot models auth login --provider {} --profile-id {id} --agent {agent}",
                    id.split(':').next().unwrap_or(id)
                )),
        );
    }
    findings
}

/// The refresh tokens of other tools. Their files are only read.
fn others(patient: &Patient<'_>) -> Vec<(&'static str, PathBuf, Option<Secret>)> {
    let home = &patient.context.home;
    let folder = |variable: &str, name: &str| match patient.context.env(variable) {
        Some(path) if !path.is_empty() => patient.context.user_path(path),
        _ => home.join(name),
    };
    let files: [(&str, PathBuf, &str); 4] = [
        ("Codex", folder("CODEX_HOME", ".codex").join("auth.json"), "/tokens/refresh_token"),
        (
            "Claude Code",
            folder("CLAUDE_CONFIG_DIR", ".claude").join(".credentials.json"),
            "/claudeAiOauth/refreshToken",
        ),
        ("Qwen Code", home.join(".qwen").join("oauth_creds.json"), "/refresh_token"),
        ("Gemini CLI", home.join(".gemini").join("oauth_creds.json"), "/refresh_token"),
    ];
    files
        .into_iter()
        .map(|(tool, path, pointer)| {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let value: Value = serde_json::from_str(&text).unwrap_or_default();
            let token = value.pointer(pointer).and_then(Value::as_str);
            (tool, path, token.filter(|token| !token.is_empty()).map(Secret::new))
        })
        .collect()
}

fn hash(refresh: &Secret) -> TokenKey {
    TokenKey::new("", "", refresh)
}
