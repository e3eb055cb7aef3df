//! Whether use is paid by subscription or metered.

use std::fmt;

use auth_store::{Kind, ProviderId};

/// How use is paid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Charge {
    /// By a subscription with limits.
    Subscription,
    /// By the amount used.
    Metered,
    /// Unknown.
    Unknown,
}

/// How the use of a credential of this kind is paid. An API key is metered. A login or a setup
/// token belongs to a subscription if the provider is known to sell one.
pub fn charge(provider: &ProviderId, kind: Kind) -> Charge {
    match kind {
        Kind::ApiKey => Charge::Metered,
        Kind::OAuth | Kind::Token if PLANS.contains(&provider.as_str()) => Charge::Subscription,
        Kind::OAuth | Kind::Token => Charge::Unknown,
    }
}

impl Charge {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subscription => "subscription",
            Self::Metered => "metered",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Charge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Providers whose logins and setup tokens belong to a subscription.
const PLANS: [&str; 6] = [
    "anthropic",
    "github-copilot",
    "google-gemini-cli",
    "minimax-portal",
    "openai-codex",
    "qwen-portal",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_metered_and_logins_of_known_plans_are_not() {
        let check = |provider: &str, kind| charge(&ProviderId::new(provider), kind);
        assert_eq!(check("anthropic", Kind::Token), Charge::Subscription);
        assert_eq!(check("OpenAI-Codex", Kind::OAuth), Charge::Subscription);
        assert_eq!(check("anthropic", Kind::ApiKey), Charge::Metered);
        assert_eq!(check("acme", Kind::OAuth), Charge::Unknown);
    }
}
