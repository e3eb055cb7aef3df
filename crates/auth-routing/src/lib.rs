//! Decides which credential is used next, which one is in cooldown, and why.
//!
//! Everything here is a pure function of values: no file, no network, no clock, no environment, and
//! never a secret. Equal inputs give equal results, and a result explains itself.
//!
//! # The order of profiles
//!
//! [`plan()`] decides for one provider:
//!
//! 1. The base is the first of these that exists: the agent's stored order, `auth.order` of the
//!    config, the provider's entries of `auth.profiles` in the config, all stored profiles of the
//!    provider. An order that is empty, or names only unknown profiles, is followed: there is no
//!    profile, and a [`Warning`] says so.
//! 2. Excluded, each with its [`Exclusion`]: ids that are not stored, profiles of other providers,
//!    profiles whose kind is not the configured one (`oauth` admits a token), profiles without a
//!    secret, expired tokens. An expired OAuth login stays: it can be refreshed.
//! 3. An explicit order is kept. Otherwise OAuth comes before token before API key, and within a
//!    kind the least recently used profile comes first.
//! 4. Profiles in cooldown are candidates too, after all others, and the one with the earliest end
//!    first.
//! 5. A [`Pin`] moves its profile to the front, or excludes all others.
//!
//! ```
//! use auth_routing::{Config, Routing, Timestamp, plan};
//! use auth_store::{Document, ProfileId, ProviderId};
//!
//! let store = Document::parse(br#"{"version": 1, "profiles": {
//!     "anthropic:key": {"type": "api_key", "provider": "anthropic", "key": "k"},
//!     "anthropic:work": {"type": "oauth", "provider": "anthropic", "access": "a", "refresh": "r"},
//!     "anthropic:home": {"type": "oauth", "provider": "anthropic", "access": "a", "refresh": "r"}
//! }, "usageStats": {"anthropic:work": {"cooldownUntil": 9000}}}"#).unwrap();
//!
//! let provider = ProviderId::new("anthropic");
//! let routing = Routing {
//!     stored_order: store.order(&provider),
//!     provider,
//!     config: &Config::default(),
//! };
//! let profiles: Vec<_> = store.profiles().collect();
//! let plan = plan(&profiles, &routing, None, Timestamp(5000));
//!
//! let ids: Vec<_> = plan.candidates.iter().map(|it| it.id.as_str()).collect();
//! assert_eq!(ids, ["anthropic:home", "anthropic:key", "anthropic:work"]);
//! assert_eq!(plan.candidates[2].why.to_string(), "in cooldown");
//! ```
//!
//! # Other modules
//!
//! - [`cooldown`]: how long a cooldown lasts after a failure, and [`response`](cooldown::response):
//!   what an HTTP response of a provider says about it.
//! - [`session`]: the profile of a session, [`selector`](session::selector) and
//!   [`choice`](session::choice): the meaning and the effect of `/model Opus@anthropic:work`.
//! - [`charge()`]: whether use is metered.
//! - [`health`]: how long credentials are valid, and [`repair`](health::repair), which fixes
//!   configs that name a login by its old id.
//! - [`judgement`](cooldown::judgement): the class of a response, for a proxy, and
//!   [`limits`](cooldown::limits): the quota windows in its headers.

pub mod cooldown;
pub mod health;
mod plan;
pub mod session;

pub use auth_store::Timestamp;
pub use cooldown::{
    CooldownPolicy, FailureReason, after_failure, after_pause, after_success, cleared, for_model,
    unusable_until,
};
pub use plan::billing::{Charge, charge};
pub use plan::config::{Config, Declared};
pub use plan::obstacle::Obstacle;
pub use plan::{Candidate, Exclusion, Pin, Plan, Planner, Routing, Source, Warning, Why, plan};
