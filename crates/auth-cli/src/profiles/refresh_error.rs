//! The error messages of a refresh, and the commands that help.

use std::ffi::OsStr;
use std::path::Path;

use auth_providers::refresh::RefreshError;
use auth_providers::{Missing, Provider, TargetError};
use auth_routing::Obstacle;
use auth_store::{Kind, ProfileId, ProviderId, paths};

use crate::agent::Agent;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit, chain};
use crate::host::remedy::Remedy;
use crate::host::shell_quote::{command, option};

/// The error message, with the command that helps.
pub fn explain(
    error: RefreshError,
    provider: Option<&Provider>,
    agent: &Agent,
    context: &Context,
) -> CliError {
    let message = chain(&error);
    let new = |exit, code| CliError::new(exit, code, message.clone());
    let again = |profile: &ProfileId| {
        let id = provider.map_or_else(|| provider_in(profile), |provider| provider.id.clone());
        log_in(profile, Kind::OAuth, provider, &id, agent)
    };
    match &error {
        RefreshError::UnknownProfile { profile } => new(Exit::NoCredential, "no_credential")
            .remedy(Remedy::new(
                "list the profiles",
                format!("clawdbot models auth list{}", agent.option()),
            ))
            .profile(profile),
        RefreshError::NeedsLogin { profile, .. } => {
            new(Exit::LogInAgain, "needs_login").remedy(again(profile)).profile(profile)
        }
        RefreshError::Rejected { profile, .. } => {
            new(Exit::LogInAgain, "rejected").remedy(again(profile)).profile(profile)
        }
        RefreshError::LoginRequired { profile, .. } => {
            new(Exit::LogInAgain, "login_required").remedy(again(profile)).profile(profile)
        }
        RefreshError::OtherAccount { profile } => {
            new(Exit::LogInAgain, "other_account").remedy(again(profile)).profile(profile)
        }
        RefreshError::StaleCopy { profile, store } => {
            let options = format!("{} --force", option("--agent", &agent.id));
            let insist = Remedy::new(
                "send the old token anyway",
                command("models auth refresh", &[profile], &options),
            );
            let error = new(Exit::LogInAgain, "stale_copy");
            let error = match share(store, agent) {
                Some(remedy) => error.remedy(remedy),
                None => error,
            };
            error.remedy(again(profile)).remedy(insist).profile(profile).path(store)
        }
        RefreshError::Unmerged { profile, store, .. } => new(Exit::LogInAgain, "unmerged")
            .remedy(again(profile))
            .remedy(retry_merge(profile, agent))
            .profile(profile)
            .path(store),
        RefreshError::Target {
            profile,
            target: TargetError::Incomplete { missing: Missing::ClientSecret, .. },
        } => {
            let names = provider.map_or(&[][..], |provider| &provider.client_secret_env);
            let name = names.first().map_or("…", |name| name.as_str());
            new(Exit::Usage, "client_secret")
                .hint(format!("set the client secret in the environment variable `{name}`"))
                .profile(profile)
        }
        RefreshError::Target { profile, target: TargetError::Foreign(_) } => {
            with_destination(new(Exit::Usage, "destination"), profile, &agent.option())
        }
        RefreshError::Target { profile, .. } => new(Exit::Usage, "provider")
            .hint("correct the provider's manifest in the `providers` directory, or log in again")
            .profile(profile),
        RefreshError::Misconfigured { profile, .. } => new(Exit::TryLater, "misconfigured")
            .hint("check the client id and secret in the provider's manifest or environment; the login is kept")
            .profile(profile),
        RefreshError::Unavailable { profile, retry_at, .. } => {
            let error = new(Exit::TryLater, "unavailable").profile(profile);
            match retry_at {
                Some(at) => error
                    .hint(format!("nothing is sent before {}", context.time(*at)))
                    .remedy(refresh_now(profile, agent)),
                None => error.hint("try again; the login is kept"),
            }
        }
        RefreshError::CannotSave { profile, .. } => new(Exit::CannotWrite, "cannot_save")
            .hint("free some disk space or make the directory writable, then try again; the login is kept")
            .profile(profile),
        RefreshError::Store(_) => match error {
            RefreshError::Store(store) => store.into(),
            _ => new(Exit::Store, "store"),
        },
        RefreshError::Unfinished { profile } => {
            new(Exit::TryLater, "unsettled").hint("try again").profile(profile)
        }
        _ => new(Exit::TryLater, "refresh"),
    }
}

/// Adds what helps where a secret was to be sent to an origin that it is not for.
pub(crate) fn with_destination(error: CliError, profile: &ProfileId, options: &str) -> CliError {
    let destination =
        |word: &str| command(&format!("models auth destination {word}"), &[profile], options);
    error
        .remedy(Remedy::new("see both sides", destination("show")))
        .remedy(Remedy::new("if you trust the new one", destination("accept")))
        .profile(profile)
}

/// The provider that the id of a profile names.
fn provider_in(profile: &ProfileId) -> ProviderId {
    ProviderId::new(profile.as_str().split(':').next().unwrap_or_default())
}

/// The command by which the agent reads through to the one whose store this is; `None` if the path
/// does not tell which agent that is.
fn share(store: &Path, agent: &Agent) -> Option<Remedy> {
    let owner = paths::agent_of(store).and_then(OsStr::to_str)?;
    Some(Remedy::new(
        format!("use the login of `{owner}`"),
        command("agents share", &[&agent.id], &option("--from", owner)),
    ))
}

/// The command that makes a new login of that profile, or stores a new token or key in it.
pub(crate) fn log_in(
    profile: &ProfileId,
    kind: Kind,
    provider: Option<&Provider>,
    id: &ProviderId,
    agent: &Agent,
) -> Remedy {
    let of = format!("{}{}", option("--profile-id", profile), agent.option());
    let name = option("--provider", provider.map_or(id, |provider| &provider.id));
    let pastes_token = provider.is_some_and(|it| it.token.obtain.is_some());
    match provider {
        _ if kind == Kind::Token && !pastes_token => Remedy::new(
            "store a new token",
            format!("clawdbot models auth paste-token{name}{of} --force"),
        ),
        Some(provider) if kind == Kind::OAuth && provider.has_oauth_login() => {
            let what = match &provider.discontinued {
                Some(over) => format!(
                    "its logins were discontinued on {}: use {}; or try to log in again",
                    over.since, over.instead
                ),
                None => "log in again".to_owned(),
            };
            Remedy::new(what, format!("clawdbot models auth login{name}{of}"))
        }
        Some(provider) if kind != Kind::ApiKey && pastes_token => Remedy::new(
            format!(
                "run `{}`, then store the token",
                provider.token.obtain.as_deref().unwrap_or_default()
            ),
            format!("clawdbot models auth setup-token{name}{of} --force"),
        ),
        _ => Remedy::new(
            "store a new key",
            format!("clawdbot models auth paste-api-key{name}{of} --force"),
        ),
    }
}

/// What removes an obstacle.
pub(crate) fn remedy(
    obstacle: &Obstacle,
    profile: &ProfileId,
    provider: Option<&Provider>,
    id: &ProviderId,
    agent: &Agent,
) -> Remedy {
    match obstacle {
        Obstacle::Refused(_) | Obstacle::CannotRefresh(_) => {
            log_in(profile, Kind::OAuth, provider, id, agent)
        }
        Obstacle::Unmerged(_) => retry_merge(profile, agent),
        Obstacle::Waiting(_) => refresh_now(profile, agent),
        Obstacle::NoKey(_) => {
            let of = format!("{}{}", option("--profile-id", profile), agent.option());
            let name = option("--provider", id);
            let command = format!("clawdbot models auth paste-api-key{name}{of} --force");
            Remedy::new("store another key", command)
        }
    }
}

fn retry_merge(profile: &ProfileId, agent: &Agent) -> Remedy {
    let options = format!("{} --retry-merge", agent.option());
    Remedy::new(
        "show the response, and merge it if it can be read now",
        command("models auth refresh", &[profile], &options),
    )
}

fn refresh_now(profile: &ProfileId, agent: &Agent) -> Remedy {
    let of = format!("{}{}", option("--profile", profile), agent.option());
    Remedy::new("ask at once", format!("clawdbot models auth token{of} --force-refresh"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use auth_store::Timestamp;

    use super::*;

    #[test]
    fn a_command_that_helps_names_the_agent() {
        let profile = || ProfileId::from("acme:me");
        let errors: [fn(ProfileId) -> RefreshError; 3] = [
            |profile| RefreshError::UnknownProfile { profile },
            |profile| RefreshError::NeedsLogin { profile, reason: "it ended" },
            |profile| RefreshError::Unavailable {
                profile,
                reason: "away".to_owned(),
                retry_at: Some(Timestamp(9)),
            },
        ];
        for error in errors {
            let hint = |id: &str| {
                let agent = Agent { id: id.to_owned(), directory: PathBuf::new() };
                let context = Context::sealed(Path::new("/"), Timestamp(0));
                explain(error(profile()), None, &agent, &context).hint.unwrap()
            };
            assert!(hint("work").contains(" --agent work"), "{}", hint("work"));
            assert!(!hint("main").contains("--agent"), "{}", hint("main"));
        }
    }
}
