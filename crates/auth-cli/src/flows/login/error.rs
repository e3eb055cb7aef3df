//! What went wrong with a login, and what to do next.

use auth_pkce::CallbackError;
use auth_providers::LoginError;

use crate::host::error::{CliError, Exit};
use crate::host::shell_quote::option;

/// The error for the user.
pub(crate) fn explain(error: LoginError) -> CliError {
    let new = |exit, code| CliError::new(exit, code, error.to_string());
    match &error {
        LoginError::NoSuchFlow { .. } => new(Exit::Usage, "no_such_flow"),
        LoginError::Misconfigured { .. } => new(Exit::Usage, "provider")
            .hint("correct the provider's manifest or the environment, then log in again"),
        LoginError::Callback(response) if response.ends_login() => new(Exit::LogInAgain, "refused")
            .hint("begin again, and agree to what the provider asks"),
        LoginError::Callback(CallbackError::StateMismatch) => new(Exit::Usage, "state_mismatch")
            .hint("use the address that the browser ended on in this login; it is still waiting"),
        LoginError::Callback(_) => new(Exit::Usage, "not_an_answer")
            .hint("copy the whole address that the browser ended on; the login is still waiting"),
        LoginError::Refused { .. } => {
            new(Exit::LogInAgain, "refused").hint("begin again; a code is good for one login only")
        }
        LoginError::Unavailable { .. } => {
            new(Exit::TryLater, "unavailable").hint("nothing was stored; begin again")
        }
        LoginError::Untrusted { .. } => {
            new(Exit::LogInAgain, "untrusted").hint("nothing was stored; begin again")
        }
        LoginError::NoDeviceLogin { provider } => new(Exit::Usage, "no_device_login").hint(format!(
            "switch device codes on in the security settings there, or log in with a browser: clawdbot models auth login{}",
            option("--provider", provider)
        )),
        LoginError::CodeEnded => {
            new(Exit::LogInAgain, "code_ended").hint("begin again; nothing was stored")
        }
        LoginError::TimedOut(_) => new(Exit::LogInAgain, "timed_out").hint("begin again"),
        LoginError::ListenerUnavailable { .. } => new(Exit::Usage, "deaf")
            .hint("log in in two steps: add --start, then clawdbot models auth login --finish -"),
        LoginError::Canceled => new(Exit::LogInAgain, "canceled").hint("nothing was stored"),
        LoginError::Plugin { .. } => new(Exit::Usage, "plugin")
            .hint("nothing was stored; what it does wrong shows: clawdbot plugins check PATH"),
        LoginError::NoneBegun => new(Exit::Usage, "none_begun").hint(
            "begin one: clawdbot models auth login --provider PROVIDER --start; each can be finished once, within ten minutes",
        ),
        LoginError::SeveralBegun { providers } => new(Exit::Usage, "several_begun").hint(format!(
            "paste the whole address that the browser ended on, or name the provider: clawdbot models auth login{} --finish -",
            providers.first().map(|provider| option("--provider", provider)).unwrap_or_default()
        )),
        LoginError::Store(_) => match error {
            LoginError::Store(error) => error.into(),
            _ => new(Exit::CannotWrite, "store"),
        },
    }
}
