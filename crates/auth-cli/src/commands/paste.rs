//! `models auth setup-token`, `paste-token` and `paste-api-key`: a secret from the terminal or
//! from standard input, never from an argument.

use std::time::Duration;

use auth_providers::{Looks, default_profile_id, pasted};
use auth_store::{Credential, Kind, ProfileId, ProviderId};
use serde_json::json;

use crate::agent::Agent;
use crate::args::{Global, PasteApiKeyArgs, PasteTokenArgs, SetupTokenArgs};
use crate::config::Config;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::person;
use crate::save;
use crate::text::utc;
use crate::worker;

/// Stores the token that the provider's own tool prints.
pub fn setup_token(
    args: &SetupTokenArgs,
    global: &Global,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let what = What { kind: Kind::Token, expires_in: None, name: "manual" };
    store(&args.provider, args.profile_id.as_deref(), &what, global, context)
}

/// Stores a token of any provider.
pub fn paste_token(
    args: &PasteTokenArgs,
    global: &Global,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let what = What { kind: Kind::Token, expires_in: args.expires_in, name: "manual" };
    store(&args.provider, args.profile_id.as_deref(), &what, global, context)
}

/// Stores an API key of any provider.
pub fn paste_api_key(
    args: &PasteApiKeyArgs,
    global: &Global,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let what = What { kind: Kind::ApiKey, expires_in: None, name: "default" };
    store(&args.provider, args.profile_id.as_deref(), &what, global, context)
}

/// What is pasted.
struct What {
    kind: Kind,
    expires_in: Option<Duration>,
    /// The name of the profile after the colon, where none is given.
    name: &'static str,
}

fn store(
    provider: &str,
    profile: Option<&str>,
    what: &What,
    global: &Global,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let config = Config::load(context)?;
    let agent = Agent::of(global, &config, context)?;
    let sink = worker::sink(&agent, &config, context);
    let typed = ProviderId::new(provider);
    if typed.as_str().is_empty() {
        return Err(CliError::usage("the provider has no name"));
    }
    let known = sink.providers.find(&typed);
    let provider = known.map_or(typed, |known| known.id.clone());
    let looks = match what.kind {
        Kind::ApiKey => known.map(|known| known.api_key.clone()),
        _ => known.map(|known| known.token.clone()),
    };
    let looks = looks.unwrap_or_default();
    let id = match profile {
        Some(id) if id.trim().is_empty() => return Err(CliError::usage("the profile has no name")),
        Some(id) => ProfileId::new(id),
        None => default_profile_id(&provider, what.name),
    };
    save::check_store(&sink)?;
    let holder = sink.store.read()?.profile(&id);
    if profile.is_none()
        && let Some(holder) = holder.filter(|it| it.kind != what.kind || it.provider != provider)
    {
        let message = format!("`{id}` is a profile of type `{}` already", holder.kind.as_str());
        return Err(CliError::usage(message)
            .hint(format!("choose another name: --profile-id {provider}:NAME"))
            .profile(&id));
    }

    let text = person::secret(&question(&provider, what, &looks), context)?;
    let pasted = pasted(&text, &provider, &looks).map_err(|error| {
        let noun = if what.kind == Kind::ApiKey { "key" } else { "token" };
        CliError::usage(format!("no {noun} was stored: {error}"))
            .hint(format!("give the {noun} of `{provider}` on standard input"))
    })?;
    for warning in &pasted.warnings {
        context.say(format_args!("warning: {warning}"));
    }
    let credential = match what.kind {
        Kind::ApiKey => Credential::ApiKey(pasted.secret),
        _ => Credential::Token {
            token: pasted.secret,
            expires: what.expires_in.map(|lifetime| context.now().plus(lifetime)),
        },
    };
    save::pasted(&id, &provider, &credential, &agent, &sink)?;
    save::declare(&id, &provider, what.kind, None, context);

    if global.json {
        context.print_json(&json!({
            "agentId": agent.id,
            "profileId": id,
            "provider": provider,
            "type": what.kind.as_str(),
            "expires": credential.expires(),
        }))?;
    } else {
        let until = credential.expires().map(|end| format!(" It ends {}.", utc(end)));
        context.print(format_args!(
            "Stored: profile `{id}` of the agent `{}`.{}",
            agent.id,
            until.unwrap_or_default()
        ))?;
    }
    Ok(Exit::Done)
}

fn question(provider: &ProviderId, what: &What, looks: &Looks) -> String {
    match (what.kind, &looks.obtain) {
        (Kind::ApiKey, _) => format!("Paste the API key of `{provider}`:"),
        (_, Some(command)) => {
            format!("Run `{command}` in another terminal, then paste the token it prints:")
        }
        _ => format!("Paste the token of `{provider}`:"),
    }
}
