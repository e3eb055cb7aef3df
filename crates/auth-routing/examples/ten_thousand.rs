//! Measures a plan over 1,000 and over 10,000 profiles.
//!
//! ```text
//! cargo run --release -p auth-routing --example ten_thousand
//! ```
#![allow(clippy::print_stdout, reason = "an example")]

use std::error::Error;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use auth_routing::{Config, Routing, Timestamp, plan};
use auth_store::{Document, ProviderId};

fn main() -> Result<(), Box<dyn Error>> {
    for count in [1_000, 10_000] {
        let mut profiles = String::new();
        let mut usage = String::new();
        for number in 0..count {
            let comma = if number == 0 { "" } else { "," };
            let kind = if number % 2 == 0 { "oauth" } else { "api_key" };
            let until = if number % 3 == 0 { 9_000_000 - number } else { 0 };
            write!(
                profiles,
                r#"{comma}"acme:{number}":{{"type":"{kind}","provider":"acme","key":"k","refresh":"r"}}"#
            )?;
            write!(
                usage,
                r#"{comma}"acme:{number}":{{"lastUsed":{},"cooldownUntil":{until}}}"#,
                number * 7_919 % count
            )?;
        }
        let store = format!(r#"{{"profiles":{{{profiles}}},"usageStats":{{{usage}}}}}"#);
        let store = Document::parse(store.as_bytes()).map_err(|error| error.to_string())?;
        let profiles: Vec<_> = store.profiles().collect();
        let config = Config::default();
        let routing =
            Routing { provider: ProviderId::new("acme"), stored_order: None, config: &config };
        let mut best = Duration::MAX;
        for _ in 0..50 {
            let start = Instant::now();
            let planned = plan(&profiles, &routing, None, Timestamp(1_000));
            best = best.min(start.elapsed());
            assert_eq!(planned.candidates.len(), profiles.len());
        }
        println!("{count:>6} profiles: {:.3} ms", best.as_secs_f64() * 1e3);
    }
    Ok(())
}
