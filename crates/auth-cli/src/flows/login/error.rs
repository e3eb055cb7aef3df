//! Errors of a login, and what to do next.

use auth_pkce::CallbackError;
use auth_providers::{LoginError, Origin, Provider};

use crate::host::error::{CliError, Exit};
use crate::host::shell_quote::option;

/// The error of a login of `provider` for the user: where the issuer says what is wrong with the
/// client, it is said where that can be corrected.
pub(crate) fn explain_of(error: LoginError, provider: &Provider) -> CliError {
    explained(error, Some(provider))
}

/// The error for the user.
pub(crate) fn explain(error: LoginError) -> CliError {
    explained(error, None)
}

fn explained(error: LoginError, provider: Option<&Provider>) -> CliError {
    let said = match &error {
        LoginError::Refused { code, description } => Some((code, description)),
        LoginError::Callback(CallbackError::Denied { error, description }) => {
            Some((error, description))
        }
        _ => None,
    };
    if let Some((meant, code, description)) =
        said.and_then(|(code, description)| Some((meaning(code)?, code, description)))
    {
        let words = description.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
        let message = format!("{} ({code}{words})", meant.sentence);
        let hint = match meant.place {
            None => "nothing is wrong here; try again in some minutes".to_owned(),
            Some(place) => place.way(provider),
        };
        return CliError::new(meant.exit, meant.code, message).hint(hint);
    }
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

/// What an issuer's error code means to the user.
struct Meaning {
    exit: Exit,
    code: &'static str,
    sentence: &'static str,
    place: Option<Place>,
}

/// What can be corrected in a provider's entry.
#[derive(Clone, Copy)]
enum Place {
    Client,
    Scopes,
    Redirect,
    Flows,
}

/// The codes that say more than that somebody did not agree (RFC 6749 §4.1.2.1, §5.2).
fn meaning(code: &str) -> Option<Meaning> {
    let entry = |sentence, place| {
        Some(Meaning { exit: Exit::Usage, code: "provider", sentence, place: Some(place) })
    };
    match code {
        "invalid_client" => {
            entry("the provider does not know this client, or not with this secret", Place::Client)
        }
        "unauthorized_client" => {
            entry("the provider does not let this client log in in this way", Place::Client)
        }
        "invalid_scope" => entry(
            "the provider does not know a scope that is asked for, or does not give it to this client",
            Place::Scopes,
        ),
        "redirect_uri_mismatch" | "invalid_redirect_uri" => entry(
            "the provider does not know the address that the browser returns to",
            Place::Redirect,
        ),
        "unsupported_response_type" | "unsupported_grant_type" => {
            entry("the provider has no login of this kind", Place::Flows)
        }
        "temporarily_unavailable" | "server_error" => Some(Meaning {
            exit: Exit::TryLater,
            code: "unavailable",
            sentence: "the provider cannot log anybody in at the moment",
            place: None,
        }),
        _ => None,
    }
}

impl Place {
    /// Where it is corrected: in the manifest, or in the environment.
    fn way(self, provider: Option<&Provider>) -> String {
        let (field, variables) = match self {
            Self::Client => ("client_id", provider.map(|it| &it.client_id_env)),
            Self::Scopes => ("scopes", provider.map(|it| &it.scopes_env)),
            Self::Redirect => ("redirect", provider.map(|it| &it.redirect_uri_env)),
            Self::Flows => ("flows", None),
        };
        let manifest = match provider.map(|provider| (&provider.origin, &provider.id)) {
            Some((Origin::Manifest(path), _)) => {
                format!("correct `{field}` in `{}`", path.display())
            }
            Some((_, id)) => format!(
                "correct `{field}` in a manifest `providers/{id}.json` of the state directory, with `\"extends\": \"{id}\"`"
            ),
            None => format!("correct `{field}` in the manifest of the provider"),
        };
        let variable = variables.and_then(|names| names.first());
        let variable = variable
            .map(|name| format!(", or set the environment variable {name}"))
            .unwrap_or_default();
        format!("{manifest}{variable}; then log in again")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_the_issuer_says_what_it_means_and_where_to_correct_it() {
        let providers = auth_providers::Providers::load(None, &|_| None);
        let chutes = providers.find(&auth_store::ProviderId::new("chutes")).unwrap();
        let variable = &chutes.client_id_env[0];
        let said = |code: &str| {
            let description = Some("words".to_owned());
            let denied = CallbackError::Denied { error: code.to_owned(), description };
            let refused = LoginError::Refused { code: code.to_owned(), description: None };
            [explain_of(LoginError::Callback(denied), chutes), explain_of(refused, chutes)]
        };
        for (code, exit, place) in [
            ("invalid_client", Exit::Usage, "client_id"),
            ("unauthorized_client", Exit::Usage, "client_id"),
            ("invalid_scope", Exit::Usage, "scopes"),
            ("redirect_uri_mismatch", Exit::Usage, "redirect"),
            ("unsupported_response_type", Exit::Usage, "flows"),
            ("temporarily_unavailable", Exit::TryLater, "try again in some minutes"),
            ("server_error", Exit::TryLater, "try again"),
            ("access_denied", Exit::LogInAgain, "begin again"),
            ("something_else", Exit::LogInAgain, "begin again"),
        ] {
            for error in said(code) {
                assert_eq!(error.exit, exit, "{error}");
                let hint = error.hint.clone().unwrap_or_default();
                assert!(error.message.contains(code) && hint.contains(place), "{error}: {hint}");
            }
        }
        let hint = said("invalid_client")[0].hint.clone().unwrap();
        assert!(
            hint.contains(variable.as_str()) && hint.contains("providers/chutes.json"),
            "{hint}"
        );
        assert!(said("invalid_scope")[0].message.contains("words"));
    }
}
