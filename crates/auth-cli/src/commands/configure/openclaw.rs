//! OpenClaw asks us for its keys and tokens: an exec secret provider, and a reference for each
//! profile. Its own command writes them, since the form of its databases is its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use auth_store::{Kind, Profile, write_atomic};
use serde_json::{Value, json};

use crate::agent::invocation::Invocation;
use crate::commands::configure::args::ConfigureArgs;
use crate::commands::configure::consent::agreed;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::other_tools::secret_ref::secret_ref_id;
use crate::host::paths;
use crate::host::process::environment::Sees;
use crate::host::process::launch::{self, Limits, Program};
use crate::host::shell_quote::shell_word;
use crate::host::text::printable;
use crate::profiles::view::View;

/// Writes provider and references, or takes them out again. Whether anything was.
pub(super) fn run(
    args: &ConfigureArgs,
    program: &Path,
    invocation: &Invocation<'_>,
) -> Result<bool, CliError> {
    let context = invocation.context;
    let openclaw = found(context)?;
    if args.undo {
        return undo(&openclaw, args, invocation);
    }
    let view = View::read(invocation)?;
    let wanted = |profile: &&Profile| {
        let is_named = args.profile.as_ref().is_none_or(|id| profile.id.as_str() == id);
        let provider = args.provider.as_deref().map(auth_store::ProviderId::new);
        is_named && provider.is_none_or(|provider| provider == profile.provider)
    };
    let (mut targets, mut lines) = (Vec::new(), Vec::new());
    for profile in view.profiles.iter().filter(wanted) {
        let Some(id) = secret_ref_id(profile) else {
            context.say(format_args!(
                "warning: `{}` is left out: its name is too long for OpenClaw; store it under a shorter one",
                profile.id
            ));
            continue;
        };
        let theirs = their_profile(profile);
        lines.push(format!("+ {theirs} ← {id}"));
        targets.push(target(profile, &theirs, &id, &view.agent.id));
    }
    if targets.is_empty() {
        return Err(CliError::new(
            Exit::NoCredential,
            "no_credential",
            "there is no profile to hand out",
        )
        .hint("log in first: clawdbot models auth login --provider openai-codex"));
    }
    context.say(format_args!(
        "{} secrets apply: the provider `{ALIAS}`, and",
        openclaw.path().display()
    ));
    context.say_lines(&lines.join("\n"));
    if !agreed(args, context)? {
        return Ok(false);
    }
    let command = trusted(program, context)?;
    let mut words: Vec<&str> = vec!["models", "auth", "token", "--format", "openclaw"];
    words.extend(["--agent", view.agent.id.as_str()]);
    let state = context.paths().state_dir.display().to_string();
    let plan = json!({
        "version": 1,
        "protocolVersion": 1,
        "providerUpserts": { ALIAS: {
            "source": "exec",
            "command": command.display().to_string(),
            "args": words,
            "env": { "CLAWDBOT_STATE_DIR": state },
            "passEnv": ["HOME", "PATH"],
            // A refresh may take 12 s.
            "timeoutMs": 15_000,
        } },
        "targets": targets,
    });
    apply(&plan, &openclaw, context)?;
    context.say("Written. A running Gateway takes it over with: openclaw secrets reload");
    Ok(true)
}

fn undo(
    openclaw: &Program,
    args: &ConfigureArgs,
    invocation: &Invocation<'_>,
) -> Result<bool, CliError> {
    let context = invocation.context;
    let agent = invocation.agent()?.id.clone();
    let listed = ask(openclaw, &["models", "auth", "list", "--json", "--agent", &agent], context)?;
    let listed: Value = serde_json::from_str(&listed).unwrap_or_default();
    let ids = listed["profiles"].as_array().into_iter().flatten();
    let ids = ids.filter_map(|profile| profile["id"].as_str());
    let ours: Vec<&str> = ids.filter(|id| id.contains(MARK)).collect();
    let config = ask(openclaw, &["config", "get", "secrets.providers", "--json"], context);
    let has_provider = config.is_ok_and(|text| text.contains(&format!("\"{ALIAS}\"")));
    if ours.is_empty() && !has_provider {
        context.say(format_args!("{}: nothing to change", openclaw.path().display()));
        return Ok(false);
    }
    context.say(format_args!("{}: the provider `{ALIAS}`, and", openclaw.path().display()));
    context.say_lines(
        &ours.iter().map(|id| format!("- {}", printable(id))).collect::<Vec<_>>().join("\n"),
    );
    if !agreed(args, context)? {
        return Ok(false);
    }
    for id in ours {
        ask(openclaw, &["models", "auth", "logout", id, "--yes", "--agent", &agent], context)?;
    }
    let plan = json!({
        "version": 1, "protocolVersion": 1, "targets": [], "providerDeletes": [ALIAS],
    });
    apply(&plan, openclaw, context)?;
    context.say("Written.");
    Ok(true)
}

/// OpenClaw's command.
fn found(context: &Context) -> Result<Program, CliError> {
    Program::named("openclaw".as_ref(), context).map_err(|reason| {
        let message = format!("there is no `openclaw` on PATH that is started: {reason}");
        CliError::new(Exit::Usage, "no_openclaw", message)
            .hint("run this where `openclaw --version` works")
    })
}

/// What a profile of ours is called there.
fn their_profile(profile: &Profile) -> String {
    let provider = their_provider(profile);
    let name = profile.id.as_str().split_once(':').map_or(profile.id.as_str(), |(_, name)| name);
    format!("{provider}{MARK}{name}")
}

/// What it calls the provider of a profile of ours.
fn their_provider(profile: &Profile) -> &str {
    match profile.provider.as_str() {
        "openai-codex" => "openai",
        "google-gemini-cli" => "google",
        other => other,
    }
}

fn target(profile: &Profile, theirs: &str, id: &str, agent: &str) -> Value {
    let (kind, field) = match profile.kind {
        Kind::ApiKey => ("auth-profiles.api_key.key", "key"),
        Kind::Token | Kind::OAuth => ("auth-profiles.token.token", "token"),
    };
    json!({
        "type": kind,
        "path": format!("profiles.{theirs}.{field}"),
        "pathSegments": ["profiles", theirs, field],
        "agentId": agent,
        "authProfileProvider": their_provider(profile),
        "ref": { "source": "exec", "provider": ALIAS, "id": id },
    })
}

/// A path of this program that OpenClaw trusts: a file of this user's, no link, that others cannot
/// change. Where this program is none, a script that starts it.
fn trusted(program: &Path, context: &Context) -> Result<PathBuf, CliError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let is_trusted = program.symlink_metadata().is_ok_and(|found| {
            found.is_file()
                && found.uid() == rustix::process::geteuid().as_raw()
                && found.mode() & 0o022 == 0
        });
        if !is_trusted {
            use std::os::unix::fs::PermissionsExt as _;
            let folder = paths::helpers(&context.paths().state_dir);
            auth_store::create_private_directory(&folder)?;
            let script = folder.join("clawdbot-openclaw");
            let text =
                format!("#!/bin/sh\nexec {} \"$@\"\n", shell_word(&program.to_string_lossy()));
            write_atomic(&script, text.as_bytes())?;
            std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).map_err(
                |error| {
                    let message = format!("{}: {error}", script.display());
                    CliError::new(Exit::CannotWrite, "cannot_write", message).path(&script)
                },
            )?;
            return Ok(script);
        }
    }
    let _ = context;
    Ok(program.to_owned())
}

/// Has OpenClaw carry out a plan. There is no secret in it.
fn apply(plan: &Value, openclaw: &Program, context: &Context) -> Result<(), CliError> {
    let folder = paths::helpers(&context.paths().state_dir);
    auth_store::create_private_directory(&folder)?;
    let path = folder.join("openclaw-plan.json");
    write_atomic(&path, plan.to_string().as_bytes())?;
    let text = path.display().to_string();
    let done = ask(openclaw, &["secrets", "apply", "--from", &text, "--allow-exec"], context);
    let _ = std::fs::remove_file(&path);
    done.map(|_| ())
}

/// What OpenClaw prints.
fn ask(openclaw: &Program, words: &[&str], context: &Context) -> Result<String, CliError> {
    let failed = |reason: &str| {
        let message = format!("`openclaw {}` failed: {reason}", words[..2].join(" "));
        CliError::new(Exit::Usage, "openclaw", message)
            .hint("see what is wrong with it: openclaw config validate")
    };
    let mut command = openclaw.command(&Sees::openclaw(context));
    command.args(words);
    let (printed, status) = launch::output(command, LIMITS).map_err(|reason| failed(&reason))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&printed).into_owned());
    }
    // What it says stands above this, on stderr.
    Err(failed(&status.to_string()))
}

/// It starts slowly, and asks us for each reference.
const LIMITS: Limits = Limits { lifetime: Duration::from_mins(5), output: 16 << 20 };

/// The name of our provider there.
const ALIAS: &str = "clawdbot";
/// By which our profiles are known there.
const MARK: &str = ":clawdbot-";
