//! A token for a request, and what is known of it.

use auth_routing::session::selector::ModelRef;
use auth_store::{Credential, Kind, ProfileId, ProviderId, Secret, Timestamp};
use serde_json::Value;

use crate::host::error::{CliError, Exit};
use crate::host::shell_quote::option;

/// A token, and what is known of it.
#[derive(Debug)]
pub struct TokenOutput {
    /// Whose it is.
    pub provider: ProviderId,
    /// The profile it comes from; `None` if it is the environment's.
    pub profile: Option<ProfileId>,
    /// The agent that was asked.
    pub agent: String,
    /// Whether it is a key, a token or of a login.
    pub kind: Kind,
    /// The token itself.
    pub token: Secret,
    /// When it ends, where that is known.
    pub expires: Option<Timestamp>,
    /// `profile: <id>` or `env: <variable>`.
    pub source: String,
    /// The model it is for, where somebody named one.
    pub model: Option<ModelRef>,
    /// The model that was asked for, if it is another one.
    pub fallback_for: Option<ModelRef>,
}

impl TokenOutput {
    /// The token of a profile.
    pub fn for_profile(
        provider: &ProviderId,
        profile: &ProfileId,
        agent: &str,
        credential: &Credential,
    ) -> Self {
        Self {
            provider: provider.clone(),
            profile: Some(profile.clone()),
            agent: agent.to_owned(),
            kind: credential.kind(),
            token: sent(provider, credential),
            expires: credential.expires(),
            source: format!("profile: {profile}"),
            model: None,
            fallback_for: None,
        }
    }

    /// `oauth`, `token` or `api-key`.
    pub fn mode(&self) -> &'static str {
        match self.kind {
            Kind::OAuth => "oauth",
            Kind::Token => "token",
            Kind::ApiKey => "api-key",
        }
    }

    /// Whether it can be a line of a protocol.
    pub fn is_one_line(&self) -> bool {
        let token = self.token.expose();
        let is_odd = if token.is_ascii() {
            token.bytes().any(|byte| byte.is_ascii_control())
        } else {
            token.chars().any(auth_store::is_hostile)
        };
        !token.is_empty() && !is_odd
    }

    /// The error for a token that cannot.
    pub fn not_one_line(&self) -> CliError {
        let message = format!("the token of {} is not one line of text", self.source);
        CliError::new(Exit::LogInAgain, "unusable_token", message).hint(format!(
            "store it again: clawdbot models auth login{0}, or paste-token or paste-api-key{0}",
            option("--provider", &self.provider)
        ))
    }
}

/// What tools of `provider` expect for this credential: the token without the white space around
/// it, which no header can carry; for a Google login, JSON of token and project, as Clawdbot's.
pub fn sent(provider: &ProviderId, credential: &Credential) -> Secret {
    let token = auth_store::trim(credential.bearer().expose());
    match credential {
        Credential::OAuth(login) if WITH_PROJECT.contains(&provider.as_str()) => {
            let mut both = serde_json::Map::new();
            both.insert("token".to_owned(), token.into());
            if let Some(project) = &login.project_id {
                both.insert("projectId".to_owned(), project.as_str().into());
            }
            Secret::new(Value::Object(both).to_string())
        }
        _ => token.into(),
    }
}

/// The providers whose requests need the project beside the token.
const WITH_PROJECT: [&str; 2] = ["google-gemini-cli", "google-antigravity"];
