//! `models auth git-credential`: a credential helper for git-credential(1).

use auth_providers::refresh::token_sha256;
use auth_store::Secret;

use crate::agent::invocation::Invocation;
use crate::commands::token::exec_args::GitCredentialArgs;
use crate::commands::token::exec_args::GitVerb;
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::paths;
use crate::host::prompt;
use crate::host::report::Report;
use crate::profiles::obtain::{TokenRequest, obtain};
use crate::profiles::route::RouteRequest;
use crate::profiles::token_output::TokenOutput;

/// Responds to Git. For another host, or if a token would be sent unencrypted, the response is
/// empty, and Git asks its next helper.
pub fn run(args: &GitCredentialArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    match args.verb {
        // What is kept here is ours, so a credential that worked is nothing new.
        GitVerb::Store => return Ok(Report::default()),
        GitVerb::Erase => {
            let question = Question::read(&prompt::everything(invocation.context)?);
            if question.is_for(&args.host) {
                note_refused(&question, invocation.context)?;
            }
            return Ok(Report::default());
        }
        GitVerb::Capability => {
            return Ok(Report::raw("version 0\ncapability authtype\n".to_owned()));
        }
        GitVerb::Get => {}
    }
    let question = Question::read(&prompt::everything(invocation.context)?);
    if !question.is_for(&args.host) {
        return Ok(Report::default());
    }
    let route = RouteRequest {
        provider: args.provider.clone(),
        profile: args.profile.clone(),
        ..RouteRequest::default()
    };
    let request = TokenRequest { route, ..TokenRequest::default() };
    let mut output = obtain(&request, invocation)?;
    // git says with `erase` alone that a credential was refused, and asks for the next one later.
    let hash = token_sha256(&output.token);
    if take_refused(&hash, invocation.context) {
        let renewed = TokenRequest { force_refresh: true, if_token_sha256: Some(hash), ..request };
        output = obtain(&renewed, invocation)?;
    }
    if !output.is_one_line() {
        return Err(output.not_one_line());
    }
    Ok(Report::raw(response(&question, args.username.as_deref(), &output)))
}

/// Remembers that a credential was refused: the hash of it, until it was renewed once.
fn note_refused(question: &Question, context: &Context) -> Result<(), CliError> {
    let Some(secret) = question.secret.as_ref() else { return Ok(()) };
    let folder = paths::refused(&context.paths().state_dir);
    let old = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    // Those of credentials that are long gone.
    for file in old.map(|entry| entry.path()).skip(MOST_REFUSED) {
        let _ = std::fs::remove_file(file);
    }
    auth_store::create_private_directory(&folder)?;
    Ok(auth_store::write_atomic(&folder.join(token_sha256(secret)), b"")?)
}

/// Whether the credential with that hash was refused; it is forgotten with the answer.
fn take_refused(hash: &str, context: &Context) -> bool {
    std::fs::remove_file(paths::refused(&context.paths().state_dir).join(hash)).is_ok()
}

/// So many refused credentials are remembered.
const MOST_REFUSED: usize = 32;

/// Git's description of the credential it wants.
#[derive(Debug, Default)]
pub(super) struct Question {
    protocol: String,
    host: String,
    knows_authtype: bool,
    /// The credential, where git has one.
    secret: Option<Secret>,
}

impl Question {
    /// Lines of `key=value` up to an empty line; unknown keys are ignored.
    pub(super) fn read(text: &str) -> Self {
        let mut question = Self::default();
        for line in text.split('\n').take_while(|line| !line.is_empty()) {
            match line.split_once('=') {
                Some(("protocol", value)) => value.clone_into(&mut question.protocol),
                Some(("host", value)) => question.host = value.to_ascii_lowercase(),
                Some(("capability[]", "authtype")) => question.knows_authtype = true,
                Some(("password" | "credential", value)) => question.secret = Some(value.into()),
                _ => {}
            }
        }
        question
    }

    pub(super) fn is_for(&self, host: &str) -> bool {
        let name = self.host.rsplit_once(':').map_or(self.host.as_str(), |(name, _)| name);
        let is_local = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
        let is_safe = self.protocol == "https" || (self.protocol == "http" && is_local);
        is_safe && self.host == host.to_ascii_lowercase()
    }
}

/// A bearer token for a Git that can send one, else a password.
fn response(question: &Question, username: Option<&str>, output: &TokenOutput) -> String {
    match username {
        None if question.knows_authtype => {
            let end = output.expires.map(|at| at.0.div_euclid(1_000));
            let end = end.map(|at| format!("password_expiry_utc={at}\n")).unwrap_or_default();
            format!(
                "capability[]=authtype\nauthtype=Bearer\ncredential={}\nephemeral=1\n{end}",
                output.token.expose()
            )
        }
        _ => {
            let text = output.git();
            match username {
                Some(name) => text.replacen("username=oauth2", &format!("username={name}"), 1),
                None => text,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_host_it_was_configured_for_is_answered_and_only_over_tls() {
        let is_for = |text: &str| Question::read(text).is_for("git.acme.example");
        assert!(is_for("protocol=https\nhost=git.acme.example\n\n"));
        assert!(is_for("protocol=https\nhost=GIT.acme.example\n"));
        for text in [
            "protocol=http\nhost=git.acme.example\n",
            "protocol=https\nhost=git.acme.example.evil.example\n",
            "protocol=https\nhost=git.acme.example:8443\n",
            "protocol=https\nhost=evil.example\n\nhost=git.acme.example\n",
            "protocol=https\n",
            "",
        ] {
            assert!(!is_for(text), "{text}");
        }
        assert!(Question::read("protocol=http\nhost=127.0.0.1:8080\n").is_for("127.0.0.1:8080"));
    }
}
