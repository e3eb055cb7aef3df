//! Logs in at an issuer and reports that a code arrived.
//!
//! ```text
//! cargo run -p auth-pkce --example login -- https://login.acme.example/authorize my-client-id
//! ```
//!
//! The issuer must have `http://127.0.0.1/callback` registered as a redirect URI of that client,
//! with any port (RFC 8252 §7.3). A real program exchanges the code and saves the credential before
//! it tells the browser.
#![expect(clippy::print_stdout, reason = "a program, not the library")]

use std::error::Error;
use std::time::Duration;

use auth_pkce::{Attempt, AuthorizationRequest, Loopback, Redirect, ResponseRules};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(authorization_endpoint), Some(client_id)) = (arguments.next(), arguments.next())
    else {
        return Err("usage: login AUTHORIZATION-ENDPOINT CLIENT-ID [SCOPE…]".into());
    };
    let scopes: Vec<String> = arguments.collect();
    let nonce = scopes.iter().any(|scope| scope == "openid");

    let loopback = Loopback::bind(&Redirect::new("127.0.0.1", vec![], "/callback")?)?;
    let attempt = Attempt::new(rand::random(), loopback.redirect_uri().to_owned());
    let request =
        AuthorizationRequest { authorization_endpoint, client_id, scopes, extra: vec![], nonce };
    println!("Open this address in a browser:\n\n{}\n", attempt.authorization_url(&request)?);

    let rules = ResponseRules::default();
    let waiting = loopback.wait(&attempt, &rules);
    let arrival = tokio::time::timeout(Duration::from_mins(5), waiting).await??;
    println!("A code of {} characters arrived.", arrival.code.expose().len());
    arrival.browser.succeed().await;
    Ok(())
}
