//! `models auth setup-token`, `paste-token` and `paste-api-key`: a secret from the terminal or
//! from standard input, never from an argument.

use std::time::Duration;

use auth_providers::{Looks, default_profile_id, earlier_end, pasted};
use auth_store::{Credential, KeyReference, Kind, ProfileId, ProviderId};
use serde_json::json;

use crate::agent::Agent;
use crate::agent::shared;
use crate::config::Config;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::global::Global;
use crate::host::prompt;
use crate::host::shell_quote::option;
use crate::host::text::utc;
use crate::profiles::key_reference;
use crate::profiles::runtime_cache;
use crate::profiles::save;
use crate::profiles::sink;

/// A token or a key to store.
#[derive(Clone, Debug)]
pub struct PasteRequest {
    /// The provider; it need not be a known one.
    pub provider: String,
    /// The profile to store it as; `None`: one is named after the provider.
    pub profile_id: Option<String>,
    /// What it is.
    pub secret: Pasted,
}

/// What is pasted.
#[derive(Clone, Debug)]
pub enum Pasted {
    /// A token, which ends so long from now.
    Token(Option<Duration>),
    /// A key, and where it stays if it is not to be copied.
    ApiKey(Option<Place>),
}

/// Where a key stays, as the user writes it.
#[derive(Clone, Debug)]
pub enum Place {
    /// This variable of the environment.
    Env(String),
    /// The first line of this file.
    File(String),
    /// The first line that this command prints.
    Command(String),
}

impl PasteRequest {
    /// A token without an end that is known.
    pub fn token(provider: &str, profile_id: Option<&str>) -> Self {
        let profile_id = profile_id.map(str::to_owned);
        Self { provider: provider.to_owned(), profile_id, secret: Pasted::Token(None) }
    }

    /// A key that is copied.
    pub fn api_key(provider: &str, profile_id: Option<&str>) -> Self {
        Self { secret: Pasted::ApiKey(None), ..Self::token(provider, profile_id) }
    }
}

impl Place {
    fn reference(&self, context: &Context) -> Result<KeyReference, CliError> {
        match self {
            Self::Env(name) => Ok(KeyReference::Env { id: name.trim().to_owned() }),
            Self::File(path) => Ok(key_reference::file(path, context)),
            Self::Command(text) => key_reference::command(text, context).map_err(|reason| {
                CliError::usage(format!("the command cannot be used: {reason}"))
                    .hint("what needs a shell says so: --from-command \"sh -c '…'\"")
            }),
        }
    }
}

/// What is pasted, with its place looked up.
struct What {
    kind: Kind,
    expires_in: Option<Duration>,
    /// The name of the profile after the colon, where none is given.
    name: &'static str,
    /// Where it stays, if it is not to be copied.
    place: Option<KeyReference>,
}

impl What {
    fn of(secret: &Pasted, context: &Context) -> Result<Self, CliError> {
        Ok(match secret {
            Pasted::Token(expires_in) => {
                Self { kind: Kind::Token, expires_in: *expires_in, name: "manual", place: None }
            }
            Pasted::ApiKey(place) => {
                let place = place.as_ref().map(|it| it.reference(context)).transpose()?;
                Self { kind: Kind::ApiKey, expires_in: None, name: "default", place }
            }
        })
    }
}

/// Stores a token or a key of any provider.
pub fn run(request: &PasteRequest, global: &Global, context: &Context) -> Result<Exit, CliError> {
    let what = What::of(&request.secret, context)?;
    store(&request.provider, request.profile_id.as_deref(), &what, global, context)
}

fn store(
    provider: &str,
    profile: Option<&str>,
    what: &What,
    global: &Global,
    context: &Context,
) -> Result<Exit, CliError> {
    let config = Config::load(context)?;
    let agent = Agent::named(global.agent.as_deref(), &config, context)?;
    let sink = sink::for_agent(&agent, &config, context)?;
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
    // A write goes to the file that has the profile.
    let agent = shared::holder(&agent, &id, &config, context)?;
    let sink = sink::for_agent(&agent, &config, context)?;
    save::check_store(&sink)?;
    let holder = sink.store.read()?.profile(&id);
    if profile.is_none()
        && let Some(holder) = holder.filter(|it| it.kind != what.kind || it.provider != provider)
    {
        let message = format!("`{id}` is a profile of type `{}` already", holder.kind.as_str());
        return Err(CliError::usage(message)
            .hint(format!(
                "choose another name:{}",
                option("--profile-id", format!("{provider}:NAME"))
            ))
            .profile(&id));
    }

    let credential = match &what.place {
        Some(place) => {
            try_out(place, &provider, &looks, context);
            Credential::Reference(place.clone())
        }
        None => secret(&provider, what, &looks, context)?,
    };
    save::pasted(&id, &provider, &credential, &agent, &sink)?;
    save::declare(&id, &provider, what.kind, None, context);
    runtime_cache::follow_anew(&agent, context);

    if global.json {
        context.print_json(&json!({
            "agentId": agent.id,
            "profileId": id,
            "provider": provider,
            "type": what.kind.as_str(),
            "expires": credential.expires(),
            "reference": what.place.as_ref().map(ToString::to_string),
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

/// Asks for the secret itself.
fn secret(
    provider: &ProviderId,
    what: &What,
    looks: &Looks,
    context: &Context,
) -> Result<Credential, CliError> {
    let text = prompt::secret(&question(provider, what, looks), context)?;
    let pasted = pasted(&text, provider, looks).map_err(|error| {
        let noun = if what.kind == Kind::ApiKey { "key" } else { "token" };
        CliError::usage(format!("no {noun} was stored: {error}"))
            .hint(format!("give the {noun} of `{provider}` on standard input"))
    })?;
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

/// Fetches the key once, to warn. It may well come to its place later.
fn try_out(place: &KeyReference, provider: &ProviderId, looks: &Looks, context: &Context) {
    let warnings = match key_reference::fetch(place, &|name| context.env(name).map(str::to_owned)) {
        Ok(key) => pasted(key.expose(), provider, looks).map(|it| it.warnings).unwrap_or_default(),
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

    /// Runs `clawdbot models auth …` with that input; the exit code and what was said.
    fn run(home: &Path, arguments: &[&str], input: &str) -> (u8, String) {
        let (said, mut context) = (Captured::default(), Context::sealed(home, NOW));
        context.set_stdin(Cursor::new(input.to_owned().into_bytes()));
        context.set_stdout(said.clone());
        context.set_stderr(said.clone());
        let arguments = [&["clawdbot", "models", "auth"], arguments].concat();
        let exit = crate::run(arguments, &mut context);
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

    /// What `models auth token` prints in that environment, and its exit code.
    fn token(home: &Path, env: &[(&str, &str)]) -> (u8, String) {
        let (said, mut context) = (Captured::default(), Context::sealed(home, NOW));
        context.env = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        context.set_stdout(said.clone());
        let arguments = ["clawdbot", "models", "auth", "token", "--provider", "acme"];
        (crate::run(arguments, &mut context), said.text())
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
        // A key that is pasted takes its place.
        assert_eq!(run(home.path(), &["paste-api-key", "--provider", "acme"], "k-3").0, 0);
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
        let paste = ["paste-api-key", "--provider", "acme", "--from-command", command];
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
        let put = |document: &mut auth_store::Document| {
            let id = ProfileId::from("anthropic:manual");
            document.put(&id, "anthropic", &credential, &serde_json::Map::new());
        };
        store_at(home.path()).update(put).unwrap();
        let (said, mut context) = (Captured::default(), Context::sealed(home.path(), NOW));
        context.env = [("ANTHROPIC_API_KEY".into(), "metered".into())].into();
        context.set_stderr(said.clone());
        let arguments = ["clawdbot", "models", "auth", "token", "--provider", "anthropic"];
        assert_eq!(crate::run(arguments, &mut context), 0);
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
        let put = |document: &mut auth_store::Document| {
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
        let put = |document: &mut auth_store::Document| {
            document.put(&id, "acme", &token, &serde_json::Map::new());
        };
        store_at(home.path()).update(put).unwrap();
        let paste = ["paste-api-key", "--provider", "acme"];
        let (exit, said) = run(home.path(), &paste, "k");
        assert_eq!(exit, 64, "{said}");
        assert!(said.contains("--profile-id acme:NAME"), "{said}");
        let named = [&paste[..], &["--profile-id", "acme:default"]].concat();
        assert_eq!(run(home.path(), &named, "k").0, 0);
    }

    #[test]
    fn a_new_credential_does_not_rest_for_the_old_one() {
        let home = tempfile::tempdir().unwrap();
        let paste = ["paste-api-key", "--provider", "acme"];
        run(home.path(), &paste, "old");
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

        // Nobody listens on port 1.
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
        let put = |document: &mut auth_store::Document| {
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
