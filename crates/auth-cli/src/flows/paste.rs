//! `models auth setup-token`, `paste-token` and `paste-api-key`: a secret from the terminal or
//! from standard input, never from an argument.

use std::time::Duration;

use auth_providers::{
    Destinations, Looks, PasteError, Removed, default_profile_id, earlier_end, pasted,
};
use auth_store::{
    AuditKind, Credential, Document, KeyReference, Kind, ProfileId, ProviderId, VariableName,
    VariableNameError,
};
use serde_json::json;

use crate::agent::Agent;
use crate::agent::invocation::Invocation;
use crate::agent::shared::{self, Seen};
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::prompt;
use crate::host::report::Report;
use crate::host::shell_quote::option;
use crate::profiles::key_reference;
use crate::profiles::save::key_place::{self, Decision, KeyPlace, Taken, holding};
use crate::profiles::{audit, save, sink};

/// A token or a key to store.
#[derive(Clone, Debug)]
pub struct PasteRequest {
    /// The provider; it need not be a known one.
    pub provider: String,
    /// The profile to store it as; `None` for a name derived from the provider.
    pub profile_id: Option<String>,
    /// The kind of secret.
    pub secret: Pasted,
    /// The command that stores it, for hints.
    pub command: &'static str,
    /// Whether it replaces the content of the profile.
    pub force: bool,
    /// Whether the user may be asked about that.
    pub may_ask: bool,
    /// The address of the API that the key is for, if it is not the provider's own.
    pub api_base: Option<String>,
}

/// What is pasted.
#[derive(Clone, Debug)]
pub enum Pasted {
    /// A token, with its remaining lifetime.
    Token(Option<Duration>),
    /// A key, or the place of a key that is not copied.
    ApiKey(Option<Place>),
}

/// The place of a key, as the user wrote it.
#[derive(Clone, Debug)]
pub enum Place {
    /// This environment variable.
    Env(String),
    /// The first line of this file.
    File(String),
    /// The first line that this command prints.
    Command(String),
}

impl PasteRequest {
    /// A token without a known expiry.
    pub fn token(provider: &str, profile_id: Option<&str>) -> Self {
        Self {
            provider: provider.to_owned(),
            profile_id: profile_id.map(str::to_owned),
            secret: Pasted::Token(None),
            command: "paste-token",
            force: false,
            may_ask: true,
            api_base: None,
        }
    }

    /// A token that the provider's own tool prints.
    pub fn setup_token(provider: &str, profile_id: Option<&str>) -> Self {
        Self { command: "setup-token", ..Self::token(provider, profile_id) }
    }

    /// A key that is copied into the store.
    pub fn api_key(provider: &str, profile_id: Option<&str>) -> Self {
        let secret = Pasted::ApiKey(None);
        Self { secret, command: "paste-api-key", ..Self::token(provider, profile_id) }
    }
}

impl Place {
    fn reference(&self, context: &Context) -> Result<KeyReference, CliError> {
        match self {
            Self::Env(name) => variable(name),
            Self::File(path) => Ok(key_reference::file(path, context)),
            Self::Command(text) => key_reference::command(text, context).map_err(|reason| {
                CliError::usage(format!("the command cannot be used: {reason}"))
                    .hint("what needs a shell says so: --from-command \"sh -c '…'\"")
            }),
        }
    }
}

/// Stores a token or a key of any provider.
pub fn run(request: &PasteRequest, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let what = What::from_request(request, invocation.context)?;
    if let Some(url) = &request.api_base
        && Destinations::from_urls([url.as_str()]) == Destinations::default()
    {
        return Err(CliError::usage("what follows --api-base is no address that a key may be sent to")
            .hint("it is https, or http on this machine, without a user name: --api-base https://llm.example/v1"));
    }
    store(&request.provider, request.profile_id.as_deref(), &what, invocation)
}

/// The reference to a key in the environment.
///
/// # Errors
/// The name cannot be that of a variable. The error does not repeat it, because it may be the key
/// itself.
fn variable(name: &str) -> Result<KeyReference, CliError> {
    let id = VariableName::parse(name.trim()).map_err(|reason| match reason {
        VariableNameError::Form => CliError::usage(
            "what follows --from-env is no name of a variable",
        )
        .hint("give its name alone, without `$` and without a value: --from-env OPENAI_API_KEY"),
        VariableNameError::Reserved => CliError::usage(reason.to_string())
            .hint("put the key into a variable of its own: --from-env OPENAI_API_KEY"),
    })?;
    Ok(KeyReference::Env { id: id.to_string() })
}

/// What is pasted.
struct What {
    /// The command that stores it.
    command: &'static str,
    kind: Kind,
    expires_in: Option<Duration>,
    /// The part after the colon in the profile's name, if the user gives none.
    name: &'static str,
    /// The place of the key, if it is not copied.
    place: Option<KeyReference>,
    /// Whether it replaces the content of the profile.
    force: bool,
    /// Whether the user may be asked about that.
    may_ask: bool,
    /// The address of the API that it is for, if it is not the provider's own.
    api_base: Option<String>,
}

impl What {
    fn from_request(request: &PasteRequest, context: &Context) -> Result<Self, CliError> {
        let PasteRequest { command, force, may_ask, .. } = *request;
        let api_base = request.api_base.clone();
        Ok(match &request.secret {
            Pasted::Token(expires_in) => {
                let (kind, name) = (Kind::Token, "manual");
                Self {
                    command,
                    kind,
                    expires_in: *expires_in,
                    name,
                    place: None,
                    force,
                    may_ask,
                    api_base,
                }
            }
            Pasted::ApiKey(place) => {
                let place = place.as_ref().map(|it| it.reference(context)).transpose()?;
                let (kind, name) = (Kind::ApiKey, "default");
                Self { command, kind, expires_in: None, name, place, force, may_ask, api_base }
            }
        })
    }

    /// Whether it says something new about a key that is stored already.
    fn changes_the_same(&self) -> bool {
        self.expires_in.is_some() || self.api_base.is_some()
    }

    /// `key` or `token`.
    fn noun(&self) -> &'static str {
        if self.kind == Kind::ApiKey { "key" } else { "token" }
    }

    /// The command that stores a secret of `provider`, for that agent.
    fn command(&self, provider: &ProviderId, agent: &Agent) -> String {
        let of = option("--provider", provider);
        format!("clawdbot models auth {}{of}{}", self.command, agent.option())
    }
}

fn store(
    provider: &str,
    profile: Option<&str>,
    what: &What,
    invocation: &Invocation<'_>,
) -> Result<Report, CliError> {
    let (config, agent, context) = (invocation.config()?, invocation.agent()?, invocation.context);
    let sink = sink::for_agent(agent, &config, context)?;
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
    let mut place =
        KeyPlace::for_key(profile, default_profile_id(&provider, what.name), what.force)?;
    save::check_store(&sink)?;

    let credential = match &what.place {
        Some(place) => {
            try_out(place, &provider, &looks, context);
            Credential::Reference(place.clone())
        }
        None => secret(&provider, what, &looks, agent, context)?,
    };
    let seen = Seen::by(agent, &config, context)?;
    let decision = resolved(&mut place, &provider, &credential, &seen.document, what, context)?;
    let (id, beside) = match decision {
        Decision::Save { id, beside } => (id, beside),
        Decision::Same(id) if !what.changes_the_same() => {
            return Ok(unchanged(&id, &provider, &credential, what, agent));
        }
        Decision::Same(id) => (id, None),
        Decision::Refused => {
            return Err(refused(&place.id, &provider, &credential, &seen.document, what, agent));
        }
    };
    // A write goes to the file that has the profile.
    let holder = seen.holder(&id, agent).clone();
    let shared = shared::owner_of(agent, &config, context)?.filter(|owner| *owner != holder);
    let shared = shared.map(|owner| owner.store().read()).transpose()?;
    let sink = sink::for_agent(&holder, &config, context)?;
    save::check_store(&sink)?;
    let choose = |document: &Document| {
        let all = shared.as_ref().map(|shared| document.reading_through(shared));
        let all = all.as_ref().unwrap_or(document);
        match place.decide(&provider, &credential, all) {
            Decision::Save { id, .. } => Ok(Some(id)),
            Decision::Same(id) => Ok(what.changes_the_same().then_some(id)),
            Decision::Refused => Err(refused(&place.id, &provider, &credential, all, what, agent)),
        }
    };
    let base = what.api_base.as_deref();
    let Some(id) = save::pasted(&choose, &provider, &credential, base, &holder, &sink)? else {
        return Ok(unchanged(&id, &provider, &credential, what, &holder));
    };
    let detail = Some(what.command.to_owned());
    audit::note(AuditKind::Login, &provider, &id, &holder, detail, context);
    save::declare(&id, &provider, what.kind, None, invocation);
    invocation.store_changed(&holder);

    if let Some(other) = &beside {
        let held = holding(other, &credential, &seen.document);
        context.say(format_args!(
            "note: {held}, so this one is stored as `{id}`; to replace that one: {}{} --force",
            what.command(&provider, agent),
            option("--profile-id", other)
        ));
    }
    let mut report = Report::from_data(told(&id, &provider, &credential, &holder, true));
    let until = credential.expires().map(|end| format!(" It expires {}.", context.time(end)));
    report.line(format_args!(
        "Stored: profile `{id}` of the agent `{}`.{}",
        holder.id,
        until.unwrap_or_default()
    ));
    Ok(report)
}

/// Decides the profile; at a terminal the user chooses whether to replace existing content.
fn resolved(
    place: &mut KeyPlace,
    provider: &ProviderId,
    credential: &Credential,
    document: &Document,
    what: &What,
    context: &Context,
) -> Result<Decision, CliError> {
    let decision = place.decide(provider, credential, document);
    let Decision::Save { id, beside: Some(other) } = &decision else { return Ok(decision) };
    let is_terminal = context.terminal.stdin && context.terminal.stderr;
    if is_terminal
        && what.may_ask
        && key_place::ask(&holding(other, credential, document), id, context)?
    {
        place.taken = Taken::Replace;
        return Ok(place.decide(provider, credential, document));
    }
    Ok(decision)
}

/// The report for a secret that is stored already.
fn unchanged(
    id: &ProfileId,
    provider: &ProviderId,
    credential: &Credential,
    what: &What,
    agent: &Agent,
) -> Report {
    let mut report = Report::from_data(told(id, provider, credential, agent, false));
    report.line(format_args!(
        "Unchanged: profile `{id}` of the agent `{}` holds this {} already.",
        agent.id,
        what.noun()
    ));
    report
}

fn told(
    id: &ProfileId,
    provider: &ProviderId,
    credential: &Credential,
    agent: &Agent,
    changed: bool,
) -> serde_json::Value {
    let place = match credential {
        Credential::Reference(place) => Some(place.to_string()),
        _ => None,
    };
    json!({
        "agentId": agent.id,
        "profileId": id,
        "provider": provider,
        "type": credential.kind().as_str(),
        "expires": credential.expires(),
        "reference": place,
        "changed": changed,
    })
}

/// The error for a named profile that has other content.
fn refused(
    id: &ProfileId,
    provider: &ProviderId,
    credential: &Credential,
    document: &Document,
    what: &What,
    agent: &Agent,
) -> CliError {
    let command = what.command(provider, agent);
    let message = format!("{}; nothing was stored", holding(id, credential, document));
    let (to_replace, beside) = match what.place {
        None => (format!("{command}{} --force", option("--profile-id", id)), command),
        // The place is not repeated, because it may contain a secret.
        Some(_) => ("add --force".to_owned(), "leave out --profile-id".to_owned()),
    };
    CliError::usage(message)
        .hint(format!("to replace it: {to_replace}; to store this one beside it: {beside}"))
        .profile(id)
}

/// Asks for the secret itself.
fn secret(
    provider: &ProviderId,
    what: &What,
    looks: &Looks,
    agent: &Agent,
    context: &Context,
) -> Result<Credential, CliError> {
    let text = prompt::secret(&question(provider, what, looks), context)?;
    let noun = what.noun();
    let pasted = pasted(&text, provider, looks).map_err(|error| {
        let command = what.command(provider, agent);
        CliError::usage(format!("no {noun} was stored: {error}"))
            .hint(pasted_way_out(&error, provider, what, &command))
    })?;
    say_removed(&pasted.removed, noun, context);
    for warning in &pasted.warnings {
        context.say(format_args!("warning: {warning}"));
    }
    Ok(match what.kind {
        Kind::ApiKey => Credential::ApiKey(pasted.secret),
        _ => Credential::Token {
            expires: what
                .expires_in
                .map(|lifetime| earlier_end(&pasted.secret, context.now().plus(lifetime))),
            token: pasted.secret,
        },
    })
}

/// Reports what was removed from a pasted key.
fn say_removed(removed: &[Removed], noun: &str, context: &Context) {
    if !removed.is_empty() {
        let removed: Vec<_> = removed.iter().map(ToString::to_string).collect();
        context.say(format_args!("note: removed from the {noun}: {}", removed.join(", ")));
    }
}

/// What to do instead of the invalid paste.
fn pasted_way_out(error: &PasteError, provider: &ProviderId, what: &What, command: &str) -> String {
    let (noun, is_key) = (what.noun(), what.kind == Kind::ApiKey);
    match error {
        PasteError::Variable(Some(name)) if is_key => format!(
            "to use the variable where it is: {command} --from-env {name}; to copy its value: printenv {name} | {command}"
        ),
        PasteError::Variable(Some(name)) => {
            format!("to copy its value: printenv {name} | {command}")
        }
        PasteError::Assignment(_) | PasteError::Variable(None) => {
            format!("give the value alone, without the name: {command}")
        }
        PasteError::Command if is_key => format!(
            "to have it print the {noun} each time: {command} --from-command \"sh -c '…'\"; to store the {noun} alone: {command}"
        ),
        PasteError::Shortened => {
            format!("copy the {noun} from where it was made, whole; then: {command}")
        }
        PasteError::Empty => format!("give the {noun} of `{provider}` on standard input"),
        _ => format!("give the {noun} of `{provider}` alone: {command}"),
    }
}

/// Fetches the key once, only to warn: it may be put in its place later.
fn try_out(place: &KeyReference, provider: &ProviderId, looks: &Looks, context: &Context) {
    let found = key_reference::look(place, context);
    let warnings = match found {
        Ok(found) => {
            say_removed(&found.removed, "key", context);
            pasted(found.secret.expose(), provider, looks).map(|it| it.warnings).unwrap_or_default()
        }
        Err(reason) => vec![format!("there is no key yet ({place}): {reason}")],
    };
    for warning in warnings {
        context.say(format_args!("warning: {warning}"));
    }
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

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::path::Path;

    use auth_store::{Store, Timestamp};

    use super::*;
    use crate::host::context::Captured;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn store_at(home: &Path) -> Store {
        Store::at(home.join(".clawdbot/agents/main/agent/auth-profiles.json"))
    }

    /// Runs `clawdbot models auth …` with that input; returns the exit code and the output.
    fn run(home: &Path, arguments: &[&str], input: &str) -> (u8, String) {
        let (said, mut context) = (Captured::default(), Context::sealed(home, NOW));
        context.set_stdin(Cursor::new(input.to_owned().into_bytes()));
        context.set_stdout(said.clone());
        context.set_stderr(said.clone());
        let arguments = [&["clawdbot", "models", "auth"], arguments].concat();
        let exit = crate::run(arguments, &context);
        (exit, said.text())
    }

    #[test]
    fn a_wrapped_token_is_stored_whole_and_not_shown() {
        let home = tempfile::tempdir().unwrap();
        let token = format!("sk-ant-oat01-{}", "x".repeat(80));
        let wrapped = format!("{}\r\n  {}\n", &token[..40], &token[40..]);
        let (exit, said) = run(home.path(), &["setup-token", "--yes"], &wrapped);
        assert_eq!((exit, said.contains("warning")), (0, false), "{said}");
        assert!(!said.contains("sk-ant"), "{said}");
        let stored = store_at(home.path()).read().unwrap().credential(&"anthropic:manual".into());
        let Some(Credential::Token { token: stored, expires }) = stored else { panic!() };
        assert_eq!((stored.expose(), expires), (token.as_str(), None));
    }

    #[test]
    fn an_odd_token_is_stored_with_a_warning() {
        let home = tempfile::tempdir().unwrap();
        let (exit, said) = run(home.path(), &["setup-token"], "short");
        assert_eq!(exit, 0, "{said}");
        assert!(said.contains("begins with `sk-ant-oat01-`") && said.contains("only 5"), "{said}");
    }

    #[test]
    fn the_end_of_a_token_counts_from_now() {
        let home = tempfile::tempdir().unwrap();
        let arguments = ["paste-token", "--provider", "Some-New One", "--expires-in", "12h"];
        assert_eq!(run(home.path(), &arguments, "t").0, 0);
        let document = store_at(home.path()).read().unwrap();
        let stored = document.credential(&"some-new one:manual".into()).unwrap();
        assert_eq!(stored.expires(), Some(NOW.plus(Duration::from_hours(12))));
    }

    #[test]
    fn an_alias_is_stored_under_the_providers_own_name() {
        let home = tempfile::tempdir().unwrap();
        let arguments = ["paste-api-key", "--provider", "z.ai", "--json"];
        let (exit, said) = run(home.path(), &arguments, "k");
        assert_eq!(exit, 0, "{said}");
        let told: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(told["profileId"], "zai:default");
        assert_eq!(told["type"], "api_key");
    }

    #[test]
    fn nothing_and_nonsense_are_not_stored() {
        let home = tempfile::tempdir().unwrap();
        for input in ["", " \n ", "sk\u{1b}[31m"] {
            let arguments = ["paste-api-key", "--provider", "openai"];
            let (exit, said) = run(home.path(), &arguments, input);
            assert_eq!(exit, 64, "{said}");
        }
        assert_eq!(run(home.path(), &["paste-api-key", "--provider", " "], "k").0, 64);
        assert_eq!(store_at(home.path()).read().unwrap().profiles().count(), 0);
    }

    /// The output of `models auth token` in that environment, and its exit code.
    fn token(home: &Path, env: &[(&str, &str)]) -> (u8, String) {
        let (said, mut context) = (Captured::default(), Context::sealed(home, NOW));
        context.env = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        context.set_stdout(said.clone());
        let arguments = ["clawdbot", "models", "auth", "token", "--provider", "acme"];
        (crate::run(arguments, &context), said.text())
    }

    #[test]
    fn a_key_that_stays_in_the_environment_is_not_copied() {
        let home = tempfile::tempdir().unwrap();
        let paste = ["paste-api-key", "--provider", "acme", "--from-env", "ACME_WORK"];
        let (exit, said) = run(home.path(), &paste, "");
        assert_eq!(exit, 0, "{said}");
        assert!(said.contains("there is no key yet (env: ACME_WORK)"), "{said}");
        let file = std::fs::read_to_string(store_at(home.path()).path()).unwrap();
        let stored: serde_json::Value = serde_json::from_str(&file).unwrap();
        assert_eq!(
            stored["profiles"]["acme:default"],
            json!({"type": "api_key", "provider": "acme", "keyRef": {"source": "env", "id": "ACME_WORK"}})
        );
        assert_eq!(token(home.path(), &[("ACME_WORK", " k-1\n")]), (0, "k-1\n".to_owned()));
        assert_eq!(token(home.path(), &[("ACME_WORK", "k-2")]), (0, "k-2\n".to_owned()));
        assert_eq!(token(home.path(), &[]), (3, String::new()));
        let (exit, said) = run(home.path(), &["list", "--json"], "");
        assert_eq!((exit, said.contains(r#""reference": "env: ACME_WORK""#)), (0, true), "{said}");
        let (_, said) = run(home.path(), &["list"], "");
        assert!(said.contains("env: ACME_WORK"), "{said}");
        // With `--force`, a pasted key replaces the reference.
        let paste = ["paste-api-key", "--provider", "acme", "--force"];
        assert_eq!(run(home.path(), &paste, "k-3").0, 0);
        assert_eq!(token(home.path(), &[]), (0, "k-3\n".to_owned()));
        let file = std::fs::read_to_string(store_at(home.path()).path()).unwrap();
        assert!(!file.contains("keyRef"), "{file}");
    }

    #[cfg(unix)]
    #[test]
    fn a_key_may_stay_in_a_file_or_another_program() {
        let home = tempfile::tempdir().unwrap();
        auth_store::write_atomic(&home.path().join("key.txt"), b"k-1\nuser: me\n").unwrap();
        let paste = ["paste-api-key", "--provider", "acme", "--from-file", "~/key.txt"];
        assert_eq!(run(home.path(), &paste, "").0, 0);
        assert_eq!(token(home.path(), &[]), (0, "k-1\n".to_owned()));
        let command = "/bin/sh -c 'echo k-2'";
        let paste = ["paste-api-key", "--provider", "acme", "--force", "--from-command", command];
        assert_eq!(run(home.path(), &paste, "").0, 0);
        assert_eq!(token(home.path(), &[]), (0, "k-2\n".to_owned()));
        for wrong in ["", "/nowhere/program", "no-such-program-anywhere", "'"] {
            let paste = ["paste-api-key", "--provider", "acme", "--from-command", wrong];
            assert_eq!(run(home.path(), &paste, "").0, 64, "{wrong}");
        }
        let both = [&paste[..], &["--from-env", "X"]].concat();
        assert_eq!(run(home.path(), &both, "").0, 64);
    }

    #[test]
    fn a_key_in_the_config_is_the_very_last_resort() {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().join(".clawdbot");
        auth_store::create_private_directory(&state).unwrap();
        let config = r#"{"models": {"providers": {"acme": {"apiKey": "from-config"}}}}"#;
        auth_store::write_atomic(&state.join("clawdbot.json"), config.as_bytes()).unwrap();
        assert_eq!(token(home.path(), &[]), (0, "from-config\n".to_owned()));
        run(home.path(), &["paste-api-key", "--provider", "acme"], "stored");
        assert_eq!(token(home.path(), &[]), (0, "stored\n".to_owned()));
    }

    #[test]
    fn a_subscription_that_ended_does_not_turn_into_a_bill_unseen() {
        let home = tempfile::tempdir().unwrap();
        let credential = Credential::Token { token: "t".into(), expires: Some(Timestamp(1)) };
        let put = |document: &mut Document| {
            let id = ProfileId::from("anthropic:manual");
            document.put(&id, "anthropic", &credential, &serde_json::Map::new());
        };
        store_at(home.path()).update(put).unwrap();
        let (said, mut context) = (Captured::default(), Context::sealed(home.path(), NOW));
        context.env = [("ANTHROPIC_API_KEY".into(), "metered".into())].into();
        context.set_stderr(said.clone());
        let arguments = ["clawdbot", "models", "auth", "token", "--provider", "anthropic"];
        assert_eq!(crate::run(arguments, &context), 0);
        let said = said.text();
        assert!(said.starts_with("warning: `anthropic:manual` cannot be used"), "{said}");
        assert!(said.contains("ANTHROPIC_API_KEY"), "{said}");
    }

    #[test]
    fn a_login_of_a_google_tool_is_handed_out_with_its_project() {
        let home = tempfile::tempdir().unwrap();
        let login = Credential::OAuth(auth_store::OAuthCredential {
            access: " a ".into(),
            expires: Some(NOW.plus(Duration::from_hours(1))),
            project_id: Some("p-1".to_owned()),
            ..auth_store::OAuthCredential::default()
        });
        let put = |document: &mut Document| {
            let id = ProfileId::from("google-gemini-cli:me");
            document.put(&id, "google-gemini-cli", &login, &serde_json::Map::new());
        };
        store_at(home.path()).update(put).unwrap();
        let (exit, said) = run(home.path(), &["token", "--provider", "google-gemini-cli"], "");
        assert_eq!((exit, said.as_str()), (0, "{\"token\":\"a\",\"projectId\":\"p-1\"}\n"));
    }

    #[test]
    fn a_key_takes_no_other_profiles_place_by_itself() {
        let home = tempfile::tempdir().unwrap();
        let id = ProfileId::from("acme:default");
        let token = Credential::Token { token: "t".into(), expires: None };
        let put = |document: &mut Document| {
            document.put(&id, "acme", &token, &serde_json::Map::new());
        };
        store_at(home.path()).update(put).unwrap();
        let paste = ["paste-api-key", "--provider", "acme"];
        let (exit, said) = run(home.path(), &paste, "k");
        assert_eq!((exit, said.contains("stored as `acme:default-2`")), (0, true), "{said}");
        let named = [&paste[..], &["--profile-id", "acme:default"]].concat();
        let (exit, said) = run(home.path(), &named, "k");
        assert_eq!((exit, said.contains("is a profile of type `token`")), (64, true), "{said}");
        let forced = [&named[..], &["--force"]].concat();
        assert_eq!(run(home.path(), &forced, "k").0, 0);
        let stored = store_at(home.path()).read().unwrap().credential(&id);
        assert!(matches!(stored, Some(Credential::ApiKey(key)) if key.expose() == "k"));
    }

    fn key_of(home: &Path, id: &str) -> Option<String> {
        let stored = store_at(home).read().unwrap().credential(&id.into())?;
        Some(stored.bearer().expose().to_owned())
    }

    #[test]
    fn a_second_key_is_stored_beside_the_first_and_the_same_one_changes_nothing() {
        let home = tempfile::tempdir().unwrap();
        for (command, name) in
            [("paste-api-key", "default"), ("paste-token", "manual"), ("setup-token", "manual")]
        {
            let provider = command;
            let (first, second) = (format!("{provider}:{name}"), format!("{provider}:{name}-2"));
            let paste = [command, "--provider", provider];
            assert_eq!(run(home.path(), &paste, "one-0123456789").0, 0);
            let before = std::fs::read(store_at(home.path()).path()).unwrap();
            let (exit, said) = run(home.path(), &paste, " one-0123456789\n");
            assert_eq!((exit, said.contains("Unchanged")), (0, true), "{said}");
            assert_eq!(std::fs::read(store_at(home.path()).path()).unwrap(), before);

            let (exit, said) = run(home.path(), &paste, "two-0123456789");
            assert_eq!((exit, said.contains(&format!("`{second}`"))), (0, true), "{said}");
            let command = format!(
                "clawdbot models auth {command} --provider {provider} --profile-id {first} --force"
            );
            assert!(said.contains(&command), "{said}");
            assert_eq!(key_of(home.path(), &first).as_deref(), Some("one-0123456789"));
            assert_eq!(key_of(home.path(), &second).as_deref(), Some("two-0123456789"));

            let named = [&paste[..], &["--profile-id", &first]].concat();
            let (exit, said) = run(home.path(), &named, "three-0123456789");
            assert_eq!((exit, said.contains(&command)), (64, true), "{said}");
            assert!(!said.contains("three"), "{said}");
            assert_eq!(key_of(home.path(), &first).as_deref(), Some("one-0123456789"));
            let forced = [&named[..], &["--force"]].concat();
            assert_eq!(run(home.path(), &forced, "three-0123456789").0, 0);
            assert_eq!(key_of(home.path(), &first).as_deref(), Some("three-0123456789"));
        }
    }

    #[test]
    fn of_keys_that_are_pasted_at_the_same_time_none_is_lost() {
        let home = tempfile::tempdir().unwrap();
        let keys: Vec<_> = (0..6).map(|number| format!("key-{number}-0123456789")).collect();
        std::thread::scope(|scope| {
            for key in &keys {
                scope.spawn(|| {
                    let paste = ["paste-api-key", "--provider", "acme"];
                    assert_eq!(run(home.path(), &paste, key).0, 0);
                });
            }
        });
        let document = store_at(home.path()).read().unwrap();
        let ids = document.profiles().map(|profile| profile.id);
        let stored = ids.filter_map(|id| key_of(home.path(), id.as_str()));
        let mut stored: Vec<_> = stored.collect();
        stored.sort();
        assert_eq!(stored, keys);
    }

    #[test]
    fn the_name_of_a_variable_is_no_reference_to_it_and_no_key() {
        let home = tempfile::tempdir().unwrap();
        for wrong in ["$ACME_KEY", "${ACME_KEY}", "A=b", "", "sk-0123456789abcdef"] {
            let paste = ["paste-api-key", "--provider", "acme", "--from-env", wrong];
            let (exit, said) = run(home.path(), &paste, "");
            assert_eq!((exit, said.contains("sk-0123")), (64, false), "{wrong}: {said}");
        }
    }

    #[test]
    fn the_same_token_may_get_another_end_and_keeps_what_else_is_in_its_profile() {
        let home = tempfile::tempdir().unwrap();
        let paste = ["paste-token", "--provider", "acme"];
        assert_eq!(run(home.path(), &paste, "t-0123456789").0, 0);
        let path = store_at(home.path()).path().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.replace("\"token\": \"t-", "\"label\": \"mine\", \"token\": \"t-");
        auth_store::write_atomic(&path, text.as_bytes()).unwrap();
        let (exit, said) =
            run(home.path(), &[&paste[..], &["--expires-in", "1d"]].concat(), "t-0123456789");
        assert_eq!((exit, said.contains("It expires")), (0, true), "{said}");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("mine") && !text.contains("manual-2"), "{text}");
    }

    #[test]
    fn what_is_copied_along_with_a_key_is_taken_off_and_what_is_none_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let paste = ["paste-api-key", "--provider", "openai"];
        let (exit, said) =
            run(home.path(), &paste, " \"Bearer sk-0123456789abcdefghij\u{200b}\"\n");
        assert_eq!(exit, 0, "{said}");
        assert_eq!(
            key_of(home.path(), "openai:default").as_deref(),
            Some("sk-0123456789abcdefghij")
        );
        for part in ["note: removed from the key", "invisible", "spaces", "quotes", "`Bearer`"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        for (input, wanted) in [
            ("$OPENAI_API_KEY", "paste-api-key --provider openai --from-env OPENAI_API_KEY"),
            ("export OPENAI_API_KEY=sk-1", "without the name"),
            ("curl https://api.openai.com -H 'x: sk-1'", "--from-command"),
            ("sk-0123...89ab", "whole"),
            ("https://platform.openai.com/api-keys", "alone: clawdbot models auth paste-api-key"),
        ] {
            let (exit, said) = run(home.path(), &paste, input);
            assert_eq!((exit, said.contains(wanted)), (64, true), "{input}: {said}");
            assert!(said.contains("no key was stored") && !said.contains("sk-"), "{said}");
        }
        assert_eq!(store_at(home.path()).read().unwrap().profiles().count(), 1);
    }

    #[test]
    fn a_new_credential_does_not_rest_for_the_old_one() {
        let home = tempfile::tempdir().unwrap();
        let paste = ["paste-api-key", "--provider", "acme"];
        run(home.path(), &paste, "old");
        let paste = [&paste[..], &["--force"]].concat();
        let id = ProfileId::from("acme:default");
        let usage = auth_store::Usage {
            cooldown_until: Some(NOW.plus(Duration::from_hours(1))),
            error_count: Some(2),
            last_used: Some(NOW),
            ..auth_store::Usage::default()
        };
        store_at(home.path()).update(|document| document.set_usage(&id, &usage)).unwrap();
        run(home.path(), &paste, "new");
        let usage = store_at(home.path()).read().unwrap().usage(&id);
        assert_eq!(usage.cooldown_until, None);
        assert_eq!(usage.last_used, Some(NOW));
    }

    #[test]
    fn a_logout_removes_what_cannot_be_revoked_and_says_what_could_not_be() {
        let home = tempfile::tempdir().unwrap();
        run(home.path(), &["paste-api-key", "--provider", "acme"], "k");
        let (exit, said) = run(home.path(), &["logout", "acme:default"], "");
        assert_eq!((exit, said.contains("no way to revoke")), (0, true), "{said}");
        assert_eq!(run(home.path(), &["logout", "acme:default"], "").0, 3);

        // Nothing listens on port 1.
        let manifest = r#"{"id": "acme", "flows": ["authorization_code"], "client_id": "c",
            "endpoints": {"authorization": "http://127.0.0.1:1/a", "token": "http://127.0.0.1:1/t",
            "revocation": "http://127.0.0.1:1/r"}}"#;
        let manifests = home.path().join(".clawdbot/providers");
        auth_store::create_private_directory(&manifests).unwrap();
        auth_store::write_atomic(&manifests.join("acme.json"), manifest.as_bytes()).unwrap();
        let login = Credential::OAuth(auth_store::OAuthCredential {
            access: "CANARY-a".into(),
            refresh: "CANARY-r".into(),
            expires: Some(NOW),
            ..auth_store::OAuthCredential::default()
        });
        let put = |document: &mut Document| {
            document.put(&"acme:me".into(), "acme", &login, &serde_json::Map::new());
        };
        store_at(home.path()).update(put).unwrap();
        let (exit, said) = run(home.path(), &["logout", "acme:me", "--json"], "");
        assert_eq!(exit, 5, "{said}");
        let told: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(told["error"]["code"], "not_revoked");
        assert!(said.contains("2027-01-15 08:00:00Z") && !said.contains("CANARY"), "{said}");
        assert_eq!(store_at(home.path()).read().unwrap().profiles().count(), 0);
    }

    #[test]
    fn a_provider_without_a_login_names_the_way_there_is() {
        let home = tempfile::tempdir().unwrap();
        let (exit, said) = run(home.path(), &["login", "--provider", "anthropic"], "");
        assert_eq!(exit, 64);
        assert!(said.contains("claude setup-token") && said.contains("paste-api-key"), "{said}");
        let (exit, said) = run(home.path(), &["login", "--finish", "hello"], "");
        assert_eq!((exit, said.contains("--start")), (64, true), "{said}");
    }
}
