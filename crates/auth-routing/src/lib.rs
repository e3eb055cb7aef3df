//! Which credential is used next, which one rests, and why.
//!
//! Everything here is a pure function of values: no file, no network, no clock, no environment,
//! and never a secret. The same inputs give the same answer, and the answer explains itself.
//!
//! # The order of profiles
//!
//! [`plan()`] decides about one provider:
//!
//! 1. The base is the first of these that exists: the agent's stored order, `auth.order` of the
//!    config, the provider's entries of `auth.profiles` in the config, all stored profiles of the
//!    provider. An order that is empty, or names unknown profiles only, is followed: there is no
//!    profile, and a [`Warning`] says so.
//! 2. Left out, each with its [`Exclusion`]: ids that are not stored, profiles of other providers,
//!    profiles whose kind is not the configured one (`oauth` admits a token), profiles with nothing
//!    to send, expired tokens. An expired OAuth login stays: it can be refreshed.
//! 3. An order that somebody wrote down is kept. Otherwise OAuth goes before token before API key,
//!    and among equals the one used longest ago goes first.
//! 4. Profiles that rest are candidates too, after all others, the one that is back soonest first.
//! 5. A [`Pin`] moves its profile to the front, or leaves no other.
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
//! assert_eq!(plan.candidates[2].why.to_string(), "rests");
//! ```
//!
//! # Around it
//!
//! [`cooldown`] says how long a failure makes a profile rest, [`response`] what a provider's answer
//! says about it, [`judgement`] what a proxy makes of that, [`limits`] the windows in its headers, [`session`] which profile a session stays with, [`selector`] and [`choice`] what
//! `/model Opus@anthropic:work` means and does, [`charge()`] who pays, [`health`] and [`label`] how
//! long credentials still hold, in data and in words, and [`repair`](mod@repair) mends configs that
//! name a login by its old id.

mod charge;
pub mod choice;
mod collate;
mod config;
pub mod cooldown;
mod explain;
pub mod health;
pub mod judgement;
pub mod label;
pub mod limits;
pub mod moment;
mod plan;
#[cfg(test)]
mod plan_tests;
mod raw_reason;
pub mod repair;
pub mod response;
#[cfg(test)]
mod response_tests;
pub mod selector;
pub mod session;
mod stated_reset;

pub use auth_store::Timestamp;
pub use charge::{Charge, charge};
pub use config::{Config, Declared};
pub use cooldown::{
    CooldownPolicy, FailureReason, after_failure, after_success, cleared, for_model, unusable_until,
};
pub use plan::{Candidate, Exclusion, Pin, Plan, Routing, Source, Warning, Why, plan};
