//! A store used on its own: stores an API key, counts in its usage from several threads, and
//! shows that nothing was lost.
//!
//! `cargo run -p auth-store --example counter -- /tmp/somewhere/auth-profiles.json`
#![expect(clippy::print_stdout, reason = "an example")]

use auth_store::{Credential, ProfileId, Store, StoreError};

fn main() -> Result<(), StoreError> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "auth-profiles.json".to_owned());
    let store = Store::at(path);
    let id = ProfileId::from("acme:default");
    let key = Credential::ApiKey("not-a-real-key".into());
    store.update(|document| document.put(&id, "acme", &key, &serde_json::Map::new()))?;

    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let counted = store.update(|document| {
                        let mut usage = document.usage(&id);
                        usage.error_count = Some(usage.error_count.unwrap_or(0) + 1);
                        document.set_usage(&id, &usage);
                    });
                    if let Err(error) = counted {
                        println!("{error}");
                    }
                }
            });
        }
    });

    let document = store.read()?;
    println!("{}: {:?} updates", store.path().display(), document.usage(&id).error_count);
    Ok(())
}
