//! The rules that send messages to agents: `bindings` of the config.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::config::agent_id;
use crate::host::error::CliError;

/// A rule requested with `--bind`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Binding {
    agent: String,
    pub(crate) channel: String,
    account: Option<String>,
}

impl Binding {
    /// Parses `channel`, or `channel:account`.
    ///
    /// # Errors
    /// One of them is empty, or the channel is not a valid name.
    pub(crate) fn parse(text: &str, agent: &str, config: &Value) -> Result<Self, CliError> {
        let text = auth_store::trim(text);
        let (channel, account) = match text.split_once(':') {
            // Anything after a second colon is ignored.
            Some((channel, rest)) => (channel, Some(rest.split(':').next().unwrap_or_default())),
            None => (text, None),
        };
        let channel = auth_store::trim(channel).to_ascii_lowercase();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if channel.is_empty() || !channel.chars().all(is_word) {
            return Err(CliError::usage(format!("`{text}` names no channel"))
                .hint("--bind telegram, or one account of it: --bind telegram:biz"));
        }
        let account = account.map(auth_store::trim);
        if account == Some("") {
            return Err(CliError::usage(format!("`{text}` names no account"))
                .hint(format!("--bind {channel}, or --bind {channel}:ACCOUNT")));
        }
        let account = account.map(str::to_owned).or_else(|| usual_account(&channel, config));
        Ok(Self { agent: agent.to_owned(), channel, account })
    }

    /// Whether the channel is one of Clawdbot's, or configured.
    pub(crate) fn is_known(&self, config: &Value) -> bool {
        CHANNELS.contains(&self.channel.as_str()) || config["channels"].get(&self.channel).is_some()
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut rule = json!({ "channel": self.channel });
        if let Some(account) = &self.account {
            rule["accountId"] = account.as_str().into();
        }
        json!({ "agentId": self.agent, "match": rule })
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&describe(&self.to_json()["match"]))
    }
}

/// A rule in words.
pub(crate) fn describe(rule: &Value) -> String {
    let text = |value: &Value| value.as_str().filter(|it| !it.is_empty()).map(str::to_owned);
    let named = |name: &str, label: &str| text(&rule[name]).map(|it| format!("{label}={it}"));
    let peer = text(&rule["peer"]["kind"])
        .map(|kind| format!("peer={kind}:{}", rule["peer"]["id"].as_str().unwrap_or_default()));
    let parts = [
        text(&rule["channel"]),
        named("accountId", "accountId"),
        peer,
        named("guildId", "guild"),
        named("teamId", "team"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// One channel is always bound by its account.
fn usual_account(channel: &str, config: &Value) -> Option<String> {
    if channel != "whatsapp" {
        return None;
    }
    let accounts = config["channels"][channel]["accounts"].as_object();
    let mut names: Vec<_> = accounts.into_iter().flatten().map(|(name, _)| name).collect();
    names.sort();
    let usual = "default".to_owned();
    if names.is_empty() || names.contains(&&usual) {
        return Some(usual);
    }
    names.first().map(|name| (*name).clone())
}

/// The result of comparing the requested rules with the config.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    /// New rules.
    pub(crate) added: Vec<Binding>,
    /// Rules that the agent already has.
    skipped: Vec<Binding>,
    /// Rules that another agent has.
    pub(crate) conflicts: Vec<(Binding, String)>,
}

impl Bound {
    /// Compares the requested rules with those of the config.
    pub(crate) fn plan(wanted: &[Binding], config: &Value) -> Self {
        let rules = config["bindings"].as_array().into_iter().flatten();
        let mut known: Vec<(String, String)> = rules
            .filter_map(|rule| Some((key(&rule["match"]), agent_id(rule["agentId"].as_str()?))))
            .collect();
        let mut bound = Self::default();
        for binding in wanted {
            let key = key(&binding.to_json()["match"]);
            match known.iter().find(|(other, _)| *other == key) {
                Some((_, agent)) if *agent == binding.agent => bound.skipped.push(binding.clone()),
                Some((_, agent)) => bound.conflicts.push((binding.clone(), agent.clone())),
                None => {
                    known.push((key, binding.agent.clone()));
                    bound.added.push(binding.clone());
                }
            }
        }
        bound
    }

    pub(crate) fn to_json(&self) -> Value {
        let words = |all: &[Binding]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let conflicts = self.conflicts.iter();
        let conflicts = conflicts.map(|(rule, agent)| format!("{rule} (agent={agent})"));
        let mut value = Map::new();
        value.insert("added".to_owned(), json!(words(&self.added)));
        value.insert("skipped".to_owned(), json!(words(&self.skipped)));
        value.insert("conflicts".to_owned(), json!(conflicts.collect::<Vec<_>>()));
        Value::Object(value)
    }
}

/// The identity of a rule; no account means the default account.
fn key(rule: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let account = Some(auth_store::trim(&text(&rule["accountId"])).to_owned());
    let account = account.filter(|it| !it.is_empty()).unwrap_or_else(|| "default".to_owned());
    let peer = &rule["peer"];
    let parts = [
        text(&rule["channel"]),
        account,
        text(&peer["kind"]),
        text(&peer["id"]),
        text(&rule["guildId"]),
        text(&rule["teamId"]),
    ];
    parts.join("\u{0}")
}

const CHANNELS: [&str; 7] =
    ["telegram", "whatsapp", "discord", "googlechat", "slack", "signal", "imessage"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_a_channel_and_perhaps_an_account() {
        let parse = |text: &str| Binding::parse(text, "work", &json!({}));
        assert_eq!(parse(" Telegram:biz ").unwrap().to_string(), "telegram accountId=biz");
        assert_eq!(parse("slack").unwrap().to_string(), "slack");
        assert_eq!(parse("whatsapp").unwrap().to_string(), "whatsapp accountId=default");
        for wrong in [":biz", "telegram:", "tele gram", "telegram: "] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rule_that_is_there_is_skipped_or_a_conflict() {
        let config = json!({ "bindings": [
            { "agentId": "Work", "match": { "channel": "slack" } },
            { "agentId": "main", "match": { "channel": "telegram", "accountId": "default" } },
            { "agentId": "main", "match": { "channel": "discord", "guildId": "7" } },
        ] });
        let wanted = ["slack:default", "telegram", "discord", "discord"];
        let wanted = wanted.map(|text| Binding::parse(text, "work", &config).unwrap());
        assert_eq!(
            Bound::plan(&wanted, &config).to_json(),
            json!({
                "added": ["discord"],
                "skipped": ["slack accountId=default", "discord"],
                "conflicts": ["telegram (agent=main)"],
            })
        );
    }
}
