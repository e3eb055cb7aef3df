//! Prints which profile of a store would be used next, and why.
//!
//! ```text
//! cargo run -p auth-routing --example plan -- auth-profiles.json anthropic 1769644800000
//! ```
#![allow(clippy::print_stdout, reason = "an example")]

use std::error::Error;

use auth_routing::{Config, Routing, Timestamp, plan};
use auth_store::{Document, ProviderId};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let store = match arguments.next() {
        Some(path) => std::fs::read(path)?,
        None => SAMPLE.to_vec(),
    };
    let store = Document::parse(&store).map_err(|error| error.to_string())?;
    let provider = ProviderId::new(&arguments.next().unwrap_or_else(|| "anthropic".to_owned()));
    let now = Timestamp(arguments.next().map_or(Ok(5_000), |text| text.parse())?);

    let profiles: Vec<_> = store.profiles().collect();
    let config = Config::default();
    let routing = Routing { stored_order: store.order(&provider), provider, config: &config };
    let plan = plan(&profiles, &routing, None, now);

    println!("order: {}", plan.source);
    for warning in &plan.warnings {
        println!("warning: {warning}");
    }
    for candidate in &plan.candidates {
        println!("  {:<20} {}", candidate.id, candidate.why);
    }
    for (id, reason) in &plan.excluded {
        println!("  {id:<20} not used: {reason}");
    }
    Ok(())
}

const SAMPLE: &[u8] = br#"{
  "version": 1,
  "profiles": {
    "anthropic:work": {"type": "oauth", "provider": "anthropic", "access": "a", "refresh": "r"},
    "anthropic:home": {"type": "oauth", "provider": "anthropic", "access": "a", "refresh": "r"},
    "anthropic:spare": {"type": "api_key", "provider": "anthropic", "key": ""},
    "openai:default": {"type": "api_key", "provider": "openai", "key": "k"}
  },
  "usageStats": {"anthropic:home": {"cooldownUntil": 9000}}
}"#;
