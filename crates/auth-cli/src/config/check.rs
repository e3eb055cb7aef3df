//! Finds invalid values in the parts of the config that we use. Reading ignores them; the user gets
//! a warning.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::agent_id::agent_id;
use crate::config::json5::Step;
use crate::host::paths::unresolved;

/// The ignored keys, each with the reason.
pub(crate) fn problems(config: &Value) -> Vec<(Vec<Step>, String)> {
    let mut check = Check { problems: Vec::new() };
    check.auth(config);
    check.agents(config);
    check.problems
}

struct Check {
    problems: Vec<(Vec<Step>, String)>,
}

impl Check {
    fn tell(&mut self, key: &[Step], what: impl Into<String>) {
        self.problems.push((key.to_vec(), what.into()));
    }

    /// The members of the object at `key`; reports it if it is not an object.
    fn members<'a>(&mut self, value: &'a Value, key: &[Step]) -> Vec<(Vec<Step>, &'a Value)> {
        match value {
            Value::Object(members) => {
                members.iter().map(|(name, value)| (below(key, name.as_str()), value)).collect()
            }
            Value::Null => Vec::new(),
            _ => {
                self.tell(key, "is ignored: expected an object");
                Vec::new()
            }
        }
    }

    fn text(&mut self, value: &Value, key: &[Step]) {
        if !value.is_string() && !value.is_null() {
            self.tell(key, "is ignored: expected a string");
        }
    }

    /// A positive number of hours.
    fn hours(&mut self, value: &Value, key: &[Step]) {
        if !value.is_null() && !value.as_f64().is_some_and(|hours| hours > 0.0) {
            self.tell(key, "is ignored: expected a number above 0");
        }
    }

    fn texts(&mut self, value: &Value, key: &[Step]) {
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate().filter(|(_, it)| !it.is_string()) {
                    let _ = item;
                    self.tell(&below(key, index), "is ignored: expected a string");
                }
            }
            Value::Null => {}
            _ => self.tell(key, "is ignored: expected a list"),
        }
    }

    /// A path in which nothing is left to be replaced; `${NAME}` is told elsewhere.
    fn path(&mut self, value: &Value, key: &[Step]) {
        let part = value.as_str().and_then(unresolved).filter(|part| !part.starts_with("${"));
        if let Some(part) = part {
            self.tell(key, format!("is no path: `{part}` stands for nothing here"));
        }
    }

    fn auth(&mut self, config: &Value) {
        let auth = vec!["auth".into()];
        self.members(&config["auth"], &auth);
        let auth_value = &config["auth"];
        for (key, entry) in self.members(&auth_value["profiles"], &below(&auth, "profiles")) {
            self.members(entry, &key);
            if entry.is_object() {
                if !entry["provider"].is_string() {
                    self.tell(&key, "is ignored: it has no `provider`");
                }
                self.text(&entry["email"], &below(&key, "email"));
                if !matches!(entry["mode"].as_str(), Some("api_key" | "oauth" | "token")) {
                    let what =
                        "is none of `api_key`, `oauth` and `token`, so no credential fits it";
                    self.tell(&below(&key, "mode"), what);
                }
            }
        }
        for (key, order) in self.members(&auth_value["order"], &below(&auth, "order")) {
            self.texts(order, &key);
        }
        let cooldowns = below(&auth, "cooldowns");
        for (key, value) in self.members(&auth_value["cooldowns"], &cooldowns) {
            match key.last() {
                Some(Step::Name(name)) if name == "billingBackoffHoursByProvider" => {
                    for (key, value) in self.members(value, &key) {
                        self.hours(value, &key);
                    }
                }
                Some(Step::Name(name)) if COOLDOWNS.contains(&name.as_str()) => {
                    self.hours(value, &key);
                }
                _ => {}
            }
        }
    }

    fn agents(&mut self, config: &Value) {
        let agents = vec!["agents".into()];
        self.members(&config["agents"], &agents);
        let key = below(&agents, "list");
        let list = &config["agents"]["list"];
        if !list.is_array() && !list.is_null() {
            self.tell(&key, "is ignored: expected a list");
        }
        let mut ids: BTreeMap<String, usize> = BTreeMap::new();
        let mut directories: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, entry) in list.as_array().into_iter().flatten().enumerate() {
            let key = below(&key, index);
            let Some(id) = entry["id"].as_str() else {
                self.tell(&key, "is ignored: it has no `id`");
                continue;
            };
            if let Some(first) = ids.insert(agent_id(id), index) {
                let id = agent_id(id);
                let what = format!("is ignored: `agents.list[{first}]` is `{id}` already");
                self.tell(&key, what);
            }
            for name in ["name", "workspace", "agentDir"] {
                self.text(&entry[name], &below(&key, name));
            }
            for name in ["workspace", "agentDir"] {
                self.path(&entry[name], &below(&key, name));
            }
            self.model(&entry["model"], &below(&key, "model"));
            let directory = entry["agentDir"].as_str().map(auth_store::trim).unwrap_or_default();
            if !directory.is_empty()
                && let Some(first) = directories.insert(directory, index)
            {
                let what = format!(
                    "is that of `agents.list[{first}]`, too: the two see each other's credentials"
                );
                self.tell(&below(&key, "agentDir"), what);
            }
        }
        let defaults = below(&agents, "defaults");
        let default = &config["agents"]["defaults"];
        self.members(default, &defaults);
        self.model(&default["model"], &below(&defaults, "model"));
        self.model(&default["imageModel"], &below(&defaults, "imageModel"));
        for (key, entry) in self.members(&default["models"], &below(&defaults, "models")) {
            self.members(entry, &key);
            self.text(&entry["alias"], &below(&key, "alias"));
        }
    }

    /// `provider/model`, or `{primary, fallbacks}`.
    fn model(&mut self, value: &Value, key: &[Step]) {
        match value {
            Value::Object(_) => {
                self.text(&value["primary"], &below(key, "primary"));
                self.texts(&value["fallbacks"], &below(key, "fallbacks"));
            }
            Value::Null | Value::String(_) => {}
            _ => self.tell(key, "is ignored: expected a model or an object"),
        }
    }
}

fn below(key: &[Step], step: impl Into<Step>) -> Vec<Step> {
    key.iter().cloned().chain([step.into()]).collect()
}

const COOLDOWNS: [&str; 3] = ["billingBackoffHours", "billingMaxHours", "failureWindowHours"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::json5::Key;
    use serde_json::json;

    #[test]
    fn every_key_that_is_ignored_is_told() {
        let problems = problems(&json!({
            "auth": {
                "profiles": { "a:b": { "provider": 1, "mode": "key" }, "c:d": [] },
                "order": { "z.ai": ["z", 1], "acme": "a" },
                "cooldowns": { "billingMaxHours": "5", "billingBackoffHoursByProvider": { "x": 0 } },
            },
            "agents": {
                "list": [
                    { "id": "Ops", "agentDir": "~/a" }, {}, { "id": "ops", "agentDir": 5 },
                    { "id": "b", "agentDir": "~/a" },
                ],
                "defaults": { "model": { "fallbacks": "x" }, "models": { "a/b": { "alias": 1 } } },
            },
        }));
        let keys: Vec<_> = problems.iter().map(|(key, _)| Key(key).to_string()).collect();
        assert_eq!(
            keys,
            [
                "auth.profiles[\"a:b\"]",
                "auth.profiles[\"a:b\"].mode",
                "auth.profiles[\"c:d\"]",
                "auth.order[\"z.ai\"][1]",
                "auth.order.acme",
                "auth.cooldowns.billingMaxHours",
                "auth.cooldowns.billingBackoffHoursByProvider.x",
                "agents.list[1]",
                "agents.list[2]",
                "agents.list[2].agentDir",
                "agents.list[3].agentDir",
                "agents.defaults.model.fallbacks",
                "agents.defaults.models[\"a/b\"].alias",
            ]
        );
    }

    #[test]
    fn a_config_that_is_as_it_should_be_is_not_spoken_of() {
        assert_eq!(problems(&json!({})), []);
        let config = json!({
            "auth": { "profiles": { "a": { "provider": "p", "mode": "token" } }, "order": { "p": [] } },
            "agents": { "list": [{ "id": "a" }], "defaults": { "model": "p/m" } },
            "channels": 5,
        });
        assert_eq!(problems(&config), []);
    }
}
