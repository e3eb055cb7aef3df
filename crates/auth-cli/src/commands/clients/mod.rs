//! `clients`: the programs that may use accounts through `serve`, each with its grant.

pub mod args;

use auth_gateway::{Client, ClientToken, Clients, Right};
use auth_routing::{Charge, charge};
use auth_store::{Kind, ProfileId, ProviderId, Timestamp};
use serde_json::{Map, Value, json};

use crate::agent::invocation::Invocation;
use crate::commands::clients::args::{AddArgs, ClientsCommand};
use crate::flows::gateway::{self, clients_error};
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::report::Report;
use crate::host::text::utc;

/// Adds, lists, rotates or revokes.
pub fn run(command: &ClientsCommand, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    let clients = Clients::in_state_directory(&context.paths().state_dir);
    match command {
        ClientsCommand::Add(args) => add(args, &clients, invocation),
        ClientsCommand::List => list(&clients, context),
        ClientsCommand::Rotate(args) => rotate(&args.name, &clients, context),
        ClientsCommand::Revoke(args) => revoke(&args.name, &clients),
    }
}

fn add(args: &AddArgs, clients: &Clients, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    let providers = providers(args, context)?;
    let may = rights(&args.may)?;
    // An agent that does not exist is refused now.
    invocation.agent()?;
    let (client, token) = Client::new(&args.name, &providers, entropy(context)?);
    let client = Client {
        may,
        agent: invocation.named().map(crate::config::agent_id),
        profile: args.profile.as_deref().map(ProfileId::new),
        session: args.session.clone(),
        expires: args.expires.map(|wait| context.now().plus(wait)),
        max_per_minute: args.max_per_minute,
        subscription: args.subscription,
        ..client
    };
    let added = clients.update(|all| {
        let is_new = all.iter().all(|known| known.name != client.name);
        if is_new {
            all.push(client.clone());
        }
        is_new
    });
    if !added.map_err(clients_error)? {
        let message = format!("there is a client `{}` already", args.name);
        return Err(CliError::new(Exit::Usage, "client_exists", message).hint(format!(
            "give it a new token: clawdbot clients rotate {0}; or take it away first: clawdbot clients revoke {0}",
            args.name
        )));
    }
    let mut report = told(&client, &token);
    for provider in &client.providers {
        report.note(format_args!("base URL of {provider}: {}", base_url(provider)));
    }
    report.note("The token is shown this once. It goes where the program has its API key.");
    if client.may(Right::Proxy) {
        for provider in &client.providers {
            if let Some(line) = terms(provider, client.subscription) {
                report.say(line);
            }
        }
    }
    Ok(report)
}

/// The providers that were named; each must be one whose API is known, if there is to be a proxy.
fn providers(args: &AddArgs, context: &Context) -> Result<Vec<ProviderId>, CliError> {
    let apis = gateway::apis(context);
    let known = crate::profiles::view::providers(context);
    let mut providers: Vec<ProviderId> = Vec::new();
    for name in &args.provider {
        let asked = ProviderId::new(name);
        let provider = known.find(&asked).map_or(asked, |provider| provider.id.clone());
        let needs_api = args.may.is_empty() || args.may.iter().any(|right| right == "proxy");
        if needs_api && !apis.contains_key(&provider) {
            let mut names: Vec<_> = apis.keys().map(ProviderId::as_str).collect();
            names.sort_unstable();
            return Err(CliError::usage(format!("the API of `{provider}` is not known here"))
                .hint(format!("known are: {}", names.join(", "))));
        }
        if !providers.contains(&provider) {
            providers.push(provider);
        }
    }
    Ok(providers)
}

fn rights(words: &[String]) -> Result<Vec<Right>, CliError> {
    let mut rights = Vec::new();
    for word in words.iter().map(|word| word.trim()) {
        let right = Right::parse(word).ok_or_else(|| {
            CliError::usage(format!("there is no right `{word}`"))
                .hint("the rights are: proxy, token, report, status, login")
        })?;
        if !rights.contains(&right) {
            rights.push(right);
        }
    }
    Ok(if rights.is_empty() { vec![Right::Proxy] } else { rights })
}

fn list(clients: &Clients, context: &Context) -> Result<Report, CliError> {
    let all = clients.read().map_err(clients_error)?;
    let now = context.now();
    let data: Vec<Value> = all.iter().map(|client| described(client, now)).collect();
    let mut report = Report::from_data(json!({ "clients": data }));
    if all.is_empty() {
        report.line("No clients.");
        report.note("hint: clawdbot clients add NAME --provider PROVIDER");
    }
    for client in all.iter() {
        let providers: Vec<_> = client.providers.iter().map(ProviderId::as_str).collect();
        let may: Vec<_> = client.may.iter().map(|right| right.as_str()).collect();
        let mut line = format!("{}: {} ({})", client.name, providers.join(", "), may.join(", "));
        if let Some(end) = client.expires {
            let word = if end <= now { "ended" } else { "until" };
            line = format!("{line}, {word} {}", utc(end));
        }
        report.line(line);
    }
    Ok(report)
}

/// What is known of a client. Its token is not.
fn described(client: &Client, now: Timestamp) -> Value {
    let may: Vec<_> = client.may.iter().map(|right| right.as_str()).collect();
    json!({
        "name": client.name,
        "providers": client.providers,
        "may": may,
        "agentId": client.agent,
        "profileId": client.profile,
        "session": client.session,
        "expires": client.expires,
        "hasExpired": client.has_expired(now),
        "maxPerMinute": client.max_per_minute,
        "subscription": client.subscription,
    })
}

fn rotate(name: &str, clients: &Clients, context: &Context) -> Result<Report, CliError> {
    let entropy = entropy(context)?;
    let rotated = clients.update(|all| {
        let client = all.iter_mut().find(|client| client.name == name)?;
        let (fresh, token) = Client::new(name, &client.providers, entropy);
        client.token_sha256 = fresh.token_sha256;
        Some((client.clone(), token))
    });
    let rotated = rotated.map_err(clients_error)?;
    let (client, token) = rotated.ok_or_else(|| no_client(name))?;
    Ok(told(&client, &token))
}

fn revoke(name: &str, clients: &Clients) -> Result<Report, CliError> {
    let revoked = clients.update(|all| {
        let before = all.len();
        all.retain(|client| client.name != name);
        all.len() < before
    });
    if !revoked.map_err(clients_error)? {
        return Err(no_client(name));
    }
    let mut report = Report::from_data(json!({ "name": name, "revoked": true }));
    report.line(format_args!("Revoked {name}."));
    Ok(report)
}

/// A client and its token, which is told this once.
fn told(client: &Client, token: &ClientToken) -> Report {
    let urls = client.providers.iter();
    let urls = urls.map(|it| (it.as_str().to_owned(), base_url(it).into()));
    let urls: Map<String, Value> = urls.collect();
    let mut report =
        Report::from_data(json!({ "name": client.name, "token": token.expose(), "baseUrl": urls }));
    report.line(token.expose());
    report
}

fn base_url(provider: &ProviderId) -> String {
    format!("http://127.0.0.1:{}/{provider}", gateway::PORT)
}

/// What is to be known before a subscription serves other programs.
fn terms(provider: &ProviderId, is_granted: bool) -> Option<String> {
    if charge(provider, Kind::OAuth) != Charge::Subscription {
        return None;
    }
    Some(if is_granted {
        format!(
            "note: {provider} may allow the logins of a subscription in its own applications only, and close accounts that are used otherwise; its terms decide"
        )
    } else {
        format!(
            "note: this client gets API keys of {provider} only; the login of a subscription has to be granted: --subscription"
        )
    })
}

fn entropy(context: &Context) -> Result<[u8; 32], CliError> {
    let mut bytes = [0; 32];
    context.fill_random(&mut bytes)?;
    Ok(bytes)
}

fn no_client(name: &str) -> CliError {
    CliError::new(Exit::NoCredential, "unknown_client", format!("there is no client `{name}`"))
        .hint("see `clawdbot clients list`")
}
