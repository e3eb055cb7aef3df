//! Chooses the provider, and its login method.

use auth_providers::{Flow, Provider, Providers};
use auth_store::ProviderId;

use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::prompt;
use crate::host::shell_quote::option;
use crate::host::text::{padded, printable};

/// What a login does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Chosen {
    /// Run the driver of this flow.
    Flow(Flow),
    /// Ask for a token.
    Token,
    /// Ask for an API key.
    ApiKey,
}

/// The `named` method, else the provider's first one. The user is asked to paste something only if
/// they named that method, or are at a terminal. `in_two_steps`: the login is only begun.
pub(crate) fn choose(
    named: Option<&str>,
    in_two_steps: bool,
    provider: &Provider,
    context: &Context,
) -> Result<Chosen, CliError> {
    let found = match named {
        None => provider.flows.first(),
        Some(method) => provider.flows.iter().find(|flow| words(**flow).contains(&method)),
    };
    let chosen = found.map(|flow| match flow {
        Flow::Token => Chosen::Token,
        Flow::ApiKey => Chosen::ApiKey,
        flow => Chosen::Flow(*flow),
    });
    let id = &provider.id;
    let Some(chosen) = chosen else {
        let method = printable(named.unwrap_or_default());
        let message = format!("`{id}` has no login by `{method}` here");
        return Err(CliError::usage(message).hint(ways(provider)));
    };
    if let Chosen::Token | Chosen::ApiKey = chosen {
        if in_two_steps {
            let message = format!("`{id}` has no login in two steps");
            return Err(CliError::usage(message).hint(ways(provider)));
        }
        if named.is_none() && !context.terminal.stdin {
            let message = format!("`{id}` has no login in a browser");
            return Err(CliError::usage(message).hint(ways(provider)));
        }
    }
    Ok(chosen)
}

/// Asks for the provider at a terminal; otherwise returns an error that lists the providers.
pub(crate) fn choose_provider(
    providers: &Providers,
    context: &Context,
) -> Result<String, CliError> {
    let all = providers.all();
    let ids: Vec<_> = all.iter().map(|provider| provider.id.as_str()).collect();
    if !(context.terminal.stdin && context.terminal.stderr) {
        return Err(CliError::usage("--provider is required when stdin is not a terminal")
            .hint(format!("add --provider with one of: {}", ids.join(", "))));
    }
    let items: Vec<_> = all
        .iter()
        .map(|provider| {
            let flows: Vec<_> = provider.flows.iter().map(|flow| for_people(*flow)).collect();
            let id = padded(provider.id.as_str(), 18);
            format!("{id} {} ({})", printable(&provider.label), flows.join(", "))
        })
        .collect();
    let at = prompt::choose("Log in to which provider?", &items, context)?;
    Ok(ids.get(at).copied().unwrap_or_default().to_owned())
}

/// The provider called `name`. An invalid manifest of that name is an error, even if the catalogue
/// has the provider: the user wrote the manifest to be used.
pub(crate) fn find<'a>(name: &str, providers: &'a Providers) -> Result<&'a Provider, CliError> {
    let id = ProviderId::new(name);
    let found = providers.find(&id);
    let wanted = found.map_or(&id, |provider| &provider.id);
    let wrong = providers.errors().iter().find(|error| {
        let stem = error.path.file_stem().map(|stem| ProviderId::new(&stem.to_string_lossy()));
        stem.as_ref() == Some(wanted)
    });
    if let Some(error) = wrong {
        return Err(CliError::new(Exit::Usage, "manifest", error.to_string())
            .hint("correct the manifest, then log in again")
            .path(&error.path));
    }
    found.ok_or_else(|| {
        let message = format!("there is no provider `{}`", printable(name));
        CliError::new(Exit::Usage, "unknown_provider", message)
            .hint("see what there is: clawdbot plugins list; or describe it in a manifest")
    })
}

/// The provider at the host that is `named`, or that the user says, where it has one for each of
/// its customers.
pub(crate) fn at_host(
    named: Option<&str>,
    provider: &Provider,
    context: &Context,
) -> Result<Provider, CliError> {
    let Some(prompt) = &provider.prompt_host else {
        return match named {
            None => Ok(provider.clone()),
            Some(_) => {
                Err(CliError::usage(format!("`{}` has no --host", provider.id))
                    .hint("leave it out"))
            }
        };
    };
    let asked = match named {
        Some(named) => named.to_owned(),
        None if context.terminal.stdin && context.terminal.stderr => {
            prompt::answer(&format!("Its host (such as {}): ", prompt.example), context)?
        }
        None => {
            let message = format!("--host is required for {}", printable(&provider.label));
            return Err(CliError::usage(message).hint(format!("add it: --host {}", prompt.example)));
        }
    };
    provider.at_host(&asked).map_err(|reason| {
        CliError::usage(reason).hint(format!("--host takes the name alone: {}", prompt.example))
    })
}

/// Asks for the login method, if the provider has several.
pub(crate) fn choose_method(
    provider: &Provider,
    context: &Context,
) -> Result<Option<String>, CliError> {
    if provider.flows.len() < 2 {
        return Ok(None);
    }
    let ways: Vec<_> = provider.flows.iter().map(|flow| for_people(*flow).to_owned()).collect();
    let question = format!("How do you want to log in to {}?", printable(&provider.label));
    let number = prompt::choose(&question, &ways, context)?;
    Ok(provider.flows.get(number).map(|flow| words(*flow)[0].to_owned()))
}

/// The alternatives for the user.
pub(crate) fn ways(provider: &Provider) -> String {
    let of = option("--provider", &provider.id);
    let mut ways = Vec::new();
    for (place, flow) in provider.flows.iter().enumerate() {
        let login = format!("clawdbot models auth login{of}");
        ways.push(match flow {
            Flow::Token => match &provider.token.obtain {
                Some(command) => {
                    format!("`{command}`, then clawdbot models auth setup-token{of}")
                }
                None => format!("clawdbot models auth paste-token{of}"),
            },
            Flow::ApiKey => format!("clawdbot models auth paste-api-key{of}"),
            _ if place == 0 => login,
            flow if flow.is_device_code() => format!("{login} --device-code"),
            flow => format!("{login} --method {}", words(*flow)[0]),
        });
    }
    format!("use {}", ways.join(", or "))
}

/// The words for a flow after `--method`; the first one is used in manifests.
pub(crate) fn words(flow: Flow) -> &'static [&'static str] {
    match flow {
        Flow::AuthorizationCode => &["authorization_code", "browser", "oauth", "pkce"],
        Flow::AuthorizationCodeKey => &["authorization_code_key", "browser", "oauth", "pkce"],
        Flow::DeviceCode => &["device_code", "device-code", "device", "oauth"],
        Flow::DeviceCodeOpenai => {
            &["device_code_openai", "device_code", "device-code", "device", "oauth"]
        }
        Flow::DeviceCodeMinimax => {
            &["device_code_minimax", "device_code", "device-code", "device", "oauth"]
        }
        Flow::Token => &["token", "setup-token", "setup_token", "paste-token"],
        Flow::ApiKey => &["api_key", "api-key", "key", "paste-api-key"],
        Flow::Plugin => &["plugin"],
    }
}

/// A flow in words for the user.
pub(crate) fn for_people(flow: Flow) -> &'static str {
    match flow {
        Flow::AuthorizationCode => "browser",
        Flow::AuthorizationCodeKey => "browser (for an API key)",
        Flow::DeviceCode | Flow::DeviceCodeOpenai | Flow::DeviceCodeMinimax => "device code",
        Flow::Token => "token",
        Flow::ApiKey => "API key",
        Flow::Plugin => "plugin",
    }
}
