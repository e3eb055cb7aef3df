//! A token for a request, with its properties.

use auth_routing::session::selector::ModelRef;
use auth_store::{Credential, Kind, ProfileId, ProviderId, Secret, Timestamp};
use serde_json::Value;

use crate::host::error::{CliError, Exit};
use crate::host::shell_quote::option;

/// A token, with its properties.
#[derive(Debug)]
pub struct TokenOutput {
    /// The provider of the token.
    pub provider: ProviderId,
    /// The profile; `None` for a key from the environment.
    pub profile: Option<ProfileId>,
    /// The agent of the request.
    pub agent: String,
    /// The kind of credential.
    pub kind: Kind,
    /// The token itself.
    pub token: Secret,
    /// When it expires, if that is known.
    pub expires: Option<Timestamp>,
    /// `profile: <id>` or `env: <variable>`.
    pub source: String,
    /// The model it is for, if the request names one.
    pub model: Option<ModelRef>,
    /// The requested model, if it is another one.
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

    /// Whether the token can be a line of a protocol.
    pub fn is_one_line(&self) -> bool {
        let token = self.token.expose();
        let is_odd = if token.is_ascii() {
            token.bytes().any(|byte| byte.is_ascii_control())
        } else {
            token.chars().any(auth_store::is_hostile)
        };
        !token.is_empty() && !is_odd
    }

    /// The error for a token that cannot be one line.
    pub fn not_one_line(&self) -> CliError {
        let message = format!("the token of {} is not one line of text", self.source);
        CliError::new(Exit::LogInAgain, "unusable_token", message).hint(format!(
            "store it again: clawdbot models auth login{0}, or paste-token or paste-api-key{0}",
            option("--provider", &self.provider)
        ))
    }
}

/// The secret in the form that tools of `provider` expect: the token without surrounding white
/// space, which no header field can carry; for a Google login, JSON of token and project, as in
/// Clawdbot.
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

/// Providers whose requests need the project besides the token.
const WITH_PROJECT: [&str; 2] = ["google-gemini-cli", "google-antigravity"];
