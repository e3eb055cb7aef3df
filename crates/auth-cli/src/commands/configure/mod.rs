//! `models auth configure`: the setting with which another program gets its token from us.
//!
//! The change is shown first; a setting of the same name that is not ours is left unchanged.

pub mod args;
mod consent;
mod openclaw;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth_store::{ProfileId, ProviderId, read_regular_text, write_atomic};
use serde_json::json;
use toml_edit::{DocumentMut, Item, Table, value};

use crate::agent::invocation::Invocation;
use crate::commands::configure::args::ConfigureArgs;
use crate::commands::configure::args::ConfigureCommand;
use crate::commands::configure::args::ConfigureGitArgs;
use crate::commands::configure::consent::agreed;
use crate::config::json5::{Node, Shape};
use crate::config::splice::{Action, spliced};
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::process::environment::Sees;
use crate::host::process::launch::{self, Limits, Program};
use crate::host::report::Report;
use crate::host::shell_quote::shell_word;
use crate::profiles::route::check_provider;
use crate::profiles::view::{self, View};

/// Writes the setting, or removes it again.
pub fn run(command: &ConfigureCommand, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    let program = program(context)?;
    let (place, is_changed) = match command {
        ConfigureCommand::ClaudeCode(args) => {
            check(args, &["anthropic"], "Claude Code", invocation)?;
            let words = token_words(args, "anthropic", invocation);
            let line = shell_line(&program, &words);
            let path = folder(context, "CLAUDE_CONFIG_DIR", ".claude").join("settings.json");
            for name in
                BESIDE_A_HELPER.iter().filter(|name| !args.undo && context.env(name).is_some())
            {
                context.say(format_args!(
                    "warning: `{name}` is set: Claude Code would send it beside what we hand out; unset {name}"
                ));
            }
            let change = |text: &str| claude_code(text, (!args.undo).then_some(&line));
            (path.display().to_string(), file(&path, args, context, change)?)
        }
        ConfigureCommand::Codex(args) => {
            check(args, &["openai-codex", "openai"], "Codex", invocation)?;
            let words = token_words(args, "openai-codex", invocation);
            let of_profile = provider_of(args, invocation)?;
            let provider = of_profile.as_deref().unwrap_or("openai-codex");
            let entry = codex_entry(&program, &words, provider)?;
            let path = folder(context, "CODEX_HOME", ".codex").join("config.toml");
            let change = |text: &str| codex(text, (!args.undo).then_some(&entry));
            (path.display().to_string(), file(&path, args, context, change)?)
        }
        ConfigureCommand::Openclaw(args) => {
            ("openclaw secrets".to_owned(), openclaw::run(args, &program, invocation)?)
        }
        ConfigureCommand::Git(args) => {
            (format!("git config --global {}", git_key(args)), git(args, &program, invocation)?)
        }
    };
    Ok(Report::from_data(json!({ "place": place, "changed": is_changed })))
}

fn git_key(args: &ConfigureGitArgs) -> String {
    format!("credential.https://{}.helper", args.host)
}

/// This program, by a path that works from any directory.
fn program(context: &Context) -> Result<PathBuf, CliError> {
    context.program.clone().ok_or_else(|| {
        CliError::new(Exit::Usage, "no_program", "the path of this program is not known")
    })
}

fn folder(context: &Context, variable: &str, name: &str) -> PathBuf {
    match context.env(variable) {
        Some(path) if !path.is_empty() => context.user_path(path),
        _ => context.home.join(name),
    }
}

/// Refuses what does not exist, and a provider that the tool cannot talk to: its token would be sent
/// to another one. `speaks` is empty where the tool talks to whatever the user names.
fn check(
    args: &ConfigureArgs,
    speaks: &[&str],
    tool: &str,
    invocation: &Invocation<'_>,
) -> Result<(), CliError> {
    invocation.agent()?;
    let Some(provider) = provider_of(args, invocation)?.filter(|_| !args.undo) else {
        return Ok(());
    };
    if speaks.is_empty() || speaks.contains(&provider.as_str()) {
        return Ok(());
    }
    let names = speaks.join("` or `");
    Err(CliError::usage(format!("{tool} cannot talk to the models of `{provider}`"))
        .hint(format!("nothing was written; use a profile of `{names}`")))
}

/// The provider of what is named: of the profile, else by itself.
///
/// # Errors
/// It does not exist, or the two do not agree.
fn provider_of(
    args: &ConfigureArgs,
    invocation: &Invocation<'_>,
) -> Result<Option<String>, CliError> {
    if args.undo || (args.profile.is_none() && args.provider.is_none()) {
        return Ok(None);
    }
    let view = View::read(invocation)?;
    if let Some(id) = &args.profile {
        let profile = view.profile(&ProfileId::new(id.as_str()))?;
        if let Some(provider) = &args.provider {
            check_provider(&profile.id, &profile.provider, provider, invocation.context)?;
        }
        return Ok(Some(profile.provider.to_string()));
    }
    let named = ProviderId::new(args.provider.as_deref().unwrap_or_default());
    let providers = view::providers(invocation.context);
    if let Some(known) = providers.find(&named) {
        return Ok(Some(known.id.to_string()));
    }
    if view.profiles.iter().any(|profile| profile.provider == named) {
        return Ok(Some(named.to_string()));
    }
    Err(CliError::usage(format!("there is no provider `{named}`"))
        .hint("nothing was written; see which there are: clawdbot plugins list"))
}

/// The arguments that print the token.
fn token_words(args: &ConfigureArgs, default: &str, invocation: &Invocation<'_>) -> Vec<String> {
    let mut words: Vec<String> = ["models", "auth", "token"].map(str::to_owned).into();
    words.extend(choice_words(args, Some(default), invocation));
    words
}

fn choice_words(
    args: &ConfigureArgs,
    default: Option<&str>,
    invocation: &Invocation<'_>,
) -> Vec<String> {
    let pair = |name: &str, value: &str| [name.to_owned(), value.to_owned()];
    let mut words = Vec::new();
    match (&args.profile, args.provider.as_deref().or(default)) {
        (Some(profile), _) => words.extend(pair("--profile", profile)),
        (None, Some(provider)) => words.extend(pair("--provider", provider)),
        (None, None) => {}
    }
    words.extend(invocation.named().into_iter().flat_map(|agent| pair("--agent", agent)));
    words
}

fn shell_line(program: &Path, words: &[String]) -> String {
    let program = shell_word(&program.to_string_lossy());
    let words = words.iter().map(|word| shell_word(word));
    std::iter::once(program).chain(words).collect::<Vec<_>>().join(" ")
}

/// Shows the change of a file, asks, and writes it. Returns whether anything was written.
fn file(
    path: &Path,
    args: &ConfigureArgs,
    context: &Context,
    change: impl FnOnce(&str) -> Result<String, String>,
) -> Result<bool, CliError> {
    let failed = |reason: &str| {
        CliError::new(Exit::Usage, "not_configured", format!("{}: {reason}", path.display()))
            .path(path)
    };
    let before = match read_regular_text(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(&error.to_string())),
    };
    let after = change(&before).map_err(|reason| {
        failed(&reason).hint("nothing was written; fix the file, or change it by hand")
    })?;
    if before == after {
        context.say(format_args!("{}: nothing to change", context.display(path)));
        return Ok(false);
    }
    context.say(format_args!("{}:", context.display(path)));
    context.say_lines(&difference(&before, &after));
    if !agreed(args, context)? {
        return Ok(false);
    }
    // Read again, because another program may have written meanwhile.
    let now = read_regular_text(path).unwrap_or_default();
    if now != before {
        return Err(failed("it was changed meanwhile").hint("nothing was written; run it again"));
    }
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = target.parent().unwrap_or(Path::new("."));
    auth_store::create_private_directory(folder)?;
    write_atomic(&target, after.as_bytes())?;
    context.say("Written.");
    Ok(true)
}

/// `settings.json` with `apiKeyHelper` set to `line`, or without our setting.
fn claude_code(text: &str, line: Option<&String>) -> Result<String, String> {
    let start = if text.trim().is_empty() { "{}\n" } else { text };
    let root = Node::parse(start).ok().flatten().ok_or("it is not JSON")?;
    if !matches!(root.shape, Shape::Object(_)) {
        return Err("it is not an object".to_owned());
    }
    let key = ["apiKeyHelper".into()];
    let found = root.at(&key).map(|found| &start[found.span.clone()]);
    if let Some(value) = found.filter(|value| !value.contains(" models auth token")) {
        return match line {
            Some(_) => Err(format!("`apiKeyHelper` is set to something else: {value}")),
            None => Ok(text.to_owned()),
        };
    }
    let action = match (line, found) {
        (Some(line), _) => Action::Set(line.as_str().into()),
        (None, Some(_)) => Action::Remove,
        (None, None) => return Ok(text.to_owned()),
    };
    spliced(start, &key, &action).ok_or_else(|| "it cannot be edited".to_owned())
}

/// The model provider with which Codex requests its token from us.
fn codex_entry(program: &Path, words: &[String], provider: &str) -> Result<Table, CliError> {
    let base_url = match provider {
        "openai-codex" => "https://chatgpt.com/backend-api/codex",
        "openai" => "https://api.openai.com/v1",
        other => {
            return Err(CliError::usage(format!("Codex cannot talk to the models of `{other}`"))
                .hint("use --provider openai-codex or --provider openai"));
        }
    };
    let mut auth = Table::new();
    auth["command"] = value(program.to_string_lossy().into_owned());
    auth["args"] = value(words.iter().map(String::as_str).collect::<toml_edit::Array>());
    // A refresh may take longer than Codex's default of 5 s.
    auth["timeout_ms"] = value(30_000);
    auth["refresh_interval_ms"] = value(60_000);
    let mut entry = Table::new();
    entry["name"] = value("OpenAI, with the token of clawdbot");
    entry["base_url"] = value(base_url);
    entry["wire_api"] = value("responses");
    entry["auth"] = Item::Table(auth);
    Ok(entry)
}

/// `config.toml` with our model provider, selected, or without it.
fn codex(text: &str, entry: Option<&Table>) -> Result<String, String> {
    let mut document: DocumentMut =
        text.parse().map_err(|error| format!("it is not TOML: {error}"))?;
    let chosen = document.get("model_provider").and_then(Item::as_str).map(str::to_owned);
    match (entry, chosen.as_deref()) {
        (Some(_), Some(other)) if other != CODEX_NAME => {
            return Err(format!("`model_provider` is set to something else: {other}"));
        }
        (Some(entry), _) => {
            document["model_provider"] = value(CODEX_NAME);
            let providers = document.entry("model_providers").or_insert_with(|| {
                let mut table = Table::new();
                table.set_implicit(true);
                Item::Table(table)
            });
            let providers = providers.as_table_like_mut().ok_or("`model_providers` is no table")?;
            providers.insert(CODEX_NAME, Item::Table(entry.clone()));
        }
        (None, chosen) => {
            if chosen == Some(CODEX_NAME) {
                document.remove("model_provider");
            }
            let providers = document.get_mut("model_providers").and_then(Item::as_table_like_mut);
            let is_empty = providers.is_some_and(|providers| {
                providers.remove(CODEX_NAME);
                providers.is_empty()
            });
            if is_empty {
                document.remove("model_providers");
            }
        }
    }
    Ok(document.to_string())
}

/// Git's own settings are changed by Git itself. Returns whether anything was changed.
fn git(
    args: &ConfigureGitArgs,
    program: &Path,
    invocation: &Invocation<'_>,
) -> Result<bool, CliError> {
    let context = invocation.context;
    let common = &args.common;
    if !common.undo && common.provider.is_none() && common.profile.is_none() {
        return Err(CliError::usage("specify --provider or --profile")
            .hint("add --provider NAME or --profile ID"));
    }
    check(common, &[], "git", invocation)?;
    let key = git_key(args);
    let found = git_config(&["--get-all", &key], context)?;
    let ours: Vec<&str> = found.lines().filter(|line| line.contains(GIT_WORDS)).collect();
    let mut words: Vec<String> = GIT_WORDS.split_whitespace().map(str::to_owned).collect();
    words.extend(choice_words(common, None, invocation));
    words.extend(["--host".to_owned(), args.host.clone()]);
    words.extend(args.username.iter().flat_map(|name| ["--username".to_owned(), name.clone()]));
    let helper = format!("!{}", shell_line(program, &words));

    // Another helper, from the system's configuration too, would be given what we hand out and
    // keep it: an empty value resets those before it.
    let is_there =
        found.lines().collect::<Vec<_>>().ends_with(&["", helper.as_str()]) && ours.len() == 1;
    if (common.undo && ours.is_empty()) || (!common.undo && is_there) {
        context.say(format_args!("git config --global {key}: nothing to change"));
        return Ok(false);
    }
    context.say(format_args!("git config --global {key}:"));
    for line in &ours {
        context.say(format_args!("- {line}"));
    }
    if !common.undo {
        context.say("+ (an empty one, by which git forgets its other helpers for this host)");
        context.say(format_args!("+ {helper}"));
    }
    if !agreed(common, context)? {
        return Ok(false);
    }
    if !ours.is_empty() {
        git_config(&["--unset-all", &key, GIT_WORDS], context)?;
        git_config(&["--unset-all", &key, "^$"], context)?;
    }
    if !common.undo {
        git_config(&["--add", &key, ""], context)?;
        git_config(&["--add", &key, &helper], context)?;
    }
    context.say("Written.");
    Ok(true)
}

/// `git config --global …`; a missing key is not an error.
fn git_config(words: &[&str], context: &Context) -> Result<String, CliError> {
    let failed = |reason: String| CliError::new(Exit::Usage, "git", reason);
    let program = Program::named("git".as_ref(), context)
        .map_err(|reason| failed(format!("git is not started: {reason}")))?;
    let mut command = program.command(&Sees::git(context));
    command.args(["config", "--global"]).args(words);
    let (printed, status) =
        launch::output(command, GIT_LIMITS).map_err(|reason| failed(format!("git: {reason}")))?;
    match status.code() {
        Some(0 | 1 | 5) => Ok(String::from_utf8_lossy(&printed).into_owned()),
        // What it says stands above this, on stderr.
        _ => Err(failed(format!("`git config --global` failed: {status}"))),
    }
}

/// The removed lines and the added lines, with two lines of context.
fn difference(before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let same = |pair: &(&&str, &&str)| pair.0 == pair.1;
    let head = old.iter().zip(&new).take_while(same).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(same).count();

    let around = |lines: &[&str]| lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>();
    let mut lines = around(&old[head.saturating_sub(2)..head]);
    lines.extend(old_rest[..old_rest.len() - tail].iter().map(|line| format!("- {line}")));
    lines.extend(new_rest[..new_rest.len() - tail].iter().map(|line| format!("+ {line}")));
    lines.extend(around(&new_rest[new_rest.len() - tail..][..tail.min(2)]));
    lines.join("\n")
}

/// What Claude Code sends beside the value of its helper.
const BESIDE_A_HELPER: [&str; 2] = ["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"];

/// For `git config`, which only reads and writes a file.
const GIT_LIMITS: Limits = Limits { lifetime: Duration::from_secs(30), output: 1 << 20 };
/// The name of our model provider in Codex's configuration.
const CODEX_NAME: &str = "clawdbot";
/// Identifies our helper in Git's configuration.
const GIT_WORDS: &str = "models auth git-credential";

#[cfg(test)]
mod tests {
    use super::*;

    const CLAUDE: &str = "{\n  // mine\n  \"model\": \"opus\",\n  \"permissions\": {}\n}\n";
    const CODEX: &str = "# mine\nmodel = \"gpt-5\" # yes\n\n[mcp_servers.x]\ncommand = 'y'\n";

    fn helper() -> String {
        "/opt/clawdbot models auth token --provider anthropic".to_owned()
    }

    fn entry() -> Table {
        let words = ["models", "auth", "token"].map(str::to_owned);
        codex_entry(Path::new("/opt/clawdbot"), &words, "openai-codex").unwrap()
    }

    #[test]
    fn a_setting_comes_and_goes_and_nothing_else_changes() {
        let set = claude_code(CLAUDE, Some(&helper())).unwrap();
        assert!(
            set.contains("// mine") && set.contains(&format!("\"apiKeyHelper\": \"{}\"", helper()))
        );
        assert_eq!(claude_code(&set, Some(&helper())).unwrap(), set);
        assert_eq!(claude_code(&set, None).unwrap(), CLAUDE);
        assert_eq!(claude_code(CLAUDE, None).unwrap(), CLAUDE);

        let set = codex(CODEX, Some(&entry())).unwrap();
        assert!(set.contains("model_provider = \"clawdbot\"") && set.contains("# yes"), "{set}");
        assert!(set.contains("[model_providers.clawdbot.auth]"), "{set}");
        assert_eq!(codex(&set, Some(&entry())).unwrap(), set);
        assert_eq!(codex(&set, None).unwrap(), CODEX);
        assert_eq!(codex(CODEX, None).unwrap(), CODEX);
    }

    #[test]
    fn a_file_is_made_where_there_is_none() {
        let claude = claude_code("", Some(&helper())).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&claude).is_ok(), "{claude}");
        assert!(codex("", Some(&entry())).unwrap().starts_with("model_provider"));
    }

    #[test]
    fn a_setting_that_is_not_ours_is_left_alone() {
        let theirs = "{\"apiKeyHelper\": \"vault read key\"}";
        assert!(claude_code(theirs, Some(&helper())).is_err());
        assert_eq!(claude_code(theirs, None).unwrap(), theirs);
        assert!(codex("model_provider = \"azure\"\n", Some(&entry())).is_err());
        assert!(claude_code("[1]", Some(&helper())).is_err());
        assert!(claude_code("{", Some(&helper())).is_err());
        assert!(codex("a =", Some(&entry())).is_err());
    }

    #[test]
    fn a_difference_shows_what_goes_and_what_comes() {
        assert_eq!(difference("a\nb\nc\n", "a\nx\nc\n"), "  a\n- b\n+ x\n  c");
        assert_eq!(difference("", "a\n"), "+ a");
        assert_eq!(difference("a\na\n", "a\n"), "  a\n- a");
    }
}
