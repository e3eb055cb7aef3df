//! Logs in with a provider manifest and prints the account. Nothing is stored.
//!
//! ```text
//! cargo run -p auth-providers --example login -- acme.json
//! ```

#![allow(clippy::print_stdout, reason = "a program")]

use std::pin::Pin;

use auth_pkce::CallbackError;
use auth_providers::{Begun, DevicePrompt, Flow, LoginUi, Origin, Providers, ReqwestClient, login};
use auth_store::SystemClock;

/// A user who opens the address in a browser and cannot paste anything here.
struct Terminal;

impl LoginUi for Terminal {
    fn begin(&self, begun: &Begun<'_>) {
        println!("open {}", begun.url);
    }

    fn pasted(&self) -> Pin<Box<dyn Future<Output = Option<String>> + Send + '_>> {
        Box::pin(std::future::ready(None))
    }

    fn refused(&self, error: &CallbackError) {
        println!("{error}");
    }

    fn exchanging(&self) {
        println!("exchanging the code");
    }

    fn show_code(&self, prompt: &DevicePrompt<'_>) {
        println!("enter {} at {}", prompt.user_code, prompt.verification_uri);
    }

    fn polling(&self, _is_asking: bool) {}
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: login MANIFEST.json")?;
    let manifest = std::fs::read_to_string(&path);
    let providers = Providers::from_manifests(vec![(path.into(), manifest)], &|_| None);
    if let Some(error) = providers.errors().first() {
        return Err(error.to_string().into());
    }
    let provider = providers.all().iter().find(|provider| provider.origin != Origin::BuiltIn);
    let provider = provider.ok_or("the manifest describes no provider")?;

    let entropy = rand::random();
    let (flow, http) = (Flow::AuthorizationCode, ReqwestClient::new());
    let finished = login(provider, flow, entropy, &http, &Terminal, &SystemClock).await?;
    println!("logged in as {}", finished.login.email.as_deref().unwrap_or("somebody"));
    finished.succeed().await;
    Ok(())
}
