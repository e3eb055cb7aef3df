//! `onboard`: the first steps. It finds existing credentials, asks what to do, runs the other
//! commands, checks the result and names the next commands. All questions come before any action,
//! so that Ctrl-C at any of them leaves everything unchanged.

pub mod args;
pub mod found;

use auth_providers::{Provider, Providers};
use auth_store::ProviderId;
use serde_json::{Value, json};

use crate::agent::invocation::Invocation;
use crate::commands::onboard::args::OnboardArgs;
use crate::flows::import::{self, ImportRequest};
use crate::flows::login::request::LoginRequest;
use crate::flows::model::Use;
use crate::flows::paste::{self, PasteRequest};
use crate::flows::{login, model};
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::other_tools::{self, Tool};
use crate::host::prompt;
use crate::host::report::Report;
use crate::host::shell_quote::{command, option};
use crate::host::text::printable;
use crate::profiles::login_method;
use crate::profiles::standing::Standing;
use crate::profiles::table;
use crate::profiles::view::{self, DEFAULT_PROVIDER, View};

/// Takes a new user to a working token.
pub fn run(args: &OnboardArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    let is_silent = args.non_interactive || !(context.terminal.stdin && context.terminal.stderr);
    let view = View::read(invocation)?;
    let providers = view::providers(context);
    let act = match &args.auth_choice {
        Some(choice) => named(choice, args, &view, &providers, context)?,
        None if is_silent => return Err(missing("--auth-choice", CHOICES)),
        None => {
            found::tell(&view, &providers, context);
            chosen(args, &view, &providers, context)?
        }
    };
    let model = match (&args.model, act.provider(&providers)) {
        (Some(model), _) => Some(
            view::model_of(model, &ProviderId::new(DEFAULT_PROVIDER), &view.config)?.to_string(),
        ),
        (None, Some(provider)) => suggested(provider, args, is_silent, &view, context)?,
        (None, None) => None,
    };
    let (act, done) = perform(act, args, &providers, invocation)?;
    if let Some(model) = &model {
        model::set(model, Use::Chat, invocation)?;
    }
    finish(&act, &done, model.as_deref(), invocation)
}

/// What to do in the end.
#[derive(Debug)]
enum Act {
    /// Keep the stored credentials.
    Keep(Option<ProviderId>),
    /// Use a key of the environment where it is.
    Env(ProviderId),
    Login(LoginRequest),
    Paste(PasteRequest),
    Import(ImportRequest, ProviderId),
}

impl Act {
    fn provider_id(&self) -> Option<ProviderId> {
        match self {
            Self::Keep(provider) => provider.clone(),
            Self::Env(provider) | Self::Import(_, provider) => Some(provider.clone()),
            Self::Login(request) => request.provider.as_deref().map(ProviderId::new),
            Self::Paste(request) => Some(ProviderId::new(&request.provider)),
        }
    }

    fn provider<'a>(&self, providers: &'a Providers) -> Option<&'a Provider> {
        providers.find(&self.provider_id()?)
    }
}

/// The meaning of `--auth-choice`, with its options.
fn named(
    choice: &str,
    args: &OnboardArgs,
    view: &View,
    providers: &Providers,
    context: &Context,
) -> Result<Act, CliError> {
    let word = choice.trim().to_ascii_lowercase();
    let provider = || {
        args.provider.clone().ok_or_else(|| {
            missing("--provider ID", &format!("it belongs to `--auth-choice {}`", printable(&word)))
        })
    };
    Ok(match word.as_str() {
        "keep" | "skip" => Act::Keep(view.providers().into_iter().next()),
        "setup-token" => setup_token(args, args.provider.as_deref()),
        "token" => token(args, &provider()?),
        "api-key" | "apikey" => api_key(args, &provider()?),
        "env" => {
            let id = match &args.provider {
                Some(name) => ProviderId::new(name),
                None => match &found::keys(providers, context)[..] {
                    [(id, _)] => id.clone(),
                    _ => provider().map(|name| ProviderId::new(&name))?,
                },
            };
            let has_key = found::keys(providers, context).iter().any(|(it, _)| *it == id);
            if !has_key {
                let message = format!("the environment has no key of `{id}`");
                return Err(CliError::new(Exit::NoCredential, "no_key", message).hint(format!(
                    "{}; or export its variable first",
                    view::way_in(&id, providers)
                )));
            }
            Act::Env(id)
        }
        "import" => {
            let from = args.from.clone().ok_or_else(|| {
                missing("--from TOOL", "`codex`, `claude`, `qwen`, `gemini` or the path of a file")
            })?;
            importing(args, from, context)
        }
        "login" => logging_in(args, provider()?),
        word => {
            if let Some(found) =
                providers.find(&ProviderId::new(word)).filter(|it| it.has_oauth_login())
            {
                return Ok(logging_in(args, found.id.to_string()));
            }
            let Some(name) = word.strip_suffix("-api-key") else {
                let message = format!("unknown choice `{}`", printable(choice));
                return Err(CliError::usage(message).hint(CHOICES));
            };
            api_key(args, name)
        }
    })
}

/// Asks what to do.
fn chosen(
    args: &OnboardArgs,
    view: &View,
    providers: &Providers,
    context: &Context,
) -> Result<Act, CliError> {
    let mut choices: Vec<(String, Wanted)> = Vec::new();
    if !view.profiles.is_empty() {
        choices.push(("Keep what is stored, and check it".to_owned(), Wanted::Keep));
    }
    for tool in Tool::ALL {
        for foreign in other_tools::of_tool(tool, context) {
            let text = format!("Use the login of {} ({})", tool.name(), foreign.provider);
            choices.push((text, Wanted::Import(foreign.path.display().to_string())));
        }
    }
    for store in found::stores(context) {
        let text = format!("Take over the profiles in {}", context.display(&store));
        choices.push((text, Wanted::Import(store.display().to_string())));
    }
    for (id, name) in found::keys(providers, context) {
        choices
            .push((format!("Use ${name} of the environment where it is ({id})"), Wanted::Env(id)));
    }
    let fixed = [
        ("ChatGPT subscription: log in with a browser", Wanted::Codex),
        ("Claude subscription: paste the token of `claude setup-token`", Wanted::SetupToken),
        ("Another provider's login: Copilot, Qwen, MiniMax, OpenRouter, your own", Wanted::Other),
        ("An API key of any provider, paid by use", Wanted::ApiKey),
        ("A token of any provider", Wanted::Token),
        ("Nothing for now", Wanted::Nothing),
    ];
    choices.extend(fixed.into_iter().map(|(text, wanted)| (text.to_owned(), wanted)));
    let items: Vec<_> = choices.iter().map(|(text, _)| text.clone()).collect();
    let number = prompt::choose("How do you want to sign in?", &items, context)?;
    let (_, wanted) = choices.swap_remove(number);
    Ok(match wanted {
        Wanted::Keep | Wanted::Nothing => Act::Keep(view.providers().into_iter().next()),
        Wanted::Env(id) => Act::Env(id),
        Wanted::Import(from) => importing(args, from, context),
        Wanted::Codex => logging_in(args, "openai-codex".to_owned()),
        Wanted::SetupToken => setup_token(args, None),
        Wanted::Other => {
            let name = match &args.provider {
                Some(name) => name.clone(),
                None => login_method::choose_provider(providers, context)?,
            };
            let provider = login_method::find(&name, providers)?;
            let method = login_method::choose_method(provider, context)?;
            let login = login_request(args, name);
            // `--device-code` already names the method.
            let method = login.method.clone().or(method);
            Act::Login(LoginRequest { method, ..login })
        }
        Wanted::ApiKey => {
            let name = provider_name(args, "openai, openrouter, groq, …", context)?;
            api_key(args, &name)
        }
        Wanted::Token => {
            let name = provider_name(args, "anthropic, acme, …", context)?;
            token(args, &name)
        }
    })
}

/// A line of the menu.
enum Wanted {
    Keep,
    Import(String),
    Env(ProviderId),
    Codex,
    SetupToken,
    Other,
    ApiKey,
    Token,
    Nothing,
}

fn provider_name(
    args: &OnboardArgs,
    examples: &str,
    context: &Context,
) -> Result<String, CliError> {
    if let Some(name) = &args.provider {
        return Ok(name.clone());
    }
    loop {
        let name = prompt::answer(&format!("Which provider? ({examples}): "), context)?;
        if !name.is_empty() {
            return Ok(name);
        }
    }
}

fn logging_in(args: &OnboardArgs, provider: String) -> Act {
    Act::Login(login_request(args, provider))
}

fn login_request(args: &OnboardArgs, provider: String) -> LoginRequest {
    LoginRequest {
        provider: Some(provider),
        method: args.device_code.then(|| "device_code".to_owned()),
        profile_id: args.profile_id.clone(),
        no_browser: args.no_browser,
        force: args.force,
        ..LoginRequest::default()
    }
}

fn pasting(args: &OnboardArgs, request: PasteRequest) -> PasteRequest {
    PasteRequest { force: args.force, may_ask: !args.non_interactive, ..request }
}

fn setup_token(args: &OnboardArgs, provider: Option<&str>) -> Act {
    let provider = provider.unwrap_or(DEFAULT_PROVIDER);
    Act::Paste(pasting(args, PasteRequest::setup_token(provider, args.profile_id.as_deref())))
}

fn token(args: &OnboardArgs, provider: &str) -> Act {
    Act::Paste(pasting(args, PasteRequest::token(provider, args.profile_id.as_deref())))
}

fn api_key(args: &OnboardArgs, provider: &str) -> Act {
    Act::Paste(pasting(args, PasteRequest::api_key(provider, args.profile_id.as_deref())))
}

fn importing(args: &OnboardArgs, from: String, context: &Context) -> Act {
    let provider = found::provider_of(&from, context);
    let request = ImportRequest {
        from,
        access_only: args.access_only,
        take_over: args.take_over,
        provider: args.provider.clone(),
        profile_id: args.profile_id.clone(),
        force: args.force,
        accept_commands: false,
    };
    Act::Import(request, provider)
}

/// The model to set as default, if the user agrees.
fn suggested(
    provider: &Provider,
    args: &OnboardArgs,
    is_silent: bool,
    view: &View,
    context: &Context,
) -> Result<Option<String>, CliError> {
    let Some(model) = &provider.default_model else {
        if args.set_default {
            context.say(format_args!(
                "warning: no model is suggested for `{}`; name one: {}",
                provider.id,
                command("models set", &[&format!("{}/MODEL", provider.id)], "")
            ));
        }
        return Ok(None);
    };
    let is_set =
        view.config.models().primary.is_some() && view.default_model().to_string() == *model;
    let is_wanted = args.set_default
        || (!is_silent
            && !is_set
            && prompt::yes(&format!("Make {model} the default model?"), context)?);
    Ok(is_wanted.then(|| model.clone()))
}

/// Runs another command, and returns its output as data. A user who is asked what to import may
/// choose a new login instead.
fn perform(
    act: Act,
    args: &OnboardArgs,
    providers: &Providers,
    invocation: &Invocation<'_>,
) -> Result<(Act, Value), CliError> {
    let report = match &act {
        Act::Keep(_) | Act::Env(_) => Report::default(),
        Act::Login(request) => login::run(request, invocation)?,
        Act::Paste(request) => paste::run(request, invocation)?,
        Act::Import(request, _) => import::run(request, invocation)?,
    };
    let done = report.quietly(invocation.context);
    let is_empty = |name: &str| done[name].as_array().is_some_and(Vec::is_empty);
    let took_nothing = is_empty("imported") && is_empty("unchanged");
    let (Act::Import(_, id), true) = (&act, took_nothing) else { return Ok((act, done)) };
    let instead = match providers.find(id) {
        Some(provider) if provider.has_oauth_login() => logging_in(args, id.to_string()),
        Some(_) => setup_token(args, Some(id.as_str())),
        None => return Ok((act, done)),
    };
    perform(instead, args, providers, invocation)
}

/// Reads the result back, prints it, and names the next commands.
fn finish(
    act: &Act,
    done: &Value,
    model: Option<&str>,
    invocation: &Invocation<'_>,
) -> Result<Report, CliError> {
    let context = invocation.context;
    let providers = view::providers(context);
    let standing = Standing::judge(View::read(invocation)?, &providers, context);
    let view = &standing.view;
    let stored: Vec<&str> = match &done["imported"] {
        Value::Array(all) => {
            let unchanged = done["unchanged"].as_array().into_iter().flatten();
            let imported = all.iter().filter_map(|it| it["profileId"].as_str());
            imported.chain(unchanged.filter_map(Value::as_str)).collect()
        }
        _ => done["profileId"].as_str().into_iter().collect(),
    };
    for id in &stored {
        view.profile(&(*id).into())?;
    }
    let provider = match stored.first() {
        Some(id) => Some(view.profile(&(*id).into())?.provider.clone()),
        None => act.provider_id(),
    };
    let usable = provider
        .as_ref()
        .filter(|id| matches!(act, Act::Env(_)) || standing.plan(id).plan.ready().is_some());
    let name = usable.map_or("PROVIDER", ProviderId::as_str);
    let next = if usable.is_some() {
        [
            (
                format!("clawdbot models auth token{}", option("--provider", name)),
                "a valid token, for any tool",
            ),
            ("clawdbot models status".to_owned(), "who is logged in, and for how long"),
            ("clawdbot doctor".to_owned(), "what is wrong, and how to fix it"),
        ]
    } else {
        [
            ("clawdbot onboard".to_owned(), "start again"),
            ("clawdbot plugins list".to_owned(), "the providers there are"),
            ("clawdbot models status".to_owned(), "what is stored"),
        ]
    };
    let mut report = Report::from_data(json!({
        "agentId": view.agent.id,
        "provider": provider,
        "profileIds": stored,
        "usable": usable.is_some(),
        "defaultModel": view.default_model().to_string(),
        "next": next.iter().map(|(command, _)| command).collect::<Vec<_>>(),
    }));
    report.line("");
    match (&provider, usable) {
        (Some(id), Some(_)) => {
            let (style, width) = (invocation.style(), context.terminal.width.unwrap_or(80));
            report.line(format_args!("Ready: {id} (agent `{}`)", view.agent.id));
            for line in table::profile_lines(&standing, id, style, width) {
                report.styled(line);
            }
            if let Act::Env(id) = act
                && let Some((_, name)) =
                    found::keys(&providers, context).iter().find(|(it, _)| it == id)
            {
                report.line(format_args!("    ${name} of the environment"));
            }
        }
        (Some(id), None) => {
            report.line(format_args!("No usable credential for {id} yet."));
        }
        (None, _) => report.line("No credential yet."),
    }
    if model.is_some() {
        report.line(format_args!("Default model: {}", view.default_model()));
    }
    report.line("");
    report.line("Next:");
    let width = next.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
    for (command, what) in &next {
        report.line(format_args!("  {command:width$}  {what}"));
    }
    Ok(report)
}

fn missing(option: &str, why: &str) -> CliError {
    CliError::usage(format!("{option} is required when stdin is not a terminal")).hint(why)
}

const CHOICES: &str = "choices: openai-codex, or another provider to log in to (`clawdbot plugins list`); \
     setup-token (of `claude setup-token`); token or api-key with --provider ID; \
     env with --provider ID; import with --from TOOL; keep; skip. \
     Secrets come on standard input. Further: --set-default or --model MODEL, --profile-id ID";
