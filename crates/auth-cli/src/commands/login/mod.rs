//! `models auth login`, `add`, `setup-token`, `paste-token`, `paste-api-key` and `import`: the ways
//! to add a credential. Arguments become resolved requests here; `flows` runs them.

pub mod args;

use crate::agent::invocation::Invocation;
use crate::commands::login::args::{
    CopilotArgs, ImportArgs, LoginArgs, PasteApiKeyArgs, PasteTokenArgs, SetupTokenArgs,
};
use crate::flows::import::{self, ImportRequest};
use crate::flows::login::request::LoginRequest;
use crate::flows::login::{self, two_steps};
use crate::flows::paste::{self, PasteRequest, Pasted, Place};
use crate::host::error::CliError;
use crate::host::report::Report;
use crate::profiles::{login_method, view};

/// Logs in, begins a login, or finishes one.
pub fn run(args: &LoginArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let device_code = || "device_code".to_owned();
    let request = LoginRequest {
        provider: args.provider.clone(),
        method: if args.device_code { Some(device_code()) } else { args.method.clone() },
        host: args.host.clone(),
        profile_id: args.profile_id.clone(),
        no_browser: args.no_browser,
        start: args.start,
        set_default: args.set_default,
        force: args.force,
    };
    match &args.finish {
        Some(response) => two_steps::finish(response, &request, invocation),
        None => login::run(&request, invocation),
    }
}

/// `login-github-copilot`, the name of this command in Clawdbot.
pub fn copilot(args: &CopilotArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let request = LoginRequest {
        provider: Some("github-copilot".to_owned()),
        profile_id: args.profile_id.clone(),
        force: args.yes,
        ..LoginRequest::default()
    };
    login::run(&request, invocation)
}

/// `add`: asks for the provider, and for the login method if it has several.
pub fn add(invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    let providers = view::providers(context);
    let name = login_method::choose_provider(&providers, context)?;
    let provider = login_method::find(&name, &providers)?;
    let method = login_method::choose_method(provider, context)?;
    let request = LoginRequest { provider: Some(name), method, ..LoginRequest::default() };
    login::run(&request, invocation)
}

/// Stores the token that the provider's own tool prints.
pub fn setup_token(args: &SetupTokenArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let request = PasteRequest {
        force: args.force,
        may_ask: !args.yes,
        ..PasteRequest::setup_token(&args.provider, args.profile_id.as_deref())
    };
    paste::run(&request, invocation)
}

/// Stores a token of any provider.
pub fn paste_token(args: &PasteTokenArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let request = PasteRequest {
        secret: Pasted::Token(args.expires_in),
        force: args.force,
        may_ask: !args.yes,
        ..PasteRequest::token(&args.provider, args.profile_id.as_deref())
    };
    paste::run(&request, invocation)
}

/// Stores an API key of any provider.
pub fn paste_api_key(
    args: &PasteApiKeyArgs,
    invocation: &Invocation<'_>,
) -> Result<Report, CliError> {
    let place = match (&args.from_env, &args.from_file, &args.from_command) {
        (Some(name), ..) => Some(Place::Env(name.clone())),
        (_, Some(path), _) => Some(Place::File(path.clone())),
        (_, _, Some(text)) => Some(Place::Command(text.clone())),
        _ => None,
    };
    let request = PasteRequest {
        secret: Pasted::ApiKey(place),
        api_base: args.api_base.clone(),
        force: args.force,
        may_ask: !args.yes,
        ..PasteRequest::api_key(&args.provider, args.profile_id.as_deref())
    };
    paste::run(&request, invocation)
}

/// Imports a credential from another tool.
pub fn import(args: &ImportArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let request = ImportRequest {
        from: args.from.clone(),
        access_only: args.access_only,
        take_over: args.take_over,
        provider: args.provider.clone(),
        profile_id: args.profile_id.clone(),
        force: args.force,
        accept_commands: args.accept_commands,
    };
    import::run(&request, invocation)
}
