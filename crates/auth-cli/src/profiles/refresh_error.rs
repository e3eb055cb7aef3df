//! What the user is told when a refresh fails, and which command helps.

use std::ffi::OsStr;
use std::path::Path;

use auth_providers::Provider;
use auth_providers::refresh::RefreshError;
use auth_store::{ProfileId, paths};

use crate::agent::Agent;
use crate::host::error::{CliError, Exit, chain};
use crate::host::shell_quote::{command, option};

/// What a person is told, and which command helps.
pub fn explain(error: RefreshError, provider: Option<&Provider>, agent: &Agent) -> CliError {
    let message = chain(&error);
    let log_in = |profile: &ProfileId| log_in_command(profile, provider, agent);
    let new = |exit, code| CliError::new(exit, code, message.clone());
    match &error {
        RefreshError::UnknownProfile { profile } => new(Exit::NoCredential, "no_credential")
            .hint(format!("see what there is: clawdbot models auth list{}", agent.option()))
            .profile(profile),
        RefreshError::NeedsLogin { profile, .. } => {
            new(Exit::LogInAgain, "needs_login").hint(log_in(profile)).profile(profile)
        }
        RefreshError::Rejected { profile, .. } => {
            new(Exit::LogInAgain, "rejected").hint(log_in(profile)).profile(profile)
        }
        RefreshError::OtherAccount { profile } => {
            new(Exit::LogInAgain, "other_account").hint(log_in(profile)).profile(profile)
        }
        RefreshError::StaleCopy { profile, store } => new(Exit::LogInAgain, "stale_copy")
            .hint(format!(
                "{}{}, or send the old token all the same: {}",
                share_command(store, agent),
                log_in(profile),
                command(
                    "models auth refresh",
                    &[profile],
                    &format!("{} --force", option("--agent", &agent.id))
                )
            ))
            .profile(profile)
            .path(store),
        RefreshError::Unmerged { profile, store, .. } => new(Exit::LogInAgain, "unmerged")
            .hint(format!(
                "{}, or look at the answer and merge it if it can be read by now: {}",
                log_in(profile),
                command(
                    "models auth refresh",
                    &[profile],
                    &format!("{} --retry-merge", agent.option())
                )
            ))
            .profile(profile)
            .path(store),
        RefreshError::Target { profile, .. } => new(Exit::Usage, "provider")
            .hint("correct the provider's manifest in the `providers` directory, or log in again")
            .profile(profile),
        RefreshError::Misconfigured { profile, .. } => new(Exit::TryLater, "misconfigured")
            .hint("check the client id and secret of the provider's manifest or environment; the login is kept")
            .profile(profile),
        RefreshError::Unavailable { profile, retry_at, .. } => {
            let hint = match retry_at {
                Some(at) => format!(
                    "nothing is sent before {}; to ask at once: clawdbot models auth token{}{} --force-refresh",
                    crate::host::text::utc(*at),
                    option("--profile", profile),
                    agent.option()
                ),
                None => "try again; the login is kept".to_owned(),
            };
            new(Exit::TryLater, "unavailable").hint(hint).profile(profile)
        }
        RefreshError::CannotSave { profile, .. } => new(Exit::CannotWrite, "cannot_save")
            .hint("make room or make the directory writable, then try again; the login is kept")
            .profile(profile),
        RefreshError::Store(_) => match error {
            RefreshError::Store(store) => store.into(),
            _ => new(Exit::Store, "store"),
        },
        RefreshError::Unsettled { profile } => {
            new(Exit::TryLater, "unsettled").hint("try again").profile(profile)
        }
        _ => new(Exit::TryLater, "refresh"),
    }
}

/// The command by which the agent reads through to the one whose store this is, with what follows
/// it; empty if the path does not tell which agent that is.
fn share_command(store: &Path, agent: &Agent) -> String {
    match paths::agent_of(store).and_then(OsStr::to_str) {
        Some(owner) => format!(
            "use the login of `{owner}`: {}, or ",
            command("agents share", &[&agent.id], &option("--from", owner))
        ),
        None => String::new(),
    }
}

/// The command that makes a new login of that profile.
pub(crate) fn log_in_command(
    profile: &ProfileId,
    provider: Option<&Provider>,
    agent: &Agent,
) -> String {
    let of = format!("{}{}", option("--profile-id", profile), agent.option());
    match provider {
        Some(provider) if provider.has_oauth_login() => format!(
            "log in again: clawdbot models auth login{}{of}",
            option("--provider", &provider.id)
        ),
        Some(provider) if provider.id.as_str() == "anthropic" => format!(
            "store a new token: claude setup-token, then clawdbot models auth setup-token{of}"
        ),
        Some(provider) => format!(
            "store a new one: clawdbot models auth paste-token{}{of}",
            option("--provider", &provider.id)
        ),
        None => {
            format!("store a new one: clawdbot models auth paste-token --provider PROVIDER{of}")
        }
    }
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
                explain(error(profile()), None, &agent).hint.unwrap()
            };
            assert!(hint("work").contains(" --agent work"), "{}", hint("work"));
            assert!(!hint("main").contains("--agent"), "{}", hint("main"));
        }
    }
}
