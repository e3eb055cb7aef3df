//! A store used by itself: stores an API key, counts in its usage from several threads, and shows
//! that nothing was lost.
//!
//! `cargo run -p auth-store --example counter -- /tmp/somewhere/auth-profiles.json`
#![expect(clippy::print_stdout, reason = "an example")]

use std::path::PathBuf;

use auth_store::{Credential, ProfileId, Store, StoreError};

fn main() -> Result<(), StoreError> {
    let somewhere = std::env::temp_dir().join("auth-store-example").join("auth-profiles.json");
    let store = Store::at(std::env::args_os().nth(1).map_or(somewhere, PathBuf::from));
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
