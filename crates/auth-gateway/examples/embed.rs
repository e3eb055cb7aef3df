//! A gateway inside another program: two keys of one provider, with failover between them.
//!
//! `cargo run -p auth-gateway --example embed -- BASE PORT STATE_DIRECTORY KEY [KEY…]`

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;

use auth_gateway::{
    ApiData, Client, Clients, Gateway, Hosts, Limits, Live, MemoryAccounts, Phase, Server, Settings,
};
use auth_store::{ProviderId, SystemClock};

#[tokio::main]
#[allow(clippy::print_stdout, reason = "it is a program")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, base, port, state, keys @ ..] = &arguments[..] else {
        return Err("BASE PORT STATE_DIRECTORY KEY [KEY…]".into());
    };
    let accounts = MemoryAccounts::new(Arc::new(SystemClock));
    for (number, key) in keys.iter().enumerate() {
        accounts.add("acme", &format!("acme:{number}"), Live::api_key(key), Vec::new());
    }
    let acme = ProviderId::new("acme");
    let (client, token) = Client::new("example", std::slice::from_ref(&acme), rand::random());
    Clients::in_state_directory(state.as_ref()).update(|clients| *clients = vec![client])?;
    let api: ApiData = serde_json::from_value(serde_json::json!({ "base": base }))?;

    let settings = Settings {
        apis: HashMap::from([(acme, api.build()?)]),
        clients: Clients::in_state_directory(state.as_ref()),
        hosts: Hosts::default(),
        limits: Limits::default(),
        clock: Arc::new(SystemClock),
        tls: None,
    };
    let mut server = Server::new(Gateway::new(accounts, settings), state.as_ref())?;
    let address = server.listen(format!("127.0.0.1:{port}").parse()?).await?;
    println!("listening on http://{address}/acme, token {}", token.expose());
    let (phase, receiver) = tokio::sync::watch::channel(Phase::Serving);
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        let _ = phase.send(Phase::Finishing);
    });
    server.run(receiver).await;
    Ok(())
}
