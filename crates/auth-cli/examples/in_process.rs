//! Runs commands inside another program: with its own home, clock and output.
//!
//! `cargo run -p auth-cli --example in_process`

#![expect(clippy::print_stdout, reason = "an example")]

use auth_cli::host::context::{Captured, Context};
use auth_cli::host::paths::MAIN_AGENT;
use auth_store::{Credential, ProfileId, Store, Timestamp, paths};
use serde_json::Map;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let home = tempfile::tempdir()?;
    let agent = paths::agent_directory(&home.path().join(".clawdbot"), MAIN_AGENT);
    let store = Store::at(paths::store(&agent));
    store.update(|document| {
        for name in ["work", "home"] {
            let id = ProfileId::new(format!("acme:{name}"));
            let key = Credential::ApiKey(format!("{name}-key-0123456789abcdef").into());
            document.put(&id, "acme", &key, &Map::new());
        }
    })?;

    let run = |words: &str| {
        let stdout = Captured::default();
        let mut context = Context::sealed(home.path(), Timestamp(1_769_644_800_000));
        context.set_stdout(stdout.clone());
        let exit = auth_cli::run(words.split(' '), &context);
        println!("$ {words}\n{}(exit code {exit})\n", stdout.text());
    };
    run("clawdbot models auth order set --provider acme acme:home acme:work");
    run("clawdbot models auth report acme:home --failed rate_limit --retry-after 90s");
    run("clawdbot models auth explain --provider acme");
    Ok(())
}
