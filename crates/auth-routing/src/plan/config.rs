//! The routing part of `clawdbot.json`, as plain data.

use auth_store::{Kind, ProfileId, ProviderId, trim};
use serde_json::Value;

use crate::cooldown::CooldownPolicy;

/// `auth` of the config.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `auth.order`: the order of profiles by provider, as written. The first entry of a provider
    /// counts.
    pub orders: Vec<(ProviderId, Vec<ProfileId>)>,
    /// `auth.profiles`, in the order of the file.
    pub profiles: Vec<(ProfileId, Declared)>,
    /// `auth.cooldowns`.
    pub cooldowns: CooldownPolicy,
}

/// An entry of `auth.profiles`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Declared {
    /// The provider.
    pub provider: ProviderId,
    /// The `mode`, as written.
    pub mode: String,
    /// The e-mail address, which is only a label.
    pub email: Option<String>,
}

impl Declared {
    /// Whether the entry matches a stored credential of `kind`. `oauth` also matches a stored
    /// token.
    pub fn admits(&self, kind: Kind) -> bool {
        self.mode == kind.as_str() || (self.mode == "oauth" && kind == Kind::Token)
    }
}

impl Config {
    /// Reads a parsed config. Parts with an unexpected type count as absent: edits of the config
    /// are validated, and routing must always work.
    pub fn from_json(config: &Value) -> Self {
        let auth = &config["auth"];
        let orders = auth["order"].as_object().into_iter().flatten();
        let profiles = auth["profiles"].as_object().into_iter().flatten();
        Self {
            orders: orders
                .filter_map(|(provider, ids)| {
                    let ids = ids.as_array()?.iter().filter_map(Value::as_str);
                    Some((ProviderId::new(provider), ids.map(ProfileId::from).collect()))
                })
                .collect(),
            profiles: profiles
                .filter_map(|(id, entry)| {
                    let text = |name: &str| entry[name].as_str();
                    let declared = Declared {
                        provider: ProviderId::new(text("provider")?),
                        mode: text("mode").unwrap_or_default().to_owned(),
                        email: text("email")
                            .map(trim)
                            .filter(|it| !it.is_empty())
                            .map(str::to_owned),
                    };
                    Some((ProfileId::new(id.as_str()), declared))
                })
                .collect(),
            cooldowns: CooldownPolicy::from_json(&auth["cooldowns"]),
        }
    }

    /// `auth.order` for `provider`.
    pub fn order(&self, provider: &ProviderId) -> Option<&[ProfileId]> {
        self.orders.iter().find(|(id, _)| id == provider).map(|(_, ids)| ids.as_slice())
    }

    /// `auth.profiles[id]`.
    pub fn declared(&self, id: &ProfileId) -> Option<&Declared> {
        self.profiles.iter().find(|(declared, _)| declared == id).map(|(_, entry)| entry)
    }
}
