//! `models auth import`: takes a credential over from another tool, once, and says what that means.

use std::io::ErrorKind;
use std::path::Path;

use auth_providers::token_source::TokenSink;
use auth_providers::{Login, default_profile_id};
use auth_store::{Credential, Kind, ProfileId};
use serde_json::json;

use crate::agent::Agent;
use crate::config::Config;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::global::Global;
use crate::host::other_tools::{Foreign, Tool, damage, of_file, of_tool};
use crate::host::process::runtime;
use crate::host::prompt;
use crate::host::shell_quote::{moved_away, option, word};
use crate::profiles::save::{self, Wish};
use crate::profiles::sink;
use crate::profiles::view;

/// Whose credential is taken over, and how much of it.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    /// `codex`, `claude`, `qwen`, `gemini`, or the path of a file.
    pub from: String,
    /// The access token only.
    pub access_only: bool,
    /// The refresh token too: the other tool must not use it any more.
    pub take_over: bool,
    /// The provider, where the file does not tell.
    pub provider: Option<String>,
    /// The profile to store it as.
    pub profile_id: Option<String>,
    /// A profile of that name is replaced.
    pub force: bool,
}

/// Reads the other tool's file, has the person choose where a choice is to be made, and stores.
pub fn run(args: &ImportRequest, global: &Global, context: &Context) -> Result<Exit, CliError> {
    let config = Config::load(context)?;
    let agent = Agent::named(global.agent.as_deref(), &config, context)?;
    let sink = sink::for_agent(&agent, &config, context)?;
    let found = find(args, context)?;
    save::check_store(&sink)?;
    let mut stored = Vec::new();
    for foreign in &found {
        let Some(credential) = chosen(foreign, args, &sink, context)? else { continue };
        let id = store(foreign, credential.clone(), args, &agent, &sink)?;
        save::declare(&id, &foreign.provider, credential.kind(), foreign.email.as_deref(), context);
        if !global.json {
            context.print(format_args!(
                "Stored: profile `{id}` of the agent `{}`, from {}.",
                agent.id,
                context.display(&foreign.path)
            ))?;
        }
        if credential.kind() == Kind::OAuth {
            context.say(format_args!(
                "{} must not use that login any more. Do not log out there, which would revoke it; move its file away: {}",
                foreign.tool,
                moved_away(&foreign.path, "moved")
            ));
        }
        stored.push(json!({
            "profileId": id,
            "provider": foreign.provider,
            "type": credential.kind().as_str(),
            "expires": credential.expires(),
            "path": foreign.path.display().to_string(),
        }));
    }
    if global.json {
        context.print_json(&json!({ "agentId": agent.id, "imported": stored }))?;
    }
    Ok(Exit::Done)
}

fn find(args: &ImportRequest, context: &Context) -> Result<Vec<Foreign>, CliError> {
    let name = if args.from == "claude-code" { "claude" } else { args.from.as_str() };
    let tool = Tool::ALL.into_iter().find(|tool| tool.word() == name);
    let path = tool.map_or_else(|| context.user_path(&args.from), |tool| tool.file(context));
    let mut found = if let Some(tool) = tool {
        of_tool(tool, context)
    } else {
        let bytes = std::fs::read(&path).map_err(|error| {
            CliError::usage(format!("{}: {error}", path.display()))
                .hint("--from takes codex, claude, qwen, gemini or the path of a file")
                .path(&path)
        })?;
        of_file(&path, &bytes)
    };
    if let Some(provider) = &args.provider {
        for foreign in found.iter_mut().filter(|it| it.id.is_none()) {
            foreign.provider = auth_store::ProviderId::new(provider);
        }
    }
    if found.is_empty() {
        return Err(nothing_in(&path));
    }
    if args.profile_id.is_some() && found.len() > 1 {
        return Err(CliError::usage("there is more than one credential in it")
            .hint("leave out --profile-id"));
    }
    Ok(found)
}

/// Why there is nothing to import in a file.
fn nothing_in(path: &Path) -> CliError {
    let shown = path.display();
    let (message, hint) = match auth_store::read_regular(path).map(|bytes| damage(&bytes)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            (format!("{shown} cannot be read: {error}"), format!("ls -l {}", word(shown)))
        }
        Ok(Some(error)) => (
            format!("{shown} is damaged: {error}"),
            "log in there once more, or here instead".to_owned(),
        ),
        _ => (
            format!("there is no login that can be read in {shown}"),
            "on macOS some tools keep it in the keychain, which is not read; log in here instead"
                .to_owned(),
        ),
    };
    CliError::new(Exit::NoCredential, "nothing_to_import", message).hint(hint).path(path)
}

/// What of it is stored: everything of a key or a token; of a login, what the person chooses.
fn chosen(
    foreign: &Foreign,
    args: &ImportRequest,
    sink: &TokenSink,
    context: &Context,
) -> Result<Option<Credential>, CliError> {
    let Credential::OAuth(login) = &foreign.credential else {
        return Ok(Some(foreign.credential.clone()));
    };
    let provider = sink.providers.find(&foreign.provider);
    let can_refresh = provider.is_some_and(|it| it.refreshable && it.has_oauth_login());
    let access_only = || Credential::Token { token: login.access.clone(), expires: login.expires };
    if args.access_only {
        return Ok(Some(access_only()));
    }
    if args.take_over {
        if can_refresh {
            return Ok(Some(foreign.credential.clone()));
        }
        let message = format!("a login of {} cannot be renewed here", foreign.provider);
        return Err(CliError::usage(message).hint("take its access token alone: --access-only"));
    }

    let separate = view::way_in(&foreign.provider, &sink.providers);
    context.say(format_args!(
        "{} has a login of {}. It holds a refresh token, and two tools with one refresh token log each other out: whoever renews it first makes the other one's useless.",
        foreign.tool, foreign.provider
    ));
    if !context.terminal.stdin {
        let mut hint = format!("a login of its own is best: {separate}; or --access-only");
        if can_refresh {
            hint += "; or --take-over, and the other tool stops using it";
        }
        return Err(CliError::usage("what to take of it is not said").hint(hint));
    }
    context.say(format_args!("  1  log in for this program alone (best): {separate}"));
    context.say("  2  take the access token only: it works until it ends, and is not renewed");
    if can_refresh {
        context.say("  3  move the login here: the other tool must not use it any more");
    }
    let answer = prompt::line("Which one? [1] ", context)?;
    match answer.trim() {
        "2" => Ok(Some(access_only())),
        "3" if can_refresh => Ok(Some(foreign.credential.clone())),
        _ => {
            context.say(format_args!("Nothing was taken. Now run: {separate}"));
            Ok(None)
        }
    }
}

fn store(
    foreign: &Foreign,
    credential: Credential,
    args: &ImportRequest,
    agent: &Agent,
    sink: &TokenSink,
) -> Result<ProfileId, CliError> {
    let provider = sink.providers.find(&foreign.provider);
    let requested = args.profile_id.as_deref().or(foreign.id.as_deref()).map(ProfileId::new);
    let id = requested.unwrap_or_else(|| {
        let name = match (&credential, &foreign.email) {
            (Credential::OAuth(_), Some(email)) => email.as_str(),
            (Credential::ApiKey(_), _) => "default",
            _ => "imported",
        };
        default_profile_id(&foreign.provider, name)
    });
    if !args.force && sink.store.read()?.contains(&id) {
        return Err(CliError::usage(format!("there is a profile `{id}` already"))
            .hint(format!(
                "nothing was stored; choose another name:{}, or replace it: --force",
                option("--profile-id", format!("{}:NAME", foreign.provider))
            ))
            .profile(&id));
    }
    match (credential, provider) {
        (credential @ Credential::OAuth(_), Some(provider)) => {
            let login = Login {
                provider: provider.id.clone(),
                credential,
                account_id: foreign.account_id.clone(),
                email: foreign.email.clone(),
                fields: foreign.fields.clone(),
                warnings: Vec::new(),
            };
            let wish = Wish { profile: Some(id), force: args.force, owner: None };
            runtime::run(save::login(&login, &wish, provider, agent, sink))?
        }
        (credential, _) => {
            save::pasted(&id, &foreign.provider, &credential, agent, sink)?;
            Ok(id)
        }
    }
}
